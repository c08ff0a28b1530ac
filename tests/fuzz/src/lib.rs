//! What strangers send, and what must not happen when they do.
//!
//! A [`Target`] is one way in: a function over any bytes, which starts where the product starts to read them. Each input
//! must end without a panic, and within [`Memory`] of a small multiple of its own size. Two drivers share the targets:
//! the program of this crate, on stable Rust with inputs of the seeded [`Generator`], and libFuzzer in
//! `tests/fuzz/coverage`, which needs nightly Rust.

#![allow(clippy::panic, reason = "a fuzz target reports by panicking")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use peak_alloc::PeakAlloc;

mod generate;
pub mod targets;

pub use generate::Generator;
pub use targets::TARGETS;

/// Counts what each input allocates.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One way in.
#[derive(Debug)]
pub struct Target {
    /// The name on the command line, and of its folders of inputs.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Examples elsewhere in the repository, beside those in `tests/fuzz/corpus`.
    pub examples: &'static [&'static str],
    /// The bytes of the largest generated input, but for a few full ones.
    pub largest: usize,
    /// The bytes of a full input: as many as the product reads.
    pub full: usize,
    /// The memory that an input may take.
    pub memory: Memory,
    /// Reads an input.
    run: fn(&[u8]),
}

/// The most memory that reading an input may take at its peak.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes for each byte of the input.
    pub for_each_byte: usize,
    /// Bytes whatever the input.
    pub constant: usize,
    /// The most bytes whatever the input: as many as the function has.
    pub most: usize,
}

impl Memory {
    /// The limit for an input of `length` bytes.
    pub fn limit(self, length: usize) -> usize {
        self.most.min(self.constant + self.for_each_byte * length)
    }
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Reads `input`, and returns the most memory that this took.
    ///
    /// # Panics
    /// If reading it panics or takes too much memory: that is the finding.
    pub fn check(&self, input: &[u8]) -> usize {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        (self.run)(input);
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        let limit = self.memory.limit(input.len());
        assert!(taken <= limit, "{taken} bytes of memory for an input of {}: the limit is {limit}", input.len());
        taken
    }

    /// Reads all examples once, so that what is kept for good (the shipped instruments for instance) is not counted for
    /// the first input.
    ///
    /// # Errors
    /// The examples cannot be read.
    pub fn warm_up(&self) -> io::Result<()> {
        for (_, example) in self.examples()? {
            (self.run)(&example);
        }
        Ok(())
    }

    /// The examples that inputs are made of, by path.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn examples(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let elsewhere = self.examples.iter().map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path));
        let paths = elsewhere.chain(inputs("corpus", self.name)?);
        paths.map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
    }

    /// The inputs that once were findings, by path.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn regressions(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        inputs("regressions", self.name)?.into_iter().map(|path| fs::read(&path).map(|bytes| (path, bytes))).collect()
    }
}

/// The files of a target in one of this crate's folders, in their order.
fn inputs(folder: &str, target: &str) -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}
