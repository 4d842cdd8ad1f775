//! What befalls machines, and how it ends.

use std::time::Duration;

use anyhow::Result;

use super::dice::Dice;
use crate::cluster::Cluster;

/// What befalls a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Restart,
    Crash,
    CrashForGood,
    Freeze,
    Cut,
    PowerCut,
    EtcdCrash,
    EtcdAway,
    EtcdFreeze,
}

impl Fault {
    pub(super) const ALL: [Self; 9] = [
        Self::Restart,
        Self::Crash,
        Self::CrashForGood,
        Self::Freeze,
        Self::Cut,
        Self::PowerCut,
        Self::EtcdCrash,
        Self::EtcdAway,
        Self::EtcdFreeze,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Restart => "fleetd restarted",
            Self::Crash => "fleetd killed",
            Self::CrashForGood => "fleetd away",
            Self::Freeze => "fleetd frozen",
            Self::Cut => "machine cut off",
            Self::PowerCut => "power cut",
            Self::EtcdCrash => "etcd killed",
            Self::EtcdAway => "etcd away",
            Self::EtcdFreeze => "etcd frozen",
        }
    }

    pub(super) fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Restart | Self::Crash | Self::EtcdCrash => 4,
            _ => 30,
        })
    }

    pub(super) fn ends_fleetd(self) -> bool {
        // A watchdog ends one that is frozen.
        matches!(
            self,
            Self::Restart | Self::Crash | Self::CrashForGood | Self::Freeze | Self::PowerCut
        )
    }

    pub(super) fn victim(self, cluster: &Cluster, dice: &mut Dice) -> usize {
        let first = if self.ends_fleetd() { 2 } else { 1 };
        first + dice.below(cluster.machines().len() + 1 - first)
    }

    pub(super) fn strike(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Restart => machine.run(&["systemctl", "restart", "fleet.service"]).map(drop),
            Self::Crash => machine.crash("fleet.service"),
            Self::CrashForGood => machine.crash_for_good("fleet.service"),
            Self::Freeze => machine.freeze("fleet.service"),
            Self::Cut => machine.cut(),
            Self::PowerCut => machine.kill(),
            Self::EtcdCrash => machine.crash("etcd.service"),
            Self::EtcdAway => machine.crash_for_good("etcd.service"),
            Self::EtcdFreeze => machine.freeze("etcd.service"),
        }
    }

    pub(super) fn mend(self, cluster: &Cluster, number: usize) -> Result<()> {
        let machine = cluster.machine(number)?;
        match self {
            Self::Restart | Self::Crash | Self::EtcdCrash => Ok(()),
            Self::CrashForGood => machine.revive("fleet.service"),
            Self::Freeze | Self::Cut | Self::EtcdFreeze => machine.heal(),
            Self::PowerCut => machine.boot().map(drop),
            Self::EtcdAway => machine.revive("etcd.service"),
        }
    }
}
