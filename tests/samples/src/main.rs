//! `cargo run --bin samples` writes the files of `tests/samples/data` again.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    let folder = samples::folder();
    fs::create_dir_all(&folder)?;
    samples::all().iter().try_for_each(|sample| fs::write(folder.join(sample.file()), sample.text()))
}
