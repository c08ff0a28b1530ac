//! Lists in pages.

use clinical::ids::SiteId;
use invocation::aws::Failure;
use lambda_http::{Request, RequestExt};
use records::{AuditAction, CursorKey, Page, Store};

use crate::{Caller, Invocation, Problem, ProblemKind, audit, cursor};

/// Entries of a page where the caller does not say how many.
const DEFAULT_LIMIT: usize = 25;
/// The largest number of entries of a page.
const LARGEST_LIMIT: usize = 100;

/// The page that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The largest number of entries: 1 to 100, 25 if the request does not say (`?limit=`).
    pub limit: usize,
    /// Where the page begins (`?cursor=`), not verified yet.
    cursor: Option<String>,
}

impl PageRequest {
    /// The page that the query of `request` names.
    ///
    /// # Errors
    /// 422 if its limit is out of bounds or no number.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let query = request.query_string_parameters_ref();
        let given = |name| query.and_then(|query| query.first(name));
        let limit = match given("limit").map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit @ 1..=LARGEST_LIMIT)) => limit,
            Some(_) => {
                let detail = format!("?limit= is a whole number from 1 to {LARGEST_LIMIT}");
                return Err(Problem::of_finding(ProblemKind::Invalid, "", "query.limit", detail));
            }
        };
        Ok(Self { limit, cursor: given("cursor").map(str::to_owned) })
    }
}

/// A list of a site's records, which a caller reads page by page. Each page read is on the audit trail.
#[derive(Clone, Copy, Debug)]
pub struct SiteList<'a> {
    /// Where it is stored.
    pub store: &'a Store,
    /// The request.
    pub invocation: &'a Invocation,
    /// Who reads it.
    pub caller: &'a Caller,
    /// The site, which must be one of the caller's.
    pub site: &'a SiteId,
    /// The action on the audit trail.
    pub action: AuditAction,
    /// Its route.
    pub route: &'a str,
    /// The filters of the request. A cursor is for one route, study, site and choice of filters.
    pub filters: &'a [&'a str],
}

impl SiteList<'_> {
    /// The position where `page` begins; `None` at the beginning of the list. `not_read` is the answer where the key
    /// that signs cursors could not be read.
    ///
    /// # Errors
    /// The problem of `not_read`, or 422 if the cursor is not one of this list, or has expired.
    pub async fn resolve_cursor(
        &self,
        page: &PageRequest,
        not_read: impl FnOnce(Failure) -> Problem,
    ) -> Result<Option<String>, Problem> {
        self.listing().resolve_cursor(page, not_read).await
    }

    /// The entries that `read` gives, with the cursor of the next page if there is one. They are returned only once the
    /// audit entry is stored.
    ///
    /// # Errors
    /// If `read` fails, or the audit entry or the key that signs cursors fails: whichever is first ends the others.
    pub async fn page<T>(
        &self,
        read: impl Future<Output = Result<Page<T>, Failure>>,
    ) -> Result<(Vec<T>, Option<String>), Failure> {
        let deadline = self.invocation.deadline;
        let entry = audit::entry(self.action, self.caller, self.invocation).at_site(self.site);
        let (page, key, ()) =
            tokio::try_join!(read, self.store.cursor_key(deadline), self.store.audit(&entry, deadline))?;
        let listing = self.listing();
        Ok((page.entries, page.next.map(|position| listing.cursor(key, &position))))
    }

    fn listing(&self) -> Listing<'_> {
        let place = [self.route, self.caller.study().as_str(), self.site.as_str()];
        let identity = place.into_iter().chain(self.filters.iter().copied()).collect();
        Listing { store: self.store, invocation: self.invocation, identity }
    }
}

/// A list, as its cursors know it.
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    /// Where it is stored.
    pub store: &'a Store,
    /// The request.
    pub invocation: &'a Invocation,
    /// Its route, study, sites and filters. A cursor is for one such list.
    pub identity: Vec<&'a str>,
}

impl Listing<'_> {
    /// As [`SiteList::resolve_cursor`].
    ///
    /// # Errors
    /// The problem of `not_read`, or 422 if the cursor is not one of this list, or has expired.
    pub async fn resolve_cursor(
        &self,
        page: &PageRequest,
        not_read: impl FnOnce(Failure) -> Problem,
    ) -> Result<Option<String>, Problem> {
        let Some(cursor) = &page.cursor else { return Ok(None) };
        let key = self.store.cursor_key(self.invocation.deadline).await.map_err(not_read)?;
        cursor::verify(key, &self.identity, cursor, self.invocation.clock.now()).map(Some)
    }

    /// The cursor of what follows `position`, signed with `key`.
    pub fn cursor(&self, key: &CursorKey, position: &str) -> String {
        cursor::issue(key, &self.identity, position, self.invocation.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use lambda_http::Body;

    #[test]
    fn a_page_has_25_entries_or_as_many_as_the_caller_asks_for() {
        let limit = |limit: Option<&str>| {
            let query: HashMap<String, String> =
                limit.map(|limit| ("limit".to_owned(), limit.to_owned())).into_iter().collect();
            let request = Request::new(Body::Empty).with_query_string_parameters(query);
            PageRequest::of(&request).map(|page| page.limit).ok()
        };
        assert_eq!((limit(None), limit(Some("1")), limit(Some("100"))), (Some(25), Some(1), Some(100)));
        for bad in ["0", "101", "-1", "", "x", "1.5", "99999999999999999999"] {
            assert_eq!(limit(Some(bad)), None, "{bad}");
        }
    }
}
