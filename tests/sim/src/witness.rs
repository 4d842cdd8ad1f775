//! Who sees everything: each revision of the registry as it is made, each word that a machine is given, each start and
//! stop. It applies the rules at once and keeps the history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleetd::cluster::Cluster;
use fleetd::init::scripted::ScriptedInit;
use fleetd::registry::keys::{Key, Keys};
use fleetd::registry::memory::Written;
use fleetd::registry::{Change, KeyValue, Revision, Select, Snapshot};
use tokio::time::Instant;
use units::{Hash, MachineId, Phase, Presence, UnitName, UnitRecord};

use crate::host::id_of;
use crate::log::Log;
use crate::rules::once::{self, Cause};
use crate::rules::stops::{Reading, Started};
use crate::rules::{Rule, Violation, fence, lost, placement};
use crate::seam::Role;

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

    fn describe(&mut self, writer: &str, revision: Revision, change: &Change) {
        let key = change
            .key()
            .strip_prefix(self.keys.root())
            .unwrap_or_else(|| change.key())
            .to_owned();
        let speaks_of_uuids = matches!(
            self.keys.parse(change.key()),
            Some(Key::Cluster | Key::Recovered(_) | Key::Doubted(_))
        );
        let is_content = key.starts_with("content/");
        let value = match change {
            Change::Delete { .. } => None,
            Change::Put(kv) if is_content => Some(format!("{:?}", String::from_utf8_lossy(&kv.value))),
            Change::Put(kv) => Some(String::from_utf8_lossy(&kv.value).into_owned()),
        };
        let mask = |seen: &mut Self, text: String| match speaks_of_uuids {
            true => seen.masked(&text),
            false => text,
        };
        let key = mask(self, key);
        match value.map(|value| mask(self, value)) {
            None => self.note(writer, format_args!("{revision}: - {key}")),
            Some(value) => {
                self.log.mix(value.as_bytes());
                let short: String = value.chars().take(300).collect();
                self.note(writer, format_args!("{revision}: + {key} = {short}"));
            }
        }
    }

    /// The text with each uuid replaced by its number.
    fn masked(&mut self, text: &str) -> String {
        let is_uuid = |word: &str| word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4;
        let mut masked = text.to_owned();
        let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
        for word in words.filter(|word| is_uuid(word)) {
            let known = self.uuids.iter().position(|u| u == word);
            let n = known.unwrap_or_else(|| {
                self.uuids.push(word.to_owned());
                self.uuids.len() - 1
            });
            masked = masked.replace(word, &format!("uuid-{n}"));
        }
        masked
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

    // ---- the registry ----

    /// A revision was made.
    pub fn written(&self, written: &Written<'_>) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let now = seen.now();
        let revision = written.batch.revision;
        let part = written.by.and_then(Role::parse);
        let writer = part.map(|(m, role)| (id_of(m), role));
        for change in &written.batch.changes {
            seen.describe(written.by.unwrap_or("lease"), revision, change);
            if let (Some(Key::Recovered(_)), Change::Put(_)) = (seen.keys.parse(change.key()), change) {
                seen.is_recovered = true;
            }
            let returns = writer.filter(|(_, role)| seen.is_recovered && *role == Role::Agent);
            let violation = fence::check(
                &seen.keys,
                &seen.cluster,
                seen.leader.as_ref(),
                writer,
                returns,
                change,
            )
            .or_else(|| {
                lost::check(
                    &seen.keys,
                    &seen.cluster,
                    part.map(|p| p.1),
                    returns.is_some(),
                    change,
                )
            });
            seen.accuse(violation);
            match (seen.keys.parse(change.key()), change) {
                (Some(Key::Unit(unit)), Change::Put(kv)) => {
                    if let Ok(record) = serde_json::from_slice::<UnitRecord>(&kv.value) {
                        seen.contents.insert((unit, revision), record.hash);
                    }
                }
                (Some(Key::Content(hash)), Change::Put(kv))
                    if String::from_utf8_lossy(&kv.value).contains("OnDisconnect=stop") =>
                {
                    seen.guarded.insert(hash);
                }
                (Some(Key::Presence(_)), Change::Put(kv)) => {
                    let leaves = serde_json::from_slice(&kv.value).is_ok_and(|p: Presence| p.leaving);
                    if let Some(machine) = part.and_then(|(m, _)| seen.machines.get_mut(m)) {
                        machine.is_leaving |= leaves;
                        if seen.is_recovered {
                            // It has heard the word, put back what it holds, and comes in: it believes this registry.
                            machine.epoch = Some(seen.epoch);
                        }
                    }
                }
                _ => {}
            }
        }
        let has_order = |key: &str| match seen.keys.parse(key) {
            Some(Key::Assign(id, unit)) => seen
                .cluster
                .machines
                .get(&id)
                .is_some_and(|m| m.assignments.contains_key(&unit)),
            _ => false,
        };
        let known: Vec<bool> = written.batch.changes.iter().map(|c| has_order(c.key())).collect();
        seen.made.push((revision, now));
        seen.cluster.apply(written.batch);
        for (change, was_known) in written.batch.changes.iter().zip(known) {
            match (seen.keys.parse(change.key()), change) {
                (Some(Key::Leader), Change::Put(kv)) => {
                    let id = std::str::from_utf8(&kv.value).ok();
                    seen.leader = id.and_then(|text| MachineId::parse(text).ok());
                }
                (Some(Key::Leader), Change::Delete { .. }) => seen.leader = None,
                (Some(Key::Assign(id, unit)), Change::Put(kv)) => {
                    if let Ok(order) = serde_json::from_slice::<units::Assignment>(&kv.value)
                        && order.phase == Phase::Run
                    {
                        let is_old = |revision| seen.is_old(revision, now);
                        let violation =
                            placement::check(&seen.cluster, &id, &unit, &order, !was_known, &is_old);
                        seen.accuse(violation);
                    }
                }
                _ => {}
            }
        }
    }

    /// The registry lost history, and this is what there is.
    pub fn replaced(&self, all: &[KeyValue], revision: Revision) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        seen.epoch += 1;
        seen.is_recovered = false;
        let kvs = all.to_vec();
        let leader = seen.keys.leader();
        let held = kvs.iter().find(|kv| kv.key == leader);
        let id = held.and_then(|kv| std::str::from_utf8(&kv.value).ok());
        seen.leader = id.and_then(|text| MachineId::parse(text).ok());
        seen.cluster = Cluster::from_snapshot(seen.keys.clone(), &Snapshot { kvs, revision });
        seen.made.clear();
        let record = |unit: &fleetd::cluster::Unit| Some((unit.generation, unit.record.as_ref().ok()?.hash));
        let known = seen.cluster.units.iter();
        seen.contents = known
            .filter_map(|(name, unit)| {
                record(unit).map(|(generation, hash)| ((name.clone(), generation), hash))
            })
            .collect();
    }

    /// How often the registry has lost history.
    pub fn epoch(&self) -> u32 {
        self.lock().epoch
    }

    /// The agent of `m` was given an answer to a read that was sent in `epoch`.
    pub fn agent_read(&self, m: usize, epoch: u32, what: &[Select], snapshot: &Snapshot) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let now = seen.now();
        let id = id_of(m);
        let assigns = Select::Prefix(seen.keys.assigns(&id));
        let cluster = Select::Key(seen.keys.cluster());
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        if what.contains(&cluster) && machine.epoch.is_none() && snapshot.get(&seen.keys.cluster()).is_some()
        {
            machine.epoch = Some(epoch);
        }
        let is_ours = machine.epoch == Some(epoch);
        if is_ours {
            machine.revision = machine.revision.max(snapshot.revision);
        }
        if !what.contains(&assigns) {
            return;
        }
        let boot = format!("{m}-{}", machine.boot);
        let reading = Reading::new(now, &seen.keys, &id, &boot, is_ours, snapshot);
        while machine.readings.len() > 1 && machine.readings.front().is_some_and(|r| r.at + WORD_HOLDS < now)
        {
            machine.readings.pop_front();
        }
        machine.readings.push_back(reading);
    }

    // ---- machines ----

    /// The power is on.
    pub fn booted(&self, m: usize, init: Arc<ScriptedInit>) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("boots"));
        if let Some(machine) = seen.machines.get_mut(m) {
            let boot = machine.boot + 1;
            *machine = Machine {
                boot,
                init: Some(init),
                ..Machine::default()
            };
        }
    }

    /// The power is off.
    pub fn powered_off(&self, m: usize) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("loses its power"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.init = None;
            machine.starts.clear();
        }
    }

    /// Another fleetd.
    pub fn process_began(&self, m: usize) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("fleetd starts"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.readings.clear();
            machine.is_leaving = false;
            machine.frozen = None;
        }
    }

    /// Its fleetd was stopped by a signal.
    pub fn frozen(&self, m: usize) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("fleetd is frozen"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.frozen.get_or_insert(now);
        }
    }

    /// It goes on.
    pub fn thawed(&self, m: usize) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("fleetd goes on"));
        if let Some(machine) = seen.machines.get_mut(m)
            && let Some(since) = machine.frozen.take()
        {
            // To the process no time has passed.
            machine.readings.iter_mut().for_each(|r| r.at += now - since);
        }
    }

    /// A part of fleetd ended by itself.
    pub fn broke(&self, m: usize, why: &str) {
        let violation = Violation::new(
            Rule::NothingBreaks,
            format!("fleetd of m{m} ended by itself: {why}"),
        );
        self.lock().accuse(Some(violation));
    }

    /// systemd has accepted a start; of a unit that was up already it makes no second copy.
    pub fn started(&self, m: usize, unit: &UnitName, cause: Cause, was_up: bool) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let (generation, run) = cause;
        seen.note(
            format_args!("m{m}"),
            format_args!("starts {unit} (generation {generation}, run {run})"),
        );
        let hash = seen.contents.get(&(unit.clone(), generation)).copied();
        let epoch = seen.epoch;
        let presence = (epoch, seen.presence(m));
        let is_global = seen
            .cluster
            .units
            .get(unit)
            .is_none_or(|u| u.requirements.as_ref().is_ok_and(|r| r.global));
        // What this machine was last told it was told as the one it still is: else it counts as lost itself.
        let was_told = |machine: &Machine| machine.readings.back().is_some_and(|r| r.presence == presence.1);
        // A machine that has a copy and starts it anew (another content, another run, ended by the guard) adds none: if there
        // are two, then because one of the machines was lost and came back with its own. A move goes to one without.
        let has_copy = seen
            .machines
            .get(m)
            .and_then(|machine| machine.starts.get(unit))
            .is_some_and(|s| !s.is_let_go);
        let is_here = !has_copy && presence.1.is_some() && seen.machines.get(m).is_some_and(was_told);
        let mut copy = None;
        for (there, other) in seen
            .machines
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != m && !was_up && !is_global)
        {
            let Some(start) = other.starts.get(unit).filter(|s| s.presence.0 == epoch) else {
                continue;
            };
            let kept = is_here && start.presence.1.is_some() && start.presence.1 == seen.presence(there);
            // By the content of both: what was started as another kind of unit was never told to be guarded, and what is of
            // another kind now need not wait for it.
            let is_guarded = |hash: Option<Hash>| hash.is_some_and(|h| seen.guarded.contains(&h));
            let is_once = is_guarded(hash) && is_guarded(start.last.and_then(|s| s.hash));
            if (is_once || kept) && other.init.as_ref().is_some_and(|init| once::is_up(init, unit)) {
                copy = Some(once::one_copy(unit, m, there, is_once));
            }
        }
        seen.accuse(copy);
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        let start = machine.starts.entry(unit.clone()).or_default();
        let before: Vec<Cause> = start
            .causes
            .iter()
            .filter(|(e, _)| *e == epoch)
            .map(|(_, c)| *c)
            .collect();
        let violation = once::start_once(m, unit, cause, &before);
        start.causes.push((epoch, cause));
        start.last = Some(Started { hash, run });
        start.presence = presence;
        start.is_let_go = false;
        seen.accuse(violation);
    }

    /// fleetd is about to stop a unit, or to take it away.
    pub fn ends(&self, m: usize, unit: &UnitName, how: &str) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        seen.note(format_args!("m{m}"), format_args!("{how} {unit}"));
        let now = seen.now();
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        let started = machine.starts.get(unit).and_then(|s| s.last);
        let latest = machine.readings.len().saturating_sub(1);
        let holds = |(n, r): &(usize, &Reading)| *n == latest || r.at + WORD_HOLDS >= now;
        let words = || machine.readings.iter().enumerate().filter(holds).map(|(_, r)| r);
        let allowed = machine.is_leaving || words().any(|r| r.ends(unit, started));
        // Let go of: another order for it is another start, whatever it is for.
        let lets_go = machine.is_leaving || words().any(|r| r.releases(unit));
        if let Some(start) = machine
            .starts
            .get_mut(unit)
            .filter(|_| lets_go && how == "unlink")
        {
            start.causes.clear();
            start.is_let_go = true;
        }
        let violation = (!allowed).then(|| {
            let last = machine.readings.back();
            let what = format!("m{m}: {how} {unit}, and the last it was told is {last:?}");
            Violation::new(Rule::NoStopUnasked, what)
        });
        seen.accuse(violation);
    }

    /// The time since the beginning.
    pub fn now(&self) -> Duration {
        self.lock().now()
    }

    /// The agent of `m` got an answer to a renewal of its presence that was sent then.
    pub fn renewed(&self, m: usize, sent: Duration, ttl: Duration) {
        if let Some(machine) = self.lock().machines.get_mut(m) {
            // Within the 1 % that clocks may be wrong.
            machine.present_until = machine.present_until.max(sent + ttl * 99 / 100);
        }
    }

    /// The guard is about to stop or kill a unit.
    pub fn guard_ends(&self, m: usize, unit: &UnitName) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("the guard ends {unit}"));
        let until = seen
            .machines
            .get(m)
            .map_or(Duration::ZERO, |machine| machine.present_until);
        let violation = (now < until).then(|| {
            let what = format!("the guard of m{m} ends {unit}, and the machine is present until {until:?}");
            Violation::new(Rule::NoStopUnasked, what)
        });
        seen.accuse(violation);
        // That was no end of its own: the unit counts as not started, and starts again where it belongs (design §6).
        if let Some(start) = seen
            .machines
            .get_mut(m)
            .and_then(|machine| machine.starts.get_mut(unit))
        {
            start.causes.clear();
        }
    }

    // ---- users and the driver ----

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
