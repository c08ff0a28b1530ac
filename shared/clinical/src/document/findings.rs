//! Validation errors, as many as one answer lists.

use super::Finding;

/// The validation errors of a body, limited in number and size: a hostile body could have a hundred thousand, each with
/// a pointer as long as the body.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    more: usize,
}

impl Findings {
    /// The number that is listed; the others are only counted.
    const MOST: usize = 200;
    /// Bytes of a pointer; longer ones are truncated.
    const LONGEST_POINTER: usize = 1_000;

    /// Adds the output of `finding`, which is called only if it is going to be listed.
    pub fn push_with(&mut self, finding: impl FnOnce() -> Finding) {
        if self.listed.len() == Self::MOST {
            self.more += 1;
            return;
        }
        let mut finding = finding();
        if finding.pointer.len() > Self::LONGEST_POINTER {
            finding.pointer.truncate(finding.pointer.floor_char_boundary(Self::LONGEST_POINTER));
            finding.pointer.push('…');
        }
        self.listed.push(finding);
    }

    /// Adds all of `others`, each mapped by `change`, which drops those that it maps to `None`.
    pub fn append_with(&mut self, others: Findings, change: impl Fn(Finding) -> Option<Finding>) {
        for finding in others.listed.into_iter().filter_map(change) {
            self.push_with(|| finding);
        }
        self.more += others.more;
    }

    /// The findings that are listed, in the order in which they were added.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// The number of findings beyond those that are listed.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Whether there is no finding.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        let mut findings = Self::default();
        findings.push_with(|| finding);
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(pointer: &str) -> Finding {
        Finding { pointer: pointer.to_owned(), code: "test", detail: "a test".to_owned() }
    }

    #[test]
    fn findings_beyond_those_that_are_listed_are_counted() {
        let many = |count: usize| {
            let mut findings = Findings::default();
            (0..count).for_each(|_| findings.push_with(|| finding("/a")));
            findings
        };
        let mut all = many(202);
        all.append_with(many(203), Some);
        assert_eq!((all.listed().len(), all.more()), (200, 2 + 203));
        let mut some = many(1);
        some.append_with(many(203), |_| None);
        assert_eq!((some.listed().len(), some.more()), (1, 3));
    }

    #[test]
    fn a_long_pointer_is_truncated() {
        for (length, listed) in [(999, 999), (1_000, 1_000), (1_001, 1_001), (2_000, 1_001)] {
            let findings = Findings::from(finding(&"x".repeat(length)));
            let pointer = &findings.listed()[0].pointer;
            assert_eq!((pointer.chars().count(), pointer.ends_with('…')), (listed, length > 1_000));
        }
    }
}
