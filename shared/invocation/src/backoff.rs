//! Waits between the attempts of one operation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::Deadline;

/// Exponential backoff: each wait is twice as long as the one before it, up to a longest one, and none is started that
/// the deadline would cut off.
///
/// With [`jittered_by`](Self::jittered_by), operations that conflicted wait differently and do not conflict again.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    /// The hash of the jitter key; `None` for waits of exactly `next`.
    jitter: Option<u64>,
    /// The number of waits so far: the jitter differs by it, so that waits of the same length differ too.
    waits: u32,
}

impl Backoff {
    /// Waits that begin with `first` and never exceed `longest`, without jitter.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest, jitter: None, waits: 0 }
    }

    /// Shortens each wait by up to half, by a hash of `key`. Derived and not drawn, so that a simulation replays.
    #[must_use]
    pub fn jittered_by(self, key: impl Hash) -> Self {
        Self { jitter: Some(hash(key)), ..self }
    }

    /// How long the next wait is.
    pub fn pause(&self) -> Duration {
        match self.jitter {
            None => self.next,
            Some(key) => {
                let [byte, ..] = hash((key, self.waits)).to_be_bytes();
                self.next / 2 + self.next * u32::from(byte) / 512
            }
        }
    }

    /// Doubles the next wait.
    pub fn lengthen(&mut self) {
        self.next = (self.next * 2).min(self.longest);
        self.waits += 1;
    }

    /// Waits before another attempt, and returns `true`; returns `false` at once where `deadline` does not leave the
    /// wait and `least` for the attempt after it.
    pub async fn wait(&mut self, deadline: Deadline, least: Duration) -> bool {
        let pause = self.pause();
        if deadline.clamp(pause, pause + least).is_none() {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.lengthen();
        true
    }
}

fn hash(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_is_twice_the_one_before_up_to_the_longest() {
        let (mut backoff, mut waits) = (Backoff::new(ms(20), ms(100)), Vec::new());
        for _ in 0..5 {
            let start = Instant::now();
            assert!(backoff.wait(Deadline::after(ms(10_000)), ms(50)).await);
            waits.push(start.elapsed());
        }
        assert_eq!(waits, [20, 40, 80, 100, 100].map(ms));
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_starts_that_leaves_no_time_for_the_attempt_after_it() {
        let start = Instant::now();
        assert!(!Backoff::new(ms(20), ms(100)).wait(Deadline::after(ms(69)), ms(50)).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(Backoff::new(ms(20), ms(100)).wait(Deadline::after(ms(70)), ms(50)).await);
    }

    #[test]
    fn jitter_still_differs_from_wait_to_wait_at_the_longest() {
        let mut backoff = Backoff::new(ms(1_024), ms(1_024)).jittered_by(1);
        let pauses = [(); 8].map(|()| {
            backoff.lengthen();
            backoff.pause()
        });
        let distinct: std::collections::BTreeSet<_> = pauses.into_iter().collect();
        assert!(distinct.len() > 4, "{pauses:?}");
    }

    #[test]
    fn jitter_takes_at_most_half_and_differs_by_key_and_wait() {
        let pauses = |key: u32| {
            let mut backoff = Backoff::new(ms(1_024), ms(8_192)).jittered_by(key);
            [(); 4].map(|()| {
                let pause = backoff.pause();
                assert!((backoff.next / 2..backoff.next).contains(&pause), "{pause:?} of {:?}", backoff.next);
                backoff.lengthen();
                pause
            })
        };
        assert_eq!(pauses(1), pauses(1), "it replays");
        let distinct: std::collections::BTreeSet<_> = (0..100).map(pauses).collect();
        assert!(distinct.len() > 90, "{}", distinct.len());
    }
}
