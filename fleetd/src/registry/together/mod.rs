//! Requests that come together go to the store together.
//!
//! Every read and every commit costs etcd a round among its members, however small it is; who starts 300 units asks for
//! 300 of each. So while a few requests of a kind are under way, those that come wait, and then go as one. Nobody waits
//! while few ask, and nothing else changes: a read begins after it was asked for, and a commit that the store refuses
//! spoils no other.

mod lane;
mod pack;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{
    Commit, Lease, LeaseId, MAX_OPS, Registry, RegistryError, Remaining, Revision, Select, SharedRegistry,
    Snapshot, Txn, Watch,
};
use lane::{Kind, Lane};

/// A store that is asked by many at once.
#[derive(Debug)]
pub(crate) struct Together {
    registry: SharedRegistry,
    reads: Arc<Lane<Reads>>,
    commits: Arc<Lane<Commits>>,
}

impl Together {
    pub(crate) fn new(registry: SharedRegistry) -> Self {
        Self {
            reads: Lane::new(Reads(registry.clone())),
            commits: Lane::new(Commits(registry.clone())),
            registry,
        }
    }
}

#[async_trait]
impl Registry for Together {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        let is_large = what.len() > MAX_OPS || what.iter().any(|select| matches!(select, Select::Prefix(_)));
        if is_large || what.is_empty() {
            return self.registry.read(what).await;
        }
        let answer = self.reads.ask(what.to_vec()).await;
        answer.unwrap_or_else(|| Err(RegistryError::Unavailable("fleetd is stopping".to_owned())))
    }

    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError> {
        let answer = self.commits.ask(txn).await;
        answer.unwrap_or_else(|| Err(RegistryError::Unknown("fleetd is stopping".to_owned())))
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        self.registry.watch(what, from).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        self.registry.grant(ttl).await
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        self.registry.renew(id, deadline).await
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        self.registry.remaining(id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.registry.revoke(id).await
    }
}

/// Whether one of several may be to blame, so that each is to be sent alone.
fn is_of_one(error: &RegistryError) -> bool {
    !matches!(error, RegistryError::Unavailable(_) | RegistryError::Unknown(_))
}

/// Reads of single keys.
struct Reads(SharedRegistry);

#[async_trait]
impl Kind for Reads {
    type Question = Vec<Select>;
    type Answer = Result<Snapshot, RegistryError>;

    fn fitting<'q>(waiting: impl Iterator<Item = &'q Self::Question>) -> usize {
        let counts = waiting.scan(0, |keys, what| {
            *keys += what.len();
            Some(*keys)
        });
        counts.take_while(|keys| *keys <= MAX_OPS).count()
    }

    async fn send(&self, asked: Vec<Self::Question>) -> Vec<Self::Answer> {
        // Many may ask for one content.
        let mut keys = asked.concat();
        keys.sort_unstable();
        keys.dedup();
        match self.0.read(&keys).await {
            Err(error) if is_of_one(&error) => join_all(asked.iter().map(|what| self.0.read(what))).await,
            Err(error) => vec![Err(error); asked.len()],
            Ok(all) => asked.iter().map(|what| Ok(part(&all, what))).collect(),
        }
    }
}

fn part(all: &Snapshot, what: &[Select]) -> Snapshot {
    let is_meant = |key: &str| what.iter().any(|select| select.matches(key));
    Snapshot {
        kvs: all.kvs.iter().filter(|kv| is_meant(&kv.key)).cloned().collect(),
        revision: all.revision,
    }
}

struct Commits(SharedRegistry);

#[async_trait]
impl Kind for Commits {
    type Question = Txn;
    type Answer = Result<Commit, RegistryError>;

    fn fitting<'q>(waiting: impl Iterator<Item = &'q Txn>) -> usize {
        pack::fitting(waiting)
    }

    async fn send(&self, asked: Vec<Txn>) -> Vec<Self::Answer> {
        if asked.len() > 1 {
            match self.0.commit(pack::whole(&asked)).await {
                Ok(Commit::Refused(_)) => {}
                Err(error) if is_of_one(&error) => {}
                answer => return vec![answer; asked.len()],
            }
        }
        join_all(asked.into_iter().map(|txn| self.0.commit(txn))).await
    }
}

#[cfg(test)]
mod tests;
