//! How a machine that `init` or `join` set up is configured. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use units::MachineId;

use super::etcd::{Servers, TlsFiles};
use super::pki;

/// The drop-ins of `init` and `join`.
pub const DROP_IN: &str = "20-fleet.conf";
/// In etcd's drop-in, for fleet alone: which command wrote it.
pub const SETUP: &str = "FLEET_SETUP";
/// etcd's data, apart from what Debian's own etcd.service began at its installation.
pub const DATA: &str = "/var/lib/etcd/fleet";
/// So many members etcd gets; machines beyond them are gateways. Five would survive one more loss, and cost every write
/// a slower answer.
pub const MEMBERS: usize = 3;
/// Room for several times what 50,000 units take.
pub const QUOTA_BYTES: &str = "8589934592";
/// How much of its past etcd keeps.
pub const COMPACTION: &str = "1h";

/// What a machine is, as far as its settings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Where the others reach it.
    pub address: IpAddr,
    /// Its host name, without a domain.
    pub hostname: String,
    /// With its domain, if it has one.
    pub full: String,
    /// Its id.
    pub id: MachineId,
    /// `fleet.conf`'s `metadata`, if it is to be set.
    pub metadata: Option<String>,
}

/// `https://ADDRESS:PORT`, with the brackets that IPv6 wants.
pub fn url(address: IpAddr, port: u16) -> String {
    format!("https://{}", std::net::SocketAddr::new(address, port))
}

impl Own {
    /// The member's name: the host's, and enough of the machine's id to be unique.
    pub fn member(&self) -> String {
        let id: String = self.id.as_str().chars().take(8).collect();
        format!("{}-{id}", self.hostname)
    }

    /// Names for its certificate.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.hostname.clone(), self.full.clone(), "localhost".to_owned()];
        names.dedup();
        names
    }

    /// Addresses for its certificate. etcd takes a member only from an address that its certificate names.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let loopback = |ip: [u8; 4]| IpAddr::from(ip);
        vec![
            self.address,
            loopback([127, 0, 0, 1]),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ]
    }

    /// For etcd as a member: TLS with certificates of both sides on the network, plain on loopback (4001 as well, where
    /// fleet's users look for it).
    pub fn etcd(&self) -> BTreeMap<String, String> {
        let (client, peer) = (url(self.address, 2379), url(self.address, 2380));
        let pairs = [
            ("ETCD_NAME", self.member()),
            ("ETCD_DATA_DIR", DATA.to_owned()),
            (
                "ETCD_LISTEN_CLIENT_URLS",
                format!("http://127.0.0.1:2379,http://127.0.0.1:4001,{client}"),
            ),
            ("ETCD_ADVERTISE_CLIENT_URLS", client),
            ("ETCD_LISTEN_PEER_URLS", peer.clone()),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer.clone()),
            ("ETCD_INITIAL_CLUSTER", format!("{}={peer}", self.member())),
            ("ETCD_INITIAL_CLUSTER_STATE", "new".to_owned()),
            ("ETCD_TRUSTED_CA_FILE", pki::CA.to_owned()),
            ("ETCD_CERT_FILE", pki::CERTIFICATE.to_owned()),
            ("ETCD_KEY_FILE", pki::KEY.to_owned()),
            ("ETCD_CLIENT_CERT_AUTH", "true".to_owned()),
            ("ETCD_PEER_TRUSTED_CA_FILE", pki::CA.to_owned()),
            ("ETCD_PEER_CERT_FILE", pki::CERTIFICATE.to_owned()),
            ("ETCD_PEER_KEY_FILE", pki::KEY.to_owned()),
            ("ETCD_PEER_CLIENT_CERT_AUTH", "true".to_owned()),
            ("ETCD_AUTO_COMPACTION_MODE", "periodic".to_owned()),
            ("ETCD_AUTO_COMPACTION_RETENTION", COMPACTION.to_owned()),
            ("ETCD_QUOTA_BACKEND_BYTES", QUOTA_BYTES.to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// For fleetd. It begins on loopback and learns the members' own addresses there.
    pub fn fleet(&self) -> BTreeMap<String, String> {
        let mut pairs: BTreeMap<String, String> = [
            ("FLEET_ETCD_SERVERS", super::etcd::LOCAL.to_owned()),
            ("FLEET_ETCD_CAFILE", pki::CA.to_owned()),
            ("FLEET_ETCD_CERTFILE", pki::CERTIFICATE.to_owned()),
            ("FLEET_ETCD_KEYFILE", pki::KEY.to_owned()),
            ("FLEET_PUBLIC_IP", self.address.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(metadata) = &self.metadata {
            pairs.insert("FLEET_METADATA".to_owned(), metadata.clone());
        }
        pairs
    }
}

/// A cluster with the certificates that `init` and `join` make, reached at these client addresses.
pub fn servers(members: Vec<String>) -> Servers {
    Servers {
        peers: Vec::new(),
        members,
        files: Some(TlsFiles {
            cafile: pki::CA.to_owned(),
            certfile: pki::CERTIFICATE.to_owned(),
            keyfile: pki::KEY.to_owned(),
        }),
    }
}
