//! What it takes to run the functions' release bootstraps under AWS's own emulators.

pub use emulator::{Emulator, Invocation};
pub use relay::{Flow, Relay};

mod emulator;
mod relay;
