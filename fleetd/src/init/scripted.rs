//! The in-memory twin of systemd: what PID 1 would do with fleet's units, by script and on tokio's clock.
//!
//! It behaves as the contract in `init::contract` says, on which real systemd is tried as well. Left to itself every
//! start works at once and every unit runs until it is stopped; `Type=oneshot` in the file finishes at once. Tests
//! script what should go otherwise ([`ScriptedInit::on_start`], [`ScriptedInit::on_stop`], [`ScriptedInit::refuse`]),
//! make things happen ([`ScriptedInit::crash_unit`], [`ScriptedInit::person_stops`], [`ScriptedInit::reboot`], …) and
//! look at what was done ([`ScriptedInit::calls`], [`ScriptedInit::status`], [`ScriptedInit::ran`]).

mod model;
mod script;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;
use units::UnitName;

use self::model::{Model, Timer};
pub use self::script::{Op, Start, Stop};
use super::{Event, Init, InitError, Job, OwnJob, Owner, Status};

/// The scripted init system of one machine. Cheap to share; every method may be called from anywhere.
pub struct ScriptedInit {
    inner: Mutex<Inner>,
    me: Weak<Self>,
}

struct Inner {
    model: Model,
    started: Instant,
    watched: BTreeSet<String>,
    sent: BTreeMap<String, Status>,
    /// The open stream, or the one nobody took yet.
    events: mpsc::UnboundedSender<Event>,
    untaken: Option<mpsc::UnboundedReceiver<Event>>,
    counts: BTreeMap<Op, usize>,
    calls: Vec<String>,
    refusals: BTreeMap<(Op, Option<String>), InitError>,
    own_job: OwnJob,
    reload_time: Duration,
    start_time: Duration,
    reachable: bool,
}

impl ScriptedInit {
    /// The init system of a machine on which fleet's unit files lie in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Arc<Self> {
        let (events, untaken) = mpsc::unbounded_channel();
        let inner = Inner {
            model: Model::new(directory.into()),
            started: Instant::now(),
            watched: BTreeSet::new(),
            sent: BTreeMap::new(),
            events,
            untaken: Some(untaken),
            counts: BTreeMap::new(),
            calls: Vec::new(),
            refusals: BTreeMap::new(),
            own_job: OwnJob::None,
            reload_time: Duration::ZERO,
            start_time: Duration::ZERO,
            reachable: true,
        };
        Arc::new_cyclic(|me| Self {
            inner: Mutex::new(inner),
            me: me.clone(),
        })
    }

    // ---- what should happen ----

    /// What this unit does whenever it is started from now on; it need not exist yet.
    pub fn on_start(&self, unit: &str, start: Start) {
        self.lock().model.on_start(unit, start);
    }

    /// What this unit does whenever it is stopped from now on.
    pub fn on_stop(&self, unit: &str, stop: Stop) {
        self.lock().model.on_stop(unit, stop);
    }

    /// Takes back every [`ScriptedInit::on_start`] and [`ScriptedInit::on_stop`]: each unit does what its file says.
    /// Jobs under way go on as they were scripted.
    pub fn forget_scripts(&self) {
        self.lock().model.forget_scripts();
    }

    /// Refuses this call for this unit (`None`: for every unit) until [`ScriptedInit::allow`].
    pub fn refuse(&self, op: Op, unit: Option<&str>, error: InitError) {
        self.lock().refusals.insert((op, unit.map(str::to_owned)), error);
    }

    /// Takes back [`ScriptedInit::refuse`].
    pub fn allow(&self, op: Op, unit: Option<&str>) {
        self.lock().refusals.remove(&(op, unit.map(str::to_owned)));
    }

    /// How long a daemon-reload takes; none by default.
    pub fn set_reload_time(&self, time: Duration) {
        self.lock().reload_time = time;
    }

    /// How long systemd takes over a start before the unit does what it was told; no time by default.
    pub fn set_start_time(&self, time: Duration) {
        self.lock().start_time = time;
    }

    /// The job that systemd runs for fleetd itself; none by default.
    pub fn set_own_job(&self, job: OwnJob) {
        self.lock().own_job = job;
    }

    /// Gives the host a unit file or alias of this name, or a template (`getty@.service`), at `path`.
    pub fn host_unit(&self, name: &str, path: impl Into<PathBuf>) {
        let mut inner = self.lock();
        inner.model.host_unit(name, path.into());
        inner.send(Event::FilesChanged);
    }

    /// Takes a unit file away from the host.
    pub fn remove_host_unit(&self, name: &str) {
        let mut inner = self.lock();
        inner.model.remove_host_unit(name);
        inner.send(Event::FilesChanged);
    }

    /// Has another unit of the host refer to this one, so that PID 1 never forgets what it read of it.
    pub fn pin(&self, unit: &str) {
        self.change(|model| model.pin(unit));
    }

    // ---- what happens ----

    /// Lets a job that hangs or takes its time come to its good end. No effect if there is none.
    pub fn release(&self, unit: &str) {
        self.change(|model| model.release(unit));
    }

    /// The main process dies of a signal: `failed`, unless it flaps anyway.
    pub fn crash_unit(&self, unit: &str) {
        self.change(|model| model.ended(unit, "failed", "signal"));
    }

    /// The main process ends by itself and well: `inactive`.
    pub fn finish_unit(&self, unit: &str) {
        self.change(|model| model.ended(unit, "inactive", "success"));
    }

    /// systemd restarts the unit by itself, as `Restart=` has it do: new process, one more in `NRestarts`.
    pub fn restart_unit(&self, unit: &str) {
        self.change(|model| model.restarted(unit));
    }

    /// A person runs `systemctl stop`.
    pub fn person_stops(&self, unit: &str) {
        self.change(|model| {
            let (_job, timer) = model.stop(unit).ok()?;
            timer
        });
    }

    /// A person runs `systemctl start`.
    pub fn person_starts(&self, unit: &str) {
        self.change(|model| {
            let (_job, timer) = model.start(unit).ok()?;
            timer
        });
    }

    /// The connection to systemd is lost: calls fail, outstanding jobs come out as canceled, nothing is reported.
    pub fn disconnect(&self) {
        let mut inner = self.lock();
        inner.reachable = false;
        inner.model.cancel_waiters();
    }

    /// The connection is back: [`Event::Resync`].
    pub fn reconnect(&self) {
        let mut inner = self.lock();
        inner.reachable = true;
        inner.sent.clear();
        inner.send(Event::Resync);
    }

    /// The machine boots again: links, units and jobs are forgotten, and so is who watched what.
    ///
    /// Scripts and the host's units stay. The files in fleet's directory are the caller's, which should remove them:
    /// on a machine they lie on a tmpfs.
    pub fn reboot(&self) {
        let mut inner = self.lock();
        inner.model.reboot();
        inner.watched.clear();
        inner.sent.clear();
        inner.own_job = OwnJob::None;
        let (events, untaken) = mpsc::unbounded_channel();
        inner.events = events;
        inner.untaken = Some(untaken);
    }

    // ---- what was done ----

    /// Every call that changes something, in order: `link a.service`, `reload`, `start a.service`, ….
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Forgets [`ScriptedInit::calls`] and [`ScriptedInit::count`].
    pub fn clear_calls(&self) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.counts.clear();
    }

    /// How often this was called, refused calls included.
    pub fn count(&self, op: Op) -> usize {
        self.lock().counts.get(&op).copied().unwrap_or_default()
    }

    /// What systemd says of the unit, without counting as a call.
    pub fn status(&self, unit: &str) -> Status {
        self.lock().model.status(unit)
    }

    /// The text of the unit file that the last start of this unit really ran, since boot.
    pub fn ran(&self, unit: &str) -> Option<String> {
        self.lock().model.ran(unit)
    }

    /// How many processes have been started for this unit since boot, systemd's own restarts included.
    pub fn starts(&self, unit: &str) -> usize {
        self.lock().model.starts(unit)
    }

    /// The names that are linked, in order.
    pub fn linked(&self) -> Vec<String> {
        self.lock().model.linked()
    }

    /// The names whose `[Install]` is enabled, in order.
    pub fn enabled(&self) -> Vec<String> {
        self.lock().model.enabled()
    }

    // ---- inside ----

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tick();
        inner
    }

    /// Changes the model, reports what became of it and arms the timer it asks for.
    fn change(&self, act: impl FnOnce(&mut Model) -> Option<Timer>) {
        let mut inner = self.lock();
        let timer = act(&mut inner.model);
        inner.report();
        drop(inner);
        self.arm(timer);
    }

    fn arm(&self, timer: Option<Timer>) {
        let Some(timer) = timer else { return };
        // Weak: a flapping unit must not keep the machine alive that a test has dropped.
        let me = self.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(timer.after).await;
            if let Some(me) = me.upgrade() {
                me.change(|model| model.fire(&timer));
            }
        });
    }

    /// Counts and records a call; its error if it is to be refused.
    fn called(&self, op: Op, unit: Option<&str>) -> Result<MutexGuard<'_, Inner>, InitError> {
        let mut inner = self.lock();
        *inner.counts.entry(op).or_default() += 1;
        if !matches!(op, Op::Observe | Op::Owner | Op::OwnJob) {
            let call = unit.map_or_else(|| op.to_string(), |unit| format!("{op} {unit}"));
            inner.calls.push(call);
        }
        if !inner.reachable {
            return Err(InitError::Unreachable("the connection is lost".to_owned()));
        }
        let own = inner.refusals.get(&(op, unit.map(str::to_owned)));
        match own.or_else(|| inner.refusals.get(&(op, None))) {
            Some(error) => Err(error.clone()),
            None => Ok(inner),
        }
    }
}

impl Inner {
    /// Lets the model know the time: microseconds since the epoch, on tokio's clock from a fixed day on.
    fn tick(&mut self) {
        const DAY: u64 = 1_800_000_000_000_000;
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.model.set_time(DAY.saturating_add(elapsed));
    }

    fn send(&self, event: Event) {
        if self.reachable {
            // Nobody listening is nobody's loss.
            let _ = self.events.send(event);
        }
    }

    fn report(&mut self) {
        for (name, status) in self.model.take_changes() {
            if !self.reachable || !self.watched.contains(&name) || self.sent.get(&name) == Some(&status) {
                continue;
            }
            let Ok(unit) = UnitName::parse(&name) else {
                continue;
            };
            self.sent.insert(name, status.clone());
            self.send(Event::Changed(unit, status));
        }
    }
}

#[async_trait]
impl Init for ScriptedInit {
    async fn link(&self, path: &Path) -> Result<(), InitError> {
        self.called(Op::Link, Some(model::file_name(path)))?
            .model
            .link(path)
    }

    async fn enable(&self, path: &Path) -> Result<(), InitError> {
        self.called(Op::Enable, Some(model::file_name(path)))?
            .model
            .enable(path)
    }

    async fn unlink(&self, name: &UnitName) -> Result<(), InitError> {
        self.called(Op::Unlink, Some(name.as_str()))?
            .model
            .unlink(name.as_str());
        Ok(())
    }

    async fn reload(&self) -> Result<(), InitError> {
        let time = self.called(Op::Reload, None)?.reload_time;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        self.change(|model| {
            model.reload();
            None
        });
        Ok(())
    }

    async fn start(&self, name: &UnitName) -> Result<Job, InitError> {
        let time = self.called(Op::Start, Some(name.as_str()))?.start_time;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        let mut inner = self.lock();
        let started = inner.model.start(name.as_str());
        inner.report();
        drop(inner);
        let (job, timer) = started?;
        self.arm(timer);
        Ok(job)
    }

    async fn stop(&self, name: &UnitName) -> Result<Job, InitError> {
        let mut inner = self.called(Op::Stop, Some(name.as_str()))?;
        let stopped = inner.model.stop(name.as_str());
        inner.report();
        drop(inner);
        let (job, timer) = stopped?;
        self.arm(timer);
        Ok(job)
    }

    async fn kill(&self, name: &UnitName) -> Result<(), InitError> {
        // The kernel kills, bus or no bus; a refusal that was scripted still counts.
        let answer = self.called(Op::Kill, Some(name.as_str())).map(drop);
        if let Err(error @ InitError::Refused { .. }) = answer {
            return Err(error);
        }
        let mut inner = self.lock();
        inner.model.ended(name.as_str(), "failed", "signal");
        inner.report();
        Ok(())
    }

    async fn reset_failed(&self, name: &UnitName) -> Result<(), InitError> {
        let mut inner = self.called(Op::ResetFailed, Some(name.as_str()))?;
        inner.model.reset_failed(name.as_str());
        inner.report();
        Ok(())
    }

    async fn observe(&self, names: &[UnitName]) -> Result<Vec<(UnitName, Status)>, InitError> {
        let inner = self.called(Op::Observe, None)?;
        Ok(names
            .iter()
            .map(|name| (name.clone(), inner.model.status(name.as_str())))
            .collect())
    }

    async fn owner(&self, name: &UnitName) -> Result<Owner, InitError> {
        Ok(self.called(Op::Owner, Some(name.as_str()))?.model.owner(name))
    }

    fn watch(&self, names: Vec<UnitName>) {
        let mut inner = self.lock();
        inner.watched = names.into_iter().map(String::from).collect();
        let Inner { watched, sent, .. } = &mut *inner;
        sent.retain(|name, _| watched.contains(name));
    }

    /// The twin outlives a daemon that a test restarts: once the stream was dropped, the next caller gets a new one,
    /// and nothing is watched until it says so.
    fn events(&self) -> Option<mpsc::UnboundedReceiver<Event>> {
        let mut inner = self.lock();
        if inner.untaken.is_none() && inner.events.is_closed() {
            let (events, untaken) = mpsc::unbounded_channel();
            inner.events = events;
            inner.untaken = Some(untaken);
            inner.watched.clear();
            inner.sent.clear();
        }
        inner.untaken.take()
    }

    fn now_us(&self) -> u64 {
        self.lock().model.now_us()
    }

    async fn started_since(
        &self,
        names: &[UnitName],
        since_us: u64,
    ) -> Result<BTreeMap<UnitName, u64>, InitError> {
        let inner = self.called(Op::Observe, None)?;
        let begun = |name: &UnitName| Some((name.clone(), inner.model.last_start(name.as_str())?));
        Ok(names
            .iter()
            .filter_map(begun)
            .filter(|(_, at)| *at >= since_us)
            .collect())
    }

    async fn own_job(&self) -> Result<OwnJob, InitError> {
        Ok(self.called(Op::OwnJob, None)?.own_job)
    }
}

impl fmt::Debug for ScriptedInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedInit")
            .field("linked", &self.linked())
            .finish_non_exhaustive()
    }
}
