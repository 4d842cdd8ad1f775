//! What a process of a machine takes: processor time, memory, open files.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::machine::Machine;
use crate::process::Pid;

/// Ticks of the kernel's process accounting in a second; fixed by its interface.
const TICKS: u64 = 100;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, of itself.
    pub cpu: Duration,
    /// Memory that is resident, in KiB.
    pub resident: u64,
    /// Open files.
    pub files: usize,
}

/// Of a service's main process.
pub fn of_service(machine: &Machine, name: &str) -> Result<Usage> {
    let pid = machine.process(name);
    of(pid.with_context(|| format!("no {name} runs on machine {}", machine.number()))?)
}

/// Of any process.
pub fn of(pid: Pid) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name in brackets may hold blanks; utime and stime are the 12th and 13th after it.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok());
    Ok(Usage {
        cpu: Duration::from_millis(ticks * 1000 / TICKS),
        resident: resident.unwrap_or_default(),
        files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
    })
}

/// What each fleetd takes, by machine; those that do not run are left out.
pub fn of_fleetds(cluster: &Cluster) -> Vec<(usize, Usage)> {
    let of = |machine: &Machine| Some((machine.number(), of_service(machine, "fleetd").ok()?));
    cluster.machines().iter().filter_map(of).collect()
}

/// Processor time that was used in a while, in percent of one core.
pub fn percent(before: Usage, after: Usage, while_: Duration) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() / while_.as_secs_f64() * 100.0
}
