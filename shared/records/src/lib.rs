//! Storage: the types of records, their keys, conditions and transactions. The only crate that depends on the DynamoDB
//! SDK, none of whose types is public.
//!
//! Three floors, each of which uses only those below it:
//!
//! - `store`: [`Store`] and its methods, in a file a resource. Everything that waits for DynamoDB.
//! - `items`: the types that are stored, and how each is written to an item and read from it.
//! - `table`: keys, attribute values, lists, pages, and the calls that reach the tables.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | [`Submission`], with its [`Score`] | `PATIENT#<study>#<patient>` | `SUBMISSION#<id>` |
//! | [`Profile`] | same | `PROFILE` |
//! | [`Registration`] | same | `REGISTRATION` |
//! | [`Draft`] | `DRAFT#<study>#<patient>` | the id of the future submission |
//! | an entry of the index `site` beside the profile's | same | `SITE#<site>` |
//! | [`StoredPlan`] of the patient's occurrences | same | `PLAN` |
//! | [`StoredOccurrence`] | same | `OCCURRENCE#<schedule>#<number>` |
//! | [`Alert`] | `ALERTS#<study>#<site>` | its public id |
//! | [`Audit`] | `AUDIT#<study>#<site>`, `AUDIT#<study>`, or `AUDIT#` | `<time>#<id>` |
//! | a version of a study | `STUDY#<study>` | `VERSION#<version>` |
//! | the version in force, a copy | same | `CURRENT` |
//! | an instrument that does not ship with the library | `INSTRUMENT#<id>` | `VERSION#<version>` |
//! | [`CursorKey`] | `KEY#CURSOR` | `KEY#CURSOR` |
//! | [`VerificationState`] | `VERIFICATION` | `VERIFICATION` |
//! | [`Quarantined`] | `QUARANTINE` | the record's sequence number or digest |
//!
//! All are in the Records table, each with its `kind`. Two sparse indexes have some of them:
//!
//! | index | hash key | sort key | items |
//! |---|---|---|---|
//! | `site` | `SITE#<study>#<site>` | `PATIENT#<patient>` | profiles, and entries for the patient's other sites |
//! | `site` | `ALERTS#<study>#<site>` | `<severity>#<id>` | alerts that wait for a clinician: pending or sent |
//! | `pending` | `<list>#<shard>`, see [`List`] | time of entry, or due time | items with outstanding work |
//!
//! The SiteCounts table holds numbers only, see [`SiteCounts`]: `pk` is `COUNT#<study>#<site>#<metric>#<shard>`.

mod items;
mod store;
mod table;

pub use items::UnknownName;
pub use items::acknowledgement::{Acknowledgement, Acknowledgements};
pub use items::alert::{Alert, AlertId, AlertStatus, Cause};
pub use items::alert_filter::{AlertFilter, StatusFilter};
pub use items::audit::{Actor, Audit, AuditAction};
pub use items::compliance::{Compliance, SettledWindow};
pub use items::counts::SiteCounts;
pub use items::cursor_key::CursorKey;
pub use items::draft::Draft;
pub use items::occurrence::StoredOccurrence;
pub use items::open_alerts::OpenAlerts;
pub use items::patient_records::{
    OnList, PatientRecords, StoredAlert, StoredProfile, StoredSubmission, UnreadableItem, WorklistPlace,
};
pub use items::period::{AlertHandling, PatientPeriod, SitePeriod, Stay, SubmissionSummary};
pub use items::plan::{MadeFor, StoredPlan};
pub use items::profile::{NOT_YET, PatientRow, Profile};
pub use items::quarantine::Quarantined;
pub use items::registration::{Admission, Registration, Transfer, Withdrawal, WithdrawalMode};
pub use items::rollout::Rollout;
pub use items::score::Score;
pub use items::snooze::Snooze;
pub use items::stream;
pub use items::submission::{Amendment, ClockNote, Device, InstrumentRef, Submission};
pub use items::target::Target;
pub use items::verification_state::VerificationState;
pub use items::walked::{DocumentName, StoredDocument, Walked};
pub use store::commits::chunk::{Chunk, ChunkOutcome, ToScore, chunks};
pub use store::commits::transaction::Commit;
pub use store::corrections::CorrectionOutcome;
pub use store::definitions::{Definitions, NotDefined, ScoredBy};
pub use store::drafts::{DraftAdmission, DraftCondition, DraftPut, StoredDraft};
pub use store::lists::Waiting;
pub use store::occurrences::Completed;
pub use store::plans::Planning;
pub use store::reevaluation::Reevaluated;
pub use store::registry::Participation;
pub use store::snoozes::SnoozeOutcome;
pub use store::studies::put::{InstrumentPut, Since, StudyPut};
pub use store::submissions::PutOutcome;
pub use store::walk::{AllCounts, WalkPage, WalkPosition};
pub use store::{Store, Tables};
pub use table::attributes::Unreadable;
pub use table::calls::ConditionalPut;
pub use table::cursor::{Page, Position};
pub use table::digest::sha256_hex;
pub use table::lists::List;
