//! The store as a whole, recomputed from the stored submissions: what cannot be seen through the API.

use std::time::Duration;

use authoring::connection::{LOCAL_STORE_PATH, LocalStore};
use authoring::error_chain;
use authoring::outcome::ConnectError;
use authoring::progress::ProgressBar;
use invocation::Deadline;
use tokio::time::{Instant, sleep};
use verification::{Report, Settings, verify};

use crate::client::{Api, ApiError};
use crate::sts;

/// Bounds one pass over the store.
const PASS: Duration = Duration::from_secs(600);

/// The pause before the next pass while something waits.
const PAUSE: Duration = Duration::from_secs(2);

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum RecomputationError {
    /// The local cloud stopped answering, or its response has another shape.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The local cloud's store cannot be read.
    #[error("cannot connect to the store of the local cloud")]
    Connect(#[from] ConnectError),
    /// The store cannot be recomputed.
    #[error("cannot read the store to recompute it ({0})")]
    Read(String),
}

/// Compares the store with the reference. While something waits, for the sweep to mark a published alert for example,
/// it is compared again, for at most `patience`.
pub(crate) async fn recompute(api: &Api, patience: Duration, quiet: bool) -> Result<Report, RecomputationError> {
    let end = Instant::now() + patience;
    loop {
        // A local cloud that was started again has another address of its store.
        let local: LocalStore = api.read(LOCAL_STORE_PATH, None).await?;
        let connection = local.connect_as(sts::principal(&local.sts))?;
        let mut progress = None;
        let mut done = 0;
        let pass = verify(&connection.store, Settings::default(), connection.now(), Deadline::after(PASS), |tally| {
            let expected = usize::try_from(tally.submissions_before).unwrap_or(usize::MAX);
            let progress = progress.get_or_insert_with(|| ProgressBar::new("verified", expected, quiet));
            let now = usize::try_from(tally.submissions).unwrap_or(usize::MAX).min(expected);
            progress.steps(now - done);
            done = now;
        });
        let report = pass.await.map_err(|failure| RecomputationError::Read(error_chain(&failure)))?;
        let settled = report.differences.is_empty() && report.tally.waiting == 0;
        if settled || Instant::now() + PAUSE >= end {
            return Ok(report);
        }
        sleep(PAUSE).await;
    }
}
