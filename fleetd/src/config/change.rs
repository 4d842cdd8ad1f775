//! What another configuration would change, and what of it can take effect while fleetd runs. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys::{self, Takes};
use super::{Config, HIDDEN, Value, Values, is_secret, span};

/// A key whose value is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// Its new value, for people: of a password nothing is shown.
    pub value: String,
    /// When it takes effect.
    pub effect: Effect,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It takes effect now.
    Now,
    /// It takes effect when fleetd is restarted; until then what was in force stays in force.
    AtRestart,
}

impl Config {
    /// The value of every key, as one would write it: [`Config::from_values`] makes the same configuration of them.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        let Self {
            verbosity,
            etcd_servers,
            etcd_username,
            etcd_password,
            etcd_cafile,
            etcd_certfile,
            etcd_keyfile,
            etcd_key_prefix,
            public_ip,
            metadata,
            agent_ttl,
            token_limit,
            disable_engine,
            units_directory,
            api_certfile,
            api_keyfile,
            api_cafile,
            api_socket,
            // No setting, but what there is to say about the settings.
            warnings: _,
        } = self;
        let metadata: Vec<String> = metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        BTreeMap::from([
            ("verbosity", verbosity.to_string()),
            ("etcd_servers", etcd_servers.join(",")),
            ("etcd_username", etcd_username.clone()),
            ("etcd_password", etcd_password.clone()),
            ("etcd_cafile", path(etcd_cafile)),
            ("etcd_certfile", path(etcd_certfile)),
            ("etcd_keyfile", path(etcd_keyfile)),
            ("etcd_key_prefix", etcd_key_prefix.clone()),
            ("public_ip", public_ip.clone()),
            ("metadata", metadata.join(",")),
            ("agent_ttl", span::show(*agent_ttl)),
            ("token_limit", token_limit.to_string()),
            ("disable_engine", disable_engine.to_string()),
            ("units_directory", units_directory.display().to_string()),
            ("api_certfile", path(api_certfile)),
            ("api_keyfile", path(api_keyfile)),
            ("api_cafile", path(api_cafile)),
            ("api_socket", path(api_socket)),
            // Nothing else is accepted.
            ("systemd_user", "false".to_owned()),
        ])
    }

    /// The same for people to see: of a password only that there is one.
    pub fn shown(&self) -> BTreeMap<&'static str, String> {
        let mut settings = self.settings();
        for (key, value) in &mut settings {
            if is_secret(key) && !value.is_empty() {
                HIDDEN.clone_into(value);
            }
        }
        settings
    }

    /// What `new` would change, by key.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let (old, wanted) = (self.settings(), new.settings());
        let changed = keys::all().filter(|key| old.get(key.name) != wanted.get(key.name));
        let mut shown = new.shown();
        let changes = changed.map(|key| Change {
            key: key.name,
            value: shown.remove(key.name).unwrap_or_default(),
            effect: match key.takes {
                // A port that speaks in the clear cannot be made to speak TLS to those who are connected.
                _ if key.name.starts_with("api_") && self.has_api_tls() != new.has_api_tls() => {
                    Effect::AtRestart
                }
                Takes::Reload => Effect::Now,
                Takes::Restart => Effect::AtRestart,
            },
        });
        changes.collect()
    }

    /// This configuration with those of `changes` that take effect now.
    pub fn with(&self, changes: &[Change], new: &Self) -> Self {
        let mut settings = self.settings();
        let wanted = new.settings();
        for change in changes.iter().filter(|change| change.effect == Effect::Now) {
            if let Some(value) = wanted.get(change.key) {
                settings.insert(change.key, value.clone());
            }
        }
        let value = |(key, text): (&str, String)| {
            let origin = String::new();
            (key.to_owned(), Value { text, origin })
        };
        let values: Values = settings.into_iter().map(value).collect();
        let warnings = new.warnings.clone();
        // Each of the values has been accepted before.
        let config = Self::from_values(values).unwrap_or_else(|_| self.clone());
        Self { warnings, ..config }
    }

    fn has_api_tls(&self) -> bool {
        self.api_certfile.is_some() || self.api_keyfile.is_some() || self.api_cafile.is_some()
    }
}
