//! fleetd's side of the guard: tells it what to guard and until when, and asks it before a start.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use units::UnitName;

use super::{BootTime, Directory, SERVICE, SharedClock, Watch};
use crate::init::{InitError, JobResult, SharedInit};

/// Why a unit cannot be guarded, and so must not run.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The word to the guard could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The guard's service could not be started.
    #[error("{SERVICE}: {0}")]
    Init(#[from] InitError),
    /// The guard's service was started and did not come up, in systemd's word.
    #[error("{SERVICE} did not come up: {0}")]
    Down(String),
}

/// What fleetd has told the guard.
#[derive(Debug)]
pub struct Guard {
    directory: Directory,
    clock: SharedClock,
    init: SharedInit,
    watch: Mutex<Watch>,
    /// The service is started and stopped by one at a time: the last unit that goes must not stop it under the next.
    service: tokio::sync::Mutex<()>,
}

impl Guard {
    /// Takes up what an earlier fleetd of this boot said in `root` (`/run/fleet/guard`). A word that cannot be read
    /// counts as none: its units are named anew by [`Guard::adopt`], and no deadline is one that is over.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(root: &Path, clock: SharedClock, init: SharedInit) -> io::Result<Self> {
        let directory = Directory::open(root)?;
        let watch = directory.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "could not read what was said to the guard");
            None
        });
        Ok(Self {
            directory,
            clock,
            init,
            watch: Mutex::new(watch.unwrap_or_default()),
            service: tokio::sync::Mutex::default(),
        })
    }

    /// The boot-time clock: to be taken before a renewal is sent.
    pub fn now(&self) -> BootTime {
        self.clock.now()
    }

    /// A grant or renewal that was sent at `sent` was answered: the presence lives for `ttl` from then on at least.
    pub fn renewed(&self, sent: BootTime, ttl: Duration) {
        let mut watch = self.lock();
        let deadline = sent.saturating_add(ttl);
        if watch.deadline.is_none_or(|d| d < deadline) {
            watch.deadline = Some(deadline);
            if !watch.units.is_empty() {
                self.say(&watch);
            }
        }
    }

    /// Whether this machine surely still counts as present, so that a guarded unit may start.
    pub fn is_current(&self) -> bool {
        self.lock().deadline.is_some_and(|d| self.clock.now() < d)
    }

    /// After a restart of fleetd: exactly these are guarded. The deadline stays what it was; if that was lost it is over,
    /// for nobody knows that this machine is present.
    pub(crate) fn adopt(&self, units: BTreeSet<UnitName>) {
        let mut watch = self.lock();
        if watch.units != units {
            watch.deadline.get_or_insert_with(|| self.clock.now());
            watch.units = units;
            self.say(&watch);
        }
    }

    /// Has the unit guarded from now on; returns when the guard is up.
    ///
    /// # Errors
    /// If it cannot be: then the unit must not be started.
    pub(crate) async fn cover(&self, unit: &UnitName) -> Result<(), GuardError> {
        let _turn = self.service.lock().await;
        {
            let mut watch = self.lock();
            if watch.units.insert(unit.clone()) {
                self.directory.write(&watch)?;
            }
        }
        let Some(service) = service() else { return Ok(()) };
        match self.init.start(&service).await?.await {
            Ok(JobResult::Done) => Ok(()),
            Ok(JobResult::Failed(word)) => Err(GuardError::Down(word)),
            Ok(JobResult::Canceled) | Err(_) => Err(GuardError::Down("canceled".to_owned())),
        }
    }

    /// The unit is not here any more; `true` if it was the last one: then [`Guard::relax`] is next.
    pub(crate) fn uncover(&self, unit: &UnitName) -> bool {
        self.directory.unmark(unit);
        let mut watch = self.lock();
        if !watch.units.remove(unit) {
            return false;
        }
        self.say(&watch);
        watch.units.is_empty()
    }

    /// Stops the guard if nothing is guarded.
    pub(crate) async fn relax(&self) {
        let _turn = self.service.lock().await;
        if !self.lock().units.is_empty() {
            return;
        }
        let Some(service) = service() else { return };
        match self.init.stop(&service).await {
            Ok(job) => {
                let _ = job.await;
            }
            Err(InitError::NoSuchUnit(_)) => {}
            Err(error) => tracing::warn!(%error, "could not stop the guard; it rests"),
        }
    }

    /// Whether the guard ended the unit. Asked when it is seen down; [`Guard::forgive`] when that has been dealt with.
    pub(crate) fn has_ended(&self, unit: &UnitName) -> bool {
        self.directory.is_marked(unit)
    }

    pub(crate) fn forgive(&self, unit: &UnitName) {
        self.directory.unmark(unit);
    }

    /// A word that cannot be written leaves the guard with the one before: units end earlier than they have to.
    fn say(&self, watch: &Watch) {
        if let Err(error) = self.directory.write(watch) {
            tracing::error!(%error, "could not tell the guard; units with OnDisconnect=stop may be ended");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn service() -> Option<UnitName> {
    UnitName::parse(SERVICE).ok()
}
