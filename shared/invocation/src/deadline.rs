//! The instant by which an invocation must have answered.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;
use tokio::time::Instant;

/// How long a request waits, once its own work is done, for what runs [alongside](run_alongside) it. Both take the same few milliseconds
/// as a rule, and a stall costs no patient more than this.
const GRACE: Duration = Duration::from_millis(250);

/// The instant by which an invocation must have answered, its reserve already taken off.
///
/// Made once, at entry, from the context's wall-clock milliseconds; monotonic from then on, so that a clock that is set
/// back or forward cannot stretch or cut it. It is passed explicitly to everything that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// What a function behind API Gateway keeps for building and sending its answer.
    pub const API_RESERVE: Duration = Duration::from_millis(250);

    /// What a stream consumer keeps for telling which records it did.
    pub const STREAM_RESERVE: Duration = Duration::from_millis(500);

    /// The deadline of `context`, less `reserve`.
    pub fn of(context: &Context, reserve: Duration) -> Self {
        Self::from_epoch_millis(context.deadline, SystemTime::now(), reserve)
    }

    /// The deadline that lies `epoch_millis` after the Unix epoch, as seen from `now`, less `reserve`. One that has
    /// passed leaves nothing.
    pub fn from_epoch_millis(epoch_millis: u64, now: SystemTime, reserve: Duration) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(epoch_millis).saturating_sub(now).saturating_sub(reserve);
        Self::after(left)
    }

    /// The deadline `left` from now.
    pub fn after(left: Duration) -> Self {
        // A function lives 15 minutes at most; a context that says more is wrong, and must not overflow the instant.
        const LONGEST: Duration = Duration::from_secs(15 * 60);
        Self { at: Instant::now() + left.min(LONGEST) }
    }

    /// The instant itself.
    pub fn at(self) -> Instant {
        self.at
    }

    /// What is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// How long a step that wants `want` may take: less where less remains, and `None`, do not start, where not even
    /// `least` does.
    pub fn clamp(self, want: Duration, least: Duration) -> Option<Duration> {
        let remaining = self.remaining();
        (remaining >= least && !remaining.is_zero()).then(|| want.min(remaining))
    }

    /// This deadline, or `wish` from now where that is sooner: a wish only shortens.
    #[must_use]
    pub fn no_later_than(self, wish: Duration) -> Self {
        self.min(Self::after(wish))
    }

    /// This deadline, earlier by `margin`.
    #[must_use]
    pub fn earlier_by(self, margin: Duration) -> Self {
        Self { at: self.at.checked_sub(margin).unwrap_or(self.at) }
    }

    /// What `work` gives, or `None` if the deadline comes first, which drops `work`.
    pub async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at, work).await.ok()
    }
}

/// Runs `work` with `aside` beside it, which starts first. `aside` may go on for at most 250 ms once `work` is done, and
/// never past the deadline; then it is dropped, whatever became of it: it must be something that the request can do
/// without.
pub async fn run_alongside<T>(deadline: Deadline, aside: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    let mut aside = pin!(aside);
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = &mut aside => work.await,
        result = &mut work => {
            if deadline.no_later_than(GRACE).bound(aside).await.is_none() {
                tracing::warn!(event = "left_unfinished", "what ran beside the request's own work took too long");
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
    async fn a_deadline_inside_the_reserve_or_in_the_past_leaves_nothing() {
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
    async fn a_step_gets_what_it_wants_or_what_is_left_or_is_not_started() {
        let deadline = Deadline::after(ms(1_000));
        assert_eq!(deadline.clamp(ms(300), ms(50)), Some(ms(300)));
        assert_eq!(deadline.clamp(ms(3_000), ms(50)), Some(ms(1_000)));
        tokio::time::advance(ms(960)).await;
        assert_eq!(deadline.clamp(ms(300), ms(50)), None);
        assert_eq!(deadline.clamp(ms(300), ms(40)), Some(ms(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_only_shortens() {
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
    async fn what_runs_beside_holds_the_answer_up_no_longer_than_its_grace() {
        let start = Instant::now();
        let answer = run_alongside(Deadline::after(ms(9_000)), std::future::pending(), async { 7 }).await;
        assert_eq!((answer, start.elapsed()), (7, GRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_beside_never_holds_the_answer_past_the_deadline() {
        let start = Instant::now();
        run_alongside(Deadline::after(ms(30)), std::future::pending(), async {}).await;
        assert_eq!(start.elapsed(), ms(30));
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_beside_is_finished_when_it_is_quicker() {
        let mut counted = false;
        let count = async {
            tokio::time::sleep(ms(20)).await;
            counted = true;
        };
        run_alongside(Deadline::after(ms(9_000)), count, tokio::time::sleep(ms(5))).await;
        assert!(counted);
    }
}
