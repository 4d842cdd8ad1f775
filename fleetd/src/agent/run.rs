//! The agent's loop: on change, read what the registry says, plan each unit, work, publish.
//!
//! Everything that takes time runs beside the loop and comes back as a message: reads, writes, joining, observing, and
//! the work on each unit. The loop itself only ever waits for the next message, so one hanging unit, an etcd that does
//! not answer or a slow D-Bus holds up nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use units::{Assignment, MachineId, State, UnitName};

use super::local::Local;
use super::orders::{self, Reading};
use super::plan::{self, Order};
use super::presence::{AbsenceError, Door, Identity, Joined};
use super::publish::Publisher;
use super::reload::Reloader;
use super::unit::{Say, Unit, Work};
use super::worker::{Bench, Outcome, Word, Worker};
use crate::init::{self, Owner, SharedInit, Status};
use crate::registry::keys::Keys;
use crate::registry::mirror::{Mirror, Update};
use crate::registry::trust::{Known, Trust};
use crate::registry::{
    Backoff, Commit, MAX_OPS, Precondition, RegistryError, Select, SharedRegistry, Txn, encode,
};

/// What an agent is made of.
#[derive(Debug)]
pub struct Agent {
    /// The store.
    pub registry: SharedRegistry,
    /// Its layout.
    pub keys: Keys,
    /// systemd.
    pub init: SharedInit,
    /// Whether the store is to be believed.
    pub trust: Arc<Trust>,
    /// This machine.
    pub identity: Identity,
    /// How long it may be silent before it counts as lost.
    pub ttl: Duration,
    /// What it holds.
    pub local: Local,
}

/// How the agent is told to leave the cluster; answered with `true` once every unit here has been stopped and the
/// presence removed, with `false` at once if the registry did not accept the leave: then every unit is kept.
pub type LeaveRequest = oneshot::Sender<bool>;

/// The registry has to accept a leave within this time (design §6, "fleetd stops").
const LEAVE_ACCEPTED: Duration = Duration::from_secs(5);

/// Messages to the loop from what runs beside it.
enum Message {
    Observed(Result<Vec<(UnitName, Status)>, init::InitError>, Vec<UnitName>),
    Read(Result<Reading, RegistryError>),
    Joined(Result<Joined, AbsenceError>),
    Lost,
    Wrote(Vec<(UnitName, Option<State>)>, Result<Commit, RegistryError>),
    LeaveAnnounced(bool),
    Owned(UnitName, Owner),
    Left,
}

impl Agent {
    /// Runs until `stop`: then everything is left exactly as it is. A request on `leave` is the other way to end.
    ///
    /// # Errors
    /// If the directory of unit files cannot be read.
    pub async fn run(
        self,
        stop: CancellationToken,
        mut leave: mpsc::Receiver<LeaveRequest>,
    ) -> std::io::Result<()> {
        let held = self.local.load()?;
        let (messages, mut inbox) = mpsc::unbounded_channel();
        let (words, mut from_workers) = mpsc::unbounded_channel();
        let mut happenings = self.init.events();
        let mut doubts = self.trust.doubts();
        let watched = Select::Prefix(self.keys.assigns(&self.identity.id));
        let mut mirror = Mirror::new(self.registry.clone(), watched, backoff(&self.identity.id));
        let mut run = Loop::new(&self, messages, words);
        tracing::info!(units = held.len(), "found the units that this machine holds");
        for (name, held) in held {
            run.units.insert(name, Unit::new(Some(held)));
        }
        run.watch_names();
        run.observe_unknown();
        if run.units.is_empty() {
            run.join();
        }
        loop {
            let deadline = run.deadline();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(message) = inbox.recv() => run.hear(message),
                Some(word) = from_workers.recv() => run.hear_worker(word),
                update = mirror.next() => run.see(update, &mut mirror),
                Some(event) = next_event(&mut happenings) => {
                    // What a worker saw it saw before this.
                    while let Ok(word) = from_workers.try_recv() {
                        run.hear_worker(word);
                    }
                    run.happened(event);
                }
                Some(request) = leave.recv() => run.asked_to_leave(request),
                Ok(()) = doubts.changed() => run.obey(),
                () = wait_until(deadline) => {}
            }
            while let Ok(word) = from_workers.try_recv() {
                run.hear_worker(word);
            }
            while let Ok(message) = inbox.try_recv() {
                run.hear(message);
            }
            if run.has_left {
                return Ok(());
            }
            run.turn();
        }
    }
}

struct Loop<'a> {
    agent: &'a Agent,
    bench: Bench,
    door: Door,
    messages: mpsc::UnboundedSender<Message>,
    words: mpsc::UnboundedSender<Word>,
    /// All that runs beside the loop; it ends with the loop.
    tasks: JoinSet<()>,
    started: Instant,
    units: BTreeMap<UnitName, Unit>,
    dirty: BTreeSet<UnitName>,
    publisher: Publisher,
    /// When the publisher's next word for a unit at work is due.
    later: Option<Instant>,
    joined: Option<Joined>,
    is_joining: bool,
    keeper: Option<AbortHandle>,
    /// The last read, while nothing suggests that it is out of date.
    reading: Option<Reading>,
    must_read: bool,
    is_reading: bool,
    is_observing: bool,
    is_writing: bool,
    backoff: Backoff,
    leaving: Option<LeaveRequest>,
    is_leaving: bool,
    is_finishing: bool,
    has_left: bool,
}

impl<'a> Loop<'a> {
    fn new(
        agent: &'a Agent,
        messages: mpsc::UnboundedSender<Message>,
        words: mpsc::UnboundedSender<Word>,
    ) -> Self {
        let (reloader, reloading) = Reloader::new(agent.init.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(reloading);
        let bench = Bench {
            registry: agent.registry.clone(),
            keys: agent.keys.clone(),
            init: agent.init.clone(),
            local: agent.local.clone(),
            reloader,
        };
        let door = Door {
            registry: agent.registry.clone(),
            keys: agent.keys.clone(),
            trust: agent.trust.clone(),
            identity: agent.identity.clone(),
            ttl: agent.ttl,
        };
        Self {
            agent,
            bench,
            door,
            messages,
            words,
            tasks,
            started: Instant::now(),
            units: BTreeMap::new(),
            dirty: BTreeSet::new(),
            publisher: Publisher::default(),
            later: None,
            joined: None,
            is_joining: false,
            keeper: None,
            reading: None,
            must_read: true,
            is_reading: false,
            is_observing: false,
            is_writing: false,
            backoff: backoff(&agent.identity.id),
            leaving: None,
            is_leaving: false,
            is_finishing: false,
            has_left: false,
        }
    }

    /// Does something beside the loop; the message it ends with comes back.
    fn beside(&mut self, work: impl Future<Output = Message> + Send + 'static) -> AbortHandle {
        let messages = self.messages.clone();
        self.tasks.spawn(async move {
            let _ = messages.send(work.await);
        })
    }

    fn hear_worker(&mut self, word: Word) {
        match word {
            Word::Holds(name, held) => {
                if let Some(unit) = self.units.get_mut(&name) {
                    let changes_names = unit.held.is_some() != held.is_some();
                    unit.held = held;
                    if changes_names {
                        self.watch_names();
                    }
                }
            }
            Word::Observed(name, status) => self.observed(vec![(name, status)]),
            Word::Over(name, outcome) => self.worked(name, outcome),
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Observed(result, asked) => {
                self.is_observing = false;
                match result {
                    Ok(statuses) => self.observed(statuses),
                    Err(error) => {
                        // The reconnect sends a resync, which asks again.
                        tracing::warn!(%error, units = asked.len(), "could not ask systemd about units");
                    }
                }
                self.observe_unknown();
                if self.joined.is_none() {
                    self.join();
                }
            }
            Message::Read(result) => {
                self.is_reading = false;
                match result {
                    Ok(reading) => {
                        self.backoff.reset();
                        let ours = self.joined.as_ref().map(|j| j.created);
                        let is_gone = reading.presence != ours
                            && ours.is_some_and(|created| created <= reading.revision);
                        self.reading = Some(reading);
                        if is_gone {
                            tracing::warn!("found the presence of this machine removed, joins again");
                            self.hear(Message::Lost);
                        } else {
                            self.obey();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "could not read what this machine is to do");
                        self.reading = None;
                        self.must_read = true;
                        self.obey();
                    }
                }
            }
            Message::Joined(result) => self.came_in(result),
            Message::Lost => {
                self.joined = None;
                if let Some(keeper) = self.keeper.take() {
                    keeper.abort();
                }
                self.obey();
                self.join();
            }
            Message::Wrote(said, result) => {
                self.is_writing = false;
                match result {
                    Ok(Commit::Applied(_)) => self.publisher.written(said, self.started.elapsed()),
                    Ok(Commit::Refused(_)) => {
                        // The presence is not the one it was: a look tells.
                        self.must_read = true;
                        self.publisher.failed(&said);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "could not publish states");
                        self.publisher.failed(&said);
                    }
                }
            }
            Message::LeaveAnnounced(accepted) => {
                if accepted {
                    tracing::info!(
                        units = self.units.len(),
                        "leaving the cluster: stopping the units of this machine"
                    );
                    self.is_leaving = true;
                    self.obey();
                } else if let Some(answer) = self.leaving.take() {
                    let _ = answer.send(false);
                }
            }
            Message::Owned(name, owner) => {
                if let Some(unit) = self.units.get_mut(&name)
                    && owner == Owner::Nobody
                    && unit.refused.take().is_some()
                {
                    tracing::info!(unit = %name, "found the name free again");
                    self.dirty.insert(name);
                }
            }
            Message::Left => {
                if let Some(answer) = self.leaving.take() {
                    let _ = answer.send(true);
                }
                self.has_left = true;
            }
        }
    }

    fn see(&mut self, update: Update, mirror: &mut Mirror) {
        match update {
            Update::Reset(_) | Update::Changed(_) | Update::Reconnected => self.must_read = true,
            Update::Disconnected(error) => {
                tracing::warn!(%error, "lost sight of the registry; every unit is kept as it is");
                self.reading = None;
                self.obey();
            }
            Update::WentBack { had, found } => {
                let known = Known {
                    revision: had,
                    cluster: None,
                };
                let _ = self.agent.trust.believe(&known, found, None);
                mirror.accept();
                self.obey();
            }
        }
    }

    fn happened(&mut self, event: init::Event) {
        match event {
            init::Event::Changed(name, status) => self.observed(vec![(name, status)]),
            init::Event::Resync => {
                for unit in self.units.values_mut() {
                    unit.status = None;
                }
                self.observe_unknown();
                self.check_refused();
            }
            init::Event::FilesChanged => self.check_refused(),
        }
    }

    /// Names that were the host's may have become free.
    fn check_refused(&mut self) {
        let refused = self
            .units
            .iter()
            .filter(|(_, u)| u.refused.is_some())
            .map(|(name, _)| name.clone());
        for name in refused.collect::<Vec<_>>() {
            let init = self.agent.init.clone();
            self.beside(async move {
                let owner = init
                    .owner(&name)
                    .await
                    .unwrap_or_else(|_| Owner::Host("?".into()));
                Message::Owned(name, owner)
            });
        }
    }

    fn observed(&mut self, statuses: Vec<(UnitName, Status)>) {
        for (name, status) in statuses {
            if let Some(unit) = self.units.get_mut(&name) {
                unit.status = Some(remembering(status, unit.status.take()));
                self.dirty.insert(name);
            }
        }
    }

    fn worked(&mut self, name: UnitName, outcome: Outcome) {
        match &outcome {
            Outcome::Done | Outcome::Superseded => {
                tracing::debug!(unit = %name, ?outcome, "worked on a unit")
            }
            Outcome::Ended(word) => {
                tracing::warn!(unit = %name, result = word, "started a unit that did not come up")
            }
            Outcome::Refused(why) => tracing::warn!(unit = %name, reason = why, "refused a unit"),
            Outcome::Failed(why) => tracing::warn!(unit = %name, reason = why, "failed to work on a unit"),
        }
        if let Some(unit) = self.units.get_mut(&name) {
            unit.worked(outcome);
            self.dirty.insert(name);
        }
    }

    fn came_in(&mut self, result: Result<Joined, AbsenceError>) {
        self.is_joining = false;
        match result {
            Ok(joined) => {
                self.backoff.reset();
                if let Some(said) = &joined.resumed {
                    self.publisher.assume(said.clone());
                }
                let door = self.door.clone();
                let kept = joined.clone();
                self.keeper = Some(self.beside(async move {
                    door.keep(&kept).await;
                    Message::Lost
                }));
                self.joined = Some(joined);
                // A presence answers to `seen` from now on.
                self.must_read = true;
                self.dirty.extend(self.units.keys().cloned());
            }
            Err(error) => {
                let pause = match &error {
                    AbsenceError::Duplicate { .. } => {
                        tracing::error!(%error, "could not join the cluster");
                        self.agent.ttl
                    }
                    AbsenceError::Join(crate::registry::trust::JoinError::Doubt(_)) => {
                        // Only a person ends that; fleetd is restarted then.
                        return;
                    }
                    _ => {
                        tracing::warn!(%error, "could not join the cluster, trying again");
                        self.backoff.pause()
                    }
                };
                self.join_after(pause);
            }
        }
    }

    fn join(&mut self) {
        self.join_after(Duration::ZERO);
    }

    fn join_after(&mut self, pause: Duration) {
        if self.is_joining
            || self.is_leaving
            || self
                .units
                .values()
                .any(|u| u.held.is_some() && u.status.is_none())
        {
            return;
        }
        self.is_joining = true;
        for (name, unit) in &self.units {
            if let Say::This(state) = unit.say() {
                self.publisher.want(name, state);
            }
        }
        let words = self.publisher.all();
        let door = self.door.clone();
        self.beside(async move {
            sleep(pause).await;
            Message::Joined(door.join(words).await)
        });
    }

    fn watch_names(&self) {
        let held = self.units.iter().filter(|(_, u)| u.held.is_some());
        self.agent
            .init
            .watch(held.map(|(name, _)| name.clone()).collect());
    }

    fn observe_unknown(&mut self) {
        let unknown = self
            .units
            .iter()
            .filter(|(_, u)| u.status.is_none())
            .map(|(name, _)| name.clone());
        let unknown: Vec<UnitName> = unknown.collect();
        if unknown.is_empty() || self.is_observing {
            return;
        }
        self.is_observing = true;
        let init = self.agent.init.clone();
        self.beside(async move {
            let result = init.observe(&unknown).await;
            if result.is_err() {
                // The connection is being made again, which takes a moment.
                sleep(Duration::from_millis(200)).await;
            }
            Message::Observed(result, unknown)
        });
    }

    /// Gives every unit the order that the last reading, or the lack of one, amounts to.
    fn obey(&mut self) {
        let doubt = self.agent.trust.doubt().is_some();
        let incarnation = self.joined.as_ref().map(|j| j.created);
        let reading = self.reading.as_ref().filter(|_| !doubt);
        let told: BTreeMap<UnitName, (Option<Assignment>, i64)> =
            reading.map(|r| r.assignments.clone()).unwrap_or_default();
        for name in told
            .keys()
            .filter(|name| !self.units.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.units.insert(name, Unit::new(None));
        }
        for (name, unit) in &mut self.units {
            let assigned = match reading {
                Some(_) => told.get(name).cloned(),
                // Not known at present: what was said last is what states still answer to.
                None => unit.assigned.clone(),
            };
            let order = match reading {
                // Accepted by the registry: from there on it is carried through, whatever becomes of etcd.
                _ if self.is_leaving => Order::Release,
                None => Order::Keep,
                Some(reading) => orders::order(reading, incarnation, assigned.as_ref()),
            };
            if unit.order != order || unit.assigned != assigned {
                unit.told(assigned, order);
                self.dirty.insert(name.clone());
            }
        }
        self.observe_unknown();
    }

    fn asked_to_leave(&mut self, request: LeaveRequest) {
        let Some(joined) = self.joined.clone() else {
            let _ = request.send(false);
            return;
        };
        self.leaving = Some(request);
        let door = self.door.clone();
        self.beside(async move {
            let announced = tokio::time::timeout(LEAVE_ACCEPTED, door.announce_leave(&joined)).await;
            let accepted = match announced {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not leave the cluster; every unit is kept");
                    false
                }
                Err(_) => {
                    tracing::warn!(
                        "could not leave the cluster: the registry did not answer; every unit is kept"
                    );
                    false
                }
            };
            Message::LeaveAnnounced(accepted)
        });
    }

    /// Everything that follows from what was heard: work, words, reads.
    fn turn(&mut self) {
        let now = Instant::now();
        let due = self
            .units
            .iter()
            .filter(|(_, u)| u.retry_at.is_some_and(|at| at <= now));
        self.dirty
            .extend(due.map(|(name, _)| name.clone()).collect::<Vec<_>>());
        if self.later.is_some_and(|at| at <= now) {
            self.later = None;
            self.dirty.extend(
                self.units
                    .iter()
                    .filter(|(_, u)| u.work.is_some())
                    .map(|(name, _)| name.clone()),
            );
        }
        for name in std::mem::take(&mut self.dirty) {
            self.plan(&name, now);
            self.speak(&name);
        }
        self.read();
        self.publish();
        self.finish_leaving();
        while self.tasks.try_join_next().is_some() {}
    }

    fn plan(&mut self, name: &UnitName, now: Instant) {
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        if let Some(work) = &unit.work {
            if work.order != unit.order && unit.order != Order::Keep {
                work.superseded.cancel();
            }
            return;
        }
        if unit.retry_at.is_some_and(|at| at > now) || unit.is_refused() {
            return;
        }
        let Some(status) = &unit.status else { return };
        unit.retry_at = None;
        let plan = plan::plan(&unit.order, unit.held.as_ref(), status);
        let allowed = self.is_leaving
            || self
                .reading
                .as_ref()
                .is_some_and(|r| r.may_stop(self.joined.as_ref().map(|j| j.created)));
        if plan.steps.is_empty() || (!allowed && orders::ends_something(&plan)) {
            return;
        }
        let revision = self.reading.as_ref().map_or(0, |r| r.revision);
        tracing::info!(unit = %name, revision, steps = %orders::words(&plan), reason = plan.reason, "works on a unit");
        let superseded = CancellationToken::new();
        let worker = Worker {
            bench: self.bench.clone(),
            unit: name.clone(),
            held: unit.held.clone(),
            superseded: superseded.clone(),
            may_be_superseded: matches!(&unit.order, Order::Run(_)),
            words: self.words.clone(),
            text: None,
        };
        unit.work = Some(Work {
            order: unit.order.clone(),
            superseded,
            since: now,
        });
        self.tasks.spawn(worker.work(plan));
    }

    fn speak(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get(name) else { return };
        match unit.say() {
            Say::This(state) => self.publisher.want(name, state),
            Say::Later(at) => self.later = Some(self.later.map_or(at, |later| later.min(at))),
            Say::Nothing => {}
        }
        if unit.is_forgotten() {
            self.units.remove(name);
        }
    }

    fn read(&mut self) {
        if !self.must_read || self.is_reading {
            return;
        }
        self.must_read = false;
        self.is_reading = true;
        let (registry, keys) = (self.agent.registry.clone(), self.agent.keys.clone());
        let (trust, id) = (self.agent.trust.clone(), self.agent.identity.id);
        let pause = if self.reading.is_none() {
            self.backoff.pause()
        } else {
            Duration::ZERO
        };
        let first = self.joined.is_none();
        self.beside(async move {
            let result = orders::read(&registry, &keys, &trust, &id).await;
            if result.is_err() && !first {
                sleep(pause).await;
            } else if result.is_err() {
                sleep(Duration::from_millis(200).max(pause)).await;
            }
            Message::Read(result)
        });
    }

    fn publish(&mut self) {
        let Some(joined) = &self.joined else { return };
        if self.is_writing {
            return;
        }
        // One compare and one write for each; the fence makes sure that a presence that is over says nothing more.
        let said = self.publisher.take(self.started.elapsed(), MAX_OPS - 1);
        if said.is_empty() {
            return;
        }
        let (keys, id) = (&self.agent.keys, self.agent.identity.id);
        let mut txn = Txn::new().when(Precondition::Created(keys.presence(&id), joined.created));
        for (unit, state) in &said {
            let key = keys.state(&id, unit);
            txn = match state {
                Some(state) => txn.put_leased(key, encode(state), joined.lease),
                None => txn.delete(key),
            };
        }
        self.is_writing = true;
        let registry = self.agent.registry.clone();
        self.beside(async move {
            let result = registry.commit(txn).await;
            if result.as_ref().is_ok_and(|c| matches!(c, Commit::Applied(_))) {
                return Message::Wrote(said, result);
            }
            // Not a busy loop while the store is away or the presence is being lost.
            sleep(Duration::from_secs(1)).await;
            Message::Wrote(said, result)
        });
    }

    fn finish_leaving(&mut self) {
        let over = self.is_leaving
            && !self.is_finishing
            && self.units.values().all(|u| u.held.is_none() && u.work.is_none());
        if !over {
            return;
        }
        self.is_finishing = true;
        let Some(joined) = self.joined.clone() else {
            // The lease ran out meanwhile: that has said it already.
            self.hear(Message::Left);
            return;
        };
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        let door = self.door.clone();
        self.beside(async move {
            if let Err(error) = door.leave(&joined).await {
                // Nothing runs here any more: the lease that runs out says the same a little later.
                tracing::warn!(%error, "could not remove the presence");
            }
            Message::Left
        });
    }

    fn deadline(&self) -> Option<Instant> {
        let waiting = |u: &&Unit| u.work.is_none() && u.status.is_some() && !u.is_refused();
        let retry = self
            .units
            .values()
            .filter(waiting)
            .filter_map(|u| u.retry_at)
            .min();
        let publish = self
            .publisher
            .next()
            .filter(|_| self.joined.is_some() && !self.is_writing);
        let publish = publish.map(|at| self.started + at);
        [retry, publish, self.later].into_iter().flatten().min()
    }
}

async fn next_event(happenings: &mut Option<mpsc::UnboundedReceiver<init::Event>>) -> Option<init::Event> {
    match happenings {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// systemd forgets a unit that has ended and that nothing refers to; how and when it ended is kept here.
fn remembering(status: Status, before: Option<Status>) -> Status {
    let has_forgotten = status.active == "inactive" && status.since_us == 0 && status.load != "not-found";
    match before.filter(|b| has_forgotten && b.active == "inactive") {
        Some(before) => Status {
            since_us: before.since_us,
            result: before.result,
            ..status
        },
        None => status,
    }
}

/// Seeded with the machine's id, so that machines do not come back in step after an outage.
fn backoff(id: &MachineId) -> Backoff {
    let seed = id
        .as_str()
        .bytes()
        .fold(0, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    Backoff::new(Duration::from_secs(1), seed)
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
