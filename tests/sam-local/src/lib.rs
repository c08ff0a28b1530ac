//! Runs the functions' bootstraps under AWS's own emulators.

pub use cloud::{Cloud, DYNAMODB, SNS};
pub use emulator::{Emulator, Invocation};
pub use http_client::send;
pub use permissions::ANY_FUNCTION;
pub use relay::{Flow, Relay};

mod cloud;
mod emulator;
mod http_client;
mod permissions;
mod relay;
