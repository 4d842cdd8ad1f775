//! Names and addresses, and the bridge that the machines of a cluster hang on.
//!
//! Everything the lab makes on the host carries the prefix `fleetlab`, then the cluster's index: two clusters live
//! side by side without meeting, and whatever a crashed run left is found by its name.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::host::run;

/// What every name starts with that the lab makes on the host.
pub const PREFIX: &str = "fleetlab";

/// How many machines one cluster may have: their links' names must fit into 15 characters.
pub const MOST_MACHINES: usize = 99;

/// Which cluster: 0 is the one that people play with, the scenarios take 1 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(u8);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Index {
    /// The cluster that `cargo lab` speaks of.
    pub const DEMO: Self = Self(0);

    /// All clusters there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=9).map(Self)
    }

    /// The bridge's name.
    pub fn bridge(self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The name on the host of a machine: its cgroup, its container.
    pub fn machine(self, number: usize) -> String {
        format!("{PREFIX}{self}-{number}")
    }

    /// The host's end of a machine's cable. systemd-nspawn names it so.
    pub fn link(self, number: usize) -> String {
        format!("vb-{}", self.machine(number))
    }

    /// The host's own address on the bridge.
    pub fn host_address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 111, self.0, 1)
    }

    /// The address of a machine.
    #[expect(clippy::cast_possible_truncation, reason = "at most 99 machines")]
    pub fn address(self, number: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 111, self.0, 10 + number as u8)
    }
}

/// Makes the bridge, with the host's address on it.
pub fn create_bridge(index: Index) -> Result<()> {
    let bridge = index.bridge();
    let address = format!("{}/24", index.host_address());
    let taken = run("ip", ["-4", "route", "show", &format!("10.111.{index}.0/24")])?;
    ensure!(
        taken.trim().is_empty(),
        "the lab's addresses are taken on this host: {}",
        taken.trim()
    );
    run(
        "ip",
        ["link", "add", &bridge, "type", "bridge", "forward_delay", "0"],
    )?;
    run("ip", ["address", "add", &address, "dev", &bridge])?;
    run("ip", ["link", "set", &bridge, "up"])?;
    // Where Docker or a firewall runs on the host, bridged packets pass the FORWARD chain and its policy is to drop.
    run(
        "iptables",
        ["--wait", "--insert", "FORWARD"]
            .into_iter()
            .chain(bridge_rule(&bridge)),
    )?;
    Ok(())
}

/// Takes away the bridge and its rules, whatever there is of them.
pub fn remove_bridge(index: Index) -> Result<()> {
    let bridge = index.bridge();
    if has_rule(&bridge) {
        run(
            "iptables",
            ["--wait", "--delete", "FORWARD"]
                .into_iter()
                .chain(bridge_rule(&bridge)),
        )?;
    }
    remove_link(&bridge)
}

/// Whether the host lets the machines on this bridge talk to each other.
pub fn has_rule(bridge: &str) -> bool {
    // Fails where there is no such rule, and where there is no iptables to have made one.
    run(
        "iptables",
        ["--wait", "--check", "FORWARD"]
            .into_iter()
            .chain(bridge_rule(bridge)),
    )
    .is_ok()
}

fn bridge_rule(bridge: &str) -> [&str; 6] {
    [
        "--in-interface",
        bridge,
        "--out-interface",
        bridge,
        "--jump",
        "ACCEPT",
    ]
}

/// Takes away a link, if there is one of this name.
pub fn remove_link(link: &str) -> Result<()> {
    if !has_link(link) {
        return Ok(());
    }
    match run("ip", ["link", "delete", link]) {
        // Its other end may have died in between and taken it along.
        Err(error) if has_link(link) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the host has a link of this name.
pub fn has_link(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// Plugs the host's end of a cable in or pulls it.
pub fn plug(link: &str, plugged: bool) -> Result<()> {
    run("ip", ["link", "set", link, if plugged { "up" } else { "down" }]).map(drop)
}

/// Whether the host's end of a cable is plugged in.
pub fn is_plugged(link: &str) -> bool {
    // IFF_UP is the lowest bit.
    let flags =
        std::fs::read_to_string(Path::new("/sys/class/net").join(link).join("flags")).unwrap_or_default();
    flags
        .trim()
        .strip_prefix("0x")
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .is_some_and(|bits| bits & 1 == 1)
}

/// Names of the host's links that the lab made.
pub fn links() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/sys/class/net")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.strip_prefix("vb-").unwrap_or(&name).starts_with(PREFIX) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_a_name_that_the_kernel_takes() {
        for index in Index::all() {
            assert!(
                index.link(MOST_MACHINES).len() <= 15,
                "{}",
                index.link(MOST_MACHINES)
            );
        }
    }

    #[test]
    fn no_two_machines_share_an_address() {
        assert_eq!(Index::DEMO.address(1).to_string(), "10.111.0.11");
        assert_eq!(Index(9).address(MOST_MACHINES).to_string(), "10.111.9.109");
    }
}
