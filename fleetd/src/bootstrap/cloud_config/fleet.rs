//! `coreos.fleet`: settings of fleetd, checked as fleetd itself would.

use std::collections::BTreeMap;

use super::etcd::expand;
use super::finding::quoted;
use super::section::{Field, Section};
use crate::bootstrap::facts::Facts;
use crate::config::{Config, ConfigError, Value, Values};

const KEYS: [&str; 25] = [
    "agent_ttl",
    "api_cafile",
    "api_certfile",
    "api_keyfile",
    "api_socket",
    "authorized_keys_file",
    "disable_engine",
    "disable_watches",
    "enable_grpc",
    "engine_reconcile_interval",
    "etcd_cafile",
    "etcd_certfile",
    "etcd_key_prefix",
    "etcd_keyfile",
    "etcd_password",
    "etcd_request_timeout",
    "etcd_servers",
    "etcd_username",
    "metadata",
    "public_ip",
    "systemd_user",
    "token_limit",
    "units_directory",
    "verbosity",
    "verify_units",
];

/// The section as `FLEET_…` variables.
pub(super) fn read(field: &Field<'_>, facts: &Facts) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(section) = Section::open(field, &KEYS) else {
        return environment;
    };
    for (key, field) in section.fields() {
        if !KEYS.contains(&key) || section.get(key).is_none() {
            continue;
        }
        let Some(text) = field.line_of_text() else {
            continue;
        };
        let text = expand(&text, facts);
        let value = Value {
            text: text.clone(),
            origin: String::new(),
        };
        match Config::from_values(Values::from([(key.to_owned(), value)])) {
            Err(ConfigError::Value { text, expected, .. }) => {
                field.error(format!("expected {expected}, found {}", quoted(&text)));
            }
            Err(error) => field.error(error.to_string()),
            Ok(config) => match config.warnings.first() {
                // `: key has no effect: why`
                Some(warning) => field.notice(
                    warning
                        .trim_start_matches(": ")
                        .trim_start_matches(key)
                        .trim_start()
                        .to_owned(),
                ),
                None => {
                    environment.insert(format!("FLEET_{}", key.to_ascii_uppercase()), text);
                }
            },
        }
    }
    environment
}
