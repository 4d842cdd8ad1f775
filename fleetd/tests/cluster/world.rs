//! A whole cluster in one process: production agents and engines over the in-memory registry and the scripted systemd,
//! in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http;
use fleetd::agent::local::Local;
use fleetd::agent::request::{Description, Dump};
use fleetd::agent::{Agent, Identity, Request};
use fleetd::api::{Api, Here};
use fleetd::cluster::Cluster;
use fleetd::engine::{Candidacy, Engine, Policy};
use fleetd::guard::clock::Virtual;
use fleetd::guard::{self, Guard};
use fleetd::init::scripted::ScriptedInit;
use fleetd::metrics::{EngineMetrics, Metrics};
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::{MemoryClient, MemoryRegistry};
use fleetd::registry::trust::Trust;
use fleetd::registry::{Commit, Registry, Select, Snapshot, Txn, encode};
use fleetd::watchdog::Pulse;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
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
    pub disable_engine: bool,
    metadata: BTreeMap<String, String>,
    boot: u32,
    run: TempDir,
    clock: Arc<Virtual>,
    daemon: Option<Daemon>,
    /// Its guard, which does not care what becomes of fleetd.
    guard: CancellationToken,
}

struct Daemon {
    trust: Arc<Trust>,
    metrics: Metrics,
    candidacy: Arc<Candidacy>,
    stop: CancellationToken,
    requests: mpsc::Sender<Request>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// A request to a router; status and body.
pub(crate) async fn send(router: axum::Router, method: &str, path: &str, body: &str) -> (u16, String) {
    let router = TowerToHyperService::new(router);
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let answer = router.call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// A machine's `/run`: in memory as there, where a sync costs nothing.
fn run_directory() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

fn pair(text: &&str) -> (String, String) {
    let (k, v) = text.split_once('=').unwrap();
    (k.to_owned(), v.to_owned())
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
        let id = MachineId::parse(&format!("{:032x}", self.machines.len() + 1)).unwrap();
        self.join_as(id, 1, metadata)
    }

    /// A machine whose disk was copied, `/etc/machine-id` included.
    pub(crate) fn join_as_clone(&mut self, of: usize, metadata: &[&str]) -> usize {
        self.join_as(self.machines[of].id, 100, metadata)
    }

    fn join_as(&mut self, id: MachineId, boot: u32, metadata: &[&str]) -> usize {
        let n = self.machines.len();
        let run = run_directory();
        self.machines.push(Host {
            id,
            init: ScriptedInit::new(run.path().join("units")),
            client: self.store.client(&format!("m{n}")),
            disable_engine: false,
            metadata: metadata.iter().map(pair).collect(),
            boot,
            run,
            clock: Arc::new(Virtual::new(1000)),
            daemon: None,
            guard: CancellationToken::new(),
        });
        self.machines[n].boots();
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

    /// `fleetctl recover` on this machine.
    pub(crate) async fn recover(&self, machine: usize) {
        let host = &self.machines[machine];
        let registry: fleetd::registry::SharedRegistry = Arc::new(host.client.clone());
        let trust = &host.daemon.as_ref().unwrap().trust;
        fleetd::recovery::declare(&registry, &self.keys, trust)
            .await
            .unwrap();
    }

    pub(crate) async fn destroy(&self, unit: &str) {
        self.user
            .commit(Txn::new().delete(self.keys.unit(&name(unit))))
            .await
            .unwrap();
    }

    /// Writes one key, whatever it is.
    pub(crate) async fn say(&self, key: String, value: impl Into<Vec<u8>>) {
        let said = self.user.commit(Txn::new().put(key, value)).await.unwrap();
        assert!(matches!(said, Commit::Applied(_)));
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

    /// Machines on which anything of the unit runs, be it only on its way up or down.
    pub(crate) fn up_on(&self, unit: &str) -> Vec<usize> {
        let up = |h: &Host| !matches!(h.init.status(unit).active.as_str(), "inactive" | "failed");
        (0..self.machines.len())
            .filter(|n| up(&self.machines[*n]))
            .collect()
    }

    pub(crate) fn pid(&self, machine: usize, unit: &str) -> u32 {
        self.machines[machine].init.status(unit).main_pid
    }

    /// Power cut: fleetd and everything it ran are gone, without a word.
    pub(crate) fn kill(&mut self, machine: usize) {
        let host = &mut self.machines[machine];
        host.crash();
        host.guard.cancel();
        host.init.reboot();
    }

    /// Comes up again after a power cut: another boot, an empty `/run`.
    pub(crate) fn boot(&mut self, machine: usize) {
        let host = &mut self.machines[machine];
        host.boot += 1;
        host.run = run_directory();
        host.init = ScriptedInit::new(host.run.path().join("units"));
        host.boots();
        host.start(&self.keys);
    }

    pub(crate) fn crash(&mut self, machine: usize) {
        self.machines[machine].crash();
    }

    /// Changes what fleetd has noted of a unit.
    pub(crate) fn rewrite_record(
        &self,
        machine: usize,
        unit: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) {
        let file = self.machines[machine]
            .run
            .path()
            .join(format!("records/{unit}.json"));
        let mut record = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        change(&mut record);
        std::fs::write(&file, record.to_string()).unwrap();
    }

    /// Asks the API of a machine; status and body.
    pub(crate) async fn ask(&self, machine: usize, method: &str, path: &str, body: &str) -> (u16, String) {
        send(self.api(machine), method, path, body).await
    }

    /// What its fleetd serves; on as long as this is held.
    pub(crate) fn api(&self, machine: usize) -> axum::Router {
        let host = &self.machines[machine];
        let daemon = host.daemon.as_ref().unwrap();
        let mut api = Api::new(
            Arc::new(host.client.clone()),
            self.keys.clone(),
            daemon.trust.clone(),
        );
        api.here = Some(Here {
            machine: host.id,
            boot_id: host.boot_id(),
        });
        api.metrics = daemon.metrics.clone();
        api.router()
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

    /// SIGHUP, with other metadata `k=v` in the configuration.
    pub(crate) async fn reload(&mut self, machine: usize, metadata: &[&str]) {
        let host = &mut self.machines[machine];
        host.metadata = metadata.iter().map(pair).collect();
        let described = Request::Describe(Description {
            address: host.address(),
            metadata: host.metadata.clone(),
            disable_engine: host.disable_engine,
        });
        let daemon = host.daemon.as_ref().unwrap();
        daemon.requests.send(described).await.unwrap();
    }

    /// SIGUSR1.
    pub(crate) async fn dump(&self, machine: usize) -> Dump {
        let (sender, dumped) = oneshot::channel();
        let daemon = self.machines[machine].daemon.as_ref().unwrap();
        daemon.requests.send(Request::Dump(sender)).await.unwrap();
        dumped.await.unwrap()
    }

    /// Whether the machine may lead, and whether it does.
    pub(crate) fn candidacy(&self, machine: usize) -> &Candidacy {
        &self.machines[machine].daemon.as_ref().unwrap().candidacy
    }

    /// Whether the machine's fleetd leads at the moment.
    pub(crate) fn leads(&self, machine: usize) -> bool {
        let daemon = self.machines[machine].daemon.as_ref();
        daemon.is_some_and(|daemon| daemon.candidacy.term().is_some())
    }

    /// `systemctl stop fleet`; whether the leave was accepted.
    pub(crate) async fn leave(&mut self, machine: usize) -> bool {
        let daemon = self.machines[machine].daemon.take().unwrap();
        let (sender, left) = oneshot::channel();
        daemon.requests.send(Request::Leave(sender)).await.unwrap();
        let accepted = left.await.unwrap();
        daemon.stop.cancel();
        for task in daemon.tasks {
            let _ = task.await;
        }
        accepted
    }
}

impl Host {
    /// What the machine has of its own, before fleetd: the guard's service, and its process.
    fn boots(&mut self) {
        let file = self.run.path().join(guard::SERVICE);
        std::fs::write(&file, "[Service]\nExecStart=/usr/bin/fleetd guard\n").unwrap();
        self.init.host_unit(guard::SERVICE, file);
        self.guard = CancellationToken::new();
        let directory = guard::Directory::open(&self.run.path().join("guard")).unwrap();
        let (clock, init, stop) = (self.clock.clone(), self.init.clone(), self.guard.clone());
        tokio::spawn(guard::run(directory, clock, init, stop));
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    fn address(&self) -> String {
        format!("10.0.0.{}", self.id.as_str().trim_start_matches('0'))
    }

    fn start(&mut self, keys: &Keys) {
        // Every start is another process: another connection to systemd, another event stream.
        let stop = CancellationToken::new();
        let (requests, inbox) = mpsc::channel(1);
        let registry: fleetd::registry::SharedRegistry = Arc::new(self.client.clone());
        let trust = Arc::new(Trust::open(self.run.path()).unwrap());
        let metrics = Metrics::default();
        let identity = Identity {
            id: self.id,
            boot_id: self.boot_id(),
            address: self.address(),
            metadata: self.metadata.clone(),
            capacity: Capacity::default(),
            version: "test".to_owned(),
            disable_engine: self.disable_engine,
        };
        let candidacy: Arc<Candidacy> = Arc::default();
        let agent = Agent {
            registry: registry.clone(),
            keys: keys.clone(),
            init: self.init.clone(),
            trust: trust.clone(),
            identity,
            ttl: TTL,
            standing: Arc::default(),
            guard: Arc::new(
                Guard::open(
                    &self.run.path().join("guard"),
                    self.clock.clone(),
                    self.init.clone(),
                )
                .unwrap(),
            ),
            local: Local::open(&self.run.path().join("units"), &self.run.path().join("records")).unwrap(),
            pulse: Pulse::default(),
        };
        let engine = Engine {
            metrics: metrics.engine.clone(),
            candidacy: candidacy.clone(),
            registry,
            keys: keys.clone(),
            machine: self.id,
            trust: trust.clone(),
            policy: Policy {
                brake_hold: TTL,
                ..Policy::default()
            },
            pulse: Pulse::default(),
        };
        let agent_stop = stop.clone();
        let agent = tokio::spawn(async move { agent.run(agent_stop, inbox).await.unwrap() });
        let engine = tokio::spawn(engine.run(stop.clone()));
        self.daemon = Some(Daemon {
            trust,
            metrics,
            candidacy,
            stop,
            requests,
            tasks: vec![agent, engine],
        });
    }

    /// What its engine has counted since its fleetd was started.
    pub(crate) fn counted(&self) -> Arc<EngineMetrics> {
        self.daemon.as_ref().unwrap().metrics.engine.clone()
    }

    /// Why this machine does not believe the registry, if it does not.
    pub(crate) fn doubt(&self) -> Option<String> {
        self.daemon.as_ref()?.trust.doubt().map(|d| d.to_string())
    }

    fn crash(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
}
