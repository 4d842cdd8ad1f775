//! What this machine is to etcd: a member of its cluster, or a gateway to it.
//!
//! Everything here may be cut off and done again. A running etcd is restarted only if its settings have changed.

pub mod dropin;
mod member;
pub mod members;
pub mod next;
mod run;
mod servers;

use std::collections::BTreeMap;
use std::time::Duration;

use super::system::{System, SystemError};
use super::talk::Talk;
use crate::gateway;
use crate::registry::etcd::EtcdTlsError;
use member::Own;
use members::MembersError;
pub use servers::{Servers, TlsFiles};

/// etcd's unit.
pub const UNIT: &str = "etcd.service";
/// The gateway's unit.
pub const GATEWAY: &str = "fleet-gateway.service";
/// What the gateway goes by.
pub const GATEWAY_FILE: &str = gateway::DEFAULT_FILE;
/// Where etcd, or the gateway to it, answers on every machine.
pub const LOCAL: &str = "http://127.0.0.1:2379";

/// How long etcd may take until it answers. A founder needs more than half of the others for it.
pub(super) const ANSWERS: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(100);

/// How the machine comes to have etcd at 127.0.0.1:2379.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// One of those that found the cluster: etcd is started with its settings, and that is all.
    Founder,
    /// It becomes a member of a cluster that runs already.
    Member {
        /// Where the cluster is, as far as is known.
        servers: Servers,
        /// With so many members (itself among them) there are enough: [`form`] then makes none, and says so.
        limit: usize,
    },
    /// It is none of the members, and passes connections on to them.
    Gateway {
        /// Where the cluster is, as far as is known.
        servers: Servers,
    },
}

/// etcd on this machine, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// What it is to the others.
    pub role: Role,
    /// `ETCD_…` settings, for a founder or a member: complete but for what only the running cluster can say.
    pub environment: BTreeMap<String, String>,
    /// Name of the drop-in that carries them: `20-cloudinit.conf`.
    pub drop_in: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formed {
    /// etcd answers on this machine.
    Up {
        /// It had to be started, or taken in by the others.
        changed: bool,
    },
    /// It was not made a member, as there are enough.
    Enough,
}

/// Why etcd does not answer on this machine. One line.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Of the machine.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Of the cluster.
    #[error("etcd: {0}")]
    Members(#[from] MembersError),
    /// The certificates to speak with are of no use.
    #[error(transparent)]
    Tls(#[from] EtcdTlsError),
    /// What it is to be asked for is not there.
    #[error("{0} is not installed: apt-get install {1}")]
    Missing(&'static str, &'static str),
    /// A member without an address.
    #[error("etcd's settings name no {0}")]
    Incomplete(&'static str),
    /// The addresses are none that a gateway could use.
    #[error("{0}")]
    Gateway(String),
    /// Another cluster's data.
    #[error(
        "{0} holds the data of an etcd cluster that this machine is no member of: `fleetctl leave` removes it, with all that is in it"
    )]
    Stranger(String),
    /// It was one of those that founded the cluster, and cannot found it again.
    #[error(
        "etcd's data in {0} is gone, and this machine was its only member: the cluster is lost; `fleetctl leave --force`, then init or join"
    )]
    Lost(String),
    /// The cluster does not take it in.
    #[error("etcd's members cannot take in another one: {0}; {1}")]
    Busy(String, String),
    /// Not made by fleet.
    #[error(
        "etcd on this machine is one of several members that fleet did not set up: have fleetd use it, by etcd_servers in /etc/fleet/fleet.conf"
    )]
    Foreign,
    /// It is a member already.
    #[error("this machine is a member of etcd's cluster ({0} holds its data): `fleetctl leave` comes first")]
    IsMember(String),
    /// It was started, and does not answer.
    #[error("{unit} does not answer: {why}; it is tried on, see journalctl -u {unit}")]
    Silent {
        /// Its unit.
        unit: &'static str,
        /// The last word.
        why: String,
    },
}

/// Makes etcd answer on this machine.
///
/// # Errors
/// If it does not come to that; run again, it goes on where it stood.
pub async fn form(etcd: &Etcd, system: &dyn System, talk: Talk<'_>) -> Result<Formed, EtcdError> {
    match &etcd.role {
        Role::Founder => Own::new(etcd, system, talk)?.found().await,
        Role::Member { servers, limit } => Own::new(etcd, system, talk)?.join(servers, *limit).await,
        Role::Gateway { servers } => {
            let data = etcd.environment.get("ETCD_DATA_DIR");
            let changed = run::become_gateway(servers, data, system, talk).await?;
            Ok(Formed::Up { changed })
        }
    }
}

/// Refuses a machine whose etcd somebody else has made one of several.
///
/// # Errors
/// If it is so.
pub async fn refuse_foreign() -> Result<(), EtcdError> {
    match member::is_among_others().await {
        true => Err(EtcdError::Foreign),
        false => Ok(()),
    }
}
