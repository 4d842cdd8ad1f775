//! A process that is nothing but a candidate for the engine: this program again, told to be that.

use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};

use anyhow::{Context, Result};
use fleetd::registry::keys::Keys;

use crate::candidate::Candidate;
use crate::etcd;
use crate::machine::id_of;
use crate::usage::Usage;

/// What it is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Where etcd answers.
    pub etcd: String,
    /// Where it remembers what it has seen.
    pub directory: PathBuf,
}

/// The process, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Child(Process);

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// If this program cannot be run again.
    pub(crate) fn start(etcd: &str, directory: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("does not know its own file")?;
        let process = Command::new(program)
            .args(["only-leader", etcd])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run itself")?;
        Ok(Self(process))
    }

    /// What it takes.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.0.id()).context("the only leader has ended")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes part in elections until its standard input ends: so it never outlives who started it.
///
/// # Errors
/// If etcd does not answer.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let registry = std::sync::Arc::new(etcd::connect(&arguments.etcd)?);
    // Of no machine in particular.
    let id = id_of(usize::MAX >> 1)?;
    let candidate = Candidate::start(registry, &Keys::default(), id, &arguments.directory).await?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    candidate.stop().await;
    Ok(())
}
