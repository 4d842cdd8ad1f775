//! A herd of plain units, and whether any of them was touched.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::report::Report;
use crate::cluster::Cluster;
use crate::wait::{seen, wait_until};

/// Where each stop of a unit leaves its mark, on the machine's disk: it outlives whatever happens to the machine.
const MARKS: &str = "root/stops";

/// Every end of it leaves a mark, whoever asked for it.
pub const UNIT: &str =
    "[Service]\nExecStart=/bin/sleep infinity\nExecStopPost=/bin/sh -c 'echo %n >> /root/stops'\n";

/// Main processes by machine and unit.
pub type Census = BTreeMap<(usize, String), i32>;

/// Units that nothing should touch.
#[derive(Debug)]
pub struct Herd {
    before: Census,
    marks: usize,
}

impl Herd {
    /// Starts so many, and counts them.
    pub fn start(cluster: &Cluster, count: usize) -> Result<Self> {
        cluster.unit_file(1, "herd@.service", UNIT)?;
        let names: Vec<String> = (1..=count).map(|n| format!("herd@{n}.service")).collect();
        let words: Vec<&str> = std::iter::once("start")
            .chain(names.iter().map(String::as_str))
            .collect();
        cluster.fleet_ok(1, &words)?;
        let herd = Self::count(cluster)?;
        ensure!(
            herd.before.len() == count,
            "{} of {count} units run: {:?}",
            herd.before.len(),
            herd.before
        );
        Ok(herd)
    }

    /// As it stands now, whoever started it.
    pub fn count(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            before: census(cluster)?,
            marks: marks(cluster).len(),
        })
    }

    /// Names of the units on a machine.
    pub fn on(&self, machine: usize) -> Vec<String> {
        self.before
            .keys()
            .filter(|(number, _)| *number == machine)
            .map(|(_, unit)| unit.clone())
            .collect()
    }

    /// Names of those that fleet does not list as active where they are.
    pub fn unlisted(&self, cluster: &Cluster) -> Result<Vec<(usize, String)>> {
        let listed = cluster.units(1)?;
        let is_listed = |(machine, unit): &&(usize, String)| {
            let rows = listed.get(unit).map(Vec::as_slice).unwrap_or_default();
            rows.iter()
                .any(|row| row.machine == *machine && row.active == "active")
        };
        Ok(self
            .before
            .keys()
            .filter(|unit| !is_listed(unit))
            .cloned()
            .collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.before.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// Says whether any was stopped, started anew or copied since it was counted.
    pub fn untouched(&self, cluster: &Cluster, report: &mut Report) -> Result<()> {
        self.untouched_beside(&[], cluster, report)
    }

    /// The same, where these may have been started meanwhile.
    pub fn untouched_beside(&self, new: &[&str], cluster: &Cluster, report: &mut Report) -> Result<()> {
        let after = census(cluster)?;
        let marks = marks(cluster);
        report.none(
            format!("stops among {} units", self.len()),
            marks.get(self.marks..).unwrap_or_default(),
        );
        let changed: Vec<_> = self
            .before
            .iter()
            .filter(|(unit, pid)| after.get(*unit) != Some(pid))
            .map(|(unit, pid)| (unit, *pid, after.get(unit)))
            .collect();
        report.none("changed MainPIDs", &changed);
        let more: Vec<_> = after
            .keys()
            .filter(|unit| !self.before.contains_key(*unit) && !new.contains(&unit.1.as_str()))
            .collect();
        report.none("copies that were not there before", &more);
        Ok(())
    }

    /// Takes it away, in order.
    pub fn destroy(self, cluster: &Cluster) -> Result<()> {
        let names: Vec<&str> = self.before.keys().map(|(_, unit)| unit.as_str()).collect();
        cluster.fleet_ok(1, &[&["destroy"], names.as_slice()].concat())?;
        wait_until("the herd to be gone", Duration::from_secs(30), || {
            let left = census(cluster)?;
            seen(left.is_empty(), || format!("{left:?}"))
        })
    }
}

/// The herd's main processes on all machines that run.
pub fn census(cluster: &Cluster) -> Result<Census> {
    let mut census = Census::new();
    for machine in cluster.machines().iter().filter(|machine| machine.is_running()) {
        let shown = machine.run(&["systemctl", "show", "--property=Id,MainPID", "herd@*.service"])?;
        for block in shown.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .with_context(|| format!("no {name} in {block:?}"))
            };
            let pid: i32 = field("MainPID=")?.parse().context("an odd MainPID")?;
            if pid != 0 {
                census.insert((machine.number(), field("Id=")?.to_owned()), pid);
            }
        }
    }
    Ok(census)
}

/// A mark for each unit that ended, read off the machines' disks.
fn marks(cluster: &Cluster) -> Vec<(usize, String)> {
    let of = |machine: &crate::machine::Machine| {
        // No file, no stop.
        let text = std::fs::read_to_string(machine.root().join(MARKS)).unwrap_or_default();
        let number = machine.number();
        text.lines()
            .filter(|unit| unit.starts_with("herd@"))
            .map(move |unit| (number, unit.to_owned()))
            .collect::<Vec<_>>()
    };
    cluster.machines().iter().flat_map(of).collect()
}
