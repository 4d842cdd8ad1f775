//! A cluster: n machines on one bridge, etcd over them, and what is remembered of it on disk.
//!
//! What is remembered lies in one directory of the host, not in a source tree: bridges and addresses are the host's,
//! and every checkout must see whose they are. A lock beside it tells whether the process that made a cluster for
//! itself still lives.

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchies;
use crate::fleet::Fleet;
use crate::machine::{Machine, Output};
use crate::network::{self, Index, MOST_MACHINES};
use crate::printer::Printer;
use crate::{clean, host, http, image, layer};

/// Where clusters live.
pub const HOME: &str = "/var/lib/fleetlab";

/// Every systemd takes a few inotify instances and the kernel gives all machines 128 together.
const MANY_MACHINES: usize = 8;

/// What a cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How many machines.
    pub machines: usize,
    /// Whether fleet is on them.
    pub fleet: bool,
    /// Whether `busybox:local` is loaded into Docker and Podman at boot; that costs a second or two.
    pub images: bool,
    /// Metadata `zone`, dealt out to the machines in turn.
    pub zones: Vec<String>,
    /// More lines for every fleet.conf.
    pub fleet_conf: Vec<String>,
    /// Which etcd the members run.
    #[serde(default)]
    pub etcd: Etcd,
    /// How many machines have an etcd of their own, the first ones; the others have a gateway.
    #[serde(default = "three")]
    pub members: usize,
    /// What the machines come as.
    #[serde(default)]
    pub base: Base,
}

/// What machines come as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// With etcd, containers and fleet, all set up by the lab.
    #[default]
    Lab,
    /// As a hoster hands them out: a bare Debian with an address, no more. apt can install our package without a network.
    Bare,
    /// The same, with our package installed and nothing set up.
    Package,
}

/// Which etcd the members run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Etcd {
    /// The image's own, of Debian 13.
    #[default]
    #[value(name = "3.5")]
    Image,
    /// The host's, put into the machines: 3.4 where the host is a Debian 12.
    #[value(name = "3.4")]
    Host,
}

impl std::fmt::Display for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Image => "3.5",
            Self::Host => "3.4",
        })
    }
}

fn three() -> usize {
    3
}

impl Base {
    /// The read-only trees below the machines' disks, topmost first.
    fn trees(self, fleet: Option<&Fleet>, printer: &Printer) -> Result<Vec<PathBuf>> {
        let package = || {
            fleet
                .context("bare machines need fleet's package")
                .and_then(Fleet::package)
        };
        match self {
            Self::Lab => Ok(vec![image::ensure(printer)?]),
            Self::Bare => image::plain::bare(package()?, printer),
            Self::Package => image::plain::installed(package()?, printer),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            machines: 3,
            fleet: true,
            images: false,
            zones: Vec::new(),
            fleet_conf: Vec::new(),
            etcd: Etcd::default(),
            members: three(),
            base: Base::default(),
        }
    }
}

impl Options {
    /// How many machines have an etcd that the lab set up.
    pub fn members(&self) -> usize {
        match self.base {
            Base::Lab => self.members.min(self.machines),
            Base::Bare | Base::Package => 0,
        }
    }

    /// Bare machines with our package.
    pub fn package(machines: usize) -> Self {
        Self {
            machines,
            base: Base::Package,
            ..Self::default()
        }
    }
}

/// A cluster of machines, running or not.
#[derive(Debug)]
pub struct Cluster {
    index: Index,
    options: Options,
    machines: Vec<Machine>,
    /// Held by the process that made a cluster for itself; the cluster goes with it.
    own: Option<File>,
}

impl Cluster {
    /// A cluster for this process alone; it is taken down when the value is dropped.
    pub fn fresh(options: Options, fleet: Option<&Fleet>, printer: &Printer) -> Result<Self> {
        for index in Index::all().filter(|index| *index != Index::DEMO) {
            if let Some(lock) = lock(index)? {
                let mut cluster = Self::create(index, options, fleet, printer)?;
                cluster.own = Some(lock);
                return Ok(cluster);
            }
        }
        bail!("every cluster index is in use by a running lab: wait for one to end")
    }

    /// The cluster that people play with; it stays when this process ends.
    pub fn demo(options: Options, fleet: Option<&Fleet>, printer: &Printer) -> Result<Self> {
        let lock = lock(Index::DEMO)?
            .context("another `cargo lab` is busy with this cluster: wait for it to end")?;
        Self::require_none(Index::DEMO)?;
        let cluster = Self::create(Index::DEMO, options, fleet, printer);
        drop(lock);
        cluster
    }

    /// The cluster that an earlier process made.
    pub fn open(index: Index) -> Result<Self> {
        let path = state_file(index);
        let text = fs::read_to_string(&path).context("no cluster is up: `cargo lab up` makes one")?;
        ensure!(
            network::has_link(&index.bridge()),
            "the cluster did not outlive the host's reboot: `cargo lab clean` clears it away"
        );
        let options =
            serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
        Self::assemble(index, options)
    }

    /// An error if there is such a cluster already. To be asked before anything that takes long.
    pub fn require_none(index: Index) -> Result<()> {
        ensure!(
            !state_file(index).exists(),
            "there is a cluster already: `cargo lab down` takes it down"
        );
        Ok(())
    }

    fn assemble(index: Index, options: Options) -> Result<Self> {
        let hierarchies = Hierarchies::find()?;
        let machine = |number| Machine::new(index, number, directory(index, number), &hierarchies);
        let machines = (1..=options.machines).map(machine).collect();
        Ok(Self {
            index,
            options,
            machines,
            own: None,
        })
    }

    fn create(index: Index, options: Options, fleet: Option<&Fleet>, printer: &Printer) -> Result<Self> {
        let machines = options.machines;
        ensure!(
            (1..=MOST_MACHINES).contains(&machines),
            "a cluster has 1 to {MOST_MACHINES} machines, not {machines}"
        );
        ensure!(
            options.fleet == fleet.is_some(),
            "fleet was asked for but not built, or the other way round"
        );
        let trees = options.base.trees(fleet, printer)?;
        // What an earlier run left under this index.
        clean::wipe(index)?;
        let cluster = Self::assemble(index, options)?;
        let made = cluster.set_up(&trees, fleet, printer);
        if made.is_err() {
            // The reason is worth more than what the tidying says.
            let _ = clean::wipe(index);
        }
        made.map(|()| cluster)
    }

    fn set_up(&self, trees: &[PathBuf], fleet: Option<&Fleet>, printer: &Printer) -> Result<()> {
        let count = self.machines.len();
        // Files that services of other users must read are made here, whatever the caller's umask.
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        // Those of other clusters count, too.
        let all = count + network::links()?.len();
        if all > MANY_MACHINES {
            host::raise_sysctl("fs.inotify.max_user_instances", 64 * all as u64)?;
        }
        printer.step(format!("lay out {count} machines"), |_| {
            network::create_bridge(self.index)?;
            let shared = home(self.index).join("layer");
            layer::write_shared(&shared, self.index, &self.options, fleet)?;
            let layers: Vec<&Path> = std::iter::once(&shared)
                .chain(trees)
                .map(PathBuf::as_path)
                .collect();
            for machine in &self.machines {
                machine.create_disk(&layers)?;
                layer::write_own(&machine.root(), self.index, machine.number(), &self.options)?;
            }
            Ok(())
        })?;
        let what = match self.members().count() {
            0 => format!("boot {count} machines"),
            members => format!("boot {count} machines, etcd on {members}"),
        };
        printer.step(what, |_| self.boot_all())?;
        // Last: a cluster that was interrupted on its way up is none, and the next one takes its place.
        layer::write(
            &state_file(self.index),
            &serde_json::to_string_pretty(&self.options)?,
        )
    }

    /// Boots every machine that is off, all at once.
    pub fn boot_all(&self) -> Result<()> {
        let off = self.machines.iter().filter(|machine| !machine.is_running());
        let booting: Vec<_> = off.map(Machine::power_on).collect::<Result<_>>()?;
        booting.into_iter().try_for_each(|boot| boot.wait().map(drop))
    }

    /// Cuts the power of all machines at once: none has time to miss the others.
    pub fn blackout(&self) -> Result<()> {
        let all: Vec<&Machine> = self.machines.iter().collect();
        blackout(&all)
    }

    /// Hands machines out anew, with empty disks, and boots them.
    pub fn renew(&self, numbers: &[usize]) -> Result<()> {
        let machines: Vec<&Machine> = numbers.iter().map(|n| self.machine(*n)).collect::<Result<_>>()?;
        blackout(&machines)?;
        let mut booting = Vec::new();
        for machine in machines {
            machine.empty_disk()?;
            layer::write_own(&machine.root(), self.index, machine.number(), &self.options)?;
            booting.push(machine.power_on()?);
        }
        booting.into_iter().try_for_each(|boot| boot.wait().map(drop))
    }

    /// Which cluster on this host.
    pub fn index(&self) -> Index {
        self.index
    }

    /// What it is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// All machines, in order.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Numbers of the machines on which the lab set up an etcd; the others have a gateway.
    pub fn members(&self) -> RangeInclusive<usize> {
        1..=self.options.members()
    }

    /// The machine of this number, counted from 1.
    pub fn machine(&self, number: usize) -> Result<&Machine> {
        let found = number.checked_sub(1).and_then(|place| self.machines.get(place));
        found.with_context(|| {
            format!(
                "there is no machine {number}: they count from 1 to {}",
                self.machines.len()
            )
        })
    }

    /// Runs a command in a machine, however it ends.
    pub fn exec(&self, number: usize, words: &[&str]) -> Result<Output> {
        self.machine(number)?.exec(words)
    }

    /// Runs a command in a machine that must succeed; its stdout.
    pub fn run(&self, number: usize, words: &[&str]) -> Result<String> {
        self.machine(number)?.run(words)
    }

    /// Writes a file in a running machine, and the directories it needs.
    pub fn write(&self, number: usize, path: &str, content: &str) -> Result<()> {
        let script = r#"mkdir -p "$(dirname "$1")" && exec cat > "$1""#;
        self.machine(number)?
            .feed(&["sh", "-c", script, "sh", path], content)?
            .ok()
            .map(drop)
    }

    /// fleetctl on a machine, however it ends.
    pub fn fleetctl(&self, number: usize, arguments: &[&str]) -> Result<Output> {
        self.exec(number, &[&["fleetctl"], arguments].concat())
    }

    /// The main process of a unit on a machine; `None` if it has none.
    pub fn main_pid(&self, number: usize, unit: &str) -> Result<Option<i32>> {
        self.machine(number)?.main_pid(unit)
    }

    /// Asks a service on a machine, from the host; the body of its answer.
    pub fn http_get(&self, number: usize, port: u16, path: &str) -> Result<String> {
        let address = SocketAddr::new(self.machine(number)?.address().into(), port);
        http::get(address, path, Duration::from_secs(3))
    }

    /// Whether every machine runs, is connected and nothing in it stands still.
    pub fn is_whole(&self) -> bool {
        let whole =
            |machine: &Machine| machine.is_running() && machine.is_connected() && machine.frozen().is_empty();
        self.machines
            .iter()
            .all(|machine| whole(machine) && !machine.is_paused())
    }

    /// Takes it down: machines, disks, network, memory of it.
    pub fn down(mut self) -> Result<()> {
        let result = clean::wipe(self.index);
        // Only now may another process have the index.
        self.own = None;
        result
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.own.is_none() {
            return;
        }
        if let Err(error) = clean::wipe(self.index) {
            Printer::loud().error(&format!("cannot take cluster {} down: {error:#}", self.index));
        }
    }
}

fn blackout(machines: &[&Machine]) -> Result<()> {
    for machine in machines {
        machine.cut_power()?;
    }
    machines.iter().try_for_each(|machine| machine.clear())
}

/// The directory of a cluster.
pub fn home(index: Index) -> PathBuf {
    PathBuf::from(HOME).join(index.to_string())
}

/// The directory of a machine.
pub fn directory(index: Index, number: usize) -> PathBuf {
    home(index).join(layer::hostname(number))
}

fn state_file(index: Index) -> PathBuf {
    home(index).join("cluster.json")
}

/// Takes a cluster's lock; `None` if a living process holds it.
pub fn lock(index: Index) -> Result<Option<File>> {
    fs::create_dir_all(HOME).with_context(|| format!("cannot make {HOME}"))?;
    let path = PathBuf::from(HOME).join(format!("{index}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
