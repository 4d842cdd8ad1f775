//! What the cases of the contract share: the machine, the units, the waiting.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use units::UnitName;

use super::Outcome;
use crate::init::{Event, InitError, Job, JobResult, SharedInit, Status};

/// Longer than anything on a busy machine takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that the cases are tried on, one after the other.
pub struct Bench {
    /// Its init system.
    pub init: SharedInit,
    /// The events of `init`.
    pub events: UnboundedReceiver<Event>,
    /// fleet's directory of unit files.
    pub directory: PathBuf,
    /// A unit of the host's own that runs.
    pub host: UnitName,
    /// Another name of a unit of the host.
    pub alias: UnitName,
    /// An instance that a template of the host would give.
    pub instance: UnitName,
    /// Tells the twin what the unit will do; systemd reads it in the file.
    pub script: Script,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("init", &self.init)
            .finish_non_exhaustive()
    }
}

/// See [`Bench::script`].
pub type Script = Box<dyn Fn(&UnitName, Kind) + Send + Sync>;

/// What a unit of a case does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Runs until stopped.
    Runs,
    /// A oneshot that ends well.
    Finishes,
    /// A oneshot that ends badly.
    Fails,
    /// Never says that it is ready.
    Hangs,
    /// Ends every 100 ms, and systemd starts it again.
    Flaps,
}

impl Kind {
    /// The text of a unit that does this.
    pub fn text(self) -> &'static str {
        match self {
            Self::Runs => "[Service]\nExecStart=/bin/sleep infinity\n",
            Self::Finishes => "[Service]\nType=oneshot\nExecStart=/bin/true\n",
            Self::Fails => "[Service]\nType=oneshot\nExecStart=/bin/false\n",
            Self::Hangs => "[Service]\nType=notify\nTimeoutStartSec=1h\nExecStart=/bin/sleep infinity\n",
            Self::Flaps => {
                "[Unit]\nStartLimitIntervalSec=0\n\
                 [Service]\nRestart=always\nRestartSec=50ms\nExecStart=/bin/sleep 0.05\n"
            }
        }
    }
}

pub(super) fn said(error: InitError) -> String {
    error.to_string()
}

pub(super) async fn done(job: Job) -> Result<JobResult, String> {
    match timeout(PATIENCE, job).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err("the job was dropped".to_owned()),
        Err(_) => Err("the job never ended".to_owned()),
    }
}

impl Bench {
    /// Writes the file of a unit that no case has used.
    pub(super) fn write(&self, unit: &str, kind: Kind, more: &str) -> Result<(UnitName, PathBuf), String> {
        let name = UnitName::parse(unit).map_err(|e| e.to_string())?;
        let path = self.directory.join(unit);
        std::fs::write(&path, format!("{}{more}", kind.text())).map_err(|e| e.to_string())?;
        (self.script)(&name, kind);
        Ok((name, path))
    }

    pub(super) async fn linked(&mut self, unit: &str, kind: Kind) -> Result<(UnitName, PathBuf), String> {
        let (name, path) = self.write(unit, kind, "")?;
        self.init.link(&path).await.map_err(said)?;
        self.init.watch(vec![name.clone()]);
        while self.events.try_recv().is_ok() {}
        Ok((name, path))
    }

    pub(super) async fn start(&self, name: &UnitName) -> Result<JobResult, String> {
        done(self.init.start(name).await.map_err(said)?).await
    }

    pub(super) async fn stop(&self, name: &UnitName) -> Result<JobResult, String> {
        done(self.init.stop(name).await.map_err(said)?).await
    }

    pub(super) async fn status(&self, name: &UnitName) -> Result<Status, String> {
        let seen = self
            .init
            .observe(std::slice::from_ref(name))
            .await
            .map_err(said)?;
        match seen.as_slice() {
            [(seen, status)] if seen == name => Ok(status.clone()),
            other => Err(format!("observed {other:?}")),
        }
    }

    /// Waits for a change that satisfies `wanted`; all changes up to it.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Status) -> bool) -> Result<Vec<Status>, String> {
        let mut seen = Vec::new();
        let found = timeout(PATIENCE, async {
            while let Some(event) = self.events.recv().await {
                if let Event::Changed(_, status) = event {
                    let enough = wanted(&status);
                    seen.push(status);
                    if enough {
                        return true;
                    }
                }
            }
            false
        });
        match found.await {
            Ok(true) => Ok(seen),
            _ => Err(format!("never reported; seen were {seen:?}")),
        }
    }

    pub(super) async fn removed(&self, name: &UnitName, path: &PathBuf) -> Outcome {
        match self.init.stop(name).await {
            Ok(job) => drop(done(job).await?),
            Err(InitError::NoSuchUnit(_)) => (),
            Err(error) => return Err(error.to_string()),
        }
        self.init.unlink(name).await.map_err(said)?;
        self.init.reset_failed(name).await.map_err(said)?;
        std::fs::remove_file(path).map_err(|e| e.to_string())
    }
}
