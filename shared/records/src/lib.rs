//! What is stored and how. The only crate that names DynamoDB: keys, items, conditions and transactions are here, and no
//! type of the SDK leaves it.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | [`Submission`] | `PATIENT#<study>#<patient>` | `SUBMISSION#<id>` |
//! | [`Alert`] | same | `ALERT#<submission>#<rule>` |
//! | where an alert lies | `ALERT#<id>` | `ALERT` |
//! | [`Profile`] | same | `PROFILE` |
//! | [`Audit`] | `AUDIT#<study>#<site>`, `AUDIT#<study>`, or `AUDIT#` | `<time>#<id>` |
//! | a study | `STUDY#<study>` | `VERSION#<version>`, and the one in force as `CURRENT` |
//! | an instrument that does not ship | `INSTRUMENT#<id>` | `VERSION#<version>` |
//! | what cursors are signed with | `KEY#CURSOR` | `KEY#CURSOR` |
//! | a record set aside | `SET-ASIDE` | what identifies it in the stream |
//!
//! All in the Records table, each with its `kind`. The SiteCounts table holds numbers only, see [`SiteCounts`].

mod acknowledge;
mod alert;
mod alert_list;
mod api_calls;
mod attributes;
mod audit;
mod commit;
mod correction;
mod counts;
mod cursor_key;
mod definitions;
mod digest;
mod keys;
mod period;
mod profile;
mod reevaluate;
mod register;
mod set_aside;
mod store;
pub mod stream;
mod study;
mod submission;
mod waiting;

pub use acknowledge::{Acknowledgements, AlertPlace};
pub use alert::{Acknowledgement, Alert, AlertId, AlertStatus};
pub use alert_list::{AlertFilter, StatusFilter};
pub use attributes::Unreadable;
pub use audit::{Actor, Audit, AuditAction};
pub use commit::{Chunk, Commit, Progress, ToScore, chunks};
pub use correction::{CorrectionOutcome, Target};
pub use counts::SiteCounts;
pub use cursor_key::CursorKey;
pub use definitions::{Definitions, NotDefined, ScoredBy};
pub use digest::sha256_hex;
pub use period::{AlertHandling, PatientPeriod, SitePeriod, SubmissionSummary};
pub use profile::{Listed, Profile};
pub use reevaluate::Reevaluated;
pub use set_aside::SetAside;
pub use store::{Page, Store, Tables};
pub use study::{InstrumentPut, StudyPut};
pub use submission::{Amendment, ClockNote, Device, InstrumentRef, PutOutcome, Score, Submission};
pub use waiting::{List, Position, Waiting};
