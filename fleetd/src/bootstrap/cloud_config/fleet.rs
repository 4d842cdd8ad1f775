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
    together(&section);
    environment
}

/// Keys that fleetd does not take one without the other. It would say so only when everything else is done.
fn together(section: &Section<'_>) {
    let given = |key: &str| {
        let field = section.get(key)?;
        let is_set = field.text().is_some_and(|text| !text.trim().is_empty());
        is_set.then_some(field)
    };
    let servers = given("etcd_servers");
    let servers = servers.filter(|f| f.text().is_some_and(|text| text.contains("https://")));
    if let (Some(servers), None) = (servers, given("etcd_cafile")) {
        servers.error("an https:// address of etcd needs etcd_cafile beside it: who is its CA?");
    }
    for (key, other) in [
        ("etcd_certfile", "etcd_keyfile"),
        ("etcd_keyfile", "etcd_certfile"),
        ("etcd_certfile", "etcd_cafile"),
    ] {
        if let (Some(field), None) = (given(key), given(other)) {
            field.error(format!("needs {other} beside it"));
        }
    }
    const API: [&str; 3] = ["api_certfile", "api_keyfile", "api_cafile"];
    let missing: Vec<&str> = API.into_iter().filter(|key| given(key).is_none()).collect();
    let first = API.into_iter().find_map(given);
    if let (Some(field), false) = (first, missing.is_empty()) {
        field.error(format!("needs {} beside it", missing.join(" and ")));
    }
}
