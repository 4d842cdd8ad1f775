//! One machine: a systemd-nspawn container with its own PID 1, disk, address and id.
//!
//! Its disk is an overlay over the image, in a directory of the host; /run and the containers' storage are tmpfs. So
//! a power cut forgets what a real one forgets, and nothing else. Whether it runs is read off the kernel each time:
//! the process in its cgroup that is process 1 one namespace down is its PID 1.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::cgroup::{Group, Hierarchies};
use crate::host;
use crate::layer;
use crate::network::{self, Index};
use crate::process::Pid;
use crate::wait::{seen, wait_until};

mod boot;
mod exec;
mod faults;

pub use boot::Boot;
pub use exec::Output;

/// How long the end of a machine may take once its PID 1 is killed.
const END: Duration = Duration::from_secs(10);

/// What runs containers, where it is there, and where it stores them: an overlay cannot lie on an overlay.
const CONTAINERS: [(&str, &str); 2] = [
    ("usr/bin/dockerd", "/var/lib/docker"),
    ("usr/bin/podman", "/var/lib/containers"),
];

/// A machine, running or not.
#[derive(Debug)]
pub struct Machine {
    index: Index,
    number: usize,
    directory: PathBuf,
    group: Group,
    /// The container's supervisor, if this very process started it: it must be waited for, or it stays as a zombie.
    supervisor: Mutex<Option<Child>>,
}

impl Machine {
    /// The machine of this number; nothing is made or started.
    pub fn new(index: Index, number: usize, directory: PathBuf, hierarchies: &Hierarchies) -> Self {
        let group = hierarchies.group(&index.machine(number));
        Self {
            index,
            number,
            directory,
            group,
            supervisor: Mutex::new(None),
        }
    }

    /// Counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its name in the cluster: `m1`.
    pub fn hostname(&self) -> String {
        layer::hostname(self.number)
    }

    /// What its /etc/machine-id says.
    pub fn id(&self) -> String {
        layer::machine_id(self.number)
    }

    /// Its address on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.index.address(self.number)
    }

    /// Its root directory, seen from the host. Written to only while the machine is off, or with care.
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// What it printed on its console since it was last powered on.
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    fn link(&self) -> String {
        self.index.link(self.number)
    }

    /// Makes its disk: an overlay over the read-only layers, topmost first.
    pub fn create_disk(&self, layers: &[&Path]) -> Result<()> {
        let lower: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        layer::write(&self.directory.join("layers"), &lower.join(":"))?;
        self.empty_disk()
    }

    /// Replaces its disk by an empty one over the same layers, also the first time. The machine must be off.
    pub fn empty_disk(&self) -> Result<()> {
        ensure!(!self.is_running(), "machine {} is running", self.number);
        let lower = fs::read_to_string(self.directory.join("layers")).context("its layers are not known")?;
        let [upper, work] = ["disk", "work"].map(|name| self.directory.join(name));
        let root = self.root();
        for directory in [&root, &upper, &work] {
            host::remove_tree(directory)?;
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        let source = self.index.machine(self.number);
        host::run(
            "mount",
            [
                "-t",
                "overlay",
                &source,
                "-o",
                &options,
                &root.display().to_string(),
            ],
        )?;
        Ok(())
    }

    /// Powers it on and waits until its systemd has started all there is to start.
    pub fn boot(&self) -> Result<Duration> {
        self.power_on()?.wait()
    }

    /// Powers it on. The disk is as the machine left it.
    pub fn power_on(&self) -> Result<Boot<'_>> {
        ensure!(!self.is_running(), "machine {} is running", self.number);
        self.clear()?;
        self.group.create()?;
        let (boot, notify) = Boot::new(self)?;
        let console = File::create(self.console()).context("cannot make the console's log")?;
        let child = self
            .supervisor_command()
            .env("NOTIFY_SOCKET", notify)
            .stdin(Stdio::null())
            .stdout(console.try_clone().context("cannot share the console's log")?)
            .stderr(console)
            .spawn()
            .context("cannot run systemd-nspawn")?;
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(boot)
    }

    fn supervisor_command(&self) -> Command {
        let mut command = Command::new("sh");
        // Joins the cgroups as itself, then leaves our session: neither our end nor a ^C is the machines' end.
        command
            .args([
                "-c",
                "while [ $1 != -- ]; do echo $$ > $1 || exit; shift; done; shift; exec setsid \"$@\"",
            ])
            .arg("sh")
            .args(self.group.doors())
            .args([
                "--",
                "systemd-nspawn",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--notify-ready=yes",
            ])
            .args([
                "--capability=all",
                "--system-call-filter=@keyring bpf @privileged",
            ])
            .arg("--bind-ro=/sys/module")
            .args(
                CONTAINERS
                    .iter()
                    .filter(|(program, _)| self.root().join(program).exists())
                    .map(|(_, storage)| format!("--tmpfs={storage}")),
            )
            .arg(format!("--machine={}", self.index.machine(self.number)))
            .arg(format!("--hostname={}", self.hostname()))
            .arg(format!("--network-bridge={}", self.index.bridge()))
            .arg(format!("--directory={}", self.root().display()))
            // Without it a host with cgroup v1 shows that to the containers, read-only, and Docker cannot start.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        command
    }

    /// Its PID 1 as the host sees it, if it runs.
    pub fn leader(&self) -> Option<Pid> {
        self.group
            .processes()
            .into_iter()
            .find(|pid| matches!(pid.ids()[..], [_, 1]) && pid.is_alive())
    }

    /// Its oldest process of this name, as the host sees it.
    pub fn process(&self, name: &str) -> Option<Pid> {
        let processes = self.group.processes();
        processes.into_iter().find(|pid| pid.name() == name)
    }

    /// Whether it runs (or hangs; but it has power).
    pub fn is_running(&self) -> bool {
        self.leader().is_some()
    }

    /// Waits until nothing of it runs any more.
    fn wait_end(&self, deadline: Duration) -> Result<()> {
        wait_until(&format!("the end of machine {}", self.number), deadline, || {
            self.reap();
            let left = self.group.processes();
            let told = || {
                left.iter()
                    .map(|pid| format!("{pid} {}", pid.name()))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            seen(left.is_empty(), || format!("processes {}", told()))
        })
    }

    /// Whether the supervisor that we started has ended.
    fn reap(&self) -> bool {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = supervisor
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
        if ended {
            *supervisor = None;
        }
        ended
    }

    /// Ends whatever runs in its name and takes away what an end that was not orderly leaves on the host.
    pub(crate) fn clear(&self) -> Result<()> {
        self.cut_power()?;
        // Its supervisor sees the end and tidies up; one that does not gets no second chance.
        if self.wait_end(Duration::from_secs(2)).is_err() {
            for pid in self.group.processes() {
                pid.signal(Signal::SIGKILL)?;
            }
            self.wait_end(END)?;
        }
        self.group.remove()?;
        // The other end of the cable dies with the machine's network namespace, but not at once.
        network::remove_link(&self.link())?;
        remove_if_there(&Path::new("/run/systemd/nspawn/propagate").join(self.index.machine(self.number)))
    }

    /// Kills its PID 1, and with that everything in it. Does not wait for the end.
    pub(crate) fn cut_power(&self) -> Result<()> {
        if let Some(leader) = self.leader() {
            leader.signal(Signal::SIGKILL)?;
            // A paused machine is dead now too, but its supervisor stands still beside it.
            self.group.pause(false)?;
        }
        Ok(())
    }

    /// Takes it away, disk and all.
    pub fn remove(&self) -> Result<()> {
        self.clear()?;
        host::remove_tree(&self.directory)
    }
}

fn remove_if_there(directory: &Path) -> Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
