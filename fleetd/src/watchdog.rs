//! systemd's watchdog, fed by the loops themselves: only while every one of them turns does systemd hear of it.
//!
//! Each loop has a [`Pulse`] and beats in an arm of its own `select!`; so a loop that waits for etcd, for systemd or for
//! work beats, and one that is stuck inside an arm does not. A thread of its own looks and tells systemd: it needs no
//! runtime, and can still name the culprit when the whole runtime is stuck. It counts its looks, not time: frozen with
//! the rest (SIGSTOP, a paused machine), it blames nobody for the pause.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Looks in a row without a beat after which a loop counts as stuck. One may fall just before a beat.
const MISSED: u32 = 2;

/// A loop's sign of life. The default one goes nowhere and never wakes anybody: for tests, and without a watchdog.
#[derive(Debug, Default)]
pub struct Pulse(Option<Arc<Beats>>);

#[derive(Debug)]
struct Beats {
    name: String,
    period: Duration,
    started: Instant,
    /// The period in which it last beat.
    last: AtomicU64,
}

impl Beats {
    fn now(&self) -> u64 {
        let periods = self.started.elapsed().as_nanos() / self.period.as_nanos().max(1);
        u64::try_from(periods).unwrap_or(u64::MAX)
    }
}

impl Pulse {
    /// Shows that the loop turns.
    pub fn beat(&self) {
        if let Some(beats) = &self.0 {
            beats.last.store(beats.now(), Ordering::Relaxed);
        }
    }

    /// Waits until a beat is due, and beats. Safe to drop and call again: it is due at a fixed moment.
    pub async fn due(&self) {
        let Some(beats) = &self.0 else {
            return std::future::pending().await;
        };
        let next = u32::try_from(beats.last.load(Ordering::Relaxed) + 1).unwrap_or(u32::MAX);
        sleep_until(beats.started + beats.period * next).await;
        self.beat();
    }

    /// Beats for as long as `work` is waited for: for a wait that is no loop.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.due() => {}
            }
        }
    }
}

/// What has been seen of one loop: nothing before the first look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    beat: Option<u64>,
    missed: u32,
}

impl Seen {
    /// One more look; `true` if the loop counts as stuck now.
    fn look(&mut self, beat: u64) -> bool {
        self.missed = if self.beat == Some(beat) {
            self.missed + 1
        } else {
            0
        };
        self.beat = Some(beat);
        self.missed >= MISSED
    }
}

/// Which loops hang, for others than systemd to know. The default one knows of none.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Shared>);

impl Health {
    /// The loops that hung when they were last looked at; none without a watchdog.
    pub fn stuck(&self) -> Vec<String> {
        self.0
            .stuck
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Tells systemd that fleetd is alive while all its loops are.
#[derive(Debug)]
pub struct Watchdog {
    period: Option<Duration>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    loops: Mutex<Vec<(Arc<Beats>, Seen)>>,
    /// At the last look.
    stuck: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Watchdog {
    /// Feeds systemd's watchdog if `WatchdogSec=` asks for it: three times in each such span.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start() -> std::io::Result<Self> {
        let feed = || sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        Self::every(sd_notify::watchdog_enabled().map(|span| span / 3), move || {
            if let Err(error) = feed() {
                tracing::warn!(%error, "could not tell systemd that fleetd is alive");
            }
        })
    }

    fn every(period: Option<Duration>, feed: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let period = period.filter(|period| !period.is_zero());
        let shared = Arc::new(Shared::default());
        if let Some(period) = period {
            let watched = Arc::downgrade(&shared);
            let look = move || {
                feed();
                loop {
                    std::thread::sleep(period);
                    match watched.upgrade() {
                        Some(shared) if shared.all_turn() => feed(),
                        Some(_) => {}
                        None => return,
                    }
                }
            };
            std::thread::Builder::new()
                .name("watchdog".to_owned())
                .spawn(look)?;
        }
        Ok(Self { period, shared })
    }

    /// The pulse of another loop. From now on that loop has to beat.
    pub fn pulse(&self, name: impl Into<String>) -> Pulse {
        let Some(period) = self.period else {
            return Pulse::default();
        };
        let beats = Arc::new(Beats {
            name: name.into(),
            period,
            started: Instant::now(),
            last: AtomicU64::new(0),
        });
        let mut loops = self.shared.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.push((beats.clone(), Seen::default()));
        Pulse(Some(beats))
    }

    /// What it sees.
    pub fn health(&self) -> Health {
        Health(self.shared.clone())
    }

    /// The loops end now. How long that may take is for `TimeoutStopSec=` to say.
    pub fn stand_down(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Looks at each loop, and says which is stuck.
    fn all_turn(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return true;
        }
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = Vec::new();
        for (beats, seen) in loops.iter_mut() {
            if seen.look(beats.last.load(Ordering::Relaxed)) {
                stuck.push(beats.name.clone());
            }
        }
        self.stuck
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&stuck);
        if !stuck.is_empty() {
            tracing::error!(
                stuck = stuck.join(", "),
                "fleetd hangs; unless it goes on systemd ends it and starts it again, and every unit is kept"
            );
        }
        stuck.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(20);

    /// A watchdog without its thread: the test looks.
    fn unfed() -> Watchdog {
        Watchdog {
            period: Some(PERIOD),
            shared: Arc::default(),
        }
    }

    #[test]
    fn a_loop_is_stuck_after_two_looks_without_a_beat() {
        let mut seen = Seen::default();
        for (beat, stuck) in [
            (1, false),
            (1, false),
            (2, false),
            (2, false),
            (2, true),
            (2, true),
            (3, false),
        ] {
            assert_eq!(seen.look(beat), stuck, "at beat {beat}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_for_what_never_comes_beats_and_one_stuck_in_an_arm_does_not() {
        let watchdog = unfed();
        let waits = watchdog.pulse("waits");
        tokio::spawn(async move { waits.beside(std::future::pending::<()>()).await });
        for _ in 0..10 {
            tokio::time::sleep(PERIOD).await;
            assert!(watchdog.shared.all_turn());
        }
        let hangs = watchdog.pulse("hangs");
        tokio::spawn(async move {
            loop {
                hangs.due().await;
                std::future::pending::<()>().await;
            }
        });
        let mut looks = Vec::new();
        for _ in 0..5 {
            tokio::time::sleep(PERIOD + Duration::from_millis(1)).await;
            looks.push(watchdog.shared.all_turn());
            let expected = if looks.len() > 2 { vec!["hangs"] } else { vec![] };
            assert_eq!(watchdog.health().stuck(), expected);
        }
        assert_eq!(looks, [true, true, false, false, false]);
        watchdog.stand_down();
        assert!(watchdog.shared.all_turn(), "an end takes its time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_died_counts_as_stuck() {
        let watchdog = unfed();
        drop(watchdog.pulse("died"));
        let mut looks = Vec::new();
        for _ in 0..3 {
            tokio::time::sleep(PERIOD).await;
            looks.push(watchdog.shared.all_turn());
        }
        assert_eq!(looks.last(), Some(&false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_loop_still_beats_once_in_each_period() {
        let watchdog = unfed();
        let pulse = watchdog.pulse("busy");
        for turn in 0..100_u32 {
            // Another arm is ready first each time: due() is dropped and asked again.
            tokio::select! {
                () = tokio::time::sleep(PERIOD / 7) => {}
                () = pulse.due() => {}
            }
            if turn % 7 == 6 {
                assert!(watchdog.shared.all_turn(), "turn {turn}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_nothing_wakes() {
        let pulse = Watchdog::every(None, || {}).unwrap().pulse("x");
        let week = Duration::from_secs(7 * 86400);
        assert!(tokio::time::timeout(week, pulse.due()).await.is_err());
    }

    #[test]
    fn the_thread_feeds_until_a_loop_is_stuck() {
        let (fed, feeds) = std::sync::mpsc::channel();
        let watchdog = Watchdog::every(Some(Duration::from_millis(10)), move || {
            let _ = fed.send(());
        })
        .unwrap();
        feeds.recv_timeout(Duration::from_secs(10)).unwrap();
        feeds.recv_timeout(Duration::from_secs(10)).unwrap();
        let pulse = watchdog.pulse("stuck");
        // What was under way, and the looks it takes; then silence.
        let silent = std::iter::from_fn(|| feeds.recv_timeout(Duration::from_millis(500)).ok()).count();
        assert!(silent <= 4, "fed {silent} times more");
        pulse.beat();
        feeds.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
