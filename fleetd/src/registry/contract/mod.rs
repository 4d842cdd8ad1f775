//! What every store must do, as a test-suite: the promises of the module above, each a case.
//!
//! The twin passes it in this crate's tests, under a clock that is held; real etcd, of several versions and sizes, in
//! the lab. What tests prove on the twin holds in production only as far as this suite reaches, so a rule of etcd that
//! the code comes to rely on gets a case here first.
//!
//! Cases want the store to themselves while they run: one compacts its history, others count its revisions. Run them
//! one after the other, on one store or on a fresh one each; their keys do not overlap.

mod commits;
mod leases;
mod reads;
mod watches;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{
    Batch, Change, Commit, KeyValue, RegistryError, Revision, Select, SharedRegistry, Snapshot, Txn, Watch,
};

/// Makes a store forget its history up to and including a revision; each store has its own way.
pub type Compact = Arc<dyn Fn(Revision) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A case: an error, or a panic, says which promise is broken.
pub type CaseFn = fn(Subject) -> BoxFuture<'static, Result<()>>;

/// How long something may take that a healthy store does at once.
const SOON: Duration = Duration::from_secs(10);

/// The store under test.
#[derive(Clone)]
pub struct Subject {
    registry: SharedRegistry,
    compact: Compact,
    prefix: String,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Every case, with a name that says what is promised.
pub fn cases() -> Vec<(&'static str, CaseFn)> {
    let mut cases = Vec::new();
    cases.extend(reads::cases());
    cases.extend(commits::cases());
    cases.extend(leases::cases());
    cases.extend(watches::cases());
    cases
}

/// A list of `(name, function)` from functions, the name being theirs.
macro_rules! list {
    ($($case:ident),+ $(,)?) => {
        pub(super) fn cases() -> Vec<(&'static str, super::CaseFn)> {
            vec![$((stringify!($case), |subject| Box::pin($case(subject)))),+]
        }
    };
}
use list;

impl Subject {
    /// A store that may hold other keys, as long as none begins with `prefix`; give each case its own.
    pub fn new(registry: SharedRegistry, compact: Compact, prefix: impl Into<String>) -> Self {
        Self {
            registry,
            compact,
            prefix: prefix.into(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn one(&self, name: &str) -> Select {
        Select::Key(self.key(name))
    }

    fn under(&self, name: &str) -> Select {
        Select::Prefix(self.key(name))
    }

    async fn read(&self, what: &[Select]) -> Result<Snapshot> {
        self.registry.read(what).await.context("read")
    }

    async fn get(&self, name: &str) -> Result<Option<KeyValue>> {
        Ok(self.read(&[self.one(name)]).await?.kvs.pop())
    }

    /// A commit that must be applied.
    async fn apply(&self, txn: Txn) -> Result<Revision> {
        match self.registry.commit(txn).await.context("commit")? {
            Commit::Applied(revision) => Ok(revision),
            Commit::Refused(revision) => anyhow::bail!("a precondition does not hold at {revision}"),
        }
    }

    async fn put(&self, name: &str, value: &str) -> Result<Revision> {
        self.apply(Txn::new().put(self.key(name), value)).await
    }

    async fn delete(&self, name: &str) -> Result<Revision> {
        self.apply(Txn::new().delete(self.key(name))).await
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch> {
        self.registry.watch(what, from).await.context("watch")
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        (self.compact)(revision).await.context("compact")
    }

    /// What a watch says next.
    async fn said(&self, watch: &mut Watch) -> Result<Result<Batch, RegistryError>> {
        timeout(SOON, watch.next()).await.context("the watch is silent")
    }

    async fn batch(&self, watch: &mut Watch) -> Result<Batch> {
        self.said(watch).await?.context("the watch ended")
    }

    /// The keys of the next batch, without the subject's prefix; a deleted one begins with a minus.
    async fn heard(&self, watch: &mut Watch) -> Result<Vec<String>> {
        let batch = self.batch(watch).await?;
        batch.changes.iter().map(|change| self.short(change)).collect()
    }

    fn short(&self, change: &Change) -> Result<String> {
        let key = change.key().strip_prefix(&self.prefix);
        let key = key.with_context(|| format!("a change of {} was not asked for", change.key()))?;
        Ok(match change {
            Change::Put(_) => key.to_owned(),
            Change::Delete { .. } => format!("-{key}"),
        })
    }

    /// The keys of a snapshot, without the subject's prefix.
    fn names(&self, snapshot: &Snapshot) -> Vec<String> {
        let short = |kv: &KeyValue| kv.key.strip_prefix(&self.prefix).unwrap_or(&kv.key).to_owned();
        snapshot.kvs.iter().map(short).collect()
    }
}

/// Whether the store refuses as it must: for good, without a doubt left.
fn refused<T: fmt::Debug>(result: &Result<T, RegistryError>) -> Result<()> {
    ensure!(
        matches!(result, Err(RegistryError::Refused(_))),
        "not refused: {result:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::MemoryRegistry;

    #[tokio::test(start_paused = true)]
    async fn the_registry_in_memory_keeps_the_contract() {
        let mut broken = Vec::new();
        for (name, case) in cases() {
            let store = MemoryRegistry::new();
            let compactor = store.clone();
            let compact: Compact = Arc::new(move |revision| {
                let store = compactor.clone();
                Box::pin(async move { Ok(store.compact(revision)?) })
            });
            let subject = Subject::new(Arc::new(store), compact, format!("/contract/{name}/"));
            if let Err(error) = case(subject).await {
                broken.push(format!("{name}: {error:#}"));
            }
        }
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
