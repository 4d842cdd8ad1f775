//! The cluster's store: a small trait, etcd behind it, and an in-memory twin with the same semantics.
//!
//! Everything fleet knows about the cluster is kept here and nowhere else. The trait offers exactly what the
//! protocols of the design need: linearizable reads of several ranges at one revision, commits with
//! preconditions, watches from a revision, and leases. `contract` is the test-suite that both stores pass.
//!
//! What a caller may rely on, whichever store is behind it:
//! * every answer carries the store's revision at which it holds; revisions only grow, unless the store was
//!   wiped or restored from a backup (callers that care keep the highest they have seen);
//! * a [`Txn`] is applied whole or not at all;
//! * a [`Watch`] delivers every change after its starting revision once, in order, and changes of one revision
//!   in one batch; when it cannot, it ends with an error and never skips silently;
//! * an error that leaves open whether a commit happened is [`RegistryError::Unknown`], nothing else is.

mod backoff;
mod check;
pub mod contract;
pub mod etcd;
pub mod keys;
pub mod memory;
pub mod mirror;
pub(crate) mod together;
pub mod trust;

pub use backoff::Backoff;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

/// How long a store is given to answer one request, where the caller does not say: far above any answer of a healthy
/// etcd (milliseconds), below its own 7 s for a request it cannot get a majority for.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Batches that lie ready for the holder of a watch before whoever fills it has to wait.
const WATCH_BUFFER: usize = 64;

/// A record as it is stored: JSON, so that `etcdctl get` shows something a person can read.
pub fn encode<T: serde::Serialize>(record: &T) -> Vec<u8> {
    // Cannot fail: records are plain structs, and serde_json only refuses maps whose keys are not text.
    serde_json::to_vec(record).unwrap_or_default()
}

/// A point in the store's history, counted from 1; etcd's `revision`.
pub type Revision = i64;

/// A lease in the store; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A handle that every room shares.
pub type SharedRegistry = Arc<dyn Registry>;

/// What to read or to watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Select {
    /// One key.
    Key(String),
    /// Every key that begins with this text.
    Prefix(String),
}

impl Select {
    /// Whether `key` is meant.
    pub fn matches(&self, key: &str) -> bool {
        match self {
            Self::Key(k) => k == key,
            Self::Prefix(p) => key.starts_with(p.as_str()),
        }
    }
}

/// One key with its value and history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The whole key, with the cluster's prefix.
    pub key: String,
    /// The stored bytes; somebody else may have written them.
    pub value: Vec<u8>,
    /// Revision at which the key came into being (a delete and a new put make a new one).
    pub create_revision: Revision,
    /// Revision of its last change.
    pub mod_revision: Revision,
    /// The lease it lives with, if any.
    pub lease: Option<LeaseId>,
}

/// The answer to one read: every selected key, all at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Keys in ascending order, without duplicates, over all selections together.
    pub kvs: Vec<KeyValue>,
    /// The store's revision when it was read.
    pub revision: Revision,
}

impl Snapshot {
    /// The entry of `key`, if it exists.
    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.kvs
            .binary_search_by(|kv| kv.key.as_str().cmp(key))
            .ok()
            .and_then(|i| self.kvs.get(i))
    }
}

/// A condition that must hold, compared inside the store, for a [`Txn`] to apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precondition {
    /// The key exists and was last changed at this revision.
    Unchanged(String, Revision),
    /// The key exists and came into being at this revision: a fence, or an incarnation.
    Created(String, Revision),
    /// There is no such key.
    Absent(String),
    /// The key exists with exactly these bytes.
    Value(String, Vec<u8>),
}

impl Precondition {
    /// The key it looks at.
    pub fn key(&self) -> &str {
        match self {
            Self::Unchanged(k, _) | Self::Created(k, _) | Self::Absent(k) | Self::Value(k, _) => k,
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Set the key; with a lease it goes when the lease goes.
    Put {
        /// The whole key.
        key: String,
        /// The bytes to store.
        value: Vec<u8>,
        /// The lease to live with.
        lease: Option<LeaseId>,
    },
    /// Remove the key; not an error if it is not there.
    Delete {
        /// The whole key.
        key: String,
    },
}

impl Op {
    /// The key it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The lease it puts the key under, if any.
    pub fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Put { lease, .. } => *lease,
            Self::Delete { .. } => None,
        }
    }
}

/// Changes that apply together, or not at all.
///
/// At most [`MAX_OPS`] preconditions and as many changes, and no key changed twice: etcd refuses both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// Applied together if they do.
    pub ops: Vec<Op>,
}

/// etcd's limit on a transaction: the larger of its compares and its writes (design §4, "Batches").
pub const MAX_OPS: usize = 128;

impl Txn {
    /// A transaction that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a precondition; one that is there already is not repeated.
    #[must_use]
    pub fn when(mut self, precondition: Precondition) -> Self {
        if !self.preconditions.contains(&precondition) {
            self.preconditions.push(precondition);
        }
        self
    }

    /// Adds a put without a lease.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        });
        self
    }

    /// Adds a put under a lease.
    #[must_use]
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }
}

/// What became of a [`Txn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Applied, at this revision.
    Applied(Revision),
    /// A precondition did not hold; nothing was changed. The store stood at this revision.
    Refused(Revision),
}

/// A lease just granted or renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives from now without another renewal, as the store granted it.
    pub ttl: Duration,
    /// The store's revision when it answered (0 if the store did not say): lets a caller notice a restored store.
    pub revision: Revision,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// How long it still lives without another renewal, in whole seconds.
    pub left: Duration,
    /// How long each renewal is good for, as the store granted it.
    pub granted: Duration,
}

/// All changes of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision that made them.
    pub revision: Revision,
    /// In the order of the transaction; never empty.
    pub changes: Vec<Change>,
}

/// One observed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was set.
    Put(KeyValue),
    /// The key was removed, by someone or with its lease.
    Delete {
        /// The whole key.
        key: String,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key } => key,
        }
    }
}

/// An open watch. Dropping it closes it.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<Batch, RegistryError>>,
}

impl Watch {
    /// A watch that hands out what is sent to the other end; for implementors.
    pub fn channel(capacity: usize) -> (mpsc::Sender<Result<Batch, RegistryError>>, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Self { receiver })
    }

    /// The next batch. After an error the watch is over: open another from the last revision seen plus one, or, after
    /// [`RegistryError::Compacted`], read everything again. Cancel safe.
    ///
    /// # Errors
    /// Whatever ended the watch; [`RegistryError::Unavailable`] if the other end is gone without a word.
    pub async fn next(&mut self) -> Result<Batch, RegistryError> {
        match self.receiver.recv().await {
            Some(item) => item,
            None => Err(RegistryError::Unavailable("the watch ended".to_owned())),
        }
    }
}

/// Why the store could not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Nothing was changed: no endpoint answered, or the cluster has no leader. Trying again later is right.
    #[error("etcd is not available: {0}")]
    Unavailable(String),
    /// A commit was sent and no answer came: it may have been applied. Read before deciding again.
    #[error("etcd did not answer, the change may or may not have been made: {0}")]
    Unknown(String),
    /// The watch asked for history that is gone; the oldest revision still there is named.
    #[error("etcd has compacted its history up to revision {0}")]
    Compacted(Revision),
    /// The lease does not exist any more.
    #[error("lease {0} has expired")]
    LeaseExpired(LeaseId),
    /// The store refuses, and would refuse again: rights, quota, a request too large, a wrong address.
    #[error("etcd refused: {0}")]
    Refused(String),
}

/// The store. See the module's text for what holds for every method.
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Reads all selections at one revision, linearizably: what was acknowledged before is seen. As many as wanted; none
    /// at all tells the store's revision, for which etcd may ask for rights to the lowest key.
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError>;

    /// Applies `txn` if all its preconditions hold.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] only if it was surely not applied, [`RegistryError::Unknown`] if it may have been,
    /// at once or later. [`RegistryError::LeaseExpired`] with one of its leases if any of them is gone; nothing is
    /// changed then. [`RegistryError::Refused`] also beyond [`MAX_OPS`] or about 1.5 MiB.
    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError>;

    /// Follows changes of `what` from `from` on, inclusive; 0 is from now on. Returns once the store has accepted the
    /// watch; that its history is gone ([`RegistryError::Compacted`]) is said by the watch itself, as its first word.
    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError>;

    /// Makes a lease of about `ttl` (the store may lengthen it; whole seconds in etcd).
    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError>;

    /// Renews a lease, giving up after `deadline`; a miss makes the next call go to another endpoint.
    ///
    /// # Errors
    /// [`RegistryError::LeaseExpired`] if it is gone for good.
    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError>;

    /// How long the lease still lives without being renewed, and what it was granted for; the call itself does not renew
    /// it.
    ///
    /// # Errors
    /// [`RegistryError::LeaseExpired`] if it is gone.
    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError>;

    /// Ends a lease and everything that lives with it. Not an error if it is gone already.
    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError>;
}
