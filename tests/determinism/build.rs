//! Exports the replaced symbols from this crate's own tests, since the crate `getrandom` looks its function up by name.

fn main() {
    println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo::rerun-if-changed=build.rs");
}
