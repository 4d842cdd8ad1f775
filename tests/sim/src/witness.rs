//! Who sees everything: each revision of the registry as it is made, each word that a machine is given, each start and
//! stop. It applies the rules at once and keeps the history.

mod describe;
mod machines;
mod registry;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetd::cluster::Cluster;
use fleetd::init::scripted::ScriptedInit;
use fleetd::registry::Revision;
use fleetd::registry::keys::Keys;
use tokio::time::Instant;
use units::{Hash, MachineId, UnitName};

use crate::host::id_of;
use crate::log::Log;
use crate::rules::Violation;
use crate::rules::once::Cause;
use crate::rules::stops::{Reading, Started};

/// How long ago a word may have been given for what is done about it now: a worker fetches, checks and reloads first.
const WORD_HOLDS: Duration = Duration::from_secs(30);

/// How long it may take the engine to hear of something it does not compare: the silence after which a watch is given
/// up, and a call.
const HEARD: Duration = Duration::from_secs(14);

/// The witness, shared by all seams.
#[derive(Debug)]
pub struct Witness(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    began: Instant,
    keys: Keys,
    log: Log,
    /// The registry, folded revision by revision.
    cluster: Cluster,
    leader: Option<MachineId>,
    /// Raised each time the registry loses history.
    epoch: u32,
    /// A person has said since that it is the one to follow.
    is_recovered: bool,
    /// When each revision of this epoch was made.
    made: Vec<(Revision, Duration)>,
    /// The content of each generation of this epoch.
    contents: BTreeMap<(UnitName, Revision), Hash>,
    /// Contents that say `OnDisconnect=stop`.
    guarded: BTreeSet<Hash>,
    /// The uuids there were; they are random, and the history must not be.
    uuids: Vec<String>,
    machines: Vec<Machine>,
    violation: Option<(Duration, Violation)>,
}

/// What is known of one machine.
#[derive(Debug, Default)]
struct Machine {
    boot: u32,
    init: Option<Arc<ScriptedInit>>,
    /// The registry it belongs to in this boot.
    epoch: Option<u32>,
    /// The highest revision it has been told.
    revision: Revision,
    readings: VecDeque<Reading>,
    is_leaving: bool,
    frozen: Option<Duration>,
    /// Until when it surely counts as present, as far as it can know.
    present_until: Duration,
    starts: BTreeMap<UnitName, Start>,
}

/// The starts of one unit in one boot.
#[derive(Debug, Default)]
struct Start {
    /// What for, since the machine last let go of it.
    causes: Vec<(u32, Cause)>,
    last: Option<Started>,
    /// The machine has let go of it since, on an authoritative word.
    is_let_go: bool,
    /// The machine's presence at the last start, and the epoch that was.
    presence: (u32, Option<Revision>),
}

impl Seen {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn note(&mut self, who: impl std::fmt::Display, what: std::fmt::Arguments<'_>) {
        let now = self.now();
        self.log.note(now, who, what);
    }

    fn accuse(&mut self, violation: Option<Violation>) {
        if let (Some(violation), None) = (violation, &self.violation) {
            let now = self.now();
            self.log.note(now, "VIOLATION", format_args!("{violation}"));
            self.violation = Some((now, violation));
        }
    }

    fn presence(&self, m: usize) -> Option<Revision> {
        let machine = self.cluster.machines.get(&id_of(m))?;
        machine.presence.as_ref().map(|p| p.created)
    }

    /// Whether a revision was made so long ago that everybody has heard of it.
    fn is_old(&self, revision: Revision, now: Duration) -> bool {
        let at = self.made.partition_point(|(r, _)| *r < revision);
        self.made.get(at).is_none_or(|(_, when)| *when + HEARD < now)
    }
}

impl Witness {
    /// Nothing has happened yet. The text of the history is kept only for a reader.
    pub fn new(machines: usize, keep: bool) -> Arc<Self> {
        let keys = Keys::default();
        Arc::new(Self(Mutex::new(Seen {
            began: Instant::now(),
            log: Log::new(keep),
            cluster: Cluster::empty(keys.clone()),
            keys,
            leader: None,
            epoch: 0,
            is_recovered: false,
            made: Vec::new(),
            contents: BTreeMap::new(),
            guarded: BTreeSet::new(),
            uuids: Vec::new(),
            machines: (0..machines).map(|_| Machine::default()).collect(),
            violation: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the beginning.
    pub fn now(&self) -> Duration {
        self.lock().now()
    }

    /// Something else that belongs to the history.
    pub fn note(&self, who: impl std::fmt::Display, what: std::fmt::Arguments<'_>) {
        self.lock().note(who, what);
    }

    /// A rule was found broken.
    pub fn accuse(&self, violation: Option<Violation>) {
        self.lock().accuse(violation);
    }

    /// The rule that was broken first, and when.
    pub fn violation(&self) -> Option<(Duration, Violation)> {
        self.lock().violation.clone()
    }

    /// Looks at the registry as it is.
    pub fn with_cluster<T>(&self, look: impl FnOnce(&Cluster) -> T) -> T {
        look(&self.lock().cluster)
    }

    /// Which machine leads.
    pub fn leader(&self) -> Option<usize> {
        let leader = self.lock().leader?;
        usize::from_str_radix(leader.as_str(), 16).ok()?.checked_sub(1)
    }

    /// The history's hash, its number of events, and its text if it was kept.
    pub fn finish(&self) -> (u64, u64, Vec<String>) {
        let mut seen = self.lock();
        let log = &mut seen.log;
        (log.hash(), log.events(), log.take_lines())
    }
}
