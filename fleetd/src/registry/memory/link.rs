//! What lies between one client and the store: the faults that a test switches on, and the counters.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::Counters;

/// How long a watch hears nothing at all before it is given up: the keep-alive interval and timeout of the real client.
const SILENCE: Duration = Duration::from_secs(9);

/// The state of one client's way to the store.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    weather: Mutex<Weather>,
    /// Not a `watch` channel: that one wakes its receivers in an order of tokio's own dice, and a simulated history
    /// could not be repeated.
    changed: Notify,
    lose_answer: AtomicBool,
    late_commit: Mutex<Option<Duration>>,
    counters: Mutex<Counters>,
}

/// What goes wrong at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    pub(super) way: Way,
    /// How long a request takes to the store.
    pub(super) there: Duration,
    /// How long an answer or a watched change takes back.
    pub(super) back: Duration,
    /// How long each batch of a watch keeps it from handing over the next.
    pub(super) lag: Duration,
    /// Raised to break the watches that are open.
    pub(super) breaks: u64,
}

/// Whether anything gets through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// Everything does.
    #[default]
    Open,
    /// Connections are refused, those that were open are gone.
    Cut,
    /// Nothing gets through and nobody says so.
    Hung,
    /// Requests get through, answers and watched changes do not, and nobody says so.
    Deaf,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    There,
    Back,
}

impl Weather {
    fn delay(&self, direction: Direction) -> Duration {
        match direction {
            Direction::There => self.there,
            Direction::Back => self.back,
        }
    }
}

impl Link {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            weather: Mutex::default(),
            changed: Notify::new(),
            lose_answer: AtomicBool::new(false),
            late_commit: Mutex::new(None),
            counters: Mutex::new(Counters::default()),
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    pub(super) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lose_next_answer(&self) {
        self.lose_answer.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_answer_lost(&self) -> bool {
        self.lose_answer.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set_late_commit(&self, after: Duration) {
        *self.late_commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(after);
    }

    pub(super) fn take_late_commit(&self) -> Option<Duration> {
        self.late_commit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something that left at `sent` has crossed; with the reason if the way is cut meanwhile.
    pub(super) async fn cross(&self, sent: Instant, direction: Direction) -> Result<(), String> {
        loop {
            // Made before the look: a change between the two is not missed.
            let changed = self.changed.notified();
            let now = self.weather();
            match now.way {
                Way::Cut => return Err("connection refused".to_owned()),
                Way::Deaf if direction == Direction::Back => {}
                Way::Hung => {}
                Way::Open | Way::Deaf => {
                    let due = sent + now.delay(direction);
                    if due <= Instant::now() {
                        return Ok(());
                    }
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = sleep_until(due) => return Ok(()),
                    }
                    continue;
                }
            }
            changed.await;
        }
    }

    /// Waits until a watch opened under `opened` breaks, and says why.
    pub(super) async fn broken(&self, opened: Weather) -> String {
        loop {
            let changed = self.changed.notified();
            let now = self.weather();
            if now.breaks != opened.breaks {
                return "the stream broke".to_owned();
            }
            match now.way {
                Way::Cut => return "the connection was lost".to_owned(),
                Way::Hung | Way::Deaf => {
                    if timeout(SILENCE, changed).await.is_err() {
                        return "no sign of life".to_owned();
                    }
                }
                Way::Open => changed.await,
            }
        }
    }
}
