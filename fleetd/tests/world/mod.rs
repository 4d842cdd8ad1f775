//! A whole cluster in one process: production agents and engines over the in-memory registry and the scripted systemd,
//! in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleetd::agent::local::Local;
use fleetd::agent::{Agent, Identity, LeaveRequest};
use fleetd::cluster::Cluster;
use fleetd::engine::{Engine, Policy};
use fleetd::init::scripted::ScriptedInit;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::{MemoryClient, MemoryRegistry};
use fleetd::registry::trust::Trust;
use fleetd::registry::{Commit, Registry, Select, Snapshot, Txn, encode};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use units::{Capacity, DesiredState, MachineId, UnitFile, UnitName, UnitRecord};

pub(crate) const TTL: Duration = Duration::from_secs(15);

/// The cluster under test.
pub(crate) struct World {
    pub store: MemoryRegistry,
    pub keys: Keys,
    pub machines: Vec<Host>,
    user: MemoryClient,
}

/// One machine: its disk and systemd outlive its fleetd.
pub(crate) struct Host {
    pub id: MachineId,
    pub init: Arc<ScriptedInit>,
    pub client: MemoryClient,
    metadata: BTreeMap<String, String>,
    boot: u32,
    run: TempDir,
    daemon: Option<Daemon>,
}

struct Daemon {
    stop: CancellationToken,
    leave: mpsc::Sender<LeaveRequest>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

impl World {
    /// `n` machines, all up.
    pub(crate) async fn new(n: usize) -> Self {
        let mut world = Self::empty();
        for _ in 0..n {
            world.join(&[]).await;
        }
        world.settle().await;
        world
    }

    pub(crate) fn empty() -> Self {
        let store = MemoryRegistry::new();
        let user = store.client("user");
        Self {
            store,
            keys: Keys::default(),
            machines: Vec::new(),
            user,
        }
    }

    /// Another machine, with metadata `k=v`.
    pub(crate) async fn join(&mut self, metadata: &[&str]) -> usize {
        let n = self.machines.len();
        let id = MachineId::parse(&format!("{:032x}", n + 1)).unwrap();
        let run = tempfile::tempdir().unwrap();
        let pair = |s: &&str| {
            let (k, v) = s.split_once('=').unwrap();
            (k.to_owned(), v.to_owned())
        };
        self.machines.push(Host {
            id,
            init: ScriptedInit::new(run.path().join("units")),
            client: self.store.client(&format!("m{n}")),
            metadata: metadata.iter().map(pair).collect(),
            boot: 1,
            run,
            daemon: None,
        });
        self.machines[n].start(&self.keys);
        n
    }

    /// Lets everything that is under way come to rest: two seconds of virtual time without a change.
    pub(crate) async fn settle(&self) {
        let mut quiet = 0;
        let mut before = self.store.revision();
        while quiet < 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.store.revision();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn put(&self, unit: &str, text: &str, desired: DesiredState) {
        self.put_run(unit, text, desired, 0).await;
    }

    pub(crate) async fn put_run(&self, unit: &str, text: &str, desired: DesiredState, run: u64) {
        let file = UnitFile::parse(text).unwrap();
        let record = UnitRecord {
            hash: file.hash(),
            desired,
            run,
        };
        let txn = Txn::new()
            .put(self.keys.content(&file.hash()), file.canonical())
            .put(self.keys.unit(&name(unit)), encode(&record));
        assert!(matches!(self.user.commit(txn).await.unwrap(), Commit::Applied(_)));
    }

    pub(crate) async fn launch(&self, unit: &str, text: &str) {
        self.put(unit, text, DesiredState::Launched).await;
    }

    pub(crate) async fn destroy(&self, unit: &str) {
        self.user
            .commit(Txn::new().delete(self.keys.unit(&name(unit))))
            .await
            .unwrap();
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.user
            .read(&[Select::Prefix(self.keys.root().to_owned())])
            .await
            .unwrap()
    }

    pub(crate) async fn cluster(&self) -> Cluster {
        Cluster::from_snapshot(self.keys.clone(), &self.snapshot().await)
    }

    /// Machines on which systemd runs the unit.
    pub(crate) fn active_on(&self, unit: &str) -> Vec<usize> {
        let active = |h: &Host| h.init.status(unit).active == "active";
        (0..self.machines.len())
            .filter(|n| active(&self.machines[*n]))
            .collect()
    }

    pub(crate) fn pid(&self, machine: usize, unit: &str) -> u32 {
        self.machines[machine].init.status(unit).main_pid
    }

    /// Power cut: fleetd and everything it ran are gone, without a word.
    pub(crate) fn kill(&mut self, machine: usize) {
        let host = &mut self.machines[machine];
        host.crash();
        host.init.reboot();
    }

    /// Comes up again after a power cut: another boot, an empty `/run`.
    pub(crate) fn boot(&mut self, machine: usize) {
        let host = &mut self.machines[machine];
        host.boot += 1;
        host.run = tempfile::tempdir().unwrap();
        host.init = ScriptedInit::new(host.run.path().join("units"));
        host.start(&self.keys);
    }

    pub(crate) fn crash(&mut self, machine: usize) {
        self.machines[machine].crash();
    }

    pub(crate) fn start(&mut self, machine: usize) {
        let keys = self.keys.clone();
        self.machines[machine].start(&keys);
    }

    /// `systemctl restart fleet`.
    pub(crate) async fn restart(&mut self, machine: usize) {
        let daemon = self.machines[machine].daemon.take().unwrap();
        daemon.stop.cancel();
        for task in daemon.tasks {
            let _ = task.await;
        }
        self.start(machine);
    }

    /// `systemctl stop fleet`; whether the leave was accepted.
    pub(crate) async fn leave(&mut self, machine: usize) -> bool {
        let daemon = self.machines[machine].daemon.take().unwrap();
        let (sender, left) = oneshot::channel();
        daemon.leave.send(sender).await.unwrap();
        let accepted = left.await.unwrap();
        daemon.stop.cancel();
        for task in daemon.tasks {
            let _ = task.await;
        }
        accepted
    }
}

impl Host {
    fn start(&mut self, keys: &Keys) {
        // Every start is another process: another connection to systemd, another event stream.
        let stop = CancellationToken::new();
        let (leave, requests) = mpsc::channel(1);
        let registry: fleetd::registry::SharedRegistry = Arc::new(self.client.clone());
        let trust = Arc::new(Trust::open(self.run.path()).unwrap());
        let identity = Identity {
            id: self.id,
            boot_id: format!("boot-{}", self.boot),
            address: format!("10.0.0.{}", self.id.as_str().trim_start_matches('0')),
            metadata: self.metadata.clone(),
            capacity: Capacity::default(),
            version: "test".to_owned(),
        };
        let agent = Agent {
            registry: registry.clone(),
            keys: keys.clone(),
            init: self.init.clone(),
            trust: trust.clone(),
            identity,
            ttl: TTL,
            local: Local::open(&self.run.path().join("units"), &self.run.path().join("records")).unwrap(),
        };
        let engine = Engine {
            registry,
            keys: keys.clone(),
            machine: self.id,
            trust,
            policy: Policy {
                brake_hold: TTL,
                ..Policy::default()
            },
        };
        let agent_stop = stop.clone();
        let agent = tokio::spawn(async move { agent.run(agent_stop, requests).await.unwrap() });
        let engine = tokio::spawn(engine.run(stop.clone()));
        self.daemon = Some(Daemon {
            stop,
            leave,
            tasks: vec![agent, engine],
        });
    }

    fn crash(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
}
