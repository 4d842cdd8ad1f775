//! fleetd's configuration: `FLEET_*` over the file over the defaults (fleet-reference §6).
//!
//! Two steps: [`file`] turns text into keys and values, [`Config::from_values`] turns those into what the rest of fleetd
//! uses, or says which key is wrong, where it came from, and what is allowed. A wrong value is never taken for zero.

pub mod file;
#[cfg(test)]
mod shipped;
mod span;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use units::{Metadata, parse_metadata};

use crate::registry::keys::DEFAULT_PREFIX;

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

/// Keys of fleet 1.0 that have nothing to act on here, with the reason.
const WITHOUT_EFFECT: [(&str, &str); 6] = [
    (
        "etcd_request_timeout",
        "requests to etcd have deadlines of their own",
    ),
    (
        "engine_reconcile_interval",
        "the engine acts on events, there is no interval",
    ),
    (
        "disable_watches",
        "the agent watches one narrow prefix, which costs nothing at rest",
    ),
    ("enable_grpc", "machines hear of their units from etcd alone"),
    ("verify_units", "units are not signed"),
    ("authorized_keys_file", "units are not signed"),
];

impl Config {
    /// Reads `path` (the default file if `None`, which need not exist) and lays the `FLEET_*` variables over it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let mut values = match std::fs::read_to_string(file) {
            Ok(text) => file::parse(&text, &file.display().to_string())?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.is_none() => Values::new(),
            Err(e) => {
                return Err(ConfigError::Unreadable {
                    path: file.display().to_string(),
                    why: e.to_string(),
                });
            }
        };
        // As in fleet a variable counts although it is empty.
        for (variable, text) in environment {
            if let Some(key) = variable.strip_prefix("FLEET_") {
                values.insert(
                    key.to_ascii_lowercase(),
                    Value {
                        text: text.clone(),
                        origin: variable.clone(),
                    },
                );
            }
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

    fn set(&mut self, key: &str, value: &Value) -> Result<(), ConfigError> {
        let text = value.text.as_str();
        let wrong = |expected: &str| ConfigError::Value {
            origin: value.origin.clone(),
            key: key.to_owned(),
            text: if key == "etcd_password" {
                "…".to_owned()
            } else {
                text.to_owned()
            },
            expected: expected.to_owned(),
        };
        let path = || {
            if text.is_empty() {
                None
            } else {
                Some(PathBuf::from(text))
            }
        };
        match key {
            "verbosity" => self.verbosity = text.parse().map_err(|_| wrong("a number from 0"))?,
            "etcd_servers" => {
                self.etcd_servers = list(text);
                let is_url = |s: &String| s.starts_with("http://") || s.starts_with("https://");
                if self.etcd_servers.is_empty() || !self.etcd_servers.iter().all(is_url) {
                    return Err(wrong("http:// or https:// addresses, separated by commas"));
                }
            }
            "etcd_username" => text.clone_into(&mut self.etcd_username),
            "etcd_password" => text.clone_into(&mut self.etcd_password),
            "etcd_cafile" => self.etcd_cafile = path(),
            "etcd_certfile" => self.etcd_certfile = path(),
            "etcd_keyfile" => self.etcd_keyfile = path(),
            "etcd_key_prefix" => {
                if text.trim_matches('/').is_empty() {
                    return Err(wrong("a path such as /_coreos.com/fleet/"));
                }
                text.clone_into(&mut self.etcd_key_prefix);
            }
            "public_ip" => {
                if !text.is_empty() && text.parse::<std::net::IpAddr>().is_err() {
                    return Err(wrong("an IP address"));
                }
                text.clone_into(&mut self.public_ip);
            }
            "metadata" => {
                self.metadata = parse_metadata(text).map_err(|e| wrong(&format!("key=value,… ({e})")))?
            }
            "agent_ttl" => {
                let ttl = span::parse(text).ok_or_else(|| wrong("a span such as 15s or 1m30s"))?;
                if !(Duration::from_secs(2)..=Duration::from_secs(3600)).contains(&ttl) {
                    return Err(wrong("a span from 2s to 1h"));
                }
                self.agent_ttl = ttl;
            }
            "token_limit" => {
                let limit = text.parse().ok().filter(|n| *n > 0);
                self.token_limit = limit.ok_or_else(|| wrong("a number from 1 to 65535"))?;
            }
            "disable_engine" => self.disable_engine = boolean(text).ok_or_else(|| wrong("true or false"))?,
            "units_directory" => {
                self.units_directory = path()
                    .filter(|p| p.is_absolute())
                    .ok_or_else(|| wrong("an absolute path"))?;
            }
            "api_certfile" => self.api_certfile = path(),
            "api_keyfile" => self.api_keyfile = path(),
            "api_cafile" => self.api_cafile = path(),
            "api_socket" => self.api_socket = path(),
            "systemd_user" if boolean(text) == Some(false) => {}
            "systemd_user" => return Err(wrong("false: running on a user's systemd is not supported yet")),
            _ => {
                let known = WITHOUT_EFFECT.iter().find(|(k, _)| *k == key);
                let why = known.map_or("no such key", |(_, why)| why);
                self.warnings
                    .push(format!("{}: {key} has no effect: {why}", value.origin));
            }
        }
        Ok(())
    }
}

/// Comma-separated, as a bare list or with brackets and quotes.
fn list(text: &str) -> Vec<String> {
    let trimmed = text.trim().trim_start_matches('[').trim_end_matches(']');
    let items = trimmed
        .split(',')
        .map(|item| item.trim().trim_matches(['"', '\'']).to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let mut values = file::parse(text, "fleet.conf").map_err(|e| e.to_string())?;
        for (key, text) in environment {
            let value = Value {
                text: (*text).to_owned(),
                origin: format!("FLEET_{}", key.to_uppercase()),
            };
            values.insert((*key).to_owned(), value);
        }
        Config::from_values(values).map_err(|e| e.to_string())
    }

    #[test]
    fn variables_win_over_the_file_and_the_file_over_defaults() {
        let config = load(
            "agent_ttl=\"20s\"\nmetadata=\"zone=a,disk=ssd\"\n",
            &[("agent_ttl", "40s")],
        )
        .unwrap();
        assert_eq!(config.agent_ttl, Duration::from_secs(40));
        assert_eq!(config.metadata["disk"], "ssd");
        assert_eq!(config.token_limit, 100);
    }

    #[test]
    fn lists_come_bare_or_in_brackets() {
        for text in [
            "etcd_servers=http://a:1,http://b:2",
            "etcd_servers=\"http://a:1, http://b:2\"",
            "etcd_servers=[\"http://a:1\", \"http://b:2\"]",
        ] {
            assert_eq!(
                load(text, &[]).unwrap().etcd_servers,
                ["http://a:1", "http://b:2"],
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_value_names_key_place_and_what_is_allowed() {
        for (text, expected) in [
            (
                "agent_ttl=soon",
                "fleet.conf line 1: agent_ttl=soon is not allowed: expected a span such as 15s or 1m30s",
            ),
            (
                "\nagent_ttl=1s",
                "fleet.conf line 2: agent_ttl=1s is not allowed: expected a span from 2s to 1h",
            ),
            (
                "token_limit=0",
                "fleet.conf line 1: token_limit=0 is not allowed: expected a number from 1 to 65535",
            ),
            (
                "disable_engine=maybe",
                "fleet.conf line 1: disable_engine=maybe is not allowed: expected true or false",
            ),
            (
                "public_ip=nowhere",
                "fleet.conf line 1: public_ip=nowhere is not allowed: expected an IP address",
            ),
            (
                "etcd_servers=127.0.0.1:2379",
                "fleet.conf line 1: etcd_servers=127.0.0.1:2379 is not allowed: expected http:// or https:// addresses, separated by commas",
            ),
            (
                "verbosity=-1",
                "fleet.conf line 1: verbosity=-1 is not allowed: expected a number from 0",
            ),
        ] {
            assert_eq!(load(text, &[]).unwrap_err(), expected);
        }
        let error = load("metadata=zone", &[]).unwrap_err();
        assert!(
            error.starts_with("fleet.conf line 1: metadata=zone is not allowed: expected key=value"),
            "{error}"
        );
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let config = load("engine_reconcile_interval=abc\nagent_tll=3\n", &[]).unwrap();
        assert_eq!(
            config.warnings,
            [
                "fleet.conf line 2: agent_tll has no effect: no such key",
                "fleet.conf line 1: engine_reconcile_interval has no effect: the engine acts on events, there is no interval",
            ]
        );
    }
}
