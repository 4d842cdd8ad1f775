//! The agent's loop: on change, read what the registry says, plan each unit, work, publish.
//!
//! Everything that takes time runs beside the loop and comes back as a message: reads, writes, joining, observing, and
//! the work on each unit. The loop itself only ever waits for the next message, so one hanging unit, an etcd that does
//! not answer or a slow D-Bus holds up nothing else.

mod act;
mod heard;

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
