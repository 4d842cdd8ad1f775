//! A cgroup for each machine, in every hierarchy of the host.
//!
//! systemd-nspawn is told to stay in the cgroup it is started in. Two machines in one cgroup would share one tree,
//! and two PID 1s there end each other's services; so each machine is put into a group of its own first. The group
//! is also the mark of ownership: whatever process is in a group with the lab's name, the lab started.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Pid;
use crate::wait::{seen, wait_until};

/// v1 hierarchies where a machine needs a group of its own. The others (devices, freezer, …) are not touched by the
/// systemd inside, which is shown cgroup v2 only.
const V1: [&str; 6] = ["name=systemd", "cpu", "cpuacct", "cpu,cpuacct", "pids", "memory"];

/// Where the host's cgroup hierarchies are mounted.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    v2: PathBuf,
    v1: Vec<PathBuf>,
}

impl Hierarchies {
    /// Reads the host's mounts; an error if there is no cgroup v2 among them.
    pub fn find() -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
        let mut v2 = None;
        let mut v1 = Vec::new();
        for line in table.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match kind {
                "cgroup2" => v2 = v2.or_else(|| Some(PathBuf::from(point))),
                "cgroup" if options.split(',').any(|option| V1.contains(&option)) => v1.push(point.into()),
                _ => {}
            }
        }
        let v2 = v2.context("no cgroup v2 is mounted: boot with systemd.unified_cgroup_hierarchy=1")?;
        Ok(Self { v2, v1 })
    }

    /// The group of this name, whether it exists or not.
    pub fn group(&self, name: &str) -> Group {
        let roots = std::iter::once(&self.v2).chain(&self.v1);
        Group {
            directories: roots.map(|root| root.join(name)).collect(),
        }
    }

    /// Names of existing groups that start with a prefix.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for root in std::iter::once(&self.v2).chain(&self.v1) {
            for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.starts_with(prefix) && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// One machine's group: the same name in every hierarchy, v2 first.
#[derive(Debug, Clone)]
pub struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// Makes the group where it does not exist yet.
    pub fn create(&self) -> Result<()> {
        for directory in &self.directories {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make cgroup {}", directory.display()))?;
        }
        Ok(())
    }

    /// The files to write a process id to, so that the process joins.
    pub fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.directories
            .iter()
            .map(|directory| directory.join("cgroup.procs"))
    }

    /// Every process in the group and the groups below it.
    pub fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        for directory in &self.directories {
            collect(directory, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Stops the whole machine in its tracks, as a hypervisor pauses a VM, or lets it go on.
    pub fn pause(&self, pause: bool) -> Result<()> {
        let Some(v2) = self.directories.first() else {
            return Ok(());
        };
        let file = v2.join("cgroup.freeze");
        fs::write(&file, if pause { "1" } else { "0" })
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Whether the whole machine is paused.
    pub fn is_paused(&self) -> bool {
        let state = self
            .directories
            .first()
            .map(|v2| fs::read_to_string(v2.join("cgroup.freeze")));
        matches!(state, Some(Ok(text)) if text.trim() == "1")
    }

    /// Removes the group, which must be empty by now or very soon.
    pub fn remove(&self) -> Result<()> {
        let name = self
            .directories
            .first()
            .map(|v2| v2.display().to_string())
            .unwrap_or_default();
        wait_until(&format!("cgroup {name} to empty"), Duration::from_secs(5), || {
            let failed = self
                .directories
                .iter()
                .filter_map(|directory| remove_below(directory).err())
                .next();
            seen(failed.is_none(), || {
                format!("{failed:?}, processes {:?}", self.processes())
            })
        })
    }
}

fn collect(directory: &Path, found: &mut Vec<Pid>) {
    // A group may vanish while it is read: what is gone has no processes.
    let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).map(Pid));
    for child in children(directory) {
        collect(&child, found);
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let directories = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

fn remove_below(directory: &Path) -> std::io::Result<()> {
    for child in children(directory) {
        remove_below(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
