//! Exports the replaced symbols from this crate's own tests, since the crate `getrandom` looks its function up by name.

fn main() {
    // Other systems have no such function, and their linkers no such option.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-tests=-Wl,--export-dynamic-symbol=getrandom");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
