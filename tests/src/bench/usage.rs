//! Processor time by who took it, over all machines, from the cgroups' own accounts.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Cluster;

/// Whose time is told apart, and the cgroups it is taken from, where they exist.
const PARTS: [(&str, &[&str]); 6] = [
    ("all", &["."]),
    ("fleetd", &["system.slice/fleet.service"]),
    (
        "etcd",
        &["system.slice/etcd.service", "system.slice/etcd-gateway.service"],
    ),
    ("PID 1", &["init.scope"]),
    ("D-Bus", &["system.slice/dbus.service"]),
    ("the journal", &["system.slice/systemd-journald.service"]),
];

/// Processor time by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken([Duration; PARTS.len()]);

impl Taken {
    /// By all machines of a cluster, since they were powered on.
    pub(super) fn look(cluster: &Cluster) -> Result<Self> {
        let mut taken = [Duration::ZERO; PARTS.len()];
        for machine in cluster.machines() {
            for (sum, (_, groups)) in taken.iter_mut().zip(PARTS) {
                for group in groups {
                    *sum += of_group(cluster, machine.number(), group)?;
                }
            }
        }
        Ok(Self(taken))
    }

    /// What was taken since an earlier look, by part.
    pub(super) fn since(self, before: Self) -> Vec<(&'static str, Duration)> {
        let parts = PARTS.iter().map(|(part, _)| *part);
        let differences = self.0.into_iter().zip(before.0);
        parts
            .zip(differences.map(|(now, then)| now.saturating_sub(then)))
            .collect()
    }
}

/// Processor time that a cgroup of a machine has taken; none if there is no such group.
pub(super) fn of_group(cluster: &Cluster, machine: usize, group: &str) -> Result<Duration> {
    let path = format!("/sys/fs/cgroup/{group}/cpu.stat");
    let told = cluster.exec(machine, &["cat", &path])?;
    if !told.success() {
        return Ok(Duration::ZERO);
    }
    let usage = told
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    let micros = usage
        .and_then(|usage| usage.parse().ok())
        .with_context(|| format!("no usage_usec in {path}"))?;
    Ok(Duration::from_micros(micros))
}
