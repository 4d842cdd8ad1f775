//! Processes as the host sees them.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};

/// A process id on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Pid {
    /// Whether it is a process that still does something; a zombie does not.
    pub fn is_alive(self) -> bool {
        self.status("State:")
            .is_some_and(|state| !state.starts_with(['Z', 'X']))
    }

    /// Whether it is held by SIGSTOP.
    pub fn is_stopped(self) -> bool {
        self.status("State:").is_some_and(|state| state.starts_with('T'))
    }

    /// Its ids, from the host's namespace to the innermost.
    pub fn ids(self) -> Vec<i32> {
        let ids = self.status("NSpid:").unwrap_or_default();
        ids.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }

    /// The name of its program, cut to 15 characters.
    pub fn name(self) -> String {
        fs::read_to_string(format!("/proc/{self}/comm"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// Sends a signal; that the process is gone already is no error.
    pub fn signal(self, signal: Signal) -> Result<()> {
        match kill(nix::unistd::Pid::from_raw(self.0), signal) {
            Err(nix::errno::Errno::ESRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {self}")),
        }
    }

    fn status(self, field: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{self}/status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .map(|value| value.trim().to_owned())
    }
}
