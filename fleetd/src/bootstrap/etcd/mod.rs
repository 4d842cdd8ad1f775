//! What this machine is to etcd: a member of its cluster, or a gateway to it.

use std::collections::BTreeMap;

use super::system::{System, SystemError};

/// How the machine comes to have etcd at 127.0.0.1:2379.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// One of those that found the cluster: etcd is started with its settings, and that is all.
    Founder,
    /// It becomes a member of a cluster that runs already, known by peer addresses (`http://10.0.0.1:2380`).
    Member {
        /// Members, as many as are known.
        peers: Vec<String>,
    },
    /// It is none of the members, and passes connections on to them.
    Gateway {
        /// Peer addresses of members, as many as are known.
        peers: Vec<String>,
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

/// Why this machine did not come to have etcd.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The machine did not do as it was told.
    #[error(transparent)]
    System(#[from] SystemError),
    /// There is nothing yet that could do it.
    #[error("etcd is not formed by this version: not built yet")]
    NotBuilt,
}

/// Makes etcd on this machine what it is to be. `talk` takes a line for each thing done. Says whether anything had to be
/// changed.
///
/// # Errors
/// The first thing that could not be done.
pub async fn form(
    _etcd: &Etcd,
    _system: &dyn System,
    _talk: &(dyn Fn(&str) + Sync),
) -> Result<bool, EtcdError> {
    Err(EtcdError::NotBuilt)
}
