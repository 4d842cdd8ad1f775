//! A machine of the cluster: the production agent over a scripted systemd, or no more than its presence.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fleetd::agent::local::Local;
use fleetd::agent::{Agent, Identity};
use fleetd::guard::Guard;
use fleetd::guard::clock::Kernel;
use fleetd::init::scripted::ScriptedInit;
use fleetd::registry::keys::Keys;
use fleetd::registry::trust::Trust;
use fleetd::registry::{LeaseId, SharedRegistry, Txn, encode};
use fleetd::watchdog::Pulse;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::{Capacity, MachineId, MachineRecord, Metadata, Presence};

use crate::scratch::Scratch;

/// A presence that nobody renews has to last as long as the run.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What stands for a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The production agent, over a scripted systemd.
    Active,
    /// A presence that nobody renews: what the leader does, without agents that take the processors from it.
    Passive,
}

/// A machine that is switched on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its id.
    pub id: MachineId,
    agent: Option<JoinHandle<()>>,
}

/// What all machines have in common.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The store's layout.
    pub keys: Keys,
    /// Where each has a directory of its own, as `/run/fleet`: on a tmpfs, like that.
    pub directory: PathBuf,
    /// What stands for them.
    pub kind: Kind,
    /// How long their leases live without being renewed.
    pub ttl: Duration,
    /// How long their systemd takes over a start.
    pub start_time: Duration,
    /// Where agents run.
    pub field: Handle,
}

/// The id of machine `n`, counted from 0.
///
/// # Errors
/// Never: 32 digits are an id.
pub(crate) fn id_of(n: usize) -> Result<MachineId> {
    Ok(MachineId::parse(&format!("{:032x}", n + 1))?)
}

fn address_of(n: usize) -> String {
    format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)
}

impl Site {
    /// Switches machine `n` on. An agent goes on joining after this; a passive machine is there.
    ///
    /// # Errors
    /// If its directory cannot be made, or the store does not answer.
    pub(crate) async fn boot(&self, n: usize, registry: SharedRegistry) -> Result<Machine> {
        let id = id_of(n)?;
        let agent = match self.kind {
            Kind::Active => Some(self.agent(n, id, registry)?),
            Kind::Passive => {
                self.register(n, id, &registry).await?;
                None
            }
        };
        Ok(Machine { id, agent })
    }

    fn agent(&self, n: usize, id: MachineId, registry: SharedRegistry) -> Result<JoinHandle<()>> {
        let run = self.directory.join(n.to_string());
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        let init = ScriptedInit::new(run.join("units"));
        init.set_start_time(self.start_time);
        let agent = Agent {
            registry,
            keys: self.keys.clone(),
            guard: Arc::new(Guard::open(&run.join("guard"), Arc::new(Kernel), init.clone())?),
            init,
            trust: Arc::new(Trust::open(&run)?),
            identity: Identity {
                id,
                boot_id: boot_id(n),
                address: address_of(n),
                metadata: metadata(n),
                capacity: Capacity::default(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                disable_engine: false,
            },
            ttl: self.ttl,
            local: Local::open(&run.join("units"), &run.join("records"))?,
            standing: Arc::default(),
            pulse: Pulse::default(),
        };
        Ok(self.field.spawn(async move {
            // Nobody sends: the agent is never asked to leave, only killed.
            let (_requests, inbox) = mpsc::channel(1);
            if let Err(error) = agent.run(CancellationToken::new(), inbox).await {
                tracing::error!(%error, machine = %id, "the agent ended");
            }
        }))
    }

    async fn register(&self, n: usize, id: MachineId, registry: &SharedRegistry) -> Result<()> {
        let lease = registry.grant(LONG).await?;
        let record = MachineRecord {
            id,
            address: address_of(n),
            metadata: metadata(n),
            overrides: Metadata::new(),
            capacity: Capacity::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disable_engine: false,
            left: false,
            ttl: self.ttl.as_secs(),
        };
        let presence = Presence {
            boot_id: boot_id(n),
            address: address_of(n),
            leaving: false,
        };
        let txn = Txn::new()
            .put(self.keys.machine(&id), encode(&record))
            .put_leased(self.keys.presence(&id), encode(&presence), lease.id);
        registry.commit(txn).await?;
        Ok(())
    }
}

impl Machine {
    /// Its power goes: nobody renews its lease any more, and nothing is said.
    pub(crate) fn kill(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.abort();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lease of each of these machines' presence.
///
/// # Errors
/// If one is not present, or the store does not answer.
pub(crate) async fn leases(
    registry: &SharedRegistry,
    keys: &Keys,
    ids: &[MachineId],
) -> Result<Vec<LeaseId>> {
    let mut leases = Vec::with_capacity(ids.len());
    for id in ids {
        let key = keys.presence(id);
        let found = registry
            .read(&[fleetd::registry::Select::Key(key.clone())])
            .await?;
        let lease = found.get(&key).and_then(|kv| kv.lease);
        leases.push(lease.with_context(|| format!("machine {id} is not present"))?);
    }
    Ok(leases)
}

/// A directory for the machines, on a tmpfs where the host has one for everybody.
pub(crate) fn run_directory() -> Result<Scratch> {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() {
        shared.to_owned()
    } else {
        std::env::temp_dir()
    };
    Scratch::new(&parent, "fleet-scale-run")
}

fn boot_id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000001")
}

fn metadata(n: usize) -> Metadata {
    [("zone".to_owned(), format!("z{}", n % 3))].into()
}
