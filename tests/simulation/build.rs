//! Exports the symbol that crate `determinism` replaces, since the crate `getrandom` looks its function up by name.

fn main() {
    println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=getrandom");
    println!("cargo::rerun-if-changed=build.rs");
}
