//! A fixed scenario with an alert, a correction, an escalation and an acknowledgement, in which each invocation is lost at
//! each of its awaits in turn.

use crate::journal::Pages;
use crate::plan::{Action, Diary, Plan, What};
use crate::run::{run, run_losing};

/// The result of all runs.
#[derive(Clone, Debug, Default)]
pub struct Exhausted {
    /// The number of invocations of the scenario.
    pub invocations: u32,
    /// The number of runs, each of which lost one invocation at one await.
    pub runs: u64,
    /// The runs that broke a promise: the invocation, the await, and what was written down.
    pub broken: Vec<(u32, u32, Pages)>,
}

/// The scenario.
pub fn scenario() -> Plan {
    let diary = |pain, fever, corrects| Diary {
        quarters_ago: 0,
        pain: Some(pain),
        fever,
        corrects,
        newer: false,
        completed: None,
    };
    let send = |at, diary| Action { at, patient: 0, device: 0, what: What::Send(diary) };
    Plan {
        seed: 1,
        escalation_minutes: 1,
        escalation_limit: 1,
        acknowledge_one_in: 1,
        snooze_one_in: 0,
        batch_size: 100,
        lanes: 1,
        record_age: None,
        actions: vec![
            send(0, diary(3, false, None)),
            send(10, diary(8, true, None)),
            send(40, diary(2, false, Some(1))),
            send(70, diary(9, true, None)),
        ],
        weather: Vec::new(),
        events: Vec::new(),
        asking: None,
    }
}

/// Loses each invocation of the scenario at each of its awaits. `ran` is called after each run.
pub fn lose_everything(mut ran: impl FnMut(&Exhausted)) -> Exhausted {
    let scenario = scenario();
    let mut exhausted = Exhausted { invocations: run(&scenario).invocations, ..Exhausted::default() };
    for invocation in 0..exhausted.invocations {
        for at in 0.. {
            let pages = run_losing(&scenario, Some((invocation, at)));
            let lost = pages.coverage.counts().any(|(name, times)| name.contains("lost at an await") && times > 0);
            if !pages.violations.is_empty() {
                exhausted.broken.push((invocation, at, pages));
            }
            if !lost {
                break;
            }
            exhausted.runs += 1;
            ran(&exhausted);
        }
    }
    exhausted
}
