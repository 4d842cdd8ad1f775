//! The state of the twin and its rules: etcd's, without any waiting. Time comes in from outside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::check::{self, MAX_REQUEST_BYTES};
use super::super::{
    Batch, Change, Commit, KeyValue, Lease, LeaseId, Op, Precondition, RegistryError, Remaining, Revision,
    Select, Snapshot, Txn,
};
use super::watchers::{News, Watchers};

/// The shortest lease etcd grants with its default election timeout of 1 s.
const MIN_TTL: Duration = Duration::from_secs(2);

/// Everything a store holds.
#[derive(Debug)]
pub(super) struct Store {
    data: Data,
    /// When each lease ends; the earliest first.
    due: BTreeSet<(Instant, LeaseId)>,
    /// Never goes back, not even when the store is wiped: an old id must stay unknown.
    next_lease: i64,
    /// How long after its time a lease really ends.
    late: Duration,
    /// Nobody counts the time of leases: there is no leader in etcd.
    is_stopped: bool,
    pub(super) watchers: Watchers,
    pub(super) observer: Option<Observer>,
}

/// One revision as it was made, for [`super::MemoryRegistry::observe`].
#[derive(Debug)]
pub struct Written<'a> {
    /// The name of the client whose transaction it was; `None` for a lease that ended.
    pub by: Option<&'a str>,
    /// What changed.
    pub batch: &'a Batch,
}

pub(super) type Observe = dyn FnMut(&Written<'_>) + Send;

/// Whoever is told of every revision.
pub(super) struct Observer(pub(super) Box<Observe>);

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

/// What a backup keeps.
#[derive(Debug, Clone)]
pub(super) struct Data {
    revision: Revision,
    /// Changes up to and including this revision are gone.
    compacted: Revision,
    keys: BTreeMap<String, KeyValue>,
    history: VecDeque<Batch>,
    leases: BTreeMap<LeaseId, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            leases: BTreeMap::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            data: Data::default(),
            due: BTreeSet::new(),
            next_lease: 0x1001,
            late: Duration::ZERO,
            is_stopped: false,
            observer: None,
            watchers: Watchers::default(),
        }
    }
}

impl Store {
    pub(super) fn revision(&self) -> Revision {
        self.data.revision
    }

    pub(super) fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        check::select(what)?;
        let mut found = BTreeMap::new();
        for select in what {
            match select {
                Select::Key(key) => found.extend(self.data.keys.get_key_value(key)),
                Select::Prefix(prefix) => found.extend(
                    self.data
                        .keys
                        .range(prefix.clone()..)
                        .take_while(|(key, _)| key.starts_with(prefix.as_str())),
                ),
            }
        }
        Ok(Snapshot {
            kvs: found.into_values().cloned().collect(),
            revision: self.data.revision,
        })
    }

    pub(super) fn commit(&mut self, txn: Txn, by: &str, now: Instant) -> Result<Commit, RegistryError> {
        check::txn(&txn)?;
        if bytes(&txn) > MAX_REQUEST_BYTES {
            return Err(RegistryError::Refused("the request is too large".to_owned()));
        }
        if !txn.preconditions.iter().all(|p| self.holds(p)) {
            return Ok(Commit::Refused(self.data.revision));
        }
        // After the preconditions, as in etcd: only the branch that is taken has its leases looked up.
        let mut leases = txn.ops.iter().filter_map(Op::lease);
        if let Some(gone) = leases.find(|id| !self.data.leases.contains_key(id)) {
            return Err(RegistryError::LeaseExpired(gone));
        }
        let revision = self.data.revision + 1;
        let changes = txn
            .ops
            .into_iter()
            .filter_map(|op| self.apply(op, revision))
            .collect();
        self.publish(changes, Some(by), now);
        Ok(Commit::Applied(self.data.revision))
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        let kv = self.data.keys.get(precondition.key());
        match precondition {
            Precondition::Unchanged(_, revision) => kv.is_some_and(|kv| kv.mod_revision == *revision),
            Precondition::Created(_, revision) => kv.is_some_and(|kv| kv.create_revision == *revision),
            Precondition::Absent(_) => kv.is_none(),
            Precondition::Value(_, value) => kv.is_some_and(|kv| kv.value == *value),
        }
    }

    /// One change at `revision`, if it is one: deleting what is not there is none.
    fn apply(&mut self, op: Op, revision: Revision) -> Option<Change> {
        let before = self.data.keys.remove(op.key());
        if let Some(held) = before
            .as_ref()
            .and_then(|kv| self.data.leases.get_mut(&kv.lease?))
        {
            held.keys.remove(op.key());
        }
        match op {
            Op::Delete { key } => before.map(|_| Change::Delete { key }),
            Op::Put { key, value, lease } => {
                if let Some(held) = lease.and_then(|id| self.data.leases.get_mut(&id)) {
                    held.keys.insert(key.clone());
                }
                let kv = KeyValue {
                    key: key.clone(),
                    value,
                    create_revision: before.map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    lease,
                };
                self.data.keys.insert(key, kv.clone());
                Some(Change::Put(kv))
            }
        }
    }

    /// Makes `changes` the next revision; no changes make none.
    fn publish(&mut self, changes: Vec<Change>, by: Option<&str>, now: Instant) {
        if changes.is_empty() {
            return;
        }
        self.data.revision += 1;
        let batch = Batch {
            revision: self.data.revision,
            changes,
        };
        if let Some(Observer(observe)) = &mut self.observer {
            observe(&Written { by, batch: &batch });
        }
        self.watchers.tell(&batch, now);
        self.data.history.push_back(batch);
    }

    /// Registers a watch and replays what it missed. A watch that begins in compacted history is accepted and then
    /// told so: etcd does it in that order too.
    pub(super) fn watch(
        &mut self,
        what: Select,
        from: Revision,
        now: Instant,
        to: mpsc::UnboundedSender<News>,
    ) -> Result<u64, RegistryError> {
        check::select([&what])?;
        // 0 is etcd's "from now on"; revision 1 is the empty store.
        let from = if from == 0 {
            self.data.revision + 1
        } else {
            from.max(2)
        };
        if from <= self.data.compacted {
            let _ = to.send((now, Err(RegistryError::Compacted(self.data.compacted))));
        } else {
            let start = self.data.history.partition_point(|batch| batch.revision < from);
            for batch in self.data.history.range(start..) {
                let wanted = batch.changes.iter().filter(|change| what.matches(change.key()));
                let changes: Vec<Change> = wanted.cloned().collect();
                if !changes.is_empty() {
                    let revision = batch.revision;
                    let _ = to.send((now, Ok(Batch { revision, changes })));
                }
            }
        }
        Ok(self.watchers.add(what, from, to))
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Lease {
        let whole = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        let ttl = whole.max(MIN_TTL);
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let deadline = now + ttl;
        let keys = BTreeSet::new();
        self.data.leases.insert(id, Held { ttl, deadline, keys });
        self.due.insert((deadline, id));
        Lease {
            id,
            ttl,
            revision: self.data.revision,
        }
    }

    pub(super) fn renew(&mut self, id: LeaseId, now: Instant) -> Result<Lease, RegistryError> {
        let held = self
            .data
            .leases
            .get_mut(&id)
            // As in etcd: what is over is over, though it may still have to be cleared away.
            .filter(|held| self.is_stopped || now < held.deadline)
            .ok_or(RegistryError::LeaseExpired(id))?;
        self.due.remove(&(held.deadline, id));
        held.deadline = now + held.ttl;
        self.due.insert((held.deadline, id));
        Ok(Lease {
            id,
            ttl: held.ttl,
            revision: self.data.revision,
        })
    }

    /// In whole seconds, rounded down, as etcd answers.
    pub(super) fn remaining(&self, id: LeaseId, now: Instant) -> Result<Remaining, RegistryError> {
        let held = self.data.leases.get(&id).ok_or(RegistryError::LeaseExpired(id))?;
        Ok(Remaining {
            left: Duration::from_secs(held.deadline.saturating_duration_since(now).as_secs()),
            granted: held.ttl,
        })
    }

    /// Ends a lease: its keys go in one revision, in the order of their names. `false` if there is no such lease.
    pub(super) fn revoke(&mut self, id: LeaseId, now: Instant) -> bool {
        let Some(held) = self.data.leases.remove(&id) else {
            return false;
        };
        self.due.remove(&(held.deadline, id));
        let revision = self.data.revision + 1;
        let keys = held.keys.into_iter();
        let changes = keys
            .filter_map(|key| self.apply(Op::Delete { key }, revision))
            .collect();
        self.publish(changes, None, now);
        true
    }

    /// Ends every lease whose time is over.
    pub(super) fn expire_due(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.due.first()
            && !self.is_stopped
            && deadline + self.late <= now
        {
            self.revoke(id, now);
        }
    }

    /// When the lease will be ended, if nothing happens before; `None` also while nobody counts.
    pub(super) fn end_of(&self, id: LeaseId) -> Option<Instant> {
        let held = self.data.leases.get(&id).filter(|_| !self.is_stopped)?;
        Some(held.deadline + self.late)
    }

    pub(super) fn end_leases_late(&mut self, by: Duration) {
        self.late = by;
    }

    pub(super) fn stop_leases(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn resume_leases(&mut self, now: Instant) {
        self.is_stopped = false;
        self.refresh_leases(now);
    }

    pub(super) fn leases(&self) -> Vec<LeaseId> {
        self.data.leases.keys().copied().collect()
    }

    /// Every lease starts its whole term again, as after an election in etcd.
    pub(super) fn refresh_leases(&mut self, now: Instant) {
        for (id, held) in &mut self.data.leases {
            self.due.remove(&(held.deadline, *id));
            held.deadline = now + held.ttl;
            self.due.insert((held.deadline, *id));
        }
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), RegistryError> {
        if revision > self.data.revision {
            return Err(RegistryError::Refused(format!(
                "revision {revision} is yet to come"
            )));
        }
        if revision <= self.data.compacted {
            return Err(RegistryError::Compacted(self.data.compacted));
        }
        self.data.compacted = revision;
        let gone = self
            .data
            .history
            .partition_point(|batch| batch.revision <= revision);
        self.data.history.drain(..gone);
        Ok(())
    }

    pub(super) fn data(&self) -> Data {
        self.data.clone()
    }

    /// Replaces everything, as a restart with another data directory does: open watches end, leases start their term
    /// again.
    pub(super) fn replace(&mut self, data: Data, now: Instant) {
        self.watchers.clear();
        self.due.clear();
        self.data = data;
        self.refresh_leases(now);
    }
}

/// About what etcd counts: it measures the encoded request, a few bytes more per entry.
fn bytes(txn: &Txn) -> usize {
    let compared = txn.preconditions.iter().map(|p| match p {
        Precondition::Value(key, value) => key.len() + value.len(),
        other => other.key().len(),
    });
    let changed = txn.ops.iter().map(|op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    });
    compared.chain(changed).sum()
}
