//! Case-report forms as data, and the edit checks of batches of their rows.
//!
//! A form is a versioned JSON definition that a data manager can read and sign off. The code supports a closed set of
//! rules and validates each definition when it is loaded. Rows are checked in parallel on the caller's number of
//! threads; the result does not depend on that number.
//!
//! ```
//! use clinical::forms::{Batch, Catalog, CheckContext, Notation, Register, Workers};
//!
//! let form = Catalog::shipped().find(&"vs".parse()?, &"1.0.0".parse()?)?; let rows = br#"[{"USUBJID": "P-1",
//! "VSTESTCD": "SYSBP", "VSORRES": "720", "VSORRESU": "mmHg", "VSDTC": "2012-11-23"}]"#; let batch = Batch::read(rows,
//! Notation::Any)?; let known = Register::Known(["P-1".to_owned()].into()); let context = CheckContext { now:
//! 1_800_000_000, sites: known.clone(), subjects: known }; let report = form.check(&batch, &context,
//! Workers::new(2)).map_err(|_| "not stopped")?; assert_eq!(report.counts.rejected, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod across;
mod batch;
mod cell;
mod check;
mod context;
mod dataset;
mod date;
pub mod definition;
mod form;
mod load;
mod program;
mod report;
mod report_json;
mod row;
mod shipped;
mod texts;
mod workers;

pub use batch::{Batch, BatchError, MOST_ROWS, Notation};
pub use context::{CheckContext, Register};
pub use dataset::{Dataset, DatasetError, RowFault};
pub use form::Form;
pub use report::{
    CheckReport, FieldFault, FindingSource, NoRegister, Reason, RowCounts, RowDefect, RowFinding, RowReport, RowVerdict,
};
pub use report_json::ReportOptions;
pub use shipped::Catalog;
pub use workers::{Stopped, Workers};
