//! Carries out the steps for one unit, against systemd and the disk.
//!
//! Each unit has at most one worker at a time; workers of different units run side by side.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use units::{UnitFile, UnitName};

use super::local::{Held, Local, Record, Started};
use super::plan::{Plan, Step};
use super::reload::Reloader;
use crate::guard::{Guard, GuardError};
use crate::init::{InitError, JobResult, Owner, SharedInit, Status};
use crate::registry::keys::Keys;
use crate::registry::{RegistryError, Select, SharedRegistry};

/// What workers work with.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) registry: SharedRegistry,
    pub(crate) keys: Keys,
    pub(crate) init: SharedInit,
    pub(crate) local: Local,
    pub(crate) reloader: Reloader,
    pub(crate) guard: Arc<Guard>,
}

/// How the work on a unit came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every step was done.
    Done,
    /// The start was carried out and the unit did not come up, in systemd's word. It is not tried again.
    Ended(String),
    /// The name is the host's own.
    Refused(String),
    /// Something else is wanted by now.
    Superseded,
    /// A step failed; it is worth trying again.
    Failed(String),
}

/// A word from a worker.
#[derive(Debug)]
pub(crate) enum Word {
    /// This is what the machine holds of the unit now.
    Holds(UnitName, Option<Held>),
    /// This is what systemd says of it now.
    Observed(UnitName, Status),
    /// The work is over.
    Over(UnitName, Outcome),
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Init(#[from] InitError),
    #[error("{0}")]
    Registry(#[from] RegistryError),
    #[error("{0}")]
    Disk(#[from] std::io::Error),
    #[error("{0}")]
    Content(String),
    #[error("{0}")]
    Guard(#[from] GuardError),
    #[error(
        "OnDisconnect=stop, and this machine may count as lost: its presence in the cluster was not renewed in time"
    )]
    Lapsed,
    #[error("the stop job came out as `{0}`")]
    NotStopped(String),
    #[error("")]
    Refused(String),
    #[error("")]
    Ended(String),
    #[error("")]
    Superseded,
}

pub(crate) struct Worker {
    pub(crate) bench: Bench,
    pub(crate) unit: UnitName,
    pub(crate) held: Option<Held>,
    pub(crate) superseded: CancellationToken,
    pub(crate) may_be_superseded: bool,
    pub(crate) words: mpsc::UnboundedSender<Word>,
    pub(crate) text: Option<String>,
}

impl Worker {
    pub(crate) async fn work(mut self, plan: Plan) {
        let mut outcome = Outcome::Done;
        for step in &plan.steps {
            // A release is carried through once begun: half of one would look like a unit that was started and ended.
            let overtaken = self.may_be_superseded && self.superseded.is_cancelled();
            let done = if overtaken {
                Err(Trouble::Superseded)
            } else {
                self.step(step).await
            };
            let Err(trouble) = done else { continue };
            outcome = match trouble {
                Trouble::Refused(why) => Outcome::Refused(why),
                Trouble::Ended(word) => Outcome::Ended(word),
                Trouble::Superseded => Outcome::Superseded,
                other => Outcome::Failed(format!("{}: {other}", describe(step))),
            };
            break;
        }
        // Asked before the work counts as over: the signal that says the same may be on its way still, and what was said
        // without it would be a step behind.
        if self.held.is_some()
            && let Ok(statuses) = self.bench.init.observe(std::slice::from_ref(&self.unit)).await
        {
            for (unit, status) in statuses {
                let _ = self.words.send(Word::Observed(unit, status));
            }
        }
        let _ = self.words.send(Word::Over(self.unit, outcome));
    }

    async fn step(&mut self, step: &Step) -> Result<(), Trouble> {
        let init = self.bench.init.clone();
        match step {
            Step::Fetch(hash) => {
                let key = self.bench.keys.content(hash);
                let found = self.bench.registry.read(&[Select::Key(key.clone())]).await?;
                let bytes = found.get(&key).map(|kv| kv.value.clone());
                let bytes = bytes
                    .ok_or_else(|| Trouble::Content(format!("content {} is not there", hash.short())))?;
                let text = String::from_utf8(bytes).map_err(|e| Trouble::Content(e.to_string()))?;
                let file = UnitFile::parse(&text).map_err(|e| Trouble::Content(e.to_string()))?;
                if file.hash() != *hash {
                    return Err(Trouble::Content(format!(
                        "content {} is not what its name says",
                        hash.short()
                    )));
                }
                self.text = Some(text);
            }
            Step::Claim => {
                if let Owner::Host(path) = init.owner(&self.unit).await? {
                    let why = format!("the host has a unit of this name: {}", path.display());
                    return Err(Trouble::Refused(why));
                }
            }
            Step::Disable => {
                init.unlink(&self.unit).await?;
                // Takes the link to the file away as well, which the unit still needs while it is stopped.
                init.link(&self.bench.local.path(&self.unit)).await?;
                self.remember(|record| record.enabled = false)?;
                self.bench.reloader.reload().await?;
            }
            Step::Stop => self.stop().await?,
            Step::Write { generation, run } => {
                let text = self
                    .text
                    .take()
                    .ok_or_else(|| Trouble::Content("nothing was fetched".to_owned()))?;
                let record = Record {
                    generation: *generation,
                    run: *run,
                    ..Record::default()
                };
                self.bench.local.write(&self.unit, &text, &record)?;
                self.holds(Some(Held::of(&self.unit, &text, record)));
                self.text = Some(text);
            }
            Step::Link => init.link(&self.bench.local.path(&self.unit)).await?,
            Step::Reload => self.bench.reloader.reload().await?,
            Step::Installed => self.remember(|record| record.installed = true)?,
            Step::Enable => {
                if self.has_install()? {
                    init.enable(&self.bench.local.path(&self.unit)).await?;
                    self.remember(|record| record.enabled = true)?;
                    self.bench.reloader.reload().await?;
                }
            }
            Step::Guard => self.bench.guard.cover(&self.unit).await?,
            Step::Start { generation, run } => self.start(*generation, *run).await?,
            Step::Note {
                generation,
                run,
                started,
            } => self.remember(|record| {
                record.generation = *generation;
                record.run = *run;
                record.started = if *started { Started::Yes } else { Started::No };
            })?,
            Step::ResetFailed => init.reset_failed(&self.unit).await?,
            Step::Remove => {
                match init.unlink(&self.unit).await {
                    Err(InitError::NoSuchUnit(_)) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
                self.bench.local.remove(&self.unit)?;
                self.holds(None);
            }
        }
        Ok(())
    }

    async fn start(&mut self, generation: i64, run: u64) -> Result<(), Trouble> {
        let asked_us = self.bench.init.now_us();
        self.remember(|record| {
            record.generation = generation;
            record.run = run;
            record.started = Started::Asked;
            record.asked_us = asked_us;
        })?;
        // The last thing before the call: the cluster may have started it elsewhere while we slept.
        if self.held.as_ref().is_some_and(|h| h.guarded) && !self.bench.guard.is_current() {
            self.remember(|record| record.started = Started::No)?;
            return Err(Trouble::Lapsed);
        }
        let job = match self.bench.init.start(&self.unit).await {
            Ok(job) => job,
            Err(InitError::Unreachable(why)) => return Err(InitError::Unreachable(why).into()),
            Err(error) => {
                // Said no: there was no start.
                self.remember(|record| record.started = Started::No)?;
                return Err(error.into());
            }
        };
        self.remember(|record| record.started = Started::Yes)?;
        tokio::select! {
            biased;
            // The job goes on; what is wanted now is carried out over it.
            () = self.superseded.cancelled() => Err(Trouble::Superseded),
            result = job => match result {
                Ok(JobResult::Failed(word)) => Err(Trouble::Ended(word)),
                Ok(JobResult::Done | JobResult::Canceled) | Err(_) => Ok(()),
            },
        }
    }

    async fn stop(&mut self) -> Result<(), Trouble> {
        let job = match self.bench.init.stop(&self.unit).await {
            Ok(job) => job,
            Err(InitError::NoSuchUnit(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match job.await {
            Ok(JobResult::Done) => Ok(()),
            Ok(JobResult::Canceled) => Err(Trouble::NotStopped("canceled".to_owned())),
            Ok(JobResult::Failed(word)) => Err(Trouble::NotStopped(word)),
            Err(_) => Err(InitError::Unreachable("the connection was lost".to_owned()).into()),
        }
    }

    fn has_install(&self) -> Result<bool, Trouble> {
        let text = match &self.text {
            Some(text) => text.clone(),
            None => std::fs::read_to_string(self.bench.local.path(&self.unit))?,
        };
        let file = UnitFile::parse(&text).map_err(|e| Trouble::Content(e.to_string()))?;
        Ok(file.has_section("Install"))
    }

    fn remember(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Trouble> {
        let Some(mut held) = self.held.clone() else {
            return Ok(());
        };
        change(&mut held.record);
        self.bench.local.remember(&self.unit, &held.record)?;
        self.holds(Some(held));
        Ok(())
    }

    fn holds(&mut self, held: Option<Held>) {
        self.held.clone_from(&held);
        let _ = self.words.send(Word::Holds(self.unit.clone(), held));
    }
}

fn describe(step: &Step) -> &'static str {
    match step {
        Step::Fetch(_) => "its content could not be fetched",
        Step::Claim => "its name could not be checked",
        Step::Disable => "it could not be disabled",
        Step::Stop => "it could not be stopped",
        Step::Write { .. } | Step::Note { .. } | Step::Installed => "it could not be written",
        Step::Link => "it could not be linked",
        Step::Reload => "systemd could not be reloaded",
        Step::Enable => "it could not be enabled",
        Step::Guard => "it could not be guarded",
        Step::Start { .. } => "it could not be started",
        Step::ResetFailed => "its failure could not be cleared",
        Step::Remove => "it could not be removed",
    }
}
