//! Which studies may be used.

use clinical::studies::Protocol;

use crate::store::Store;

impl Store {
    /// Whether `protocol` may be used: its study is stored, or the deployment is open to studies that are not.
    pub fn admits(&self, protocol: &Protocol) -> bool {
        self.open_studies || protocol.study().is_some()
    }
}
