//! The user's own OpenSSH, `ssh(1)`: agent, configuration, jump hosts and keys are those the user has anyway.
//!
//! What the user did not say to fleetctl is left to `ssh_config(5)`; what fleetctl says to ssh is in [`Options`]. The
//! API behind `--tunnel` is reached through a [`Tunnel`].

mod configured;
mod destination;
mod options;
mod quote;
mod tunnel;
mod wire;

use std::io;
use std::process::{Output, Stdio};

use tokio::process::Command;

pub use destination::{Destination, DestinationError};
pub use options::Options;
pub use quote::command_line;
pub use tunnel::Tunnel;
pub use wire::Wire;

use configured::Configured;

/// Why ssh does not lead to where it should, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// It cannot be run.
    #[error("cannot run ssh: {0}; is OpenSSH's client installed?")]
    Run(String),
    /// It ended without having done what it was to do.
    #[error("{host}: {words}")]
    Failed {
        /// Where it was to go.
        host: String,
        /// What it, or what it ran there, said last.
        words: String,
    },
}

impl From<io::Error> for SshError {
    fn from(error: io::Error) -> Self {
        Self::Run(error.to_string())
    }
}

/// The arguments of ssh that lead to a machine, by way of the tunnel if there is one; a command may follow after `--`.
///
/// # Errors
/// ssh cannot be run, its configuration is wrong, or the tunnel cannot be opened.
pub async fn way(
    options: &Options,
    tunnel: Option<&Tunnel>,
    destination: &Destination,
) -> Result<Vec<String>, SshError> {
    let mut words = options.words(destination);
    let configured = ask(&words, destination).await?;
    words.extend(options.time_limit(configured.has_time_limit));
    // A connection that the user's configuration shares is known by the host alone: one of another tunnel's network, which
    // has a host of that address too, is not taken for it, and one that took any key is not left for others.
    if tunnel.is_some() || options.strict == Some(false) {
        words.extend(["-o", "ControlMaster=no", "-o", "ControlPath=none"].map(str::to_owned));
    }
    if let Some(tunnel) = tunnel {
        // Not -J: of what is said on the command line it passes nothing on to the host between.
        words.extend(["-o".to_owned(), format!("ProxyCommand={}", tunnel.proxy().await?)]);
    }
    words.push(destination.host().to_owned());
    Ok(words)
}

/// What the user's configuration says of a destination.
async fn ask(words: &[String], destination: &Destination) -> Result<Configured, SshError> {
    let output = run(&[&["-G".to_owned()], words, &[destination.host().to_owned()]].concat()).await?;
    match output.status.success() {
        true => Ok(Configured::read(&String::from_utf8_lossy(&output.stdout))),
        false => Err(SshError::Failed {
            host: destination.to_string(),
            words: lines(&output.stderr).join("; "),
        }),
    }
}

async fn run(words: &[String]) -> Result<Output, SshError> {
    let mut ssh = Command::new("ssh");
    ssh.args(words).stdin(Stdio::null()).kill_on_drop(true);
    Ok(ssh.output().await?)
}

/// What was said, without the ends of lines that a terminal wants.
fn lines(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}
