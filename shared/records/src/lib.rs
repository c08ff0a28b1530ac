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

mod audit;
mod cursor_key;
mod items;
mod store;
mod table;

pub use audit::{Actor, Audit, AuditAction};
pub use cursor_key::CursorKey;
pub use items::alert::{Acknowledgement, Alert, AlertId, AlertStatus};
pub use items::period::{AlertHandling, PatientPeriod, SitePeriod, SubmissionSummary};
pub use items::profile::{Listed, Profile};
pub use items::stream;
pub use items::submission::{Amendment, ClockNote, Device, InstrumentRef, PutOutcome, Score, Submission};
pub use store::acknowledgements::{Acknowledgements, AlertPlace};
pub use store::alerts::{AlertFilter, StatusFilter};
pub use store::commits::{Chunk, Commit, Progress, ToScore, chunks};
pub use store::corrections::{CorrectionOutcome, Target};
pub use store::counts::SiteCounts;
pub use store::definitions::{Definitions, NotDefined, ScoredBy};
pub use store::lists::{List, Position, Waiting};
pub use store::quarantine::SetAside;
pub use store::reevaluation::Reevaluated;
pub use store::studies::{InstrumentPut, StudyPut};
pub use store::{Page, Store, Tables};
pub use table::attributes::Unreadable;
pub use table::digest::sha256_hex;
