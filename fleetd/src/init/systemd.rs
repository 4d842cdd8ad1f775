//! systemd over D-Bus, on the system bus.
//!
//! The connection is kept by [`Systemd`] itself: when it is lost (dbus restarts) calls fail with
//! [`InitError::Unreachable`], jobs somebody waits for come out as [`JobResult::Canceled`](super::JobResult::Canceled)
//! — systemd runs them on, but nobody will tell — and once it is back [`Event::Resync`] asks for a fresh look.
//!
//! PID 1's private socket would do without a bus and is not used: zbus refuses its messages, whose sender
//! (`org.freedesktop.systemd1`) is no unique name.

mod cgroup;
mod echo;
mod error;
mod escape;
mod events;
mod jobs;
mod journal;
mod owner;
mod proxies;
mod read;
mod session;
mod unlink;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
use units::UnitName;

use self::echo::Echo;
use self::error::init_error;
use self::events::Tracker;
use self::session::{Served, Session};
use self::unlink::Unlinks;
use crate::metrics::InitMetrics;

use super::{Event, Init, InitError, Job, OwnJob, Owner, Status, no_install_info};

/// dbus-daemon refuses more than 128 calls of one connection at a time, and PID 1 is no faster for more than a few.
const CALLS_IN_FLIGHT: usize = 32;
/// After this a unit is killed without systemd.
const KILL_ANSWERED: Duration = Duration::from_millis(500);
const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// The systemd of this machine.
pub struct Systemd {
    shared: Arc<Shared>,
    untaken: Mutex<Option<mpsc::UnboundedReceiver<Event>>>,
    /// Serves the connection until this is dropped.
    _keeper: AbortOnDropHandle<()>,
}

/// What the connections have in common that come and go.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    session: Mutex<Option<Arc<Session>>>,
    tracker: Mutex<Tracker>,
    events: mpsc::UnboundedSender<Event>,
    calls: Semaphore,
    /// Signals of changed unit files that are not the echo of our own calls.
    files: Mutex<Echo>,
    reloads: Mutex<Echo>,
    reloading: tokio::sync::Mutex<()>,
    metrics: Arc<InitMetrics>,
    unlinks: Unlinks,
}

impl Systemd {
    /// Connects to systemd; fleet's unit files lie in `directory`. Calls are counted in `metrics`.
    ///
    /// # Errors
    /// [`InitError::Unreachable`] when there is no bus or no systemd on it. Once connected it connects again by itself.
    pub async fn connect(
        directory: impl Into<PathBuf>,
        metrics: Arc<InitMetrics>,
    ) -> Result<Arc<Self>, InitError> {
        let (events, untaken) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            directory: directory.into(),
            session: Mutex::default(),
            tracker: Mutex::default(),
            events,
            calls: Semaphore::new(CALLS_IN_FLIGHT),
            files: Mutex::default(),
            reloads: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            metrics,
            unlinks: Unlinks::default(),
        });
        let served = Served::connect(&shared)
            .await
            .map_err(|e| InitError::Unreachable(e.to_string()))?;
        *lock(&shared.session) = Some(served.session.clone());
        let keeper = AbortOnDropHandle::new(tokio::spawn(keep(shared.clone(), served)));
        Ok(Arc::new(Self {
            shared,
            untaken: Mutex::new(Some(untaken)),
            _keeper: keeper,
        }))
    }
}

/// Connects again whenever the connection is lost.
async fn keep(shared: Arc<Shared>, mut served: Served) {
    loop {
        served.lost().await;
        *lock(&shared.session) = None;
        served.session.jobs.cancel_all();
        tracing::warn!("connection to systemd lost");
        // Its tasks must not act on what the next one finds.
        drop(served);
        let mut pause = FIRST_RETRY;
        served = loop {
            tokio::time::sleep(pause).await;
            match Served::connect(&shared).await {
                Ok(served) => break served,
                Err(error) => tracing::debug!(%error, "systemd not reached"),
            }
            pause = (pause * 2).min(LAST_RETRY);
        };
        *lock(&shared.files) = Echo::default();
        *lock(&shared.reloads) = Echo::default();
        *lock(&shared.session) = Some(served.session.clone());
        tracing::info!("connection to systemd is back");
        shared.resync();
    }
}

impl Shared {
    fn session(&self) -> Result<Arc<Session>, InitError> {
        let session = lock(&self.session).clone();
        session.ok_or_else(|| InitError::Unreachable("the connection was lost".to_owned()))
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        lock(&self.tracker)
    }

    fn send(&self, event: Event) {
        // Nobody listening is nobody's loss.
        let _ = self.events.send(event);
    }

    fn resync(&self) {
        self.tracker().forget();
        self.send(Event::Resync);
    }

    fn files_changed(&self) {
        if lock(&self.files).signal() {
            self.send(Event::FilesChanged);
        }
    }

    fn reloaded(&self) {
        if lock(&self.reloads).signal() {
            self.send(Event::FilesChanged);
        }
    }

    /// Awaits an answer in one of the places for calls; `about` is the unit that an error would speak of.
    async fn call<T>(
        &self,
        about: &str,
        answer: impl Future<Output = zbus::Result<T>> + Send,
    ) -> Result<T, InitError> {
        // The semaphore is never closed.
        let _place = self.calls.acquire().await;
        self.metrics.calls.add_one();
        let answer = answer.await.map_err(|error| init_error(about, &error));
        if answer
            .as_ref()
            .is_err_and(|e| !matches!(e, InitError::NoSuchUnit(_)))
        {
            self.metrics.failed.add_one();
        }
        answer
    }

    /// The same for a call that changes unit files, of which systemd tells everybody, us too.
    async fn change_files<T>(
        &self,
        about: &str,
        answer: impl Future<Output = zbus::Result<T>> + Send,
        changed: impl FnOnce(&T) -> bool,
    ) -> Result<T, InitError> {
        lock(&self.files).call();
        let answer = self.call(about, answer).await;
        let echoes = answer.as_ref().is_ok_and(changed);
        if lock(&self.files).answer(echoes) {
            self.send(Event::FilesChanged);
        }
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path as D-Bus can carry it. fleet's own are plain text.
fn text(path: &Path) -> Result<&str, InitError> {
    path.to_str().ok_or_else(|| InitError::Refused {
        name: "org.freedesktop.DBus.Error.InvalidArgs".to_owned(),
        message: format!("{} is not UTF-8", path.display()),
    })
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

#[async_trait]
impl Init for Systemd {
    async fn link(&self, path: &Path) -> Result<(), InitError> {
        let (shared, session) = (&self.shared, self.shared.session()?);
        let (unit, files) = (file_name(path), [text(path)?]);
        let linked = session.manager.link_unit_files(&files, true, true);
        shared
            .change_files(unit, linked, |changes| !changes.is_empty())
            .await?;
        Ok(())
    }

    async fn enable(&self, path: &Path) -> Result<(), InitError> {
        let (shared, session) = (&self.shared, self.shared.session()?);
        let (unit, files) = (file_name(path), [text(path)?]);
        let enabled = session.manager.enable_unit_files(&files, true, true);
        let (installable, _) = shared
            .change_files(unit, enabled, |(_, changes)| !changes.is_empty())
            .await?;
        if installable {
            Ok(())
        } else {
            Err(no_install_info(unit))
        }
    }

    async fn unlink(&self, name: &UnitName) -> Result<(), InitError> {
        self.shared.unlink(name.as_str()).await
    }

    async fn reload(&self) -> Result<(), InitError> {
        let (shared, session) = (&self.shared, self.shared.session()?);
        // One at a time: of two, systemd would answer only the later.
        let _turn = shared.reloading.lock().await;
        lock(&shared.reloads).call();
        let asked = tokio::time::Instant::now();
        let reloaded = shared.call("", session.manager.reload()).await;
        shared.metrics.reloaded(asked.elapsed());
        if lock(&shared.reloads).answer(reloaded.is_ok()) {
            shared.send(Event::FilesChanged);
        }
        reloaded
    }

    async fn start(&self, name: &UnitName) -> Result<Job, InitError> {
        let session = self.shared.session()?;
        let pending = session.jobs.expect();
        let started = session.manager.start_unit(name.as_str(), "replace");
        let path = self.shared.call(name.as_str(), started).await?;
        Ok(pending.named(path.as_str()))
    }

    async fn stop(&self, name: &UnitName) -> Result<Job, InitError> {
        let session = self.shared.session()?;
        let pending = session.jobs.expect();
        let stopped = session.manager.stop_unit(name.as_str(), "replace");
        let path = self.shared.call(name.as_str(), stopped).await?;
        Ok(pending.named(path.as_str()))
    }

    async fn kill(&self, name: &UnitName) -> Result<(), InitError> {
        let asked = async {
            let session = self.shared.session()?;
            let killed = session.manager.kill_unit(name.as_str(), "all", SIGKILL);
            self.shared.call(name.as_str(), killed).await
        };
        let asked = tokio::time::timeout(KILL_ANSWERED, asked).await;
        // Whatever systemd made of it: the kernel depends on no bus. A freezer does not hold this up either.
        let killed = cgroup::kill(name);
        match asked {
            Ok(Err(error @ InitError::Refused { .. })) if killed.is_err() => Err(error),
            _ => killed.map_err(|e| InitError::Unreachable(e.to_string())),
        }
    }

    async fn reset_failed(&self, name: &UnitName) -> Result<(), InitError> {
        let session = self.shared.session()?;
        let reset = session.manager.reset_failed_unit(name.as_str());
        match self.shared.call(name.as_str(), reset).await {
            Err(InitError::NoSuchUnit(_)) => Ok(()),
            other => other,
        }
    }

    async fn observe(&self, names: &[UnitName]) -> Result<Vec<(UnitName, Status)>, InitError> {
        self.shared.observe(&*self.shared.session()?, names).await
    }

    async fn owner(&self, name: &UnitName) -> Result<Owner, InitError> {
        self.shared.owner(&*self.shared.session()?, name).await
    }

    fn watch(&self, names: Vec<UnitName>) {
        self.shared.tracker().watch(names);
    }

    fn events(&self) -> Option<mpsc::UnboundedReceiver<Event>> {
        lock(&self.untaken).take()
    }

    fn now_us(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX))
    }

    async fn started_since(
        &self,
        names: &[UnitName],
        since_us: u64,
    ) -> Result<BTreeMap<UnitName, u64>, InitError> {
        journal::started_since(names, since_us).await
    }

    async fn own_job(&self) -> Result<OwnJob, InitError> {
        self.shared.own_job(&*self.shared.session()?).await
    }
}

impl fmt::Debug for Systemd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = lock(&self.shared.session).is_some();
        f.debug_struct("Systemd")
            .field("connected", &connected)
            .finish_non_exhaustive()
    }
}
