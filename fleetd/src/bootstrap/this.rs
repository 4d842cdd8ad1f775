//! The machine that a command runs on.

use std::net::IpAddr;

use clap::Args;

use super::etcd::dropin::Environment;
use super::settings::Own;
use crate::host::{self, HostError};

/// What a person may say about it.
#[derive(Debug, Default, Args)]
pub struct OwnArgs {
    /// The address that the other machines reach this one by [default: as before, else the default route's]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// What units can choose machines by: key=value,key=value [default: as before]
    #[arg(long, value_name = "LIST")]
    metadata: Option<String>,
}

/// Why it does not do.
#[derive(Debug, thiserror::Error)]
pub enum ThisError {
    /// Not as root.
    #[error("this changes the machine: run it as root")]
    NotRoot,
    /// It does not say who it is.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It has no name.
    #[error("the machine has no host name: hostnamectl hostname NAME")]
    NoName,
    /// It has no address.
    #[error(
        "the machine has no address with a default route: name the one that the others reach it by with --address"
    )]
    NoAddress,
    /// The address is no other machine's way here.
    #[error("{0} is not an address that other machines can reach: name one with --address")]
    Local(IpAddr),
    /// etcd could not listen there.
    #[error("{0} is no address of this machine: --address names the one that the others reach it by")]
    Foreign(IpAddr),
    /// Units could not go by it.
    #[error("--metadata {0}: expected key=value,… ({1})")]
    Metadata(String, String),
}

/// Only root may change a machine.
///
/// # Errors
/// If this is not root.
pub fn root() -> Result<(), ThisError> {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(ThisError::NotRoot),
    }
}

/// What the machine says of itself. `before` are fleetd's settings by an earlier run: what was said then, and not now,
/// stays so.
///
/// # Errors
/// If it lacks an id, a name or an address, or what was said makes no sense.
pub fn own(said: &OwnArgs, before: &Environment) -> Result<Own, ThisError> {
    let (address, metadata) = settle(said, before, is_here, host::default_address)?;
    let full = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let full = full.filter(|name| !name.is_empty()).ok_or(ThisError::NoName)?;
    Ok(Own {
        address,
        hostname: full.split('.').next().unwrap_or(&full).to_owned(),
        full,
        id: host::machine_id()?,
        metadata,
    })
}

/// Address and metadata, by what was said now, else before, else by the default route.
fn settle(
    said: &OwnArgs,
    before: &Environment,
    is_here: impl Fn(IpAddr) -> bool,
    default: impl Fn() -> Option<IpAddr>,
) -> Result<(IpAddr, Option<String>), ThisError> {
    let earlier = before.get("FLEET_PUBLIC_IP").and_then(|ip| ip.parse().ok());
    let earlier = earlier.filter(|ip| is_here(*ip));
    let address = said.address.or(earlier).or_else(default);
    let address = address.ok_or(ThisError::NoAddress)?;
    if address.is_loopback() || address.is_unspecified() {
        return Err(ThisError::Local(address));
    }
    if !is_here(address) {
        return Err(ThisError::Foreign(address));
    }
    if let Some(metadata) = &said.metadata
        && let Err(error) = units::parse_metadata(metadata)
    {
        return Err(ThisError::Metadata(metadata.clone(), error.to_string()));
    }
    let metadata = said
        .metadata
        .clone()
        .or_else(|| before.get("FLEET_METADATA").cloned());
    Ok((address, metadata))
}

/// etcd listens on it, so it has to be one of this machine's.
fn is_here(address: IpAddr) -> bool {
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return true;
    };
    let ip = |a: nix::ifaddrs::InterfaceAddress| {
        let address = a.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    all.filter_map(ip).any(|found| found == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::fleet;
    use crate::bootstrap::settings::DROP_IN;
    use crate::bootstrap::system::memory::Memory;
    use crate::bootstrap::talk::Talk;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn said(address: Option<&str>, metadata: Option<&str>) -> OwnArgs {
        OwnArgs {
            address: address.map(ip),
            metadata: metadata.map(str::to_owned),
        }
    }

    /// A run of `init` or `join` on a machine with these addresses, the first of them the default route's: what it goes by.
    fn run(system: &Memory, said: &OwnArgs, addresses: &[&str]) -> Result<(IpAddr, Option<String>), String> {
        let before = fleet::before(system, DROP_IN).unwrap();
        let is_here = |address| addresses.iter().any(|own| ip(own) == address);
        let default = || addresses.first().map(|own| ip(own));
        let (address, metadata) = settle(said, &before, is_here, default).map_err(|e| e.to_string())?;
        let own = Own {
            address,
            hostname: "m1".to_owned(),
            full: "m1".to_owned(),
            id: units::MachineId::parse("01010101010101010101010101010101").unwrap(),
            metadata: metadata.clone(),
        };
        fleet::run_with(system, &own.fleet(), DROP_IN, Talk(&|_| {})).unwrap();
        Ok((address, metadata))
    }

    #[test]
    fn what_was_said_once_stays_so_in_later_runs() {
        let system = Memory::new("m1");
        let both = ["10.0.0.1", "192.168.7.1"];
        let nothing = said(None, None);
        let metadata = |text: &str| Some(text.to_owned());
        // Nothing was said yet.
        assert_eq!(run(&system, &nothing, &both), Ok((ip("10.0.0.1"), None)));
        let first = said(Some("192.168.7.1"), Some("zone=a,disk=\"100%\""));
        let kept = Ok((ip("192.168.7.1"), metadata("zone=a,disk=\"100%\"")));
        assert_eq!(run(&system, &first, &both), kept);
        for _ in 0..2 {
            assert_eq!(run(&system, &nothing, &both), kept);
        }
        // One of them said anew leaves the other as it was.
        assert_eq!(
            run(&system, &said(None, Some("zone=b")), &both),
            Ok((ip("192.168.7.1"), metadata("zone=b")))
        );
        assert_eq!(
            run(&system, &said(Some("10.0.0.1"), None), &both),
            Ok((ip("10.0.0.1"), metadata("zone=b")))
        );
        // An address that the machine has lost is not kept.
        assert_eq!(
            run(&system, &nothing, &both[1..]),
            Ok((ip("192.168.7.1"), metadata("zone=b")))
        );
    }

    #[test]
    fn an_address_that_nobody_reaches_is_refused() {
        let system = Memory::new("m1");
        for (address, wrong) in [
            ("127.0.0.1", "is not an address that other machines can reach"),
            ("10.0.0.9", "is no address of this machine"),
        ] {
            let error = run(&system, &said(Some(address), None), &["10.0.0.1"]).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(
            run(&system, &said(None, None), &[])
                .unwrap_err()
                .contains("--address")
        );
        assert!(run(&system, &said(None, Some("zone")), &["10.0.0.1"]).is_err());
        assert_eq!(system.changes(), [""; 0]);
    }
}
