//! Following a machine's start: systemd-nspawn passes on what the systemd inside announces.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::Machine;
use crate::host;
use crate::wait::{seen, wait_until};

/// A machine starts in a second or two; a loaded host may need a while longer.
const DEADLINE: Duration = Duration::from_secs(90);

/// How often to look whether the container has ended without a word.
const GLANCE: Duration = Duration::from_millis(200);

/// A machine that has power and is starting.
#[derive(Debug)]
#[must_use = "a machine is not up before its boot was waited for"]
pub struct Boot<'a> {
    machine: &'a Machine,
    socket: UnixDatagram,
    path: PathBuf,
    started: Instant,
}

impl<'a> Boot<'a> {
    pub(super) fn new(machine: &'a Machine) -> Result<(Self, PathBuf)> {
        let path = machine.directory.join("notify");
        // An earlier boot's socket.
        let _ = fs::remove_file(&path);
        let socket =
            UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        socket
            .set_read_timeout(Some(GLANCE))
            .context("cannot set a socket's timeout")?;
        let boot = Self {
            machine,
            socket,
            path: path.clone(),
            started: Instant::now(),
        };
        Ok((boot, path))
    }

    /// Waits until its systemd has started all there is to start; how long that took.
    pub fn wait(self) -> Result<Duration> {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let message = String::from_utf8_lossy(&buffer[..length]);
                    if message.lines().any(|line| line == "READY=1") {
                        return Ok(self.started.elapsed());
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("cannot read a machine's announcements"),
            }
            let number = self.machine.number;
            if self.machine.reap() {
                bail!("machine {number} ended while it started: {}", self.last_words());
            }
            if self.started.elapsed() > DEADLINE {
                bail!(
                    "machine {number} was not up after {} s: {}",
                    DEADLINE.as_secs(),
                    self.last_words()
                );
            }
        }
    }

    /// Waits only until one can log in, as a person does who does not know what else is still starting.
    pub fn wait_shell(self) -> Result<Duration> {
        let number = self.machine.number;
        wait_until(&format!("a shell in machine {number}"), DEADLINE, || {
            let ready = ["systemctl", "is-active", "sysinit.target", "dbus.socket"];
            let answer = self.machine.exec(&ready)?;
            seen(answer.success(), || answer.stdout.clone())
        })?;
        Ok(self.started.elapsed())
    }

    fn last_words(&self) -> String {
        let console = fs::read(self.machine.console()).unwrap_or_default();
        host::last_lines(&String::from_utf8_lossy(&console), 4)
    }
}

impl Drop for Boot<'_> {
    fn drop(&mut self) {
        // What systemd announces later, at its end say, interests nobody.
        let _ = fs::remove_file(&self.path);
    }
}
