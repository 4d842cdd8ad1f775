//! What this machine is: its ids, its size, its address.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use units::{Capacity, MachineId};

/// Why the machine cannot say who it is.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of the system cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why.
        error: io::Error,
    },
    /// There is no proper machine id.
    #[error("/etc/machine-id is not a machine id ({0}): systemd-machine-id-setup makes one")]
    NoId(String),
}

fn read(path: &'static str) -> Result<String, HostError> {
    fs::read_to_string(path)
        .map(|s| s.trim().to_owned())
        .map_err(|error| HostError::Unreadable { path, error })
}

/// From `/etc/machine-id` (machine-id(5)).
///
/// # Errors
/// If there is none.
pub fn machine_id() -> Result<MachineId, HostError> {
    MachineId::parse(&read("/etc/machine-id")?).map_err(|e| HostError::NoId(e.to_string()))
}

/// Of the running kernel.
///
/// # Errors
/// If the kernel does not say.
pub fn boot_id() -> Result<String, HostError> {
    read("/proc/sys/kernel/random/boot_id")
}

/// Processors and memory; zero where the kernel does not say.
pub fn capacity() -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: u64 = total
        .and_then(|t| t.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0);
    Capacity {
        cpus,
        memory: kib * 1024,
    }
}

/// The first IPv4 address of the interface that the default route leaves by, as fleet chose it.
pub fn default_address() -> Option<IpAddr> {
    let interface = default_interface(&fs::read_to_string("/proc/net/route").ok()?)?;
    let addresses = getifaddrs().ok()?.filter(|a| a.interface_name == interface);
    let ipv4 = |a: nix::ifaddrs::InterfaceAddress| Some(a.address?.as_sockaddr_in()?.ip());
    addresses
        .filter_map(ipv4)
        .find(|ip: &Ipv4Addr| !ip.is_loopback() && !ip.is_link_local())
        .map(IpAddr::V4)
}

/// From the table as the kernel prints it: interface, destination and gateway in hex, …
fn default_interface(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [interface, "00000000", _, _, _, _, _, "00000000", ..] => Some((*interface).to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_names_the_interface() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_interface(table).as_deref(), Some("eth0"));
        assert_eq!(default_interface("Iface\tDestination\n"), None);
    }
}
