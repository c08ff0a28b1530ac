//! Makes a failing plan smaller: what is left is what the failure needs.

use crate::plan::{Diary, Plan, What};

/// The smallest plan found from which `fails` still returns `true`, which it does for `plan`.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    let attempt = |candidate: Plan, smallest: &mut Plan| {
        let better = candidate != *smallest && fails(&candidate);
        if better {
            *smallest = candidate;
        }
        better
    };
    loop {
        let before = smallest.clone();
        without_each(&mut smallest, |plan| &mut plan.weather, &attempt);
        without_each(&mut smallest, |plan| &mut plan.events, &attempt);
        without_each(&mut smallest, |plan| &mut plan.actions, &attempt);
        for index in 0..smallest.actions.len() {
            let What::Batch(diaries) = smallest.actions[index].what.clone() else { continue };
            for left_out in (0..diaries.len()).rev() {
                let mut candidate = smallest.clone();
                if let What::Batch(diaries) = &mut candidate.actions[index].what
                    && diaries.len() > left_out.max(1)
                {
                    diaries.remove(left_out);
                }
                attempt(candidate, &mut smallest);
            }
        }
        for simpler in [
            with_lanes as fn(&Plan) -> Plan,
            with_the_age_of_the_template,
            with_batches_of_one,
            without_acknowledgements,
            without_snoozes,
            without_escalation,
        ] {
            attempt(simpler(&smallest), &mut smallest);
        }
        for index in 0..smallest.actions.len() {
            let mut candidate = smallest.clone();
            if let What::Send(diary) = &mut candidate.actions[index].what {
                *diary = Diary { fever: false, quarters_ago: 0, ..diary.clone() };
            }
            attempt(candidate, &mut smallest);
        }
        if smallest == before {
            return smallest;
        }
    }
}

/// Leaves out parts of a list, first halves, then ever smaller parts.
fn without_each<T: Clone>(
    smallest: &mut Plan,
    list: impl Fn(&mut Plan) -> &mut Vec<T>,
    attempt: &impl Fn(Plan, &mut Plan) -> bool,
) {
    let mut part = list(smallest).len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        while from < list(smallest).len() {
            let mut candidate = smallest.clone();
            let entries = list(&mut candidate);
            entries.drain(from..(from + part).min(entries.len()));
            if !attempt(candidate, smallest) {
                from += part;
            }
        }
        part = if part == 1 { 0 } else { part / 2 };
    }
}

fn with_lanes(plan: &Plan) -> Plan {
    Plan { lanes: 1, ..plan.clone() }
}

fn with_the_age_of_the_template(plan: &Plan) -> Plan {
    Plan { record_age: None, ..plan.clone() }
}

fn with_batches_of_one(plan: &Plan) -> Plan {
    Plan { batch_size: 1, ..plan.clone() }
}

fn without_acknowledgements(plan: &Plan) -> Plan {
    Plan { acknowledge_one_in: 0, ..plan.clone() }
}

fn without_snoozes(plan: &Plan) -> Plan {
    Plan { snooze_one_in: 0, ..plan.clone() }
}

fn without_escalation(plan: &Plan) -> Plan {
    Plan { escalation_limit: 0, ..plan.clone() }
}
