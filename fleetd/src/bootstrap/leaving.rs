//! What a leave has to know to the end, also where it is cut off: kept in a file from before the first step that cannot be
//! taken back until the last.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::etcd::dropin::{self, Environment};
use super::etcd::{GATEWAY, GATEWAY_FILE, LOCAL, Servers, TlsFiles, UNIT};
use super::settings::{DATA, DROP_IN};
use super::standing::{CLOUD_DROP_IN, Standing};
use super::system::{File, System, SystemError};
use super::{pki, token};

/// The file.
const FILE: &str = "/etc/fleet/leaving.toml";
/// What fleetd remembers of the cluster in this boot. Another cluster would be doubted for it.
const REMEMBERED: &str = "/run/fleet/registry.json";
/// Of `coreos.fleet`, apart from the drop-in.
const PASSWORD: &str = "/etc/fleet/etcd-password.env";

/// A leave that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Leaving {
    /// The others know: what is left to do is this machine's own.
    pub(super) told: bool,
    /// What etcd's members call this one; empty for a gateway.
    pub(super) name: String,
    /// Where they reach it.
    pub(super) peers: Vec<String>,
    /// etcd is not of fleet's making, or not here: it is left alone.
    pub(super) fleet_alone: bool,
    /// It has been a member: there is data.
    pub(super) has_data: bool,
    /// Directories of etcd's, of this member alone.
    pub(super) data: Vec<String>,
    /// How the cluster is reached.
    pub(super) servers: Servers,
}

impl Leaving {
    /// One that was begun and not ended.
    ///
    /// # Errors
    /// If the file cannot be read. One that makes no sense is as good as none.
    pub(super) fn read(system: &dyn System) -> Result<Option<Self>, SystemError> {
        let content = system.read(Path::new(FILE))?;
        Ok(content.and_then(|content| toml::from_str(&String::from_utf8_lossy(&content)).ok()))
    }

    /// From what the machine was set up with.
    ///
    /// # Errors
    /// If that cannot be read.
    pub(super) fn begin(system: &dyn System, standing: &Standing) -> Result<Self, SystemError> {
        let environment = match standing {
            Standing::Founder(environment)
            | Standing::Member(environment)
            | Standing::CloudConfig(environment) => environment,
            Standing::Bare | Standing::Gateway | Standing::FleetAlone(_) => &Environment::new(),
        };
        let setting = |name: &str| environment.get(name).cloned();
        let list = |name: &str| -> Vec<String> {
            let value = setting(name).unwrap_or_default();
            let urls = value.split(',').filter(|url| !url.is_empty());
            urls.map(str::to_owned).collect()
        };
        let all = list("ETCD_INITIAL_CLUSTER");
        let all: Vec<&str> = all
            .iter()
            .filter_map(|pair| Some(pair.split_once('=')?.1))
            .collect();
        let peers = list("ETCD_INITIAL_ADVERTISE_PEER_URLS");
        let others: Vec<&str> = all
            .into_iter()
            .filter(|url| !peers.iter().any(|own| own == url))
            .collect();
        // Where the others' peers are, their clients are let in at the port that is etcd's own.
        let client = |peer: &&str| {
            let (scheme, rest) = peer.split_once("://")?;
            let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
            Some(format!("{scheme}://{host}:2379"))
        };
        let mut members = vec![LOCAL.to_owned()];
        members.extend(others.iter().filter_map(client));
        let ours = TlsFiles {
            cafile: pki::CA.to_owned(),
            certfile: pki::CERTIFICATE.to_owned(),
            keyfile: pki::KEY.to_owned(),
        };
        let files = system.is_there(Path::new(pki::KEY))?.then_some(ours);
        let directory = setting("ETCD_DATA_DIR").map(|data| format!("{data}/member"));
        let has_data = match &directory {
            Some(directory) => system.is_there(Path::new(directory))?,
            None => false,
        };
        let servers = Servers {
            peers: others.iter().map(|url| (*url).to_owned()).collect(),
            members,
            files,
        };
        Ok(Self {
            told: false,
            fleet_alone: matches!(standing, Standing::FleetAlone(_)),
            name: setting("ETCD_NAME").unwrap_or_default(),
            peers,
            has_data,
            // etcd's own alone: whatever stands in the settings, nothing beside it is removed.
            data: directory.into_iter().chain(setting("ETCD_WAL_DIR")).collect(),
            servers: servers.or_files_of(environment),
        })
    }

    /// Keeps it, for a run after this one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, system: &dyn System) -> Result<(), SystemError> {
        // Only tables and strings: there is nothing that TOML could not say.
        let text = toml::to_string(self).unwrap_or_default();
        system.write(&File::plain(FILE, text)).map(drop)
    }

    /// Removes all that `init`, `join` and a cloud-config made for the cluster.
    ///
    /// # Errors
    /// At the first thing that cannot be removed; done again, it goes on.
    pub(super) fn clean(&self, system: &dyn System) -> Result<(), SystemError> {
        if !self.fleet_alone {
            self.clean_etcd(system)?;
        }
        for drop_in in [DROP_IN, CLOUD_DROP_IN] {
            system.remove(&dropin::path("fleet.service", drop_in))?;
        }
        remove_directory("fleet.service", system)?;
        for path in [PASSWORD, "/var/lib/fleet"] {
            system.remove(Path::new(path))?;
        }
        // With units that were left running it stays: they are to be recognised.
        if system.run("ls", &["/run/fleet/units"])?.stdout.trim().is_empty() {
            system.remove(Path::new(REMEMBERED))?;
        }
        system.must("systemctl", &["daemon-reload"])?;
        system.remove(Path::new(FILE)).map(drop)
    }

    fn clean_etcd(&self, system: &dyn System) -> Result<(), SystemError> {
        for unit in [UNIT, GATEWAY] {
            // One that is not installed is as good as stopped; one that does not stop keeps its data.
            system.run("systemctl", &["disable", "--quiet", "--now", unit])?;
            if system.run("systemctl", &["is-active", "--quiet", unit])?.success {
                system.must("systemctl", &["stop", unit])?;
            }
        }
        for directory in &self.data {
            system.remove(Path::new(directory))?;
        }
        for drop_in in [DROP_IN, CLOUD_DROP_IN] {
            system.remove(&dropin::path(UNIT, drop_in))?;
        }
        remove_directory(UNIT, system)?;
        for path in [pki::DIRECTORY, token::FILE, GATEWAY_FILE, DATA] {
            system.remove(Path::new(path))?;
        }
        Ok(())
    }
}

/// The directory of a unit's drop-ins, unless a person has some of their own there.
fn remove_directory(unit: &str, system: &dyn System) -> Result<(), SystemError> {
    let path = dropin::path(unit, DROP_IN);
    let directory = path.parent().unwrap_or(&path).display().to_string();
    system
        .run("rmdir", &["--ignore-fail-on-non-empty", &directory])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_read_back() {
        let leaving = Leaving {
            told: true,
            fleet_alone: true,
            name: "m1".to_owned(),
            peers: vec!["https://10.0.0.1:2380".to_owned()],
            has_data: true,
            data: vec!["/var/lib/etcd/fleet/member".to_owned()],
            servers: Servers {
                members: vec![LOCAL.to_owned()],
                files: Some(TlsFiles {
                    cafile: "/a".to_owned(),
                    certfile: "/b".to_owned(),
                    keyfile: "/c".to_owned(),
                }),
                ..Servers::default()
            },
        };
        let text = toml::to_string(&leaving).unwrap();
        assert_eq!(toml::from_str::<Leaving>(&text).unwrap(), leaving, "{text}");
    }
}
