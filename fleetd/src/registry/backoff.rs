//! How long to wait before trying again: exponential, capped, with jitter that a test can predict.

use std::time::Duration;

/// The first pause is at most this long: an etcd that restarts is often back by then.
const FIRST: Duration = Duration::from_millis(50);

/// Pauses that double from 50 ms up to a cap, each shortened by up to a half.
///
/// The jitter comes from a seed instead of a global source of randomness: machines seeded with their id do not return
/// in step after an outage, and a test sees the same pauses each time.
#[derive(Debug, Clone)]
pub struct Backoff {
    cap: Duration,
    failures: u32,
    state: u64,
}

impl Default for Backoff {
    /// At most 1 s: a fifth of the shortest lease, the leader's.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), 0)
    }
}

impl Backoff {
    /// Pauses of at most `cap`.
    pub fn new(cap: Duration, seed: u64) -> Self {
        Self {
            cap,
            failures: 0,
            state: seed,
        }
    }

    /// The longest pause there can be.
    pub fn cap(&self) -> Duration {
        self.cap
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let longest = doubled.min(self.cap);
        longest.mul_f64(0.5 + 0.5 * self.fraction())
    }

    /// It worked: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// From 0 to 1, by splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again() {
        let cap = Duration::from_millis(400);
        let mut backoff = Backoff::new(cap, 7);
        for longest in [50, 100, 200, 400, 400, 400].map(Duration::from_millis) {
            let pause = backoff.pause();
            assert!(
                (longest / 2..=longest).contains(&pause),
                "{pause:?} of {longest:?}"
            );
        }
        for _ in 0..100 {
            assert!(backoff.pause() <= cap);
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn the_seed_decides_the_jitter() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), seed);
            [(); 5].map(|()| backoff.pause())
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
