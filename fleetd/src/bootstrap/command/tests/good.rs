//! Files that are taken.

use super::*;

fn shown(ran: &Ran) -> String {
    format!(
        "{}{}",
        ran.said.iter().map(|l| format!("{l}\n")).collect::<String>(),
        ran.out
    )
}

/// Etcd2 and fleet on the first of three machines, as the documentation of CoreOS had it.
const STATIC: &str = r#"#cloud-config

hostname: core-01
ssh_authorized_keys:
  - ssh-rsa AAAAB3NzaC1yc2E me@laptop
coreos:
  etcd2:
    # multi-region and multi-cloud deployments need to use $public_ipv4
    name: core-01
    initial-cluster: core-01=http://10.0.0.11:2380,core-02=http://10.0.0.12:2380,core-03=http://10.0.0.13:2380
    initial-cluster-token: etcd-cluster-1
    initial-advertise-peer-urls: http://$private_ipv4:2380
    advertise-client-urls: http://$private_ipv4:2379
    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001
    listen-peer-urls: http://$private_ipv4:2380,http://$private_ipv4:7001
  fleet:
    public-ip: $private_ipv4
    metadata: region=us-west,disk=ssd
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
    - name: fleet.socket
      drop-ins:
        - name: 30-ListenStream.conf
          content: |
            [Socket]
            ListenStream=0.0.0.0:49153
"#;

/// A worker without etcd of its own.
const PROXY: &str = r#"#cloud-config

coreos:
  etcd2:
    proxy: on
    proxy-dial-timeout: 1000
    initial-cluster: core-01=http://10.0.0.21:2380,core-02=http://10.0.0.22:2380
    listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001
  fleet:
    metadata: "role=worker"
    etcd_servers: "http://localhost:2379"
  update:
    reboot-strategy: off
  units:
    - name: etcd2.service
      command: start
    - name: fleet.service
      command: start
runcmd:
  - echo
"#;

/// Etcd 0.4, joining by its peers.
const OLD: &str = r#"#cloud-config

coreos:
  etcd:
    name: node1
    addr: $private_ipv4:4001
    peer-addr: $private_ipv4:7001
    peers: 10.0.0.21:7001,10.0.0.22:7001
    data_dir: /var/lib/etcd
    snapshot: true
    verbose: true
  fleet:
    public_ip: $public_ipv4
  units:
    - name: etcd.service
      command: start
    - name: fleet.service
      command: start
"#;

/// Units of many kinds, files and users.
const UNITS: &str = r#"#cloud-config

write_files:
  - path: /etc/motd
    permissions: "0644"
    content: Welcome
  - path: /opt/bin/go
    permissions: 0755
    owner: core:core
    encoding: b64
    content: IyEvYmluL3NoCg==
users:
  - name: elroy
    passwd: $6$5s2u6/jR$un0AvWnqilcgaNB3Mkxd5yYv6mTlWfOoCYHZmfi3LDKVltj.E8XNKEcwWm
    groups: [sudo, docker]
    ssh-authorized-keys:
      - ssh-ed25519 AAAAC3 elroy@work
    coreos-ssh-import-github: elroy
manage_etc_hosts: localhost
coreos:
  units:
    - name: docker-redis.service
      command: start
      enable: true
      content: |
        [Unit]
        Description=Redis container
        After=docker.service

        [Service]
        Restart=always
        ExecStart=/usr/bin/docker start -a redis_server
        ExecStop=/usr/bin/docker stop -t 2 redis_server

        [Install]
        WantedBy=multi-user.target
    - name: docker.service
      drop-ins:
        - name: 50-insecure-registry.conf
          content: |
            [Service]
            Environment=DOCKER_OPTS='--insecure-registry="10.0.1.0/24"'
    - name: docker-tcp.socket
      command: restart
      runtime: true
      content: |
        [Socket]
        ListenStream=2375
    - name: locksmithd.service
      mask: yes
    - name: update-engine.service
      command: stop
    - name: 00-eth0.network
      content: |
        [Match]
        Name=eth0
    - name: systemd-networkd.service
      command: restart
"#;

/// A machine that joins members.
const EXISTING: &str = r#"#cloud-config

coreos:
  etcd2:
    initial-cluster-state: existing
    initial-cluster: core-02=http://10.0.0.12:2380,core-03=http://10.0.0.13:2380
    ca-file: /etc/ssl/ca.pem
    debug: true
    data-dir: /var/lib/etcd2
    auto-compaction-retention: 2h
  units:
    - name: etcd2.service
      command: restart
"#;

#[test]
fn the_first_of_three_machines() {
    let ran = run_new(&["--dry-run"], STATIC);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @"");
}

#[test]
fn a_worker_passes_connections_on() {
    let ran = run_new(&["--dry-run"], PROXY);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @"");
}

#[test]
fn the_section_of_etcd_0_4_is_carried_over() {
    let ran = run_new(&["--dry-run"], OLD);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @"");
}

#[test]
fn units_files_and_users_come_in_the_order_of_coreos() {
    let ran = run_new(&["--dry-run"], UNITS);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @"");
}

#[test]
fn a_member_joins_those_that_are_there() {
    let ran = run_new(&["--dry-run"], EXISTING);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @"");
}
