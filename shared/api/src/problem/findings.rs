//! Validation errors, as many as one answer lists.

use clinical::document::Finding;

/// What is wrong with a body, as far as one answer can list it: a hostile body could hold a hundred thousand faults, each
/// in a place with a name as long as the body.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    more: usize,
}

impl Findings {
    /// As many as are listed; the others are counted.
    const MOST: usize = 200;
    /// As many bytes of a pointer as are kept.
    const LONGEST_POINTER: usize = 1_000;

    /// Takes in `finding`, whose place is only made if it is going to be listed.
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

    /// Takes in all of `others`, each changed by `change`, those left out where it says so.
    pub fn append_with(&mut self, others: Findings, change: impl Fn(Finding) -> Option<Finding>) {
        for finding in others.listed.into_iter().filter_map(change) {
            self.push_with(|| finding);
        }
        self.more += others.more;
    }

    /// Those that are listed.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many there are beyond those that are listed.
    pub(super) fn more(&self) -> usize {
        self.more
    }

    /// Whether there are none.
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
