//! Exports the symbol that crate `determinism` replaces, since the crate `getrandom` looks its function up by name.

fn main() {
    // Other systems have no such function, and their linkers no such option.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=getrandom");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
