//! The store in memory: etcd's semantics on tokio's clock, with switches for everything that goes wrong in life.
//!
//! Tests and the simulator run on it; `contract` holds it to what real etcd does. Leases end by tokio's clock, so a
//! test under `start_paused` sees a lease of 15 s end without waiting for it. Everything is deterministic: ids count
//! up, and leases that end at the same instant end in the order of their ids.

mod client;
mod link;
mod store;
#[cfg(test)]
mod tests;
mod watchers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use super::{
    Commit, KeyValue, Lease, LeaseId, Registry, RegistryError, Remaining, Revision, Select, Snapshot, Txn,
    Watch,
};
pub use client::MemoryClient;
use link::Link;
pub use store::Written;
use store::{Data, Observer, Store};

/// A store in memory. A clone is another handle to the same store.
///
/// Used as a [`Registry`] itself it is a client that nothing ever happens to; faults belong to the clients that
/// [`MemoryRegistry::client`] names.
#[derive(Debug, Clone)]
pub struct MemoryRegistry {
    direct: MemoryClient,
}

/// How often the store was asked for something; how performance is measured where there is no real clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads, of however many selections.
    pub reads: u64,
    /// Keys that those reads told of.
    pub keys: u64,
    /// Transactions, applied or not.
    pub commits: u64,
    /// Changes within those transactions.
    pub changes: u64,
    /// Bytes of the values within those changes.
    pub bytes: u64,
    /// Watches opened.
    pub watches: u64,
    /// Changes that watches told of.
    pub told: u64,
    /// Leases asked for.
    pub grants: u64,
    /// Renewals of leases.
    pub renewals: u64,
    /// The rest: revocations, questions about a lease's time.
    pub others: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b)
    }
}

/// What was asked between two looks.
impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        self.combine(before, u64::saturating_sub)
    }
}

impl Counters {
    fn combine(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            reads: f(self.reads, other.reads),
            keys: f(self.keys, other.keys),
            commits: f(self.commits, other.commits),
            changes: f(self.changes, other.changes),
            bytes: f(self.bytes, other.bytes),
            watches: f(self.watches, other.watches),
            told: f(self.told, other.told),
            grants: f(self.grants, other.grants),
            renewals: f(self.renewals, other.renewals),
            others: f(self.others, other.others),
        }
    }
}

/// A copy of a store at one moment, for [`MemoryRegistry::restore`].
#[derive(Debug, Clone)]
pub struct Backup(Data);

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryRegistry {
    /// An empty store, at revision 1.
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let link = shared.link("direct");
        Self {
            direct: MemoryClient { shared, link },
        }
    }

    /// The client of this name, made when first asked for.
    pub fn client(&self, name: &str) -> MemoryClient {
        MemoryClient {
            shared: self.shared().clone(),
            link: self.shared().link(name),
        }
    }

    /// The store's revision.
    pub fn revision(&self) -> Revision {
        self.with(|store| store.revision())
    }

    /// Every key there is, in ascending order; not counted as a read.
    pub fn dump(&self) -> Vec<KeyValue> {
        let everything = [Select::Prefix(String::new())];
        self.with(|store| store.read(&everything))
            .map_or_else(|_| Vec::new(), |all| all.kvs)
    }

    /// What all clients together have asked so far.
    pub fn counters(&self) -> Counters {
        let links = self.shared().links.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .values()
            .fold(Counters::default(), |sum, link| sum + link.counters())
    }

    /// How many watches are open.
    pub fn open_watches(&self) -> usize {
        self.with(|store| store.watchers.len())
    }

    /// Forgets the history up to and including `revision`. A watch that is open keeps what it was already owed.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] for a revision yet to come, [`RegistryError::Compacted`] for one already gone.
    pub fn compact(&self, revision: Revision) -> Result<(), RegistryError> {
        self.with(|store| store.compact(revision))
    }

    /// Loses everything, as if etcd's data directory had been deleted: the revision starts again at 1, leases are
    /// unknown, open watches end.
    pub fn wipe(&self) {
        self.with(|store| store.replace(Data::default(), Instant::now()));
    }

    /// Takes a backup.
    pub fn backup(&self) -> Backup {
        Backup(self.with(|store| store.data()))
    }

    /// Goes back to a backup, as etcd does when it is restored: the revision goes back, leases come back with their
    /// whole term, open watches end, and a watch then opened at a revision from before stays silent until the store
    /// gets there again.
    pub fn restore(&self, backup: &Backup) {
        self.with(|store| store.replace(backup.0.clone(), Instant::now()));
        self.arm_all();
    }

    /// Ends a lease now, as if its time were over. Not an error if it is gone already.
    pub fn expire(&self, id: LeaseId) {
        self.with(|store| store.revoke(id, Instant::now()));
    }

    /// The ids of all leases, in ascending order.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.with(|store| store.leases())
    }

    /// Ends every lease this long after its time, as etcd does when it is busy. A lease whose time is over cannot be
    /// renewed, but what lives with it stays until it is ended.
    pub fn end_leases_late(&self, by: Duration) {
        self.with(|store| store.end_leases_late(by));
        // Whoever sleeps until a lease ends may be sleeping too long.
        self.arm_all();
    }

    /// Stops counting the time of leases, as an etcd without a leader does. Requests are the clients' affair: see
    /// [`MemoryClient::cut`] and [`MemoryClient::hang`].
    pub fn stop_leases(&self) {
        self.with(Store::stop_leases);
    }

    /// Ends [`MemoryRegistry::stop_leases`]: every lease starts its whole term again.
    pub fn resume_leases(&self) {
        self.with(|store| store.resume_leases(Instant::now()));
        self.arm_all();
    }

    /// Has every revision told to `observe` as it is made, before any watcher hears of it. One observer at a time; it
    /// must not ask the store anything, which is locked meanwhile.
    pub fn observe(&self, observe: impl FnMut(&Written<'_>) + Send + 'static) {
        self.with(|store| store.observer = Some(Observer(Box::new(observe))));
    }

    /// etcd elects a leader of its own: every lease starts its whole term again.
    pub fn elect(&self) {
        self.with(|store| store.refresh_leases(Instant::now()));
    }

    fn arm_all(&self) {
        for id in self.with(|store| store.leases()) {
            self.shared().arm(id);
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.direct.shared
    }

    fn with<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        self.shared().with(f)
    }
}

/// The store and everybody's way to it.
#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Does something with the store, after the leases that are due by now have ended.
    fn with<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.expire_due(Instant::now());
        f(&mut store)
    }

    fn link(&self, name: &str) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Link::new(name)))
            .clone()
    }

    /// Wakes up when the lease may end, so that its watchers hear of it though nobody asks the store anything.
    /// Outside of a runtime there is nobody who could be waiting either.
    fn arm(self: &Arc<Self>, id: LeaseId) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let shared = Arc::downgrade(self);
        runtime.spawn(async move {
            // `with` ends the lease if it is due; it has no deadline then.
            while let Some(deadline) = shared.upgrade().and_then(|s| s.with(|store| store.end_of(id))) {
                sleep_until(deadline).await;
            }
        });
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        self.direct.read(what).await
    }

    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError> {
        self.direct.commit(txn).await
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        self.direct.watch(what, from).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        self.direct.grant(ttl).await
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        self.direct.renew(id, deadline).await
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        self.direct.remaining(id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.direct.revoke(id).await
    }
}
