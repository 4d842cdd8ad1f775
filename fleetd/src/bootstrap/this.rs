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
    let earlier = before.get("FLEET_PUBLIC_IP").and_then(|ip| ip.parse().ok());
    let earlier = earlier.filter(|ip| is_here(*ip));
    let address = said.address.or(earlier).or_else(host::default_address);
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
