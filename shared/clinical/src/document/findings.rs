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
