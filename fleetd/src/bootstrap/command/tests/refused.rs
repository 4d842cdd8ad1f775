//! Machines that are set up already, by something else.

use super::good::{PROXY, STATIC};
use super::*;

const ETCD: &str = "/etc/systemd/system/etcd.service.d/20-fleet.conf";
const FLEET: &str = "/etc/systemd/system/fleet.service.d/20-fleet.conf";
const CLOUD: &str = "/etc/systemd/system/etcd.service.d/20-cloudinit.conf";

#[test]
fn what_init_and_join_set_up_is_left_alone() {
    let env = |name: &str, value: &str| format!("[Service]\nEnvironment=\"{name}={value}\"\n");
    for files in [
        vec![(ETCD, env("ETCD_NAME", "m1"))],
        vec![
            (ETCD, env("ETCD_NAME", "m1")),
            (FLEET, env("FLEET_PUBLIC_IP", "10.0.0.11")),
        ],
        vec![
            ("/etc/fleet/gateway.toml", "members = []\n".to_owned()),
            (FLEET, env("FLEET_PUBLIC_IP", "10.0.0.11")),
        ],
    ] {
        let system = Memory::new("core-01");
        for (path, text) in &files {
            system.put(path, text);
        }
        for text in [STATIC, PROXY, "#cloud-config\nhostname: other\n"] {
            let ran = run_on(&system, &[], text.as_bytes(), facts());
            assert_eq!((ran.code, ran.changes), (1, Vec::new()), "{files:?}");
            assert_eq!(
                ran.said.last().unwrap(),
                "fleetd bootstrap: this machine was set up by fleetctl init/join: `fleetctl leave` comes first"
            );
        }
    }
}

#[test]
fn a_member_does_not_become_a_gateway_under_its_clusters_feet() {
    let system = Memory::new("core-01");
    system.put(
        CLOUD,
        "[Service]\nEnvironment=\"ETCD_NAME=core-01\"\nEnvironment=\"ETCD_DATA_DIR=/srv/etcd\"\n",
    );
    let dry = |text: &str| run_on(&system, &["--dry-run"], text.as_bytes(), facts());
    // It never came to be one.
    assert_eq!(dry(PROXY).code, 0);
    system.put("/srv/etcd/member/wal/0.wal", "");
    let ran = run_on(&system, &[], PROXY.as_bytes(), facts());
    assert_eq!((ran.code, ran.changes), (1, Vec::new()));
    assert_eq!(
        ran.said.last().unwrap(),
        "fleetd bootstrap: this machine is one of etcd's members by an earlier cloud-config: `fleetctl leave` comes first"
    );
    assert_eq!(dry(STATIC).code, 0);
}

#[test]
fn a_gateway_by_a_cloud_config_may_be_set_up_again() {
    let system = Memory::new("core-01");
    system.put("/etc/fleet/gateway.toml", "peers = []\n");
    assert_eq!(run_on(&system, &["--dry-run"], PROXY.as_bytes(), facts()).code, 0);
}
