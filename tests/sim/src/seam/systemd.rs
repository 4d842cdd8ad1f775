//! One fleetd's way to the systemd of its machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fleetd::agent::local::Record;
use fleetd::guard;
use fleetd::init::scripted::ScriptedInit;
use fleetd::init::{Event, Init, InitError, Job, JobResult, OwnJob, Owner, Status};
use tokio::sync::{mpsc, oneshot};
use units::UnitName;

use super::{Gate, GuardService};
use crate::bug::Bug;
use crate::rules::once;
use crate::witness::Witness;

/// systemd as this fleetd sees it.
#[derive(Debug)]
pub struct Pid1 {
    /// The machine's systemd.
    pub init: Arc<ScriptedInit>,
    /// The process that calls it.
    pub gate: Arc<Gate>,
    /// The machine.
    pub machine: usize,
    /// Where this fleetd remembers what it started, and for what.
    pub records: PathBuf,
    /// The machine's guard.
    pub guard: Arc<GuardService>,
    /// What is wrong with this fleetd.
    pub bug: Option<Bug>,
    /// Who has to know what was asked.
    pub witness: Arc<Witness>,
}

impl Pid1 {
    async fn pass(&self) -> Result<(), InitError> {
        let dead = |e: fleetd::registry::RegistryError| InitError::Unreachable(e.to_string());
        self.gate.pass().await.map_err(dead)
    }

    /// For what a start is issued: the agent writes that down before it asks.
    fn record(&self, unit: &UnitName) -> Record {
        let bytes = std::fs::read(self.records.join(format!("{unit}.json"))).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

#[async_trait]
impl Init for Pid1 {
    async fn link(&self, path: &Path) -> Result<(), InitError> {
        self.pass().await?;
        self.init.link(path).await
    }

    async fn enable(&self, path: &Path) -> Result<(), InitError> {
        self.pass().await?;
        self.init.enable(path).await
    }

    async fn unlink(&self, name: &UnitName) -> Result<(), InitError> {
        self.pass().await?;
        self.witness.ends(self.machine, name, "unlink");
        self.init.unlink(name).await
    }

    async fn reload(&self) -> Result<(), InitError> {
        self.pass().await?;
        self.init.reload().await?;
        self.pass().await
    }

    async fn start(&self, name: &UnitName) -> Result<Job, InitError> {
        self.pass().await?;
        if name.as_str() == guard::SERVICE {
            self.guard.start();
            return self.init.start(name).await;
        }
        let record = self.record(name);
        let was_up = once::is_up(&self.init, name);
        let job = self.init.start(name).await?;
        self.witness
            .started(self.machine, name, (record.generation, record.run), was_up);
        Ok(job)
    }

    async fn stop(&self, name: &UnitName) -> Result<Job, InitError> {
        self.pass().await?;
        if name.as_str() == guard::SERVICE {
            self.guard.stop();
            return self.init.stop(name).await;
        }
        self.witness.ends(self.machine, name, "stop");
        let job = self.init.stop(name).await?;
        if self.bug != Some(Bug::HastyStop) {
            return Ok(job);
        }
        let (sender, hasty) = oneshot::channel();
        let _ = sender.send(JobResult::Done);
        Ok(hasty)
    }

    async fn kill(&self, name: &UnitName) -> Result<(), InitError> {
        self.pass().await?;
        self.init.kill(name).await
    }

    async fn reset_failed(&self, name: &UnitName) -> Result<(), InitError> {
        self.pass().await?;
        self.init.reset_failed(name).await
    }

    async fn observe(&self, names: &[UnitName]) -> Result<Vec<(UnitName, Status)>, InitError> {
        self.pass().await?;
        self.init.observe(names).await
    }

    async fn owner(&self, name: &UnitName) -> Result<Owner, InitError> {
        self.pass().await?;
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
