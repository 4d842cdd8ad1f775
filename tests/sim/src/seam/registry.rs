//! One part of one fleetd's way to the registry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetd::registry::memory::MemoryClient;
use fleetd::registry::{
    Commit, Lease, LeaseId, Registry, RegistryError, Remaining, Revision, Select, Snapshot, Txn, Watch,
};

use super::Gate;
use crate::bug::Bug;
use crate::witness::Witness;

/// Which part of a fleetd speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The machine's own.
    Agent,
    /// The candidate for the cluster's lead.
    Engine,
    /// A user's change.
    Api,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Engine, Self::Api];

    /// The client of the store for this part of machine `m`.
    pub fn client(self, m: usize) -> String {
        format!("m{m}/{self}")
    }

    /// Takes a name of [`Role::client`] apart.
    pub fn parse(client: &str) -> Option<(usize, Self)> {
        let (machine, role) = client.strip_prefix('m')?.split_once('/')?;
        let role = Self::ALL.into_iter().find(|r| r.to_string() == role)?;
        Some((machine.parse().ok()?, role))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Engine => "engine",
            Self::Api => "api",
        })
    }
}

/// The registry as this part sees it.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The way there, with its faults.
    pub client: MemoryClient,
    /// The process it belongs to.
    pub gate: Arc<Gate>,
    /// Whose process that is.
    pub machine: usize,
    /// Which part of it.
    pub role: Role,
    /// How fast this machine's clock runs against the store's, in parts per thousand.
    pub rate: u32,
    /// What is wrong with this fleetd.
    pub bug: Option<Bug>,
    /// Who has to know what was said.
    pub witness: Arc<Witness>,
}

impl Wire {
    /// A clock that runs slow takes a lease for longer than it is. Done to the leader's alone, which ends its work by it;
    /// agents renew long before, and their guard has a clock of its own.
    fn by_own_clock(&self, lease: Lease) -> Lease {
        match self.role {
            Role::Engine => Lease {
                ttl: lease.ttl * 1000 / self.rate,
                ..lease
            },
            Role::Agent | Role::Api => lease,
        }
    }
}

#[async_trait]
impl Registry for Wire {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        self.gate.pass().await?;
        let sent = self.witness.epoch();
        let mut snapshot = self.client.read(what).await?;
        self.gate.pass().await?;
        if self.role == Role::Agent {
            self.witness.agent_read(self.machine, sent, what, &snapshot);
        }
        if let Some(bug) = self.bug {
            bug.on_read(self.role, &mut snapshot);
        }
        Ok(snapshot)
    }

    async fn commit(&self, mut txn: Txn) -> Result<Commit, RegistryError> {
        if let Some(bug) = self.bug {
            bug.on_commit(self.role, &mut txn);
        }
        // What was sent is sent, whoever stops waiting for the answer.
        let (client, gate) = (self.client.clone(), self.gate.clone());
        let sent = tokio::spawn(async move {
            gate.pass().await?;
            client.commit(txn).await
        });
        let answer = sent
            .await
            .unwrap_or_else(|e| Err(RegistryError::Unknown(e.to_string())));
        self.gate.pass().await?;
        answer
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        self.gate.pass().await?;
        let watch = self.client.watch(what, from).await?;
        self.gate.pass().await?;
        Ok(match self.bug {
            Some(bug) => bug.on_watch(self.role, watch),
            None => watch,
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        self.gate.pass().await?;
        let lease = self.client.grant(ttl).await?;
        self.gate.pass().await?;
        Ok(self.by_own_clock(lease))
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        let sent = self.witness.now();
        self.gate.pass().await?;
        let lease = self.client.renew(id, deadline).await?;
        self.gate.pass().await?;
        if self.role == Role::Agent {
            self.witness.renewed(self.machine, sent, lease.ttl);
        }
        Ok(self.by_own_clock(lease))
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        self.gate.pass().await?;
        let remaining = self.client.remaining(id).await?;
        self.gate.pass().await?;
        Ok(remaining)
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.gate.pass().await?;
        self.client.revoke(id).await?;
        self.gate.pass().await
    }
}
