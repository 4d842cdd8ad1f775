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
pub(super) const STATIC: &str = r#"#cloud-config

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
pub(super) const PROXY: &str = r#"#cloud-config

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
pub(super) const UNITS: &str = r#"#cloud-config

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
    insta::assert_snapshot!(shown(&ran), @r#"
    done set the host name to core-01
    do   make the user core
    do   let a key in as core
    do   write /etc/systemd/system/fleet.service.d/20-cloudinit.conf (103 bytes, 0644, root)
    do   write /etc/systemd/system/fleet.socket.d/30-ListenStream.conf (36 bytes, 0644, root)
    do   reload systemd
    do   enable fleet.service
    do   found etcd's cluster: start etcd.service
           ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.11:2379
           ETCD_AUTO_COMPACTION_MODE=periodic
           ETCD_AUTO_COMPACTION_RETENTION=1h
           ETCD_DATA_DIR=/var/lib/etcd/fleet
           ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.11:2380
           ETCD_INITIAL_CLUSTER=core-01=http://10.0.0.11:2380,core-02=http://10.0.0.12:2380,core-03=http://10.0.0.13:2380
           ETCD_INITIAL_CLUSTER_STATE=new
           ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster-1
           ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379,http://0.0.0.0:4001
           ETCD_LISTEN_PEER_URLS=http://10.0.0.11:2380,http://10.0.0.11:7001
           ETCD_NAME=core-01
           ETCD_QUOTA_BACKEND_BYTES=8589934592
    do   start fleet.service
    "#);
}

#[test]
fn a_worker_passes_connections_on() {
    let ran = run_new(&["--dry-run"], PROXY);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @r#"
    f.yaml:6: coreos.etcd2.proxy-dial-timeout: notice: has no effect: the gateway to etcd has no such setting
    f.yaml:8: coreos.etcd2.listen-client-urls: notice: has no effect with proxy: on: the gateway answers at 127.0.0.1:2379, on this machine only
    f.yaml:12: coreos.update: notice: has no effect: the operating system's packages are updated by its own means
    f.yaml:19: runcmd: notice: left to cloud-init
    do   write /etc/systemd/system/fleet.service.d/20-cloudinit.conf (106 bytes, 0644, root)
    do   reload systemd
    do   enable fleet.service
    do   pass connections to etcd on to its members at http://10.0.0.21:2380,http://10.0.0.22:2380
    do   start fleet.service
    "#);
}

#[test]
fn the_section_of_etcd_0_4_is_carried_over() {
    let ran = run_new(&["--dry-run"], OLD);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @r#"
    f.yaml:6: coreos.etcd.addr: notice: http://127.0.0.1:2379 is added: fleetd looks for etcd there
    f.yaml:9: coreos.etcd.data_dir: notice: etcd 3 cannot read the data of etcd 2: the directory has to be empty
    f.yaml:10: coreos.etcd.snapshot: notice: has no effect: today's etcd has no such setting
    f.yaml:13: $public_ipv4: notice: this machine has no public address: the private one, 10.0.0.11, is taken (--public-ipv4 gives another)
    do   write /etc/systemd/system/fleet.service.d/20-cloudinit.conf (50 bytes, 0644, root)
    do   reload systemd
    do   enable fleet.service
    do   make /var/lib/etcd for etcd.service's user
    do   join etcd's cluster through http://10.0.0.21:7001,http://10.0.0.22:7001
           ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.11:4001
           ETCD_AUTO_COMPACTION_MODE=periodic
           ETCD_AUTO_COMPACTION_RETENTION=1h
           ETCD_DATA_DIR=/var/lib/etcd
           ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.11:7001
           ETCD_INITIAL_CLUSTER=node1=http://10.0.0.11:7001
           ETCD_INITIAL_CLUSTER_STATE=existing
           ETCD_LISTEN_CLIENT_URLS=http://10.0.0.11:4001,http://127.0.0.1:2379
           ETCD_LISTEN_PEER_URLS=http://10.0.0.11:7001
           ETCD_LOG_LEVEL=debug
           ETCD_NAME=node1
           ETCD_QUOTA_BACKEND_BYTES=8589934592
    do   start fleet.service
    "#);
}

#[test]
fn units_files_and_users_come_in_the_order_of_coreos() {
    let ran = run_new(&["--dry-run"], UNITS);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @r#"
    f.yaml:18: users[0].coreos-ssh-import-github: notice: is not supported, nothing is fetched: write the keys in ssh-authorized-keys
    do   put core-01 into /etc/hosts
    do   make the user elroy
    do   let a key in as elroy
    do   write /etc/motd (7 bytes, 0644, root)
    do   write /opt/bin/go (10 bytes, 0755, core:core)
    do   write /etc/systemd/system/docker.service.d/50-insecure-registry.conf (70 bytes, 0644, root)
    do   write /etc/systemd/system/docker-redis.service (216 bytes, 0644, root)
    do   write /run/systemd/system/docker-tcp.socket (27 bytes, 0644, root)
    do   write /etc/systemd/network/00-eth0.network (18 bytes, 0644, root)
    do   mask locksmithd.service
    do   reload systemd
    do   enable docker-redis.service
    do   start docker-redis.service
    do   restart docker-tcp.socket
    done stop update-engine.service
    do   restart systemd-networkd.service
    "#);
}

#[test]
fn a_member_joins_those_that_are_there() {
    let ran = run_new(&["--dry-run"], EXISTING);
    assert_eq!((ran.code, ran.changes.as_slice()), (0, &[][..]));
    insta::assert_snapshot!(shown(&ran), @r#"
    f.yaml:4: coreos.etcd2: notice: has no listen-client-urls: etcd answers on this machine only, at 127.0.0.1:2379 and 4001, and no gateway can use it
    f.yaml:7: coreos.etcd2.ca-file: notice: carried on as trusted_ca_file, with client_cert_auth: true
    f.yaml:9: coreos.etcd2.data-dir: notice: etcd 3 cannot read the data of etcd 2: the directory has to be empty
    do   make /var/lib/etcd2 for etcd.service's user
    do   join etcd's cluster through http://10.0.0.12:2380,http://10.0.0.13:2380
           ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:2379,http://127.0.0.1:4001
           ETCD_AUTO_COMPACTION_MODE=periodic
           ETCD_AUTO_COMPACTION_RETENTION=2h
           ETCD_CLIENT_CERT_AUTH=true
           ETCD_DATA_DIR=/var/lib/etcd2
           ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.11:2380
           ETCD_INITIAL_CLUSTER=core-02=http://10.0.0.12:2380,core-03=http://10.0.0.13:2380,core-01=http://10.0.0.11:2380
           ETCD_INITIAL_CLUSTER_STATE=existing
           ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:2379,http://127.0.0.1:4001
           ETCD_LISTEN_PEER_URLS=http://10.0.0.11:2380
           ETCD_LOG_LEVEL=debug
           ETCD_NAME=core-01
           ETCD_QUOTA_BACKEND_BYTES=8589934592
           ETCD_TRUSTED_CA_FILE=/etc/ssl/ca.pem
    "#);
}
