//! What can befall a machine, and its healing.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::Machine;
use crate::network;
use crate::process::Pid;

/// Containers that do not mind SIGTERM get ten seconds each before they are killed.
const ORDERLY_END: Duration = Duration::from_secs(60);

impl Machine {
    /// Cuts the power: every process in it is gone at once, the disk stays.
    pub fn kill(&self) -> Result<()> {
        self.require_running()?;
        self.clear()
    }

    /// Shuts it down in order.
    pub fn poweroff(&self) -> Result<()> {
        self.run(&["systemctl", "poweroff", "--no-block"])?;
        self.wait_end(ORDERLY_END)?;
        self.clear()
    }

    /// Pulls its cable: it runs on, alone.
    pub fn cut(&self) -> Result<()> {
        self.require_running()?;
        network::plug(&self.link(), false)
    }

    /// Whether its cable is plugged in.
    pub fn is_connected(&self) -> bool {
        network::is_plugged(&self.link())
    }

    /// Whether the machine as a whole stands still.
    pub fn is_paused(&self) -> bool {
        self.group.is_paused()
    }

    /// Stops the whole machine in its tracks, as a hypervisor pauses a VM.
    pub fn pause(&self) -> Result<()> {
        self.require_running()?;
        self.group.pause(true)
    }

    /// Holds a service's main process still (SIGSTOP): it hangs, and its connections stay open.
    pub fn freeze(&self, service: &str) -> Result<()> {
        self.signal_service(service, Signal::SIGSTOP)
    }

    /// Ends a service's main process without a warning (SIGKILL); its unit file says what comes next.
    pub fn crash(&self, service: &str) -> Result<()> {
        self.signal_service(service, Signal::SIGKILL)
    }

    /// Ends a service's main process without a warning, and it stays away until [`Machine::revive`].
    pub fn crash_for_good(&self, service: &str) -> Result<()> {
        let script = r#"
            d=/run/systemd/system/$1.d
            mkdir -p $d && printf '[Service]\nRestart=no\nWatchdogSec=0\n' > $d/lab-stays-away.conf
            systemctl daemon-reload
            [ "$1" != fleet.service ] || systemctl stop fleet.socket
            systemctl kill --kill-whom=main --signal=SIGKILL -- "$1"
        "#;
        self.run(&["sh", "-ec", script, "sh", service]).map(drop)
    }

    /// Starts a service again that was crashed for good.
    pub fn revive(&self, service: &str) -> Result<()> {
        let script = r#"
            rm -rf /run/systemd/system/$1.d/lab-stays-away.conf
            systemctl daemon-reload
            exec systemctl start "$1"
        "#;
        self.run(&["sh", "-ec", script, "sh", service]).map(drop)
    }

    fn signal_service(&self, service: &str, signal: Signal) -> Result<()> {
        let signal = format!("--signal={signal}");
        self.run(&["systemctl", "kill", "--kill-whom=main", &signal, "--", service])
            .map(drop)
    }

    /// Makes good what can be: plugs the cable in, lets go on whatever stands still.
    pub fn heal(&self) -> Result<()> {
        self.require_running()?;
        self.group.pause(false)?;
        for pid in self.frozen() {
            pid.signal(Signal::SIGCONT)?;
        }
        network::plug(&self.link(), true)
    }

    /// Processes of the machine that are held still.
    pub fn frozen(&self) -> Vec<Pid> {
        self.group
            .processes()
            .into_iter()
            .filter(|pid| pid.is_stopped())
            .collect()
    }

    /// When it was powered on, as a boot id: another one after each boot.
    pub fn boot_id(&self) -> Result<String> {
        self.run(&["cat", "/proc/sys/kernel/random/boot_id"])
            .map(|id| id.trim().to_owned())
    }

    fn require_running(&self) -> Result<()> {
        ensure!(
            self.is_running(),
            "machine {n} is off: `cargo lab boot {n}` starts it",
            n = self.number
        );
        Ok(())
    }
}
