//! `fleet-guard.service` of one machine in one boot: systemd keeps it, whatever becomes of fleetd.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fleetd::guard::clock::Virtual;
use fleetd::guard::{self, Directory};
use fleetd::init::scripted::ScriptedInit;
use fleetd::init::{Event, Init, InitError, Job, OwnJob, Owner, SharedInit, Status};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use units::UnitName;

use crate::witness::Witness;

/// The service.
#[derive(Debug)]
pub struct GuardService {
    directory: Directory,
    clock: Arc<Virtual>,
    init: Arc<Hand>,
    /// A guard that does nothing.
    is_asleep: bool,
    running: Mutex<Option<CancellationToken>>,
}

impl GuardService {
    /// The guard of machine `m`, which is not started; its files are in `root`.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn new(
        m: usize,
        root: &Path,
        clock: Arc<Virtual>,
        init: Arc<ScriptedInit>,
        witness: Arc<Witness>,
        is_asleep: bool,
    ) -> std::io::Result<Self> {
        let file = root.with_file_name(guard::SERVICE);
        std::fs::write(&file, "[Service]\nExecStart=/usr/bin/fleetd guard\n")?;
        init.host_unit(guard::SERVICE, file);
        Ok(Self {
            directory: Directory::open(root)?,
            clock,
            init: Arc::new(Hand {
                init,
                machine: m,
                witness,
            }),
            is_asleep,
            running: Mutex::default(),
        })
    }

    /// systemd starts it, if it does not run.
    pub fn start(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() || self.is_asleep {
            return;
        }
        let stop = CancellationToken::new();
        let init: SharedInit = self.init.clone();
        tokio::spawn(guard::run(
            self.directory.clone(),
            self.clock.clone(),
            init,
            stop.clone(),
        ));
        *running = Some(stop);
    }

    /// It is stopped, or the machine is off.
    pub fn stop(&self) {
        if let Some(stop) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stop.cancel();
        }
    }
}

/// The guard's way to systemd.
#[derive(Debug)]
struct Hand {
    init: Arc<ScriptedInit>,
    machine: usize,
    witness: Arc<Witness>,
}

#[async_trait]
impl Init for Hand {
    async fn stop(&self, name: &UnitName) -> Result<Job, InitError> {
        self.witness.guard_ends(self.machine, name);
        self.init.stop(name).await
    }

    async fn kill(&self, name: &UnitName) -> Result<(), InitError> {
        self.witness.guard_ends(self.machine, name);
        self.init.kill(name).await
    }

    async fn observe(&self, names: &[UnitName]) -> Result<Vec<(UnitName, Status)>, InitError> {
        self.init.observe(names).await
    }

    async fn link(&self, path: &Path) -> Result<(), InitError> {
        self.init.link(path).await
    }

    async fn enable(&self, path: &Path) -> Result<(), InitError> {
        self.init.enable(path).await
    }

    async fn unlink(&self, name: &UnitName) -> Result<(), InitError> {
        self.init.unlink(name).await
    }

    async fn reload(&self) -> Result<(), InitError> {
        self.init.reload().await
    }

    async fn start(&self, name: &UnitName) -> Result<Job, InitError> {
        self.init.start(name).await
    }

    async fn reset_failed(&self, name: &UnitName) -> Result<(), InitError> {
        self.init.reset_failed(name).await
    }

    async fn owner(&self, name: &UnitName) -> Result<Owner, InitError> {
        self.init.owner(name).await
    }

    fn watch(&self, names: Vec<UnitName>) {
        self.init.watch(names);
    }

    fn events(&self) -> Option<mpsc::UnboundedReceiver<Event>> {
        self.init.events()
    }

    fn now_us(&self) -> u64 {
        self.init.now_us()
    }

    async fn started_since(
        &self,
        names: &[UnitName],
        since_us: u64,
    ) -> Result<BTreeMap<UnitName, u64>, InitError> {
        self.init.started_since(names, since_us).await
    }

    async fn own_job(&self) -> Result<OwnJob, InitError> {
        self.init.own_job().await
    }
}
