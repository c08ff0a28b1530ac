//! Pseudorandom numbers that are the same on every machine.

/// The generator SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    /// An independent sequence for each `stream`, so that a change of one does not change the others.
    pub(crate) fn new(stream: u64) -> Self {
        Self(0x0065_5052_4F00_0000 ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn within(&mut self, least: i64, most: i64) -> i64 {
        let span = most.abs_diff(least) + 1;
        least + i64::try_from(self.next() % span).unwrap_or_default()
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        let last = i64::try_from(choices.len()).unwrap_or(1) - 1;
        choices[usize::try_from(self.within(0, last)).unwrap_or_default()]
    }

    /// True in this many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: i64) -> bool {
        self.within(1, 100) <= percent
    }
}
