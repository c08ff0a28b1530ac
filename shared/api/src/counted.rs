//! The count of API calls by site.

use clinical::ids::{SiteId, StudyId};
use invocation::run_alongside;
use records::Store;

use crate::Invocation;

/// Runs `work`, and counts this request as a call of each of `sites` alongside: a request that is about several sites
/// is a call of each. The count never fails the request, and delays it by 250 ms at most.
pub fn counted<'a, T>(
    store: &'a Store,
    invocation: &'a Invocation,
    study: &'a StudyId,
    sites: impl IntoIterator<Item = &'a SiteId>,
    work: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let count = store.count_calls(study, sites, &invocation.request_id, invocation.deadline);
    run_alongside(invocation.deadline, count, work)
}
