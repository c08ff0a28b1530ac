//! The function that shows what is due.
//!
//! | route | |
//! |---|---|
//! | `GET /v1/due` | a patient's windows: open now, of the week ahead, answered and missed in the last week |
//! | `GET /v1/sites/{site}/due` | the windows of a site's patients that are open, missed or answered, in pages |
//!
//! What the registry or the study has changed a moment ago is in the answer, whether the occurrences were made for it yet
//! or not.

mod body;
mod of_patient;
mod of_site;

use api::{Handler, Invocation, Problem, http};
use invocation::aws::Failure;
use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Request, Response};
use records::Store;

/// How far back answered and missed windows are shown.
const BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Due {
    store: Store,
}

impl Due {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Due {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "GET /v1/due" => self.of_patient(invocation, request).await,
            "GET /v1/sites/{site}/due" => self.of_site(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

/// The time of `invocation` in the calendar of schedules.
fn now(invocation: &Invocation) -> Result<Timestamp, Problem> {
    let now = clinical::schedules::timestamp(invocation.clock.now());
    now.ok_or_else(|| not_read(&Failure::unreadable("the time", "it is out of range")))
}

fn not_read(failure: &Failure) -> Problem {
    Problem::not_read("what is due", failure)
}
