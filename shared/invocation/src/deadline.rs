//! Deadlines: the time limit of an invocation, passed to everything that waits.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;
use tokio::time::Instant;

/// How long a request waits, once its own work is done, for what runs [alongside](run_alongside) it. Both usually take
/// the same few milliseconds, and a stall delays no patient's answer by more than this.
const GRACE: Duration = Duration::from_millis(250);

/// The instant by which an invocation must have answered, less its reserve.
///
/// It is made once, at entry, from the context's wall-clock milliseconds, and is monotonic from then on: setting the
/// clock neither extends nor shortens it. It is passed explicitly to everything that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The time that a function behind API Gateway reserves for building and sending its answer.
    pub const API_RESERVE: Duration = Duration::from_millis(250);

    /// The time that a stream consumer reserves for returning the records that failed.
    pub const STREAM_RESERVE: Duration = Duration::from_millis(500);

    /// The deadline of `context`, less `reserve`.
    pub fn of(context: &Context, reserve: Duration) -> Self {
        Self::from_epoch_millis(context.deadline, SystemTime::now(), reserve)
    }

    /// The deadline at `epoch_millis` after the Unix epoch, less `reserve`, where the wall clock shows `now`. If that
    /// has passed, no time remains.
    pub fn from_epoch_millis(epoch_millis: u64, now: SystemTime, reserve: Duration) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(epoch_millis).saturating_sub(now).saturating_sub(reserve);
        Self::after(left)
    }

    /// The deadline `left` from now.
    pub fn after(left: Duration) -> Self {
        // An invocation lasts 15 minutes at most; a context with a later deadline must not overflow the instant.
        const LONGEST: Duration = Duration::from_secs(15 * 60);
        Self { at: Instant::now() + left.min(LONGEST) }
    }

    /// The instant itself.
    pub fn at(self) -> Instant {
        self.at
    }

    /// The remaining time; zero once the deadline has passed.
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// How long a step may take that asks for `want`: the remaining time where that is shorter, and `None` where less
    /// than `least` remains, so that the step must not start.
    pub fn clamp(self, want: Duration, least: Duration) -> Option<Duration> {
        let remaining = self.remaining();
        (remaining >= least && !remaining.is_zero()).then(|| want.min(remaining))
    }

    /// This deadline, or `limit` from now where that is sooner.
    #[must_use]
    pub fn no_later_than(self, limit: Duration) -> Self {
        self.min(Self::after(limit))
    }

    /// This deadline, earlier by `margin`.
    #[must_use]
    pub fn earlier_by(self, margin: Duration) -> Self {
        Self { at: self.at.checked_sub(margin).unwrap_or(self.at) }
    }

    /// The output of `work`, or `None` if the deadline comes first; `work` is then dropped.
    pub async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at, work).await.ok()
    }
}

/// Runs `aside` and `work` concurrently, and returns the output of `work`. `aside` is polled first. Once `work` is
/// done, `aside` may take another 250 ms, but not past the deadline; then it is dropped, so it must be something that
/// the request can do without.
pub async fn run_alongside<T>(deadline: Deadline, aside: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    let mut aside = pin!(aside);
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = &mut aside => work.await,
        result = &mut work => {
            if deadline.no_later_than(GRACE).bound(aside).await.is_none() {
                tracing::warn!(event = "side_task_dropped", "a task alongside the request took too long");
            }
            result
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn wall(epoch_millis: u64) -> SystemTime {
        UNIX_EPOCH + ms(epoch_millis)
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_taken_off_at_once() {
        let deadline = Deadline::from_epoch_millis(1_010_000, wall(1_000_000), Deadline::API_RESERVE);
        assert_eq!(deadline.remaining(), ms(9_750));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_inside_the_reserve_or_in_the_past_leaves_no_time() {
        for epoch_millis in [0, 999_000, 1_000_000, 1_000_250] {
            let deadline = Deadline::from_epoch_millis(epoch_millis, wall(1_000_000), Deadline::API_RESERVE);
            assert_eq!(deadline.remaining(), Duration::ZERO, "{epoch_millis}");
            assert_eq!(deadline.clamp(ms(10), Duration::ZERO), None, "{epoch_millis}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_absurd_context_does_not_overflow() {
        let deadline = Deadline::from_epoch_millis(u64::MAX, wall(0), Duration::ZERO);
        assert_eq!(deadline.remaining(), ms(900_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_gets_the_time_it_asks_for_or_what_remains_or_must_not_start() {
        let deadline = Deadline::after(ms(1_000));
        assert_eq!(deadline.clamp(ms(300), ms(50)), Some(ms(300)));
        assert_eq!(deadline.clamp(ms(3_000), ms(50)), Some(ms(1_000)));
        tokio::time::advance(ms(960)).await;
        assert_eq!(deadline.clamp(ms(300), ms(50)), None);
        assert_eq!(deadline.clamp(ms(300), ms(40)), Some(ms(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_never_extends_a_deadline() {
        let deadline = Deadline::after(ms(1_000));
        assert_eq!(deadline.no_later_than(ms(400)).remaining(), ms(400));
        assert_eq!(deadline.no_later_than(ms(4_000)).remaining(), ms(1_000));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_stalls_is_dropped_at_the_deadline() {
        let start = Instant::now();
        assert_eq!(Deadline::after(ms(80)).bound(std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed(), ms(80));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_alongside_delays_the_answer_by_its_grace_at_most() {
        let start = Instant::now();
        let answer = run_alongside(Deadline::after(ms(9_000)), std::future::pending(), async { 7 }).await;
        assert_eq!((answer, start.elapsed()), (7, GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_alongside_never_delays_the_answer_past_the_deadline() {
        let start = Instant::now();
        run_alongside(Deadline::after(ms(30)), std::future::pending(), async {}).await;
        assert_eq!(start.elapsed(), ms(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_alongside_that_is_quicker_than_its_grace_is_finished() {
        let mut counted = false;
        let count = async {
            tokio::time::sleep(ms(20)).await;
            counted = true;
        };
        run_alongside(Deadline::after(ms(9_000)), count, tokio::time::sleep(ms(5))).await;
        assert!(counted);
    }
}
