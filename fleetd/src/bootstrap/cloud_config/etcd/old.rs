//! The keys of `coreos.etcd`, for etcd 0.4.

use super::super::section::{Field, Section};
use super::keys::{at, expand, path};
use super::{NO_V2_DATA, WITHOUT_DISCOVERY, Wanted, url};
use crate::bootstrap::facts::Facts;

/// Keys that have no counterpart.
const GONE: [&str; 13] = [
    "cluster_active_size",
    "cluster_remove_delay",
    "cluster_sync_interval",
    "graphite_host",
    "http_read_timeout",
    "http_write_timeout",
    "max_cluster_size",
    "max_result_buffer",
    "max_retry_attempts",
    "retry_interval",
    "snapshot",
    "trace",
    "cpu_profile_file",
];

/// Keys that go on under another name, or the same.
const RENAMED: [(&str, &str); 8] = [
    ("cert_file", "ETCD_CERT_FILE"),
    ("key_file", "ETCD_KEY_FILE"),
    ("peer_cert_file", "ETCD_PEER_CERT_FILE"),
    ("peer_key_file", "ETCD_PEER_KEY_FILE"),
    ("data_dir", "ETCD_DATA_DIR"),
    ("snapshot_count", "ETCD_SNAPSHOT_COUNT"),
    ("peer_heartbeat_interval", "ETCD_HEARTBEAT_INTERVAL"),
    ("peer_election_timeout", "ETCD_ELECTION_TIMEOUT"),
];

const OWN: [&str; 15] = [
    "addr",
    "bind_addr",
    "ca_file",
    "cors",
    "discovery",
    "name",
    "peer_addr",
    "peer_bind_addr",
    "peer_ca_file",
    "peers",
    "peers_file",
    "verbose",
    "very_verbose",
    "very_very_verbose",
    "force",
];

/// Reads the section.
pub(in super::super) fn read<'a>(field: &Field<'a>, facts: &Facts) -> Wanted<'a> {
    let mut known: Vec<&str> = RENAMED.iter().map(|(key, _)| *key).collect();
    known.extend(GONE);
    known.extend(OWN);
    let mut wanted = Wanted::default();
    let Some(section) = Section::open(field, &known) else {
        return wanted;
    };
    for (key, field) in section.fields() {
        if GONE.contains(&key) || key == "force" {
            field.notice("has no effect: today's etcd has no such setting");
            continue;
        }
        let Some((_, name)) = RENAMED.iter().find(|(k, _)| *k == key) else {
            continue;
        };
        let value = match key {
            "snapshot_count" | "peer_heartbeat_interval" | "peer_election_timeout" => {
                field.number(1..=u64::MAX).map(|n| n.to_string())
            }
            _ => path(&field),
        };
        if key == "data_dir" {
            field.notice(NO_V2_DATA);
        }
        if let Some(value) = value {
            wanted.environment.insert((*name).to_owned(), value);
        }
    }
    for (key, prefix) in [("ca_file", "ETCD_"), ("peer_ca_file", "ETCD_PEER_")] {
        if let Some(path) = section.get(key).and_then(|f| path(&f)) {
            wanted
                .environment
                .insert(format!("{prefix}TRUSTED_CA_FILE"), path);
            wanted
                .environment
                .insert(format!("{prefix}CLIENT_CERT_AUTH"), "true".to_owned());
        }
    }
    if let Some(cors) = section.get("cors").and_then(|f| f.line_of_text()) {
        wanted.environment.insert("ETCD_CORS".to_owned(), cors);
    }
    if ["verbose", "very_verbose", "very_very_verbose"]
        .iter()
        .any(|key| section.flag(key))
    {
        wanted
            .environment
            .insert("ETCD_LOG_LEVEL".to_owned(), "debug".to_owned());
    }
    if let Some(field) = section.get("discovery") {
        field.error(WITHOUT_DISCOVERY);
    }
    if let Some(field) = section.get("peers_file") {
        field.error("is not read: list the machines in peers");
    }
    let text = |key: &str| {
        let field = section.get(key)?;
        let text = field.line_of_text()?;
        Some((field, expand(&text, facts)))
    };
    if let Some((field, name)) = text("name") {
        wanted.name = at(&field, Some(name));
    }
    let says = ["peers", "peers_file", "discovery"];
    wanted.has_cluster = says.iter().any(|key| section.get(key).is_some());
    let scheme = |secret: &str| {
        if section.get(secret).is_some() {
            "https"
        } else {
            "http"
        }
    };
    if let Some((field, peers)) = text("peers") {
        let scheme = scheme("peer_cert_file");
        let peers: Vec<String> = peers.split(',').map(|p| with_scheme(p.trim(), scheme)).collect();
        wanted.peers = at(&field, url::list(&field, &peers.join(",")));
    }
    let ends = [
        ("addr", "bind_addr", "cert_file", "4001"),
        ("peer_addr", "peer_bind_addr", "peer_cert_file", "7001"),
    ];
    for (key, bind, secret, port) in ends {
        let scheme = scheme(secret);
        let advertised = text(key).and_then(|(f, t)| at(&f, url::list(&f, &with_scheme(&t, scheme))));
        let bound = text(bind).or_else(|| text(key)).and_then(|(f, t)| {
            let t = if t.contains(':') { t } else { format!("{t}:{port}") };
            at(&f, url::listening(&f, &with_scheme(&t, scheme)))
        });
        if key == "addr" {
            (wanted.advertise_client, wanted.listen_client) = (advertised, bound);
        } else {
            (wanted.advertise_peer, wanted.listen_peer) = (advertised, bound);
        }
    }
    wanted
}

fn with_scheme(address: &str, scheme: &str) -> String {
    if address.is_empty() || address.contains("://") {
        return address.to_owned();
    }
    format!("{scheme}://{address}")
}
