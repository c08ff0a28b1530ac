//! Independent engines of DynamoDB, compared.
//!
//! All of this repository's proof stands on one embedded engine. Here it is compared with two that share no code with
//! it: moto (Python) and dynalite (JavaScript). Random [sequences](sequence) of exactly the requests that the functions
//! send go to all of them through the SDK's client; the answers, the tables and the streams must be the same, except for
//! the [known differences](differences), each of which must still be there.

pub mod compare;
pub mod differences;
pub mod engine;
mod notation;
mod random;
pub mod sequence;
pub mod shape;
