//! The agent's loop: on change, read what the registry says, plan each unit, work, publish.
//!
//! Everything that takes time runs beside the loop and comes back as a message: reads, writes, joining, observing, and
//! the work on each unit. The loop itself only ever waits for the next message, so one hanging unit, an etcd that does
//! not answer or a slow D-Bus holds up nothing else.

mod act;
mod asked;
mod heard;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use units::{Assignment, MachineId, OnDisconnect, Phase, State, UnitName};

use super::local::{Held, Local, Overrides, Record, Started};
use super::orders::{self, Reading};
use super::plan::{self, Order};
use super::presence::{AbsenceError, Door, Identity, Joined};
use super::publish::Publisher;
use super::reload::Reloader;
use super::request::Request;
use super::standing::Standing;
use super::unit::{Say, Unit, Work};
use super::worker::{Bench, Outcome, Word, Worker};
use crate::guard::Guard;
use crate::init::{self, Owner, SharedInit, Status};
use crate::recovery::{self, Adopted, Heard};
use crate::registry::keys::Keys;
use crate::registry::mirror::{Mirror, Update};
use crate::registry::together::Together;
use crate::registry::trust::{Known, Trust};
use crate::registry::{
    Backoff, Commit, MAX_OPS, Precondition, RegistryError, Select, SharedRegistry, Txn, encode,
};
use crate::watchdog::Pulse;

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
    /// This machine, as it was when the agent began: see [`Request::Describe`].
    pub identity: Identity,
    /// How long it may be silent before it counts as lost.
    pub ttl: Duration,
    /// What it holds.
    pub local: Local,
    /// Where it says why this machine takes no part.
    pub standing: Arc<Standing>,
    /// Who ends units with `OnDisconnect=stop` when nobody renews the presence any more.
    pub guard: Arc<Guard>,
    /// Shows that the loop turns.
    pub pulse: Pulse,
}

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
    Described(Result<(), AbsenceError>),
    Word(Heard),
    PutBack(Heard, Result<Vec<Adopted>, RegistryError>),
    Owned(UnitName, Owner),
    Left,
}

impl Agent {
    /// Runs until `stop`: then everything is left exactly as it is. [`Request::Leave`] is the other way to end.
    ///
    /// # Errors
    /// If the directory of unit files cannot be read.
    pub async fn run(
        self,
        stop: CancellationToken,
        mut requests: mpsc::Receiver<Request>,
    ) -> std::io::Result<()> {
        let mut held = self.local.load()?;
        self.find_starts(&mut held).await;
        let (messages, mut inbox) = mpsc::unbounded_channel();
        let (words, mut from_workers) = mpsc::unbounded_channel();
        let mut happenings = self.init.events();
        let mut doubts = self.trust.doubts();
        let watched = Select::Prefix(self.keys.assigns(&self.identity.id));
        let follow = || Mirror::new(self.registry.clone(), watched.clone(), backoff(&self.identity.id));
        let mut mirror = follow();
        let mut run = Loop::new(&self, messages, words);
        tracing::info!(units = held.len(), "found the units that this machine holds");
        for (name, held) in held {
            run.units.insert(name, Unit::new(Some(held)));
        }
        run.take_up_guard();
        run.watch_names();
        run.observe_unknown();
        run.doubted();
        if run.units.is_empty() {
            run.join();
        }
        loop {
            let deadline = run.deadline();
            // In order, so that the same happenings make the same history. Nobody starves: what is rare comes first, what
            // the loop itself set going is drained below, and `turn` does all that is due whatever woke it up.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.pulse.due() => continue,
                Some(request) = requests.recv() => run.asked(request),
                Ok(()) = doubts.changed() => run.doubted(),
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
            if std::mem::take(&mut run.must_follow_anew) {
                mirror = follow();
            }
            run.turn();
        }
    }
}

impl Agent {
    /// Starts that a fleetd asked for which was killed before it heard that they were accepted. Most show in systemd; a
    /// oneshot that has ended since shows in the journal alone, and must not run a second time.
    async fn find_starts(&self, held: &mut BTreeMap<UnitName, Held>) {
        let asked = |h: &Held| h.record.started == Started::Asked && h.record.asked_us > 0;
        let names: Vec<UnitName> = held
            .iter()
            .filter(|(_, h)| asked(h))
            .map(|(n, _)| n.clone())
            .collect();
        let Some(since) = held
            .values()
            .filter(|h| asked(h))
            .map(|h| h.record.asked_us)
            .min()
        else {
            return;
        };
        // A start may still have been on its way to systemd, which answers in the order in which it is asked.
        if let Err(error) = self.init.observe(&names).await {
            tracing::debug!(%error, "could not ask systemd about starts");
        }
        let found = match self.init.started_since(&names, since).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, units = names.len(), "could not find out whether starts had been accepted");
                return;
            }
        };
        for (name, at) in found {
            let Some(held) = held.get_mut(&name).filter(|h| at >= h.record.asked_us) else {
                continue;
            };
            tracing::info!(unit = %name, "found a start that had been accepted before fleetd was restarted");
            held.record.started = Started::Yes;
            if let Err(error) = self.local.remember(&name, &held.record) {
                tracing::error!(unit = %name, %error, "could not note that the unit was started");
            }
        }
    }
}

struct Loop<'a> {
    agent: &'a Agent,
    bench: Bench,
    /// How this machine is present, and what it says of itself by now.
    door: Door,
    messages: mpsc::UnboundedSender<Message>,
    words: mpsc::UnboundedSender<Word>,
    /// All that runs beside the loop; it ends with the loop.
    tasks: JoinSet<()>,
    started: Instant,
    units: BTreeMap<UnitName, Unit>,
    /// What this machine remembers of its overrides, as it is on disk.
    overrides: Option<Overrides>,
    dirty: BTreeSet<UnitName>,
    publisher: Publisher,
    /// When the publisher's next word for a unit at work is due.
    later: Option<Instant>,
    joined: Option<Joined>,
    is_joining: bool,
    keeper: Option<AbortHandle>,
    /// The last read, while nothing suggests that it is out of date.
    reading: Option<Reading>,
    /// Whether the last reading allowed to stop something.
    may_stop: bool,
    must_read: bool,
    is_reading: bool,
    is_observing: bool,
    is_writing: bool,
    /// A person's word about the registry is being waited for, or followed.
    is_recovering: bool,
    /// What the mirror knows is of before a recovery.
    must_follow_anew: bool,
    backoff: Backoff,
    /// What this machine says of itself has changed, and the cluster does not know yet.
    must_describe: bool,
    is_describing: bool,
    leaving: Option<oneshot::Sender<bool>>,
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
            // Workers of many new units fetch at once, and often the same.
            registry: Arc::new(Together::new(agent.registry.clone())),
            keys: agent.keys.clone(),
            init: agent.init.clone(),
            local: agent.local.clone(),
            reloader,
            guard: agent.guard.clone(),
        };
        let door = Door {
            registry: agent.registry.clone(),
            keys: agent.keys.clone(),
            trust: agent.trust.clone(),
            identity: agent.identity.clone(),
            ttl: agent.ttl,
            guard: agent.guard.clone(),
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
            overrides: agent.local.overrides(),
            dirty: BTreeSet::new(),
            publisher: Publisher::default(),
            later: None,
            joined: None,
            is_joining: false,
            keeper: None,
            reading: None,
            may_stop: false,
            must_read: true,
            is_reading: false,
            is_observing: false,
            is_writing: false,
            is_recovering: false,
            must_follow_anew: false,
            backoff: backoff(&agent.identity.id),
            must_describe: false,
            is_describing: false,
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
