//! One machine: its disk and its systemd outlive its fleetd, and end with its boot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fleetd::agent::local::Local;
use fleetd::agent::{Agent, Identity, Request};
use fleetd::api::Api;
use fleetd::engine::{Engine, Policy};
use fleetd::guard::Guard;
use fleetd::guard::clock::Virtual;
use fleetd::init::scripted::ScriptedInit;
use fleetd::registry::SharedRegistry;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::{MemoryClient, MemoryRegistry};
use fleetd::registry::trust::Trust;
use fleetd::watchdog::Pulse;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::{Capacity, MachineId, parse_metadata};

use crate::bug::Bug;
use crate::seam::{Gate, GuardService, Pid1, Role, Wire};
use crate::witness::Witness;

/// A machine's silence that counts as its loss.
pub const TTL: Duration = Duration::from_secs(15);

/// How long an old copy waits for its successor: shorter than in production, for nobody learns from the waiting.
const RETAIN: Duration = Duration::from_secs(60);

/// One machine.
#[derive(Debug)]
pub struct Host {
    n: usize,
    id: MachineId,
    store: MemoryRegistry,
    witness: Arc<Witness>,
    bug: Option<Bug>,
    /// How fast its clock runs, in parts per thousand.
    rate: u32,
    /// As its configuration says.
    pub metadata: Vec<String>,
    directory: PathBuf,
    boot: u32,
    guard: Option<Arc<GuardService>>,
    clock: Arc<Virtual>,
    /// Its systemd, while it is on.
    pub init: Option<Arc<ScriptedInit>>,
    process: Option<Process>,
}

/// One run of fleetd.
#[derive(Debug)]
struct Process {
    gate: Arc<Gate>,
    stop: CancellationToken,
    requests: mpsc::Sender<Request>,
    tasks: Vec<JoinHandle<()>>,
    api: Router,
    /// It has been told to leave, and this is what became of it.
    leaving: Option<oneshot::Receiver<bool>>,
}

/// The id of machine `n`.
pub fn id_of(n: usize) -> MachineId {
    #[expect(clippy::expect_used, reason = "32 digits are an id")]
    MachineId::parse(&format!("{:032x}", n + 1)).expect("an id")
}

impl Host {
    /// Machine `n`, switched off.
    pub fn new(
        n: usize,
        member: &crate::script::Member,
        store: &MemoryRegistry,
        directory: &Path,
        witness: &Arc<Witness>,
        bug: Option<Bug>,
    ) -> Self {
        Self {
            n,
            id: id_of(n),
            store: store.clone(),
            witness: witness.clone(),
            bug,
            rate: member.rate,
            guard: None,
            clock: Arc::new(Virtual::new(member.rate)),
            metadata: member.metadata.clone(),
            directory: directory.join(format!("m{n}")),
            boot: 0,
            init: None,
            process: None,
        }
    }

    /// Each part's way to the store.
    pub fn links(&self) -> [MemoryClient; 3] {
        Role::ALL.map(|role| self.store.client(&role.client(self.n)))
    }

    /// The way of one part.
    pub fn link(&self, role: Role) -> MemoryClient {
        self.store.client(&role.client(self.n))
    }

    /// Whether its fleetd is there, frozen or not.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Its API, if somebody is there to answer.
    pub fn api(&self) -> Option<Router> {
        self.process.as_ref().map(|p| p.api.clone())
    }

    /// The id of the boot it is in.
    pub fn boot_id(&self) -> String {
        format!("{}-{}", self.n, self.boot)
    }

    fn run(&self) -> PathBuf {
        self.directory.join(format!("boot{}", self.boot))
    }

    /// Switches it on.
    pub fn boot(&mut self) -> std::io::Result<()> {
        if self.init.is_some() {
            return self.start();
        }
        self.boot += 1;
        std::fs::create_dir_all(self.run())?;
        let init = ScriptedInit::new(self.run().join("units"));
        self.clock = Arc::new(Virtual::new(self.rate));
        let asleep = self.bug == Some(Bug::NoGuard);
        let (clock, eye) = (self.clock.clone(), self.witness.clone());
        let guard = GuardService::new(
            self.n,
            &self.run().join("guard"),
            clock,
            init.clone(),
            eye,
            asleep,
        )?;
        self.guard = Some(Arc::new(guard));
        self.witness.booted(self.n, init.clone());
        self.init = Some(init);
        self.start()
    }

    /// The power goes.
    pub fn power_off(&mut self) {
        self.kill();
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
        if let Some(init) = self.init.take() {
            init.reboot();
            self.witness.powered_off(self.n);
            // Gone with the boot; nobody would read it again.
            let _ = std::fs::remove_dir_all(self.run());
        }
    }

    /// Starts fleetd, if the machine is on and it does not run.
    pub fn start(&mut self) -> std::io::Result<()> {
        let (Some(init), Some(guard), None) = (self.init.clone(), self.guard.clone(), &self.process) else {
            return Ok(());
        };
        let run = self.run();
        match self.bug {
            Some(Bug::Forgetful) => drop(std::fs::remove_dir_all(run.join("records"))),
            Some(Bug::Credulous) => drop(std::fs::remove_file(run.join("registry.json"))),
            _ => {}
        }
        self.witness.process_began(self.n);
        let gate = Arc::new(Gate::default());
        let wire = |role| -> SharedRegistry {
            Arc::new(Wire {
                client: self.link(role),
                gate: gate.clone(),
                machine: self.n,
                role,
                rate: self.rate,
                bug: self.bug,
                witness: self.witness.clone(),
            })
        };
        let keys = Keys::default();
        let trust = Arc::new(Trust::open(&run)?);
        let metadata = parse_metadata(&self.metadata.join(",")).map_err(std::io::Error::other)?;
        let (requests, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let systemd = Arc::new(Pid1 {
            init,
            gate: gate.clone(),
            machine: self.n,
            records: run.join("records"),
            guard,
            bug: self.bug,
            witness: self.witness.clone(),
        });
        let api = Api::new(wire(Role::Api), keys.clone(), trust.clone());
        let standing = api.standing.clone();
        let api = api.router();
        let agent = Agent {
            standing,
            pulse: Pulse::default(),
            registry: wire(Role::Agent),
            keys: keys.clone(),
            init: systemd.clone(),
            guard: Arc::new(Guard::open(&run.join("guard"), self.clock.clone(), systemd)?),
            trust: trust.clone(),
            identity: Identity {
                id: self.id,
                boot_id: self.boot_id(),
                address: format!("10.0.{}.{}", self.n / 250, self.n % 250 + 1),
                metadata,
                capacity: Capacity::default(),
                version: "sim".to_owned(),
                disable_engine: false,
            },
            ttl: TTL,
            local: Local::open(&run.join("units"), &run.join("records"))?,
        };
        let engine = Engine {
            metrics: Arc::default(),
            candidacy: Arc::default(),
            pulse: Pulse::default(),
            registry: wire(Role::Engine),
            keys,
            machine: self.id,
            trust,
            policy: Policy {
                brake_hold: TTL,
                retain: RETAIN,
                ..Policy::default()
            },
        };
        let (witness, n, held, told) = (self.witness.clone(), self.n, gate.clone(), stop.clone());
        let agent = tokio::spawn(async move {
            if let Err(error) = held.within(Box::pin(agent.run(told, inbox))).await {
                witness.broke(n, &error.to_string());
            }
        });
        let (held, told) = (gate.clone(), stop.clone());
        let engine = tokio::spawn(async move { held.within(Box::pin(engine.run(told))).await });
        self.process = Some(Process {
            gate,
            stop,
            requests,
            tasks: vec![agent, engine],
            api,
            leaving: None,
        });
        Ok(())
    }

    /// fleetd is gone, without a word.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.gate.kill();
            process.tasks.iter().for_each(JoinHandle::abort);
        }
    }

    /// SIGTERM, as for a restart. A process that does not react is killed, as systemd does.
    pub async fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        process.stop.cancel();
        if process.gate.is_frozen() {
            process.gate.kill();
            process.tasks.iter().for_each(JoinHandle::abort);
        }
        for mut task in process.tasks {
            if tokio::time::timeout(Duration::from_secs(5), &mut task)
                .await
                .is_err()
            {
                task.abort();
            }
        }
        process.gate.kill();
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        if let Some(process) = &self.process {
            process.gate.freeze();
            self.witness.frozen(self.n);
        }
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        if let Some(process) = self.process.as_ref().filter(|p| p.gate.is_frozen()) {
            self.witness.thawed(self.n);
            process.gate.thaw();
        }
    }

    /// `systemctl stop fleet`: asks to leave. What becomes of it is seen by [`Host::has_left`].
    pub fn leave(&mut self) {
        if let Some(process) = self.process.as_mut().filter(|p| p.leaving.is_none()) {
            let (sender, left) = oneshot::channel();
            if process.requests.try_send(Request::Leave(sender)).is_ok() {
                process.leaving = Some(left);
            }
        }
    }

    /// Ends a process that has been told to leave and has an answer, whatever that is: fleetd ends then.
    pub fn has_left(&mut self) -> Option<bool> {
        let answer = match self.process.as_mut()?.leaving.as_mut()?.try_recv() {
            Ok(answer) => answer,
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => false,
        };
        if let Some(process) = self.process.take() {
            process.stop.cancel();
            if process.gate.is_frozen() {
                process.gate.kill();
                process.tasks.iter().for_each(JoinHandle::abort);
            }
        }
        Some(answer)
    }

    /// Whether it has been told to leave and has not answered.
    pub fn is_leaving(&self) -> bool {
        self.process.as_ref().is_some_and(|p| p.leaving.is_some())
    }

    /// What ended by itself that should not have: a panic, mostly.
    pub fn is_broken(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|p| p.leaving.is_none() && p.tasks.iter().any(JoinHandle::is_finished))
    }
}
