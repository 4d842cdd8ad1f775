//! What this machine is to be to etcd, and with which settings.

use std::collections::BTreeMap;

use super::super::finding::quoted;
use super::super::section::Field;
use super::{At, Wanted, url};
use crate::bootstrap::etcd::{Etcd, Role, Servers};
use crate::bootstrap::facts::Facts;

const DATA_DIRECTORY: &str = "/var/lib/etcd/fleet";
const LOCAL: &str = "http://127.0.0.1:2379";

/// Settles it; `field` is the section, or the unit that is started without one. `None` after an error.
pub(in super::super) fn settle(wanted: Wanted<'_>, field: &Field<'_>, facts: &Facts) -> Option<Etcd> {
    let drop_in = "20-cloudinit.conf".to_owned();
    if let Some(proxy) = &wanted.proxy {
        let Some(cluster) = &wanted.initial_cluster else {
            proxy.error("needs initial-cluster, which says where the members are");
            return None;
        };
        if let Some(listen) = &wanted.listen_client {
            listen.field.notice(
                "has no effect with proxy: on: the gateway answers at 127.0.0.1:2379, on this machine only",
            );
        }
        let data = wanted.environment.get("ETCD_DATA_DIR").cloned();
        let data = data.unwrap_or_else(|| DATA_DIRECTORY.to_owned());
        let servers = Servers::at_peers(distinct(cluster.value.iter().map(|(_, url)| url)));
        let servers = speakable(servers.or_files_of(&wanted.environment), &cluster.field)?;
        return Some(Etcd {
            role: Role::Gateway { servers },
            // A gateway has no data; where etcd had it tells whether this machine is a member.
            environment: BTreeMap::from([("ETCD_DATA_DIR".to_owned(), data)]),
            drop_in,
        });
    }
    if wanted.has_cluster
        && wanted.existing.is_none()
        && wanted.initial_cluster.is_none()
        && wanted.peers.is_none()
    {
        // What is wrong with it has been said.
        return None;
    }
    let name = name(&wanted, facts)?;
    let mut environment = wanted.environment;
    let is_tls = environment.contains_key("ETCD_PEER_CERT_FILE");
    let peer = peer_urls(
        (&name, if is_tls { "https" } else { "http" }),
        wanted.initial_cluster.as_ref(),
        wanted.advertise_peer.as_ref(),
        field,
        facts,
    )?;
    let role = if let Some(peers) = &wanted.peers {
        let servers = Servers::at_peers(others(peers.value.iter(), &peer));
        member(speakable(servers.or_files_of(&environment), &peers.field)?)
    } else if let Some(existing) = &wanted.existing {
        let Some(cluster) = &wanted.initial_cluster else {
            existing.error("existing needs initial-cluster, which says where the members are");
            return None;
        };
        let listed = cluster.value.iter().filter(|(n, _)| *n != name);
        let peers = others(listed.map(|(_, url)| url), &peer);
        if peers.is_empty() {
            existing.error("existing needs at least one other member in initial-cluster");
            return None;
        }
        let servers = Servers::at_peers(peers).or_files_of(&environment);
        member(speakable(servers, &cluster.field)?)
    } else {
        if wanted.initial_cluster.is_none() {
            field.notice("has no initial-cluster: this machine founds a cluster of its own, of one member");
        }
        Role::Founder
    };
    let members = wanted.initial_cluster.map(|c| c.value).unwrap_or_default();
    let is_listed = members.iter().any(|(n, _)| *n == name);
    let own = peer
        .iter()
        .filter(|_| !is_listed)
        .map(|url| (name.clone(), url.clone()));
    let cluster: Vec<String> = members
        .iter()
        .cloned()
        .chain(own)
        .map(|(name, url)| format!("{name}={url}"))
        .collect();
    let mut set = |key: &str, value: String| drop(environment.insert(key.to_owned(), value));
    set("ETCD_NAME", name);
    set("ETCD_INITIAL_CLUSTER", cluster.join(","));
    let state = if role == Role::Founder { "new" } else { "existing" };
    set("ETCD_INITIAL_CLUSTER_STATE", state.to_owned());
    let listen_peer = wanted.listen_peer.map(|l| l.value);
    set(
        "ETCD_LISTEN_PEER_URLS",
        listen_peer.unwrap_or_else(|| listening(&peer)).join(","),
    );
    set("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer.join(","));
    if wanted.listen_client.is_none() {
        field.notice(
            "has no listen-client-urls: etcd answers on this machine only, at 127.0.0.1:2379 and 4001, and no gateway can use it",
        );
    }
    let listen = listen_client(wanted.listen_client.as_ref());
    let advertise = wanted.advertise_client.map(|a| a.value);
    let advertise = advertise.unwrap_or_else(|| advertised(&listen, &peer));
    set("ETCD_LISTEN_CLIENT_URLS", listen.join(","));
    set("ETCD_ADVERTISE_CLIENT_URLS", advertise.join(","));
    let mut default = |key: &str, value: &str| {
        environment
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    };
    default("ETCD_DATA_DIR", DATA_DIRECTORY);
    default("ETCD_AUTO_COMPACTION_MODE", "periodic");
    default("ETCD_AUTO_COMPACTION_RETENTION", "1h");
    default("ETCD_QUOTA_BACKEND_BYTES", "8589934592");
    Some(Etcd {
        role,
        environment,
        drop_in,
    })
}

/// It was asked for: however many there are.
fn member(servers: Servers) -> Role {
    Role::Member {
        servers,
        limit: usize::MAX,
    }
}

/// Those of `field`, if there is what it takes to speak to them: nobody is asked over TLS who cannot be checked.
fn speakable(servers: Servers, field: &Field<'_>) -> Option<Servers> {
    let secure = servers.peers.iter().find(|url| url.starts_with("https://"));
    if let (Some(url), None) = (secure, &servers.files) {
        let keys = if field.path.ends_with("peers") {
            "peer_ca_file, peer_cert_file and peer_key_file"
        } else {
            "peer-trusted-ca-file, peer-cert-file and peer-key-file"
        };
        field.error(format!(
            "{url} is spoken to by TLS only: that needs {keys}, or those without peer"
        ));
        return None;
    }
    match servers.gateway() {
        Err(error) if !servers.peers.is_empty() => {
            // Without the name of a file that nobody has written.
            let text = error.to_string();
            field.error(text.split_once(": ").map_or(text.as_str(), |(_, why)| why));
            None
        }
        _ => Some(servers),
    }
}

fn name(wanted: &Wanted<'_>, facts: &Facts) -> Option<String> {
    let Some(cluster) = &wanted.initial_cluster else {
        return Some(
            wanted
                .name
                .as_ref()
                .map_or_else(|| facts.hostname.clone(), |name| name.value.clone()),
        );
    };
    if let Some(name) = &wanted.name {
        let is_listed = cluster.value.iter().any(|(n, _)| *n == name.value);
        if !is_listed && wanted.existing.is_none() {
            name.field
                .error(format!("{} is not in initial-cluster", quoted(&name.value)));
            return None;
        }
        return Some(name.value.clone());
    }
    let own = cluster
        .value
        .iter()
        .filter(|(_, url)| facts.is_own(url::parts(url).1));
    let own = distinct(own.map(|(name, _)| name));
    match own.as_slice() {
        [name] => Some(name.clone()),
        [] if wanted.existing.is_some() => Some(facts.hostname.clone()),
        [] => {
            cluster.field.error(
                "has none of this machine's addresses: to join a cluster that runs set initial-cluster-state: existing, to use it without being a member set proxy: on",
            );
            None
        }
        names => {
            cluster.field.error(format!(
                "has this machine's addresses as {}: say which it is with name",
                names.join(" and ")
            ));
            None
        }
    }
}

/// Where the other members reach this one.
fn peer_urls(
    (name, scheme): (&str, &str),
    cluster: Option<&At<'_, Vec<(String, String)>>>,
    advertised: Option<&At<'_, Vec<String>>>,
    field: &Field<'_>,
    facts: &Facts,
) -> Option<Vec<String>> {
    let listed = cluster
        .map_or(&[][..], |c| &c.value)
        .iter()
        .filter(|(n, _)| n == name);
    let listed = distinct(listed.map(|(_, url)| url));
    match advertised {
        Some(advertised) => {
            let mut ours = advertised.value.clone();
            let mut theirs = listed.clone();
            ours.sort();
            theirs.sort();
            if !listed.is_empty() && ours != theirs {
                advertised.field.error(format!(
                    "is not what initial-cluster has for {name}: {}",
                    listed.join(",")
                ));
                return None;
            }
            Some(advertised.value.clone())
        }
        None if !listed.is_empty() => Some(listed),
        None => {
            let Some(address) = facts.private_ipv4() else {
                field.error(
                    "needs initial-advertise-peer-urls: no address of this machine is known (or give --private-ipv4)",
                );
                return None;
            };
            if let Some(doubt) = facts.private_doubt() {
                field.notice(format!("has no initial-advertise-peer-urls: {doubt}"));
            }
            Some(vec![format!("{scheme}://{address}:2380")])
        }
    }
}

fn distinct<'a>(items: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for item in items {
        if !seen.contains(item) {
            seen.push(item.clone());
        }
    }
    seen
}

fn others<'a>(urls: impl Iterator<Item = &'a String>, own: &[String]) -> Vec<String> {
    distinct(urls.filter(|url| !own.contains(url)))
}

/// Addresses to listen on for these to be reached.
fn listening(urls: &[String]) -> Vec<String> {
    let all = urls.iter().map(|url| {
        let (scheme, host, port) = url::parts(url);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<std::net::IpAddr>() {
            Ok(_) => url.clone(),
            Err(_) => format!("{scheme}://0.0.0.0:{port}"),
        }
    });
    distinct(all.collect::<Vec<_>>().iter())
}

fn is_any(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]")
}

/// fleetd looks for etcd at 127.0.0.1:2379, whatever else is asked for.
fn listen_client(wanted: Option<&At<'_, Vec<String>>>) -> Vec<String> {
    let Some(wanted) = wanted else {
        return vec![LOCAL.to_owned(), "http://127.0.0.1:4001".to_owned()];
    };
    let mut urls = wanted.value.clone();
    let answers = |url: &String| {
        let (_, host, port) = url::parts(url);
        port == "2379" && (is_any(host) || host == "127.0.0.1" || host == "localhost")
    };
    if let Some(url) = urls.iter().find(|url| answers(url)) {
        if url.starts_with("https://") {
            wanted.field.notice(
                "fleetd reaches etcd by https only: coreos.fleet needs etcd_servers and etcd_cafile, and mostly etcd_certfile and etcd_keyfile",
            );
        }
    } else {
        wanted
            .field
            .notice(format!("{LOCAL} is added: fleetd looks for etcd there"));
        urls.push(LOCAL.to_owned());
    }
    urls
}

/// Addresses that clients are told, where none are given: those listened on, the wildcard as the peers' address.
fn advertised(listen: &[String], peer: &[String]) -> Vec<String> {
    let own = peer.first().map_or("127.0.0.1", |url| url::parts(url).1);
    let all = listen.iter().map(|url| {
        let (scheme, host, port) = url::parts(url);
        let host = if is_any(host) { own } else { host };
        format!("{scheme}://{host}:{port}")
    });
    let all: Vec<String> = all.collect();
    let outside: Vec<String> = all
        .iter()
        .filter(|url| !matches!(url::parts(url).1, "127.0.0.1" | "localhost"))
        .cloned()
        .collect();
    distinct(if outside.is_empty() { &all } else { &outside }.iter())
}
