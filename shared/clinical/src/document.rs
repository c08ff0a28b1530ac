//! What instruments, forms and studies share: each is a versioned JSON document.
//!
//! Here are parsing (of definitions, and of JSON that callers send), the canonical form and its hash, faults with their JSON pointer, the bounds of the JSON Schemas,
//! texts by language, and catalogs of definitions by id and version.

mod canonical;
mod catalog;
mod defaults;
mod fault;
mod finding;
mod findings;
mod json;
mod number;
mod parse;
mod pointer;
mod schema;
pub(crate) mod texts;

pub use catalog::{Catalog, NotFound, Versioned};
pub use fault::DefinitionFault;
pub use finding::Finding;
pub use findings::Findings;
pub use json::parse_json;
pub use number::Number;
pub use pointer::pointer;
pub use texts::Texts;

pub(crate) use canonical::Canonical;
pub(crate) use catalog::{Shipped, shipped};
pub(crate) use defaults::{is_false, is_zero};
pub(crate) use fault::Faults;
pub(crate) use number::{decimal, from_number, number};
pub(crate) use parse::{definition, in_file, parse};
pub(crate) use schema::Schema;
