//! What is counted while fleetd runs: plain atomics, so that counting costs nothing and needs no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many by now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is what it was set to last.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this from now on.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets, in seconds: from a plan that had nothing to do to an etcd that hardly answers.
pub(crate) const BOUNDS: [f64; 15] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bucket; the last one is for what is longer than any bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds: enough for 580 years.
    sum: AtomicU64,
}

impl Histogram {
    /// Takes note of one that took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many took no longer than each bound, and in the end how many there were.
    pub(crate) fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut so_far = 0;
        self.buckets.each_ref().map(|bucket| {
            so_far += bucket.load(Ordering::Relaxed);
            so_far
        })
    }

    /// Of all of them, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        Duration::from_nanos(self.sum.load(Ordering::Relaxed)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_its_bucket_and_all_above() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 100, 20_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counts = histogram.cumulative();
        let below = |bound: f64| counts[BOUNDS.iter().position(|b| *b == bound).unwrap()];
        assert_eq!(
            [
                below(0.0001),
                below(0.001),
                below(0.0025),
                below(0.05),
                below(0.1),
                below(10.0)
            ],
            [1, 2, 3, 3, 4, 4]
        );
        assert_eq!(counts.last(), Some(&5));
        assert_eq!(histogram.sum(), 20.103);
    }
}
