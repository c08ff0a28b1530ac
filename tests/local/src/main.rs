//! `cargo run` at the root of the workspace.

fn main() {}
