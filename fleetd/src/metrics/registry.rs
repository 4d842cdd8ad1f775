//! How the store answers, seen from here: every request is counted and timed on its way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::meter::{Counter, Histogram};
use crate::registry::{
    Commit, Lease, LeaseId, Registry, RegistryError, Remaining, Revision, Select, SharedRegistry, Snapshot,
    Txn, Watch,
};

/// What is asked of the store. The first three are fleet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    GetAll,
    Set,
    Watch,
    Lease,
}

impl Operation {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::GetAll, Self::Set, Self::Watch, Self::Lease];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetAll => "get_all",
            Self::Set => "set",
            Self::Watch => "watch",
            Self::Lease => "lease",
        }
    }
}

/// Of one kind of operation.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    pub(crate) asked: Counter,
    pub(crate) failed: Counter,
    pub(crate) took: Histogram,
}

/// Of the store.
#[derive(Debug, Default)]
pub struct RegistryMetrics([OperationMetrics; Operation::ALL.len()]);

impl RegistryMetrics {
    pub(crate) fn of(&self, operation: Operation) -> &OperationMetrics {
        match operation {
            Operation::Get => &self.0[0],
            Operation::GetAll => &self.0[1],
            Operation::Set => &self.0[2],
            Operation::Watch => &self.0[3],
            Operation::Lease => &self.0[4],
        }
    }
}

/// A store that is counted.
#[derive(Debug)]
pub struct Metered {
    registry: SharedRegistry,
    metrics: Arc<RegistryMetrics>,
}

impl Metered {
    /// `registry`, with what becomes of each request noted in `metrics`.
    pub fn new(registry: SharedRegistry, metrics: Arc<RegistryMetrics>) -> Self {
        Self { registry, metrics }
    }

    async fn time<T>(
        &self,
        operation: Operation,
        answer: impl Future<Output = Result<T, RegistryError>> + Send,
    ) -> Result<T, RegistryError> {
        let asked = Instant::now();
        let answer = answer.await;
        let metrics = self.metrics.of(operation);
        metrics.asked.add_one();
        metrics.took.observe(asked.elapsed());
        // That history or a lease is gone is an answer.
        let is_failure = |error: &RegistryError| match error {
            RegistryError::Unavailable(_) | RegistryError::Unknown(_) | RegistryError::Refused(_) => true,
            RegistryError::Compacted(_) | RegistryError::LeaseExpired(_) => false,
        };
        if answer.as_ref().is_err_and(is_failure) {
            metrics.failed.add_one();
        }
        answer
    }
}

#[async_trait]
impl Registry for Metered {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        let is_all = what.iter().any(|select| matches!(select, Select::Prefix(_)));
        let operation = if is_all { Operation::GetAll } else { Operation::Get };
        self.time(operation, self.registry.read(what)).await
    }

    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError> {
        self.time(Operation::Set, self.registry.commit(txn)).await
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        self.time(Operation::Watch, self.registry.watch(what, from)).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        self.time(Operation::Lease, self.registry.grant(ttl)).await
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        self.time(Operation::Lease, self.registry.renew(id, deadline))
            .await
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        self.time(Operation::Lease, self.registry.remaining(id)).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.time(Operation::Lease, self.registry.revoke(id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::MemoryRegistry;

    #[tokio::test(start_paused = true)]
    async fn each_request_is_counted_once_and_only_what_failed_as_failed() {
        let store = MemoryRegistry::new();
        let metrics = Arc::<RegistryMetrics>::default();
        let metered = Metered::new(Arc::new(store.client("x")), metrics.clone());
        metered.read(&[Select::Key("a".into())]).await.unwrap();
        metered
            .read(&[Select::Key("a".into()), Select::Prefix("b".into())])
            .await
            .unwrap();
        metered.commit(Txn::new().put("a", "1")).await.unwrap();
        // A refused precondition is an answer, and so is an expired lease.
        let refused = Txn::new()
            .when(crate::registry::Precondition::Absent("a".into()))
            .put("a", "2");
        metered.commit(refused).await.unwrap();
        metered
            .renew(LeaseId(7), Duration::from_secs(1))
            .await
            .unwrap_err();
        let too_many = (0..200).fold(Txn::new(), |txn, n| txn.put(format!("k{n}"), ""));
        metered.commit(too_many).await.unwrap_err();
        let counts = Operation::ALL.map(|o| (metrics.of(o).asked.get(), metrics.of(o).failed.get()));
        assert_eq!(counts, [(1, 0), (1, 0), (3, 1), (0, 0), (1, 0)]);
    }
}
