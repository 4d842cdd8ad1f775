//! fleetd's configuration: `FLEET_*` over the file over the defaults (fleet-reference §6).
//!
//! Two steps: [`file`] turns text into keys and values, [`Config::from_values`] turns those into what the rest of fleetd
//! uses, or says which key is wrong, where it came from, and what is allowed. A wrong value is never taken for zero.
//! [`Config::changes`] says what of another configuration can take effect while fleetd runs.

mod change;
pub mod file;
pub mod keys;
#[cfg(test)]
mod shipped;
mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use units::{Metadata, parse_metadata};

use crate::registry::keys::DEFAULT_PREFIX;

pub use change::{Change, Effect};

/// Where fleet looks if it is not told.
pub const DEFAULT_FILE: &str = "/etc/fleet/fleet.conf";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// More than 0: debug messages too.
    pub verbosity: u32,
    /// Addresses of etcd to begin with.
    pub etcd_servers: Vec<String>,
    /// User of etcd; empty for none.
    pub etcd_username: String,
    /// Its password.
    pub etcd_password: String,
    /// Who vouches for etcd.
    pub etcd_cafile: Option<PathBuf>,
    /// Our certificate for etcd.
    pub etcd_certfile: Option<PathBuf>,
    /// Its key.
    pub etcd_keyfile: Option<PathBuf>,
    /// Where in etcd; one cluster for each.
    pub etcd_key_prefix: String,
    /// Address of this machine; empty: found on the interface of the default route.
    pub public_ip: String,
    /// What units can ask for.
    pub metadata: Metadata,
    /// How long this machine may be silent before it counts as lost.
    pub agent_ttl: Duration,
    /// Entries on a page of the API.
    pub token_limit: u16,
    /// Never lead.
    pub disable_engine: bool,
    /// Where unit files are put.
    pub units_directory: PathBuf,
    /// Our certificate on the API's TCP sockets, which then speak TLS only.
    pub api_certfile: Option<PathBuf>,
    /// Its key.
    pub api_keyfile: Option<PathBuf>,
    /// Who vouches for clients of those sockets.
    pub api_cafile: Option<PathBuf>,
    /// A socket to make where systemd hands none over; empty for none.
    pub api_socket: Option<PathBuf>,
    /// Keys that are known and have no effect, or are not known, in words for the log.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verbosity: 0,
            etcd_servers: vec![
                "http://127.0.0.1:2379".to_owned(),
                "http://127.0.0.1:4001".to_owned(),
            ],
            etcd_username: String::new(),
            etcd_password: String::new(),
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            etcd_key_prefix: DEFAULT_PREFIX.to_owned(),
            public_ip: String::new(),
            metadata: Metadata::new(),
            agent_ttl: Duration::from_secs(15),
            token_limit: 100,
            disable_engine: false,
            units_directory: PathBuf::from("/run/fleet/units/"),
            api_certfile: None,
            api_keyfile: None,
            api_cafile: None,
            api_socket: None,
            warnings: Vec::new(),
        }
    }
}

/// A value and where it was set, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text, without quotes.
    pub text: String,
    /// For instance `/etc/fleet/fleet.conf line 3`, or `FLEET_AGENT_TTL`.
    pub origin: String,
}

/// Values by lower-case key.
pub type Values = BTreeMap<String, Value>;

/// What is wrong with a configuration. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A line is no `key=value`.
    #[error("{origin}: {why}")]
    Syntax {
        /// File and line.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value is not allowed.
    #[error("{origin}: {key}={text} is not allowed: expected {expected}")]
    Value {
        /// File and line, or variable.
        origin: String,
        /// The key.
        key: String,
        /// What it was set to.
        text: String,
        /// What is allowed.
        expected: String,
    },
}

impl Config {
    /// Reads `file`, which need not be there unless it is needed, and lays the `FLEET_*` variables over it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        file: &Path,
        is_needed: bool,
        environment: &BTreeMap<String, OsString>,
    ) -> Result<Self, ConfigError> {
        let mut values = match std::fs::read_to_string(file) {
            Ok(text) => file::parse(&text, &file.display().to_string())?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !is_needed => Values::new(),
            Err(e) => {
                return Err(ConfigError::Unreadable {
                    path: file.display().to_string(),
                    why: e.to_string(),
                });
            }
        };
        // As in fleet a variable counts although it is empty.
        for (variable, text) in environment {
            let Some(key) = variable.strip_prefix("FLEET_") else {
                continue;
            };
            let origin = variable.clone();
            let text = text
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| ConfigError::Syntax {
                    origin: origin.clone(),
                    why: "the value is no UTF-8 text".to_owned(),
                })?;
            values.insert(key.to_ascii_lowercase(), Value { text, origin });
        }
        Self::from_values(values)
    }

    /// Checks values and gives them their types.
    ///
    /// # Errors
    /// The first value that is not allowed, by key.
    pub fn from_values(values: Values) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in values {
            config.set(&key, &value)?;
        }
        Ok(config)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), ConfigError> {
        let Some(key) = keys::find(name) else {
            let known = keys::WITHOUT_EFFECT.iter().find(|(known, _)| *known == name);
            let why = known.map_or("no such key", |(_, why)| why);
            self.warnings
                .push(format!("{}: {name} has no effect: {why}", value.origin));
            return Ok(());
        };
        self.assign(key.name, &value.text)
            .ok_or_else(|| ConfigError::Value {
                origin: value.origin.clone(),
                key: name.to_owned(),
                text: if is_secret(name) {
                    HIDDEN.to_owned()
                } else {
                    value.text.clone()
                },
                expected: key.allowed.to_owned(),
            })
    }

    /// `None` if the value is not what [`keys::Key::allowed`] says.
    fn assign(&mut self, key: &str, text: &str) -> Option<()> {
        let path = (!text.is_empty()).then(|| PathBuf::from(text));
        match key {
            "verbosity" => self.verbosity = text.parse().ok()?,
            "etcd_servers" => {
                let is_url = |s: &String| s.starts_with("http://") || s.starts_with("https://");
                self.etcd_servers = Some(list(text)).filter(|l| !l.is_empty() && l.iter().all(is_url))?;
            }
            "etcd_username" => text.clone_into(&mut self.etcd_username),
            "etcd_password" => text.clone_into(&mut self.etcd_password),
            "etcd_cafile" => self.etcd_cafile = path,
            "etcd_certfile" => self.etcd_certfile = path,
            "etcd_keyfile" => self.etcd_keyfile = path,
            "etcd_key_prefix" => {
                self.etcd_key_prefix =
                    Some(text.to_owned()).filter(|prefix| !prefix.trim_matches('/').is_empty())?;
            }
            "public_ip" => {
                let is_address = text.is_empty() || text.parse::<std::net::IpAddr>().is_ok();
                self.public_ip = is_address.then(|| text.to_owned())?;
            }
            "metadata" => {
                let metadata = parse_metadata(text).ok()?;
                // Brackets are for lists of addresses: fleet took them for part of the first key, which then fits nothing.
                let is_bracketed = metadata.keys().any(|key| key.starts_with('['));
                self.metadata = (!is_bracketed).then_some(metadata)?;
            }
            "agent_ttl" => {
                let allowed = Duration::from_secs(2)..=Duration::from_secs(3600);
                self.agent_ttl = span::parse(text).filter(|ttl| allowed.contains(ttl))?;
            }
            "token_limit" => self.token_limit = text.parse().ok().filter(|n| *n > 0)?,
            "disable_engine" => self.disable_engine = boolean(text)?,
            "units_directory" => self.units_directory = path.filter(|p| p.is_absolute())?,
            "api_certfile" => self.api_certfile = path,
            "api_keyfile" => self.api_keyfile = path,
            "api_cafile" => self.api_cafile = path,
            "api_socket" => self.api_socket = path,
            "systemd_user" => return boolean(text).filter(|user| !user).map(drop),
            // Every key of the table has an arm: see the tests.
            _ => return None,
        }
        Some(())
    }
}

/// What is shown of a value that is nobody's business.
const HIDDEN: &str = "…";

fn is_secret(key: &str) -> bool {
    key == "etcd_password"
}

/// Comma-separated, as a bare list or with brackets and quotes.
fn list(text: &str) -> Vec<String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let items = bare.unwrap_or(text).split(',');
    let items = items.map(|item| item.trim().trim_matches(['"', '\'']).trim().to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

/// What Go's ParseBool takes.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
