//! How large everything is while it goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::owner::{Owner, Told};
use crate::cluster::Cluster;
use crate::prove::usage;

pub(super) const HEADER: &str =
    "    TIME  CHANGES  FAULTS  UNITS  FLEETD RESIDENT MiB     OPEN FILES    ETCD IN USE   ON DISK KiB";

/// How large everything is.
pub(super) struct Size {
    pub(super) fleetds: Vec<(usize, usage::Usage)>,
    pub(super) in_use: u64,
    pub(super) disk: u64,
}

impl Size {
    pub(super) fn look(cluster: &Cluster) -> Result<Self> {
        let view = cluster.etcd_view(*cluster.members().start())?;
        let fleetds = usage::of_fleetds(cluster);
        ensure!(!fleetds.is_empty(), "no fleetd runs");
        Ok(Self {
            fleetds,
            in_use: view.in_use,
            disk: view.size,
        })
    }

    pub(super) fn row(&self, at: Duration, owner: &Owner, faults: usize) -> String {
        let resident: Vec<String> = self
            .fleetds
            .iter()
            .map(|(_, usage)| format!("{:6.1}", usage.resident as f64 / 1024.0))
            .collect();
        let files: Vec<String> = self
            .fleetds
            .iter()
            .map(|(_, usage)| format!("{:3}", usage.files))
            .collect();
        let launched = owner
            .units
            .values()
            .filter(|told| **told == Told::Launched)
            .count();
        format!(
            "{:6} s {:8} {faults:7} {launched:6}  {:22}  {:12} {:12} {:12}",
            at.as_secs(),
            owner.asked,
            resident.join(" "),
            files.join(" "),
            self.in_use / 1024,
            self.disk / 1024
        )
    }
}
