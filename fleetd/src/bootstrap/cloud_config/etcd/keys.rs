//! The keys of `coreos.etcd2`.

use super::super::section::{Field, Section};
use super::{At, NO_V2_DATA, WITHOUT_DISCOVERY, Wanted, url};
use crate::bootstrap::facts::Facts;

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
enum Take {
    /// Read by a line of its own below.
    Own,
    /// `ETCD_` and its name, as it is.
    Text,
    /// A file or directory, from the root.
    Path,
    /// Likewise, a number from 1.
    Number,
    /// Likewise, true or false.
    Flag,
    /// Nothing, and why.
    Gone(&'static str),
}

const PROXY: &str = "has no effect: the gateway to etcd has no such setting";

/// Every key, by its normal form.
const KEYS: [(&str, Take); 50] = [
    ("advertise_client_urls", Take::Own),
    ("auto_compaction_mode", Take::Text),
    ("auto_compaction_retention", Take::Text),
    ("ca_file", Take::Own),
    ("cert_file", Take::Path),
    ("client_cert_auth", Take::Flag),
    ("cors", Take::Text),
    ("data_dir", Take::Own),
    ("debug", Take::Own),
    ("discovery", Take::Own),
    (
        "discovery_fallback",
        Take::Gone("has no effect: there is no discovery"),
    ),
    (
        "discovery_proxy",
        Take::Gone("has no effect: there is no discovery"),
    ),
    ("discovery_srv", Take::Own),
    ("election_timeout", Take::Number),
    ("enable_pprof", Take::Flag),
    ("force_new_cluster", Take::Own),
    ("heartbeat_interval", Take::Number),
    ("initial_advertise_peer_urls", Take::Own),
    ("initial_cluster", Take::Own),
    ("initial_cluster_state", Take::Own),
    ("initial_cluster_token", Take::Text),
    ("key_file", Take::Path),
    ("listen_client_urls", Take::Own),
    ("listen_peer_urls", Take::Own),
    (
        "log_package_levels",
        Take::Gone("has no effect: etcd has one log level, and debug: true sets it"),
    ),
    ("max_snapshots", Take::Number),
    ("max_wals", Take::Number),
    ("name", Take::Own),
    ("peer_ca_file", Take::Own),
    ("peer_cert_file", Take::Path),
    ("peer_client_cert_auth", Take::Flag),
    ("peer_key_file", Take::Path),
    ("peer_trusted_ca_file", Take::Path),
    ("proxy", Take::Own),
    ("proxy_dial_timeout", Take::Gone(PROXY)),
    ("proxy_failure_wait", Take::Gone(PROXY)),
    ("proxy_read_timeout", Take::Gone(PROXY)),
    ("proxy_refresh_interval", Take::Gone(PROXY)),
    ("proxy_write_timeout", Take::Gone(PROXY)),
    ("quota_backend_bytes", Take::Number),
    ("snapshot_count", Take::Number),
    ("strict_reconfig_check", Take::Flag),
    ("trusted_ca_file", Take::Path),
    ("wal_dir", Take::Path),
    // Since etcd 3, and often seen.
    ("grpc_keepalive_interval", Take::Text),
    ("grpc_keepalive_timeout", Take::Text),
    ("log_level", Take::Text),
    ("max_request_bytes", Take::Number),
    ("max_txn_ops", Take::Number),
    ("metrics", Take::Text),
];

/// Reads the section.
pub(in super::super) fn read<'a>(field: &Field<'a>, facts: &Facts) -> Wanted<'a> {
    let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let mut wanted = Wanted::default();
    let Some(section) = Section::open(field, &known) else {
        return wanted;
    };
    for (key, field) in section.fields() {
        let Some((_, take)) = KEYS.iter().find(|(k, _)| *k == key) else {
            continue;
        };
        if section.get(key).is_none() {
            continue;
        }
        let value = match take {
            Take::Gone(why) => {
                field.notice(*why);
                None
            }
            Take::Number => field.number(1..=u64::MAX).map(|n| n.to_string()),
            Take::Flag => field.boolean().map(|flag| flag.to_string()),
            Take::Path => path(&field),
            Take::Text => field.line_of_text().map(|text| expand(&text, facts)),
            Take::Own => {
                own(key, &field, facts, &mut wanted);
                None
            }
        };
        if let Some(value) = value {
            let name = format!("ETCD_{}", key.to_ascii_uppercase());
            wanted.environment.insert(name, value);
        }
    }
    together(&section, &mut wanted);
    let says = ["initial_cluster", "discovery", "discovery_srv"];
    wanted.has_cluster = says.iter().any(|key| section.get(key).is_some());
    wanted
}

pub(super) fn path(field: &Field<'_>) -> Option<String> {
    let path = field.line_of_text()?;
    if path.starts_with('/') {
        return Some(path);
    }
    field.wrong("a path that begins with /")
}

/// What systemd would have made of `%H` and `%m` in the drop-in.
pub(in super::super) fn expand(text: &str, facts: &Facts) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (value, length) = match after.chars().next() {
            Some('H') => (facts.hostname.as_str(), 1),
            Some('m') => (facts.machine_id.as_str(), 1),
            Some('%') => ("%", 1),
            _ => ("%", 0),
        };
        out.push_str(value);
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

fn own<'a>(key: &str, field: &Field<'a>, facts: &Facts, wanted: &mut Wanted<'a>) {
    if matches!(key, "debug" | "force_new_cluster") {
        match (key, field.boolean()) {
            ("debug", Some(true)) => drop(
                wanted
                    .environment
                    .insert("ETCD_LOG_LEVEL".to_owned(), "debug".to_owned()),
            ),
            ("force_new_cluster", Some(true)) => {
                field.error("would throw the other members out at every start of etcd: take it out")
            }
            _ => {}
        }
        return;
    }
    let Some(text) = field.line_of_text() else {
        return;
    };
    let text = expand(&text, facts);
    match key {
        "name" => match text.as_str() {
            "" => field.error("expected a name, found nothing"),
            _ => wanted.name = at(field, Some(text)),
        },
        "data_dir" => {
            if let Some(path) = path(field) {
                if path.trim_end_matches('/').starts_with("/var/lib/etcd2") {
                    field.notice(NO_V2_DATA);
                }
                wanted.environment.insert("ETCD_DATA_DIR".to_owned(), path);
            }
        }
        "discovery" => field.error(WITHOUT_DISCOVERY),
        "discovery_srv" => {
            field.error("is not taken: list the machines in initial-cluster, with their addresses");
        }
        "ca_file" | "peer_ca_file" => {
            let Some(path) = path(field) else { return };
            let prefix = if key == "ca_file" { "ETCD_" } else { "ETCD_PEER_" };
            field.notice(format!(
                "carried on as {}trusted_ca_file, with client_cert_auth: true",
                if key == "ca_file" { "" } else { "peer_" }
            ));
            let mut set = |key: &str, value: String| {
                wanted
                    .environment
                    .entry(format!("{prefix}{key}"))
                    .or_insert(value);
            };
            set("TRUSTED_CA_FILE", path);
            set("CLIENT_CERT_AUTH", "true".to_owned());
        }
        "proxy" => match text.as_str() {
            "on" | "true" | "yes" => wanted.proxy = Some(field.clone()),
            "readonly" => {
                field.notice("is taken as on: the gateway to etcd passes writes on too");
                wanted.proxy = Some(field.clone());
            }
            "off" | "false" | "no" => {}
            _ => drop(field.wrong::<()>("on, off or readonly")),
        },
        "initial_cluster_state" => match text.as_str() {
            "new" => {}
            "existing" => wanted.existing = Some(field.clone()),
            _ => drop(field.wrong::<()>("new or existing")),
        },
        "initial_cluster" => wanted.initial_cluster = at(field, url::cluster(field, &text)),
        "listen_client_urls" => wanted.listen_client = at(field, url::listening(field, &text)),
        "listen_peer_urls" => wanted.listen_peer = at(field, url::listening(field, &text)),
        "advertise_client_urls" => wanted.advertise_client = at(field, url::list(field, &text)),
        "initial_advertise_peer_urls" => wanted.advertise_peer = at(field, url::list(field, &text)),
        _ => {}
    }
}

pub(super) fn at<'a, T>(field: &Field<'a>, value: Option<T>) -> Option<At<'a, T>> {
    let field = field.clone();
    value.map(|value| At { field, value })
}

/// Keys that do not go together.
fn together(section: &Section<'_>, wanted: &mut Wanted<'_>) {
    if let (Some(_), Some(cluster)) = (section.get("discovery"), section.get("initial_cluster")) {
        cluster.error("is given beside discovery: take discovery out");
    }
    if wanted.proxy.is_some() {
        without_effect(section);
    } else if let Some(field) = section.get("wal_dir") {
        field.notice(
            "etcd renames a directory of its own to this one: its user has to be able to write to the one above",
        );
    }
    if let (Some(proxy), Some(existing)) = (&wanted.proxy, &wanted.existing) {
        existing.error(format!(
            "existing makes this machine a member, proxy: on in line {} makes it none: take one of them out",
            proxy.line
        ));
        wanted.existing = None;
    }
    for (cert, key) in [("cert_file", "key_file"), ("peer_cert_file", "peer_key_file")] {
        match (section.get(cert), section.get(key)) {
            (Some(field), None) => field.error(format!("needs {key} beside it")),
            (None, Some(field)) => field.error(format!("needs {cert} beside it")),
            _ => {}
        }
    }
    let number = |key: &str| wanted.environment.get(key)?.parse::<u64>().ok();
    let (heartbeat, election) = (number("ETCD_HEARTBEAT_INTERVAL"), number("ETCD_ELECTION_TIMEOUT"));
    let field = section
        .get("election_timeout")
        .or_else(|| section.get("heartbeat_interval"));
    if let Some(field) = field {
        let (heartbeat, election) = (heartbeat.unwrap_or(100), election.unwrap_or(1000));
        if election < heartbeat.saturating_mul(5) {
            field.error(format!(
                "election-timeout ({election}) has to be at least five times heartbeat-interval ({heartbeat})"
            ));
        } else if election > 50_000 {
            field.error(format!(
                "election-timeout ({election}) has to be at most 50000 ms"
            ));
        }
    }
}

/// Notices for settings of a member, on a machine that is none.
fn without_effect(section: &Section<'_>) {
    for (key, field) in section.fields() {
        let Some((_, take)) = KEYS.iter().find(|(known, _)| *known == key) else {
            continue;
        };
        // Of these something is said elsewhere, or they do have one: the files are what the members are spoken to with.
        let is_said = matches!(take, Take::Gone(_)) || key.starts_with("discovery") || key.ends_with("_file");
        let is_taken = matches!(
            key,
            "proxy"
                | "initial_cluster"
                | "initial_cluster_state"
                | "listen_client_urls"
                | "force_new_cluster"
        );
        if !is_said && !is_taken && section.get(key).is_some() {
            field.notice("has no effect with proxy: on: this machine is no member of etcd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_specifier_is_replaced_once() {
        let facts = Facts {
            hostname: "a%m".to_owned(),
            machine_id: "0b".to_owned(),
            ..Facts::default()
        };
        for (text, wanted) in [
            ("%H-%m", "a%m-0b"),
            ("%%H", "%H"),
            ("%%%H", "%a%m"),
            ("100%", "100%"),
            ("%x é%%", "%x é%"),
        ] {
            assert_eq!(expand(text, &facts), wanted, "{text}");
        }
    }
}
