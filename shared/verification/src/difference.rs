//! Differences between what is stored and what follows from the submissions.

use std::fmt;

use clinical::ids::{SiteId, StudyId, SubmissionId};
use records::AlertId;

/// A difference. It names ids, rules and attributes, and never an answer, a score or a patient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// What kind it is of.
    pub kind: Kind,
    /// The study.
    pub study: Option<StudyId>,
    /// The site.
    pub site: Option<SiteId>,
    /// The submission that it is about; for one in a profile the last one of the patient.
    pub submission: Option<SubmissionId>,
    /// The alert that it is about.
    pub alert: Option<AlertId>,
    /// The rule, the attribute or the document that it is about.
    pub detail: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $name:literal, $meaning:literal;)*) => {
        /// The kind of a difference.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name in reports and logs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }
        }
    };
}

kinds! {
    /// An item cannot be read.
    Unreadable, "unreadable", "an item is stored that cannot be read, so that nothing uses it";
    /// A definition is not stored.
    DefinitionMissing, "definition-missing",
        "the study's version or the instrument that it was scored by is not stored as it names it, so that \
         nobody can recompute it";
    /// The answers do not fit the instrument.
    AnswersDoNotFit, "answers-do-not-fit", "it is scored although its answers do not fit the instrument that it names";
    /// The scores differ.
    ScoresDiffer, "scores-differ", "its stored scores are not those of its answers (promise 2)";
    /// The scores that could not be computed differ.
    NotScoredDiffers, "not-scored-differs",
        "the stored reasons why scores could not be computed are not those of its answers (promise 2)";
    /// The rules that could not be evaluated differ.
    NotEvaluatedDiffers, "not-evaluated-differs",
        "the stored rules that could not be evaluated are not those of the patient's course";
    /// The claims that differ from the scores differ.
    ClaimsDiffer, "claims-differ", "the recorded claims of the sender are not those that differ from the scores";
    /// A rule fires and no alert is stored.
    AlertMissing, "alert-missing", "a rule fires and no alert is stored: nobody was or will be informed (promise 4)";
    /// An alert is stored that no rule raises.
    AlertWithoutReason, "alert-without-reason", "an alert is stored that no rule raises on its submission";
    /// An alert is not as its submission and its rule make it.
    AlertAltered, "alert-altered", "an attribute of the alert is not as its submission and its rule make it";
    /// The marks of an alert differ.
    AlertMarksDiffer, "alert-marks-differ",
        "the marks `corrected` and `superseded` are not those of the patient's course";
    /// No score names an alert.
    AlertNotNamed, "alert-not-named",
        "the score of the alert's submission does not name it, so that nothing that follows the patient's course meets it";
    /// A score names an alert that is not stored.
    AlertNotStored, "alert-not-stored", "the score names an alert that is not stored";
    /// A quiet alert should be published.
    QuietWithoutReason, "quiet-without-reason",
        "the alert is quiet, and no published alert of its rule is within the quiet period: nobody was informed \
         (promise 4)";
    /// A published alert should be quiet.
    NotQuiet, "not-quiet", "the alert is published within the quiet period of an earlier one of its rule";
    /// The status of an alert contradicts its attributes.
    StatusDiffers, "status-differs",
        "the alert's status contradicts its times of publication and acknowledgement (promise 4)";
    /// An alert is on the wrong list.
    ListDiffers, "list-differs",
        "the list of what is pending does not agree with the state: it waits for nothing, or nothing ever processes it";
    /// A profile, or an alert that waits, is missing from the index of its site.
    NotInSiteIndex, "not-in-site-index",
        "the site's list of patients or of alerts that wait does not show it, in the wrong place, or without reason";
    /// An alert was escalated too often.
    EscalatedTooOften, "escalated-too-often", "the alert was published again more often than its study allows";
    /// A patient has no profile.
    ProfileMissing, "profile-missing", "the patient has scored submissions and no profile";
    /// A patient has a profile and no scored submission.
    ProfileWithoutReason, "profile-without-reason", "the patient has a profile and no scored submission";
    /// The courses of a profile differ.
    CoursesDiffer, "courses-differ",
        "the profile's courses (count, baseline, last points) are not those of the patient's submissions: rules that \
         look back are evaluated wrongly";
    /// The last submission of a profile differs.
    LastSubmissionDiffers, "last-submission-differs", "the profile's last submission or site is not the patient's";
    /// The open alerts of a profile differ.
    OpenAlertsDiffer, "open-alerts-differ", "the profile's number of open alerts is not that of the stored alerts";
    /// The last alerts of a profile differ.
    LastAlertsDiffer, "last-alerts-differ",
        "the profile's times of the last alerts are not those of the stored alerts: quiet periods are counted wrongly";
    /// An occurrence is not as the patient's submissions make it.
    OccurrenceDiffers, "occurrence-differs",
        "the window's state is not what the patient's submissions make it: compliance is counted wrongly, or a patient \
         was reminded of what is done";
    /// A correction and its original do not name each other.
    CorrectionOneSided, "correction-one-sided", "a correction and the submission that it corrects do not name each other";
    /// A change has no audit entry.
    AuditMissing, "audit-missing", "a change has no entry on the audit trail";
    /// A change has several audit entries.
    AuditTwice, "audit-twice", "a change has more than one entry on the audit trail";
    /// An audit entry has no change.
    AuditWithoutChange, "audit-without-change", "an entry on the audit trail names a change that is not stored";
    /// The study in force is not its latest version.
    InForceDiffers, "in-force-differs", "the study in force is not the latest of its stored versions";
    /// A counter is too low.
    CountTooLow, "count-too-low", "the site's counter is lower than what is stored (promise 3)";
    /// A counter is too high.
    CountTooHigh, "count-too-high", "the site's counter is higher than what is stored (promise 3)";
    /// Something waits too long.
    WaitsTooLong, "waits-too-long",
        "it has waited for its score, its publication or its evaluation longer than sweep should leave it";
}

impl Difference {
    pub(crate) fn new(kind: Kind, study: &StudyId) -> Self {
        let study = Some(study.clone());
        Self { kind, study, site: None, submission: None, alert: None, detail: String::new() }
    }

    pub(crate) fn at_site(self, site: &SiteId) -> Self {
        Self { site: Some(site.clone()), ..self }
    }

    pub(crate) fn of_submission(self, id: SubmissionId) -> Self {
        Self { submission: Some(id), ..self }
    }

    pub(crate) fn of_alert(self, id: AlertId) -> Self {
        Self { alert: Some(id), ..self }
    }

    pub(crate) fn about(self, detail: impl fmt::Display) -> Self {
        Self { detail: detail.to_string(), ..self }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `scores-differ study=DEMO site=S01 submission=…: total: its stored scores are not those of its answers`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(study) = &self.study {
            write!(f, " study={study}")?;
        }
        if let Some(site) = &self.site {
            write!(f, " site={site}")?;
        }
        if let Some(id) = self.submission {
            write!(f, " submission={id}")?;
        }
        if let Some(id) = self.alert {
            write!(f, " alert={id}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        write!(f, ": {}", self.kind.meaning())
    }
}
