//! The machine that a command runs on.

use std::net::IpAddr;

use super::settings::Own;
use crate::host::{self, HostError};

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

/// What the machine says of itself; a person may name the address.
///
/// # Errors
/// If it lacks an id, a name or an address.
pub fn own(address: Option<IpAddr>, metadata: Option<String>) -> Result<Own, ThisError> {
    let address = address
        .or_else(host::default_address)
        .ok_or(ThisError::NoAddress)?;
    if address.is_loopback() || address.is_unspecified() {
        return Err(ThisError::Local(address));
    }
    let hostname = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let hostname = hostname.map(|name| name.split('.').next().unwrap_or_default().to_owned());
    Ok(Own {
        address,
        hostname: hostname
            .filter(|name| !name.is_empty())
            .ok_or(ThisError::NoName)?,
        id: host::machine_id()?,
        metadata,
    })
}
