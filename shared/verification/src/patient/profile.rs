//! The profile: courses, last submission, open alerts.

use std::collections::BTreeSet;
use std::fmt;

use clinical::ids::SiteId;
use clinical::instruments::{Course, CourseId};
use records::{Alert, List, OnList, OpenAlerts};

use super::Patient;
use crate::difference::{Difference, Kind};

impl Patient<'_> {
    pub(super) fn of_profile(&mut self, kind: Kind, detail: impl fmt::Display) {
        let difference = self.difference(kind).about(detail);
        let difference = match (&self.records.profile, self.records.submissions.last()) {
            (Some(stored), _) => {
                let submission = stored.profile.last_submission.map(|(last, _)| last);
                Difference { submission, ..difference.at_site(&stored.profile.site) }
            }
            (None, Some(last)) => difference.at_site(&last.submission.site).of_submission(last.submission.id),
            (None, None) => difference,
        };
        self.differs(difference);
    }

    /// Compares the entries of the index with the sites of a registered patient, now and before.
    pub(super) fn registration(&mut self) {
        let Some(registration) = &self.records.registration else { return };
        let left = registration.transfers.iter().map(|transfer| &transfer.from);
        let sites: BTreeSet<&SiteId> = left.chain([&registration.site]).collect();
        let of_profile = self.records.profile.as_ref().map(|stored| &stored.profile.site);
        let is_listed = |site: &SiteId| self.records.site_entries.contains(site) || of_profile == Some(site);
        for site in sites.into_iter().filter(|site| !is_listed(site)) {
            let difference = self.difference(Kind::NotInSiteIndex).about("registration").at_site(site);
            self.differs(difference);
        }
    }

    /// Compares the profile with the replay and with the rows.
    pub(super) fn profile(&mut self) {
        let is_scored = !self.compared.scored.is_empty();
        let Some(stored) = &self.records.profile else {
            let is_unreadable = self.records.unreadable.iter().any(|item| item.kind == "profile");
            if is_scored && !is_unreadable {
                self.of_profile(Kind::ProfileMissing, "");
            }
            return;
        };
        // What follows would compare with submissions that are missing here.
        if self.records.unreadable.iter().any(|item| item.kind == "submission") {
            return;
        }
        // One of a patient who has sent nothing counts the alerts of missed windows.
        let has_missed = self.records.alerts.iter().any(|row| row.alert.submission().is_none());
        if !is_scored && !has_missed {
            return self.of_profile(Kind::ProfileWithoutReason, "");
        }
        if !stored.is_in_site_index {
            self.of_profile(Kind::NotInSiteIndex, "profile");
        }
        let sent_from: BTreeSet<&SiteId> = self.compared.scored.iter().map(|scored| &scored.site).collect();
        if sent_from.into_iter().any(|site| *site != stored.profile.site && !self.records.site_entries.contains(site)) {
            self.of_profile(Kind::NotInSiteIndex, "a site of a submission");
        }
        let mut open = OpenAlerts::default();
        let is_open = |alert: &&Alert| alert.acknowledged.is_none();
        self.records.alerts.iter().map(|row| &row.alert).filter(is_open).for_each(|alert| open.add(alert));
        let alerts_are_readable = self.records.unreadable.iter().all(|item| item.kind != "alert");
        if alerts_are_readable && stored.profile.open_alerts != open.len() {
            self.of_profile(Kind::OpenAlertsDiffer, "");
        } else if alerts_are_readable && stored.profile.open_marks != open {
            self.of_profile(Kind::OpenAlertsDiffer, "severity and time");
        }
        match (stored.profile.marked_since(), stored.on) {
            (Some(since), OnList::On { list: List::Pending, .. }) => {
                if self.waits(since) {
                    self.of_profile(Kind::WaitsTooLong, "the evaluation of its courses");
                }
                return;
            }
            (None, OnList::None) => {}
            _ => self.of_profile(Kind::ListDiffers, "profile"),
        }
        if let Some((place, last)) = self.replayed.last {
            let site = self.stored(last).map(|last| &last.submission.site);
            if stored.profile.last_submission != Some((last, place))
                || site.is_some_and(|site| *site != stored.profile.site)
            {
                self.of_profile(Kind::LastSubmissionDiffers, "");
            }
        }
        self.courses();
    }

    fn courses(&mut self) {
        let Some(stored) = &self.records.profile else { return };
        let (courses, expected) = (&stored.profile.courses, self.replayed.courses.clone());
        for id in courses.keys().filter(|id| !expected.contains_key(id)) {
            self.of_profile(Kind::CoursesDiffer, id);
        }
        for (id, expected) in &expected {
            let differs = courses.get(id).map_or(Some("course"), |course| self.course_differs(id, course, expected));
            if let Some(part) = differs {
                self.of_profile(Kind::CoursesDiffer, format_args!("{id} {part}"));
            }
        }
    }

    /// The part of a course that differs from the replay's, which keeps all of its points.
    fn course_differs(&self, id: &CourseId, course: &Course, expected: &Course) -> Option<&'static str> {
        let of_course = self.records.submissions.iter().filter(|stored| stored.score.is_some());
        let instruments = of_course.filter_map(|stored| Some(&self.definition(stored.submission.id)?.instrument));
        let looks_back = instruments.filter(|one| one.course() == *id).map(|one| one.looks_back()).max();
        // A list of patients shows the newest.
        let least = expected.last.len().min(looks_back.unwrap_or_default().max(1));
        if course.count != expected.count {
            Some("count")
        } else if course.baseline != expected.baseline {
            Some("baseline")
        } else if course.last.len() < least || !expected.last.starts_with(&course.last) {
            Some("last")
        } else {
            None
        }
    }
}
