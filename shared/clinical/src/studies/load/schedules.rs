//! Validation of a study's schedules.

use super::Checks;
use super::overlap::overlap;
use crate::document::pointer;
use crate::schedules::definition::{Anchor, End, Reminder, Schedule};
use crate::schedules::{MOST_WINDOWS, last_window};
use crate::studies::definition::{StudyDefinition, StudyInstrument};

const MINUTES_OF_DAY: i64 = 24 * 60;

impl Checks {
    pub(super) fn schedules(&mut self, study: &StudyDefinition) {
        for (index, event) in study.events.iter().enumerate() {
            if study.events[..index].contains(event) {
                let problem = format!("the event {event} is listed twice");
                self.faults.add(format!("/events/{index}"), "event.duplicate", problem, "list each event once");
            }
        }
        for (index, schedule) in study.schedules.iter().enumerate() {
            let at = format!("/schedules/{index}");
            let before = &study.schedules[..index];
            if before.iter().any(|before| before.id == schedule.id) {
                let problem = format!("the schedule id {} is used twice", schedule.id);
                self.faults.add(pointer(&at, "id"), "schedule.duplicate", problem, "give each schedule a unique id");
            }
            self.names(study, schedule, &at);
            if self.window(schedule, &at) {
                self.recurrence(schedule, &at);
                self.reminders(schedule, &at);
                self.others(schedule, before, &at);
            }
        }
    }

    /// What the schedule names exists.
    fn names(&mut self, study: &StudyDefinition, schedule: &Schedule, at: &str) {
        let Schedule { id, instrument, .. } = schedule;
        if id.as_str().to_lowercase().contains(&instrument.as_str().to_lowercase()) {
            let problem = "schedule ids are published, and this one names the instrument";
            let advice = "choose a neutral id, for example `evening-diary`";
            self.faults.add(pointer(at, "id"), "schedule.telling", problem, advice);
        }
        let in_study: Vec<&StudyInstrument> =
            study.instruments.iter().filter(|asked| asked.id == *instrument).collect();
        let asked: Vec<&StudyInstrument> = in_study.iter().copied().filter(|asked| asked.is_of(schedule)).collect();
        if in_study.is_empty() {
            let problem = format!("the study does not have the instrument {instrument}");
            let advice = "use the id of an instrument in `instruments`, or add the instrument there";
            self.faults.add(pointer(at, "instrument"), "instrument.unknown", problem, advice);
        } else if asked.is_empty() {
            let problem = format!("the study does not have this version of {instrument}");
            let advice = "use a version that `instruments` lists, or leave it out for the latest";
            self.faults.add(pointer(at, "version"), "instrument.version-unknown", problem, advice);
        }
        for (place, site) in schedule.sites.iter().enumerate() {
            let at = format!("{at}/sites/{place}");
            if !study.sites.iter().any(|known| known.id == *site) {
                let problem = format!("the study has no site {site}");
                let advice = "use the id of a site in `sites`, or add the site there";
                self.faults.add(at, "site.unknown", problem, advice);
            } else if !asked.is_empty() && !asked.iter().any(|asked| asked.is_at(site)) {
                let problem = format!("the site {site} does not use {instrument}");
                let advice = "remove the site here, or add it to the instrument's `sites`";
                self.faults.add(at, "schedule.site", problem, advice);
            }
        }
        if let Anchor::Event(event) = &schedule.anchor
            && !study.events.contains(event)
        {
            let problem = format!("the study does not name an event {event}");
            let advice = "use an event of the study's `events`, or add it there";
            self.faults.add(format!("{at}/anchor/event"), "event.unknown", problem, advice);
        }
    }

    /// Whether the window opens on its day, and closes later.
    fn window(&mut self, schedule: &Schedule, at: &str) -> bool {
        let window = &schedule.window;
        let (pointer, problem, advice) = if window.opens.is_end_of_day() {
            ("window/opens", "a window opens before the end of its day", "write 00:00, and the next day in `delayDays`")
        } else if window.length() <= 0 {
            let advice = "write a later time, or in `closesAfterDays` the number of days after which it closes";
            ("window/closes", "the window never opens: it closes before", advice)
        } else {
            return true;
        };
        self.faults.add(format!("{at}/{pointer}"), "schedule.window", problem, advice);
        false
    }

    /// There is a window, no window reaches into the next one, and enough can be missed.
    fn recurrence(&mut self, schedule: &Schedule, at: &str) {
        let is_from_enrolment = matches!(schedule.anchor, Anchor::Enrolment(_) | Anchor::Weekday(_));
        if is_from_enrolment && schedule.delay_days < 0 {
            let problem = "a window before enrolment never opens";
            self.faults.add(pointer(at, "delayDays"), "schedule.never", problem, "write 0 or more days");
        }
        let Some(every) = schedule.every else {
            return self.enough_to_miss(schedule, 1, at);
        };
        if schedule.window.length() > i64::from(every.days.max(1)) * MINUTES_OF_DAY {
            let problem = "a window is still open when the next one opens";
            let advice = "close it earlier, or write more days in `every`; `24:00` closes where `00:00` opens";
            self.faults.add(pointer(at, "window"), "schedule.overlap", problem, advice);
        }
        match (every.end, &schedule.anchor) {
            (End::Count(count), _) => self.enough_to_miss(schedule, count, at),
            (End::Until(_), Anchor::Date(date)) => {
                let first_day = schedule.delayed(date.0).unwrap_or(date.0);
                let at_until = format!("{at}/every/until");
                match last_window(schedule, first_day) {
                    0 => {
                        let problem = format!("no window ever opens: the first day is {first_day}");
                        self.faults.add(at_until, "schedule.never", problem, "write this day or a later one");
                    }
                    count if count > MOST_WINDOWS => {
                        let problem = format!("a schedule has at most {MOST_WINDOWS} windows");
                        self.faults.add(at_until, "schedule.too-long", problem, "write an earlier day");
                    }
                    count => self.enough_to_miss(schedule, count, at),
                }
            }
            (End::Until(_), _) => {}
        }
    }

    fn enough_to_miss(&mut self, schedule: &Schedule, windows: u32, at: &str) {
        if schedule.missed.is_some_and(|missed| missed.after > windows) {
            let problem = format!("so many windows are never missed: there are {windows}");
            let advice = "write a lower number, or remove `missed`";
            self.faults.add(format!("{at}/missed/after"), "schedule.missed", problem, advice);
        }
    }

    fn reminders(&mut self, schedule: &Schedule, at: &str) {
        let length = schedule.window.length();
        let minute = |reminder: &Reminder| match *reminder {
            Reminder::MinutesAfterOpening(minutes) => i64::from(minutes),
            Reminder::MinutesBeforeClosing(minutes) => length - i64::from(minutes),
        };
        for (place, reminder) in schedule.reminders.iter().enumerate() {
            let at = format!("{at}/reminders/{place}");
            if !(0..length).contains(&minute(reminder)) {
                let problem = format!("the reminder is outside of the window, which is open for {length} minutes");
                self.faults.add(at, "schedule.reminder", problem, "write fewer minutes, at least 1 before closing");
            } else if schedule.reminders[..place].iter().any(|before| minute(before) == minute(reminder)) {
                let problem = "there is another reminder at the same time";
                self.faults.add(at, "schedule.reminder", problem, "remove one of them");
            }
        }
    }

    /// No answer can belong to a window of each of two schedules.
    fn others(&mut self, schedule: &Schedule, before: &[Schedule], at: &str) {
        let same = before.iter().filter(|before| before.instrument == schedule.instrument);
        let mut open = same.filter(|before| !before.window.opens.is_end_of_day() && before.window.length() > 0);
        if let Some(other) = open.find(|before| overlap(before, schedule)) {
            let problem = format!(
                "windows overlap with those of {}, which asks the same patients for the same instrument",
                other.id
            );
            let advice = "move one of them to another day or time, or to other sites or groups";
            self.faults.add(pointer(at, "window"), "schedule.overlap", problem, advice);
        }
    }
}
