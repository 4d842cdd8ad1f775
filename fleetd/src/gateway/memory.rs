//! What the gateway knew last, for when it starts again and all the members it was told of are gone.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Address, GatewayConfig, Members};

/// Where it is kept.
pub const FILE: &str = "/var/lib/fleet/gateway.json";

/// The file.
#[derive(Debug, Clone)]
pub struct Memory {
    path: PathBuf,
    told: Told,
    checked: bool,
}

/// What a person said when this was learned. Told of other members, the gateway is to find another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    peers: Vec<Address>,
    members: Vec<Address>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    told: Told,
    known: Members,
    /// There was a CA to check members with when this was learned.
    #[serde(default)]
    checked: bool,
}

impl Memory {
    /// The file at `path`, as far as it goes for `config`.
    pub fn new(path: impl Into<PathBuf>, config: &GatewayConfig) -> Self {
        Self {
            path: path.into(),
            told: Told {
                peers: config.peers.clone(),
                members: config.members.clone(),
            },
            checked: config.cafile.is_some(),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was known; none if nothing was, or under another configuration. If there is a CA now and was none then, plain
    /// members are left out: whoever named them was not checked, and must not lead away from TLS.
    ///
    /// # Errors
    /// If there is a file that cannot be read or holds nonsense.
    pub fn read(&self) -> io::Result<Option<Members>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content: Content = serde_json::from_slice(&bytes)?;
        if self.checked && !content.checked {
            content.known.clients.retain(Address::tls);
        }
        Ok((content.told == self.told).then_some(content.known))
    }

    /// Replaces what was known: after a power cut the file holds the one or the other.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, known: &Members) -> io::Result<()> {
        let content = Content {
            told: self.told.clone(),
            known: known.clone(),
            checked: self.checked,
        };
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        serde_json::to_writer_pretty(&mut file, &content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
        File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(peer: &str) -> GatewayConfig {
        GatewayConfig::parse(&format!("peers = [\"{peer}\"]"), Path::new("x")).unwrap()
    }

    #[test]
    fn it_holds_for_the_configuration_it_was_learned_under() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.json");
        let memory = Memory::new(&path, &config("http://a:1"));
        assert_eq!(memory.read().unwrap(), None);
        let known = Members {
            peers: vec!["http://b:1".parse().unwrap()],
            clients: vec!["https://b:2".parse().unwrap()],
        };
        memory.write(&known).unwrap();
        assert_eq!(memory.read().unwrap(), Some(known));
        let other = Memory::new(&path, &config("http://c:1"));
        assert_eq!(other.read().unwrap(), None);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn with_tls_added_plain_members_are_forgotten_but_for_those_a_checked_peer_named() {
        let directory = tempfile::tempdir().unwrap();
        let plain = config("http://a:1");
        let mut with_ca = plain.clone();
        with_ca.cafile = Some("/ca.pem".into());
        let memory = |config| Memory::new(directory.path().join("gateway.json"), config);
        let known = Members {
            peers: vec!["http://b:1".parse().unwrap()],
            clients: ["http://b:2", "https://c:2"].map(|a| a.parse().unwrap()).into(),
        };
        let checked = Members {
            clients: known.clients[1..].to_vec(),
            ..known.clone()
        };
        memory(&plain).write(&known).unwrap();
        assert_eq!(memory(&with_ca).read().unwrap(), Some(checked));
        assert_eq!(memory(&plain).read().unwrap(), Some(known.clone()));
        memory(&with_ca).write(&known).unwrap();
        assert_eq!(memory(&with_ca).read().unwrap(), Some(known));
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_member() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.json");
        fs::write(
            &path,
            r#"{"told":{"peers":[],"members":[]},"known":{"peers":["x"],"clients":[]}}"#,
        )
        .unwrap();
        assert!(Memory::new(&path, &config("http://a:1")).read().is_err());
    }
}
