//! Keys of etcd, one by one. Whole files: the tests of the command.

use std::net::IpAddr;

use super::super::etcd::{Role, Servers};
use super::*;

fn facts() -> Facts {
    Facts {
        hostname: "core-01".to_owned(),
        machine_id: "0101".to_owned(),
        addresses: vec!["127.0.0.1", "172.17.0.1", "10.0.0.11"]
            .into_iter()
            .map(|a| a.parse::<IpAddr>().unwrap())
            .collect(),
        default_address: "10.0.0.11".parse().ok(),
        ..Facts::default()
    }
}

/// etcd of a section with these lines, and all that is said.
fn etcd(section: &str, lines: &[&str]) -> (Etcd, Vec<String>) {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "#cloud-config\ncoreos:\n  {section}:\n{lines}  units:\n    - {{name: {section}.service, command: start}}\n"
    );
    let reading = read(text.as_bytes(), &facts());
    let said: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
    let Some(config) = reading.config else {
        panic!("{said:?}")
    };
    (config.etcd.unwrap(), said)
}

#[test]
fn keys_of_etcd2_become_those_of_today() {
    let cluster = "initial-cluster: core-01=http://10.0.0.11:2380,b=http://10.0.0.12:2380";
    let listen = "listen-client-urls: http://0.0.0.0:2379";
    for (line, name, value) in [
        ("name: core-01", "ETCD_NAME", "core-01"),
        ("name: '%H'", "ETCD_NAME", "core-01"),
        ("initial-cluster-token: a%%b", "ETCD_INITIAL_CLUSTER_TOKEN", "a%b"),
        ("snapshot-count: 5000", "ETCD_SNAPSHOT_COUNT", "5000"),
        ("heartbeat_interval: 200", "ETCD_HEARTBEAT_INTERVAL", "200"),
        ("election_timeout: \"2500\"", "ETCD_ELECTION_TIMEOUT", "2500"),
        ("max-snapshots: 3", "ETCD_MAX_SNAPSHOTS", "3"),
        ("max-wals: 3", "ETCD_MAX_WALS", "3"),
        ("cors: '*'", "ETCD_CORS", "*"),
        ("wal-dir: /var/wal", "ETCD_WAL_DIR", "/var/wal"),
        ("data-dir: /data", "ETCD_DATA_DIR", "/data"),
        ("debug: true", "ETCD_LOG_LEVEL", "debug"),
        ("enable-pprof: yes", "ETCD_ENABLE_PPROF", "true"),
        (
            "strict-reconfig-check: off",
            "ETCD_STRICT_RECONFIG_CHECK",
            "false",
        ),
        ("client-cert-auth: on", "ETCD_CLIENT_CERT_AUTH", "true"),
        ("trusted-ca-file: /ca", "ETCD_TRUSTED_CA_FILE", "/ca"),
        ("peer-trusted-ca-file: /ca", "ETCD_PEER_TRUSTED_CA_FILE", "/ca"),
        ("ca-file: /ca", "ETCD_TRUSTED_CA_FILE", "/ca"),
        ("ca-file: /ca", "ETCD_CLIENT_CERT_AUTH", "true"),
        ("peer-ca-file: /ca", "ETCD_PEER_TRUSTED_CA_FILE", "/ca"),
        ("peer-ca-file: /ca", "ETCD_PEER_CLIENT_CERT_AUTH", "true"),
        ("proxy: off", "ETCD_NAME", "core-01"),
        ("quota-backend-bytes: 1", "ETCD_QUOTA_BACKEND_BYTES", "1"),
        ("initial-cluster-state: new", "ETCD_INITIAL_CLUSTER_STATE", "new"),
        (
            "advertise-client-urls: http://a.example:2379/",
            "ETCD_ADVERTISE_CLIENT_URLS",
            "http://a.example:2379",
        ),
    ] {
        let (etcd, _) = etcd("etcd2", &[cluster, listen, line]);
        assert_eq!(etcd.role, Role::Founder, "{line}");
        assert_eq!(
            etcd.environment.get(name).map(String::as_str),
            Some(value),
            "{line}"
        );
    }
}

#[test]
fn what_has_no_counterpart_is_said() {
    let cluster = "initial-cluster: core-01=http://10.0.0.11:2380";
    let listen = "listen-client-urls: http://0.0.0.0:2379";
    for (line, expected) in [
        (
            "log-package-levels: etcdmain=DEBUG",
            "6: coreos.etcd2.log-package-levels: notice: has no effect: etcd has one log level, and debug: true sets it",
        ),
        (
            "discovery_fallback: proxy",
            "6: coreos.etcd2.discovery_fallback: notice: has no effect: there is no discovery",
        ),
        (
            "proxy-read-timeout: 0",
            "6: coreos.etcd2.proxy-read-timeout: notice: has no effect: the gateway to etcd has no such setting",
        ),
        (
            "peer-ca-file: /ca",
            "6: coreos.etcd2.peer-ca-file: notice: carried on as peer_trusted_ca_file, with client_cert_auth: true",
        ),
        (
            "data-dir: /var/lib/etcd2",
            "6: coreos.etcd2.data-dir: notice: etcd 3 cannot read the data of etcd 2: the directory has to be empty",
        ),
    ] {
        assert_eq!(etcd("etcd2", &[cluster, listen, line]).1, [expected]);
    }
}

#[test]
fn roles_follow_from_proxy_state_and_peers() {
    let cluster =
        "initial-cluster: core-01=http://10.0.0.11:2380,b=http://10.0.0.12:2380,b=http://10.0.0.12:7001";
    let urls = |urls: &[&str]| urls.iter().map(|&url| url.to_owned()).collect::<Vec<_>>();
    let all = urls(&[
        "http://10.0.0.11:2380",
        "http://10.0.0.12:2380",
        "http://10.0.0.12:7001",
    ]);
    for proxy in ["proxy: on", "proxy: readonly", "proxy: 'on'"] {
        let (etcd, _) = etcd("etcd2", &[cluster, proxy]);
        assert_eq!(
            etcd.role,
            Role::Gateway {
                servers: Servers::at_peers(all.clone())
            }
        );
        // Where its data would be, were it a member.
        assert_eq!(etcd.environment.keys().collect::<Vec<_>>(), ["ETCD_DATA_DIR"]);
    }
    let (member, _) = etcd("etcd2", &[cluster, "initial-cluster-state: existing"]);
    assert_eq!(
        member.role,
        Role::Member {
            servers: Servers::at_peers(all[1..].to_vec()),
            limit: usize::MAX
        }
    );
    assert_eq!(member.environment["ETCD_INITIAL_CLUSTER_STATE"], "existing");
    let (old, _) = etcd("etcd", &["peers: 10.0.0.21:7001", "peer_addr: 10.0.0.11:7001"]);
    let peers = urls(&["http://10.0.0.21:7001"]);
    assert_eq!(
        old.role,
        Role::Member {
            servers: Servers::at_peers(peers),
            limit: usize::MAX
        }
    );
    let (alone, said) = etcd("etcd", &["addr: 10.0.0.11:4001", "bind_addr: 0.0.0.0"]);
    assert_eq!(alone.role, Role::Founder);
    assert_eq!(
        alone.environment["ETCD_INITIAL_CLUSTER"],
        "core-01=http://10.0.0.11:2380"
    );
    assert_eq!(
        alone.environment["ETCD_LISTEN_CLIENT_URLS"],
        "http://0.0.0.0:4001,http://127.0.0.1:2379"
    );
    assert!(
        said.iter()
            .any(|line| line.contains("founds a cluster of its own")),
        "{said:?}"
    );
}

#[test]
fn secure_members_are_spoken_to_with_the_sections_certificates() {
    let cluster = "initial-cluster: core-01=https://10.0.0.11:2380,b=https://10.0.0.12:2380";
    let listen = "listen-client-urls: http://0.0.0.0:2379";
    let files = [
        "peer-trusted-ca-file: /p/ca",
        "peer-cert-file: /p/cert",
        "peer-key-file: /p/key",
        "trusted-ca-file: /c/ca",
        "cert-file: /c/cert",
        "key-file: /c/key",
    ];
    for role in ["proxy: on", "initial-cluster-state: existing"] {
        for (files, cafile) in [(&files[..], "/p/ca"), (&files[3..], "/c/ca")] {
            let lines = [&[cluster, role, listen], files].concat();
            let found = match etcd("etcd2", &lines).0.role {
                Role::Gateway { servers } | Role::Member { servers, .. } => servers.files,
                Role::Founder => None,
            };
            assert_eq!(found.map(|f| f.cafile).as_deref(), Some(cafile), "{role}");
        }
    }
}

#[test]
fn settings_of_a_member_have_no_effect_on_a_gateway() {
    let (_, said) = etcd(
        "etcd2",
        &[
            "proxy: on",
            "initial-cluster: a=https://10.0.0.12:2380",
            "name: b",
            "data-dir: /data",
            "heartbeat-interval: 200",
            "peer-ca-file: /ca",
            "peer-cert-file: /cert",
            "peer-key-file: /key",
        ],
    );
    let why = "notice: has no effect with proxy: on: this machine is no member of etcd";
    assert_eq!(
        said,
        [
            format!("6: coreos.etcd2.name: {why}"),
            format!("7: coreos.etcd2.data-dir: {why}"),
            format!("8: coreos.etcd2.heartbeat-interval: {why}"),
            "9: coreos.etcd2.peer-ca-file: notice: carried on as peer_trusted_ca_file, with client_cert_auth: true"
                .to_owned(),
        ]
    );
}

#[test]
fn the_older_etcd_is_no_matter_beside_etcd2() {
    let text = "#cloud-config\ncoreos:\n  units:\n    - name: etcd.service\n      mask: true\n    - name: etcd2.service\n      command: start\n";
    let reading = read(text.as_bytes(), &facts());
    assert_eq!(
        reading.findings[0].to_string(),
        "4: coreos.units[0]: notice: beside etcd2.service this is etcd 0.4, which is not here: left alone"
    );
    let config = reading.config.unwrap();
    assert!(config.etcd.is_some());
    assert_eq!(config.units.len(), 1);
}

#[test]
fn the_private_address_is_the_default_routes_before_a_bridges() {
    let mut facts = facts();
    assert_eq!(facts.private_ipv4(), "10.0.0.11".parse().ok());
    facts.default_address = "9.9.9.9".parse().ok();
    facts.virtual_addresses = vec!["172.17.0.1".parse().unwrap()];
    assert_eq!(facts.private_ipv4(), "10.0.0.11".parse().ok());
    assert_eq!(facts.private_doubt(), None);
    assert_eq!(facts.public_ipv4().unwrap(), ("9.9.9.9".parse().unwrap(), false));
    facts.addresses.pop();
    assert_eq!(facts.private_ipv4(), "9.9.9.9".parse().ok());
    assert_eq!(
        facts.private_doubt().unwrap(),
        "9.9.9.9 is taken, though it is public, and not 172.17.0.1, of an interface without hardware, maybe a bridge for containers: --private-ipv4 says it otherwise"
    );
    // A bridge is better than nothing, and not in silence.
    facts.default_address = None;
    assert_eq!(facts.private_ipv4(), "172.17.0.1".parse().ok());
    let text = "#cloud-config\n# $private_ipv4\ncoreos:\n  fleet:\n    public-ip: $private_ipv4\n";
    let said: Vec<String> = read(text.as_bytes(), &facts)
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        said,
        [
            "5: $private_ipv4: notice: 172.17.0.1 is taken, of an interface without hardware, maybe a bridge for containers: --private-ipv4 says it otherwise"
        ]
    );
    facts
        .environment
        .insert("COREOS_PRIVATE_IPV4".to_owned(), "10.9.9.9".to_owned());
    assert_eq!(facts.private_ipv4(), "10.9.9.9".parse().ok());
    assert!(facts.is_own("10.9.9.9") && facts.is_own("CORE-01") && !facts.is_own("127.0.0.1"));
}
