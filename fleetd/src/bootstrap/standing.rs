//! How this machine came to where it is, by the files that are there.

use std::path::Path;

use super::etcd::dropin::{self, Environment};
use super::etcd::{Etcd, GATEWAY_FILE, Role, UNIT};
use super::settings::{DROP_IN, SETUP};
use super::system::{System, SystemError};

/// The drop-ins of a cloud-config, as CoreOS named them.
pub const CLOUD_DROP_IN: &str = "20-cloudinit.conf";

/// What has been done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Bare,
    /// `fleetctl init`.
    Founder(Environment),
    /// `fleetctl join`, and it is one of etcd's members.
    Member(Environment),
    /// `fleetctl join` or a cloud-config, and it is a gateway.
    Gateway,
    /// A cloud-config, and it is one of etcd's members.
    CloudConfig(Environment),
    /// A cloud-config that had settings for fleet (these) and none for etcd, which is elsewhere or somebody else's work.
    FleetAlone(Environment),
}

/// Why the machine is not set up as asked: it is set up otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// By init.
    #[error(
        "this machine has founded a cluster of its own with `fleetctl init`: `fleetctl leave` comes first"
    )]
    Founded,
    /// By join.
    #[error("this machine has joined a cluster with `fleetctl join`: `fleetctl leave` comes first")]
    Joined,
    /// By bootstrap.
    #[error("this machine was set up by a cloud-config: `fleetctl leave` comes first")]
    CloudConfig,
    /// By init or join, whichever it was.
    #[error("this machine was set up by fleetctl init/join: `fleetctl leave` comes first")]
    Fleetctl,
    /// By bootstrap, as one of etcd's members; it is asked to be none.
    #[error("this machine is one of etcd's members by an earlier cloud-config: `fleetctl leave` comes first")]
    Member,
}

/// Whether a cloud-config may set this machine up; `etcd` is what it makes of it. The second set of drop-ins beside that
/// of init or join would take a live etcd from its cluster, and a gateway in a member's place costs the others its vote.
///
/// # Errors
/// If a file cannot be read.
pub fn refusal(system: &dyn System, etcd: Option<&Etcd>) -> Result<Option<Taken>, SystemError> {
    let mut by_fleetctl = false;
    for unit in [UNIT, "fleet.service"] {
        by_fleetctl |= system.is_there(&dropin::path(unit, DROP_IN))?;
    }
    let becomes_gateway = etcd.is_some_and(|etcd| matches!(etcd.role, Role::Gateway { .. }));
    Ok(match standing(system)? {
        // Nothing that leave would undo.
        Standing::Bare => None,
        _ if by_fleetctl => Some(Taken::Fleetctl),
        Standing::CloudConfig(environment) if becomes_gateway => match environment.get("ETCD_DATA_DIR") {
            Some(data) if system.is_there(&Path::new(data).join("member"))? => Some(Taken::Member),
            _ => None,
        },
        _ => None,
    })
}

/// How things stand.
///
/// # Errors
/// If a file cannot be read.
pub fn standing(system: &dyn System) -> Result<Standing, SystemError> {
    if let Some(environment) = dropin::read(system, UNIT, DROP_IN)?
        && environment.contains_key("ETCD_NAME")
    {
        return Ok(match environment.get(SETUP).map(String::as_str) {
            Some("init") => Standing::Founder(environment),
            _ => Standing::Member(environment),
        });
    }
    if system.is_there(Path::new(GATEWAY_FILE))? {
        return Ok(Standing::Gateway);
    }
    Ok(match dropin::read(system, UNIT, CLOUD_DROP_IN)? {
        Some(environment) => Standing::CloudConfig(environment),
        None => match dropin::read(system, "fleet.service", CLOUD_DROP_IN)? {
            Some(environment) => Standing::FleetAlone(environment),
            None => Standing::Bare,
        },
    })
}

/// Whether `init` and `join` may begin on a machine whose cloud-config has settings for fleet alone: metadata and the
/// like stay, but one that was told where its etcd is has its cluster already.
pub(super) fn is_free(fleet: &Environment) -> bool {
    !fleet.contains_key("FLEET_ETCD_SERVERS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::system::memory::Memory;

    #[test]
    fn a_cloud_config_with_fleet_alone_is_not_nothing() {
        const FLEET: &str = "/etc/systemd/system/fleet.service.d/20-cloudinit.conf";
        let of_fleet = |text: &str| {
            let system = Memory::new("core-01");
            system.put(FLEET, text);
            match standing(&system).unwrap() {
                Standing::FleetAlone(environment) => is_free(&environment),
                other => panic!("{other:?}"),
            }
        };
        assert!(of_fleet("[Service]\nEnvironment=\"FLEET_METADATA=a=b\"\n"));
        assert!(!of_fleet(
            "[Service]\nEnvironment=\"FLEET_ETCD_SERVERS=http://10.0.0.1:2379\"\n"
        ));
        let system = Memory::new("core-01");
        assert_eq!(standing(&system).unwrap(), Standing::Bare);
        system.put(FLEET, "[Service]\n");
        // The same file again is no second machine: it is written anew.
        assert_eq!(refusal(&system, None).unwrap(), None);
        system.put(
            "/etc/systemd/system/etcd.service.d/20-cloudinit.conf",
            "[Service]\n",
        );
        assert_eq!(
            standing(&system).unwrap(),
            Standing::CloudConfig(Environment::new())
        );
    }
}
