//! Where members of a cluster are, and speaking to one of them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::dropin::Environment;
use super::members::{Member, Members, MembersError};
use super::{EtcdError, GATEWAY_FILE, LOCAL};
use crate::gateway::{self, GatewayConfig};
use crate::registry::etcd::{EtcdTls, EtcdTlsError};

/// Where members of a cluster are, and how they are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// Their addresses for other members: `http://10.0.0.1:2380`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Their addresses for clients: `https://10.0.0.1:2379`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Certificates for `https://`.
    #[serde(flatten)]
    pub files: Option<TlsFiles>,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// Who vouches for the members.
    pub cafile: String,
    /// Ours.
    pub certfile: String,
    /// The key to it.
    pub keyfile: String,
}

impl std::fmt::Display for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<&str> = self
            .peers
            .iter()
            .chain(&self.members)
            .map(String::as_str)
            .collect();
        f.write_str(&all.join(","))
    }
}

impl Servers {
    /// Known by their addresses for other members alone.
    pub fn at_peers(peers: Vec<String>) -> Self {
        Self {
            peers,
            ..Self::default()
        }
    }

    /// etcd, or the gateway to it, at its usual place on this machine.
    pub fn local() -> Self {
        Self {
            members: vec![LOCAL.to_owned()],
            ..Self::default()
        }
    }

    /// This machine's member by its own settings: in the clear on loopback, or as it tells its clients.
    pub fn own(environment: &Environment) -> Self {
        let list = |name: &str| -> Vec<String> {
            let value = environment.get(name).map_or("", String::as_str);
            value.split(',').map(|url| url.trim().to_owned()).collect()
        };
        let is_plain = |url: &String| {
            let hosts = ["127.0.0.1", "0.0.0.0", "localhost", "[::]"];
            hosts.iter().any(|host| *url == format!("http://{host}:2379"))
        };
        if list("ETCD_LISTEN_CLIENT_URLS").iter().any(is_plain) {
            return Self::local();
        }
        let told = Self {
            members: list("ETCD_ADVERTISE_CLIENT_URLS"),
            ..Self::default()
        };
        told.or_files_of(environment)
    }

    /// With the certificates that etcd's own settings name, if none are known: those for its peers, else for its clients.
    pub fn or_files_of(&self, environment: &Environment) -> Self {
        let files = |prefix: &str| {
            let file = |name: &str| environment.get(&format!("{prefix}{name}")).cloned();
            Some(TlsFiles {
                cafile: file("TRUSTED_CA_FILE")?,
                certfile: file("CERT_FILE")?,
                keyfile: file("KEY_FILE")?,
            })
        };
        let own = || files("ETCD_PEER_").or_else(|| files("ETCD_"));
        Self {
            files: self.files.clone().or_else(own),
            ..self.clone()
        }
    }

    fn tls(&self) -> Result<Option<EtcdTls>, EtcdTlsError> {
        let files = self.files.as_ref();
        EtcdTls::read(
            files.map(|f| Path::new(&f.cafile)),
            files.map(|f| Path::new(&f.certfile)),
            files.map(|f| Path::new(&f.keyfile)),
        )
    }

    /// Speaks to one of them. Those whose certificates cannot be checked are not spoken to; that is said only if there is
    /// nobody else.
    ///
    /// # Errors
    /// If none answers.
    pub async fn reach(&self) -> Result<(Members, Vec<Member>), EtcdError> {
        let mut clients = self.members.clone();
        let mut why = None;
        match self.ask().await {
            Ok(told) => clients.extend(told.clients.iter().map(ToString::to_string)),
            Err(error) => why = Some(error),
        }
        let tls = match self.tls() {
            Ok(tls) => tls,
            Err(error) => {
                clients.retain(|url| url.starts_with("http://"));
                why = Some(error.into());
                None
            }
        };
        match why {
            Some(why) if clients.is_empty() => Err(why),
            _ => Ok(Members::reach(&clients, tls.as_ref()).await?),
        }
    }

    /// What the peers say about the members; nobody where no peer is known.
    pub(super) async fn ask(&self) -> Result<gateway::Members, EtcdError> {
        if self.peers.is_empty() {
            return Ok(gateway::Members::default());
        }
        let peers = Self {
            members: Vec::new(),
            ..self.clone()
        };
        let told = gateway::ask(&peers.gateway()?).await;
        told.map_err(|why| MembersError::Unreachable(why).into())
    }

    /// What a gateway to them goes by.
    ///
    /// # Errors
    /// If they cannot be spoken to as they are.
    pub fn gateway(&self) -> Result<GatewayConfig, EtcdError> {
        let text = self.toml()?;
        let wrong = |error: gateway::GatewayConfigError| EtcdError::Gateway(error.to_string());
        GatewayConfig::parse(&text, Path::new(GATEWAY_FILE)).map_err(wrong)
    }

    pub(super) fn toml(&self) -> Result<String, EtcdError> {
        toml::to_string(self).map_err(|error| EtcdError::Gateway(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_spoken_to_with_the_files_for_peers() {
        let set = |prefix: &str| {
            ["TRUSTED_CA_FILE", "CERT_FILE", "KEY_FILE"]
                .map(|name| (format!("{prefix}{name}"), format!("/{prefix}{name}")))
        };
        let cafile = |pairs: Vec<(String, String)>| {
            let servers = Servers::default().or_files_of(&pairs.into_iter().collect());
            servers.files.map(|files| files.cafile)
        };
        let (peer, client) = (set("ETCD_PEER_"), set("ETCD_"));
        let both = [&peer[..], &client[..]].concat();
        assert_eq!(cafile(both).unwrap(), "/ETCD_PEER_TRUSTED_CA_FILE");
        let half = [&peer[..2], &client[..]].concat();
        assert_eq!(cafile(half).unwrap(), "/ETCD_TRUSTED_CA_FILE");
        assert_eq!(cafile(peer[..2].to_vec()), None);
    }

    #[test]
    fn this_machines_etcd_is_asked_where_it_listens() {
        let environment = |listen: &str| -> Environment {
            [
                ("ETCD_LISTEN_CLIENT_URLS", listen),
                ("ETCD_ADVERTISE_CLIENT_URLS", "https://10.0.0.1:2379"),
                ("ETCD_TRUSTED_CA_FILE", "/ca"),
                ("ETCD_CERT_FILE", "/cert"),
                ("ETCD_KEY_FILE", "/key"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
        };
        for plain in [
            "http://0.0.0.0:2379,http://0.0.0.0:4001",
            "https://10.0.0.1:2379, http://127.0.0.1:2379",
        ] {
            assert_eq!(Servers::own(&environment(plain)), Servers::local(), "{plain}");
        }
        let own = Servers::own(&environment("https://0.0.0.0:2379"));
        assert_eq!(own.members, ["https://10.0.0.1:2379"]);
        assert_eq!(own.files.unwrap().certfile, "/cert");
    }
}
