//! Doing it, and doing it again.

use super::good::{STATIC, UNITS};
use super::*;

/// What of `STATIC` is not etcd's.
fn without_etcd() -> String {
    let (start, rest) = STATIC.split_once("  etcd2:").unwrap();
    let (_, rest) = rest.split_once("  fleet:").unwrap();
    format!("{start}  fleet:{rest}").replace("    - name: etcd2.service\n      command: start\n", "")
}

fn run_again(system: &Memory, text: &str) -> Ran {
    run_on(system, &[], text.as_bytes(), facts())
}

#[test]
fn it_is_done_once_and_then_left_alone() {
    let system = Memory::new("localhost");
    let first = run_again(&system, &without_etcd());
    assert_eq!(first.code, 0, "{:?}", first.said);
    insta::assert_snapshot!(first.said.join("\n"), @r#"
    set the host name to core-01
    make the user core
    let a key in as core
    write /etc/systemd/system/fleet.service.d/20-cloudinit.conf (103 bytes, 0644, root)
    write /etc/systemd/system/fleet.socket.d/30-ListenStream.conf (36 bytes, 0644, root)
    reload systemd
    enable fleet.service
    start fleet.service
    "#);
    insta::assert_snapshot!(first.changes.join("\n"), @r#"
    write /run/fleet/bootstrap.unfinished
    hostnamectl set-hostname core-01
    useradd --groups sudo --password * --shell /bin/bash --create-home core
    runuser core appends 1 lines
    write /etc/systemd/system/fleet.service.d/20-cloudinit.conf
    write /etc/systemd/system/fleet.socket.d/30-ListenStream.conf
    systemctl daemon-reload
    systemctl enable fleet.service
    systemctl restart fleet.service
    remove /run/fleet/bootstrap.unfinished
    "#);
    let second = run_again(&system, &without_etcd());
    assert_eq!((second.code, second.changes), (0, Vec::new()));
    assert_eq!(second.said, ["unchanged"]);
    let dry = run_on(&system, &["--dry-run"], without_etcd().as_bytes(), facts());
    assert!(
        dry.out.lines().all(|line| line.starts_with("done ")),
        "{}",
        dry.out
    );
}

#[test]
fn units_files_and_users_are_made_and_then_left_alone() {
    let system = Memory::new("core-01");
    system.set_active("update-engine.service", true);
    let first = run_again(&system, UNITS);
    assert_eq!(first.code, 0, "{:?}", first.said);
    insta::assert_snapshot!(first.changes.join("\n"), @r#"
    write /run/fleet/bootstrap.unfinished
    write /etc/hosts
    useradd --groups sudo,docker --password * --shell /bin/bash --create-home elroy
    chpasswd --encrypted
    runuser elroy appends 1 lines
    write /etc/motd
    write /opt/bin/go
    write /etc/systemd/system/docker.service.d/50-insecure-registry.conf
    write /etc/systemd/system/docker-redis.service
    write /run/systemd/system/docker-tcp.socket
    write /etc/systemd/network/00-eth0.network
    systemctl mask locksmithd.service
    systemctl daemon-reload
    systemctl enable docker-redis.service
    systemctl restart docker-redis.service
    systemctl restart docker-tcp.socket
    systemctl stop update-engine.service
    systemctl restart systemd-networkd.service
    remove /run/fleet/bootstrap.unfinished
    "#);
    let second = run_again(&system, UNITS);
    assert_eq!(second.changes, [""; 0]);
    assert_eq!(second.said.last().unwrap(), "unchanged");
}

#[test]
fn fleets_settings_reach_its_unit() {
    let system = Memory::new("core-01");
    let text = without_etcd().replace("region=us-west", "region=us \\ west,owner=100%\"");
    let ran = run_again(&system, &text);
    assert_eq!(ran.code, 0, "{:?}", ran.said);
    insta::assert_snapshot!(
        system.text("/etc/systemd/system/fleet.service.d/20-cloudinit.conf").unwrap(),
        @r#"
        [Service]
        Environment="FLEET_METADATA=region=us \\ west,owner=100%%\",disk=ssd"
        Environment="FLEET_PUBLIC_IP=10.0.0.11"
        "#
    );
}

#[test]
fn a_changed_file_restarts_what_it_belongs_to_and_nothing_else() {
    let system = Memory::new("core-01");
    run_again(&system, UNITS);
    let changed = UNITS.replace("stop -t 2 redis_server", "stop -t 5 redis_server");
    assert_eq!(
        run_again(&system, &changed).changes,
        [
            "write /run/fleet/bootstrap.unfinished",
            "write /etc/systemd/system/docker-redis.service",
            "systemctl daemon-reload",
            "systemctl restart docker-redis.service",
            "remove /run/fleet/bootstrap.unfinished",
        ]
    );
    system.set_active("docker-redis.service", false);
    assert_eq!(
        run_again(&system, &changed).changes,
        ["systemctl start docker-redis.service"]
    );
}

#[test]
fn a_run_that_was_cut_off_is_made_good_by_the_next() {
    let system = Memory::new("core-01");
    run_again(&system, UNITS);
    let changed = UNITS.replace("stop -t 2 redis_server", "stop -t 5 redis_server");
    let refused = |success| crate::bootstrap::system::Ended {
        success,
        stdout: String::new(),
        stderr: "Connection timed out\n".to_owned(),
    };
    system.answer("systemctl daemon-reload", refused(false));
    let cut = run_again(&system, &changed);
    assert_eq!(cut.code, 1);
    assert_eq!(
        cut.said.last().unwrap(),
        "fleetd bootstrap: cannot reload systemd: systemctl daemon-reload failed: Connection timed out"
    );
    system.answer("systemctl daemon-reload", refused(true));
    assert_eq!(
        run_again(&system, &changed).changes,
        [
            "systemctl daemon-reload",
            "systemctl restart docker-redis.service",
            "remove /run/fleet/bootstrap.unfinished",
        ]
    );
}

#[test]
fn keys_are_added_to_those_that_are_there() {
    let system = Memory::new("core-01");
    run_again(&system, UNITS);
    let path = "/home/elroy/.ssh/authorized_keys";
    let more = UNITS.replace("elroy@work\n", "elroy@work\n      - ssh-rsa AAAAB3 elroy@home\n");
    assert_eq!(
        run_again(&system, &more).changes,
        ["runuser elroy appends 1 lines"]
    );
    assert_eq!(
        system.text(path).unwrap(),
        "ssh-ed25519 AAAAC3 elroy@work\nssh-rsa AAAAB3 elroy@home\n"
    );
}

#[test]
fn variables_are_replaced_and_lines_stay_lines() {
    let text = "#cloud-config\nwrite_files:\n  - path: /a\n    content: |\n      $private_ipv4 $public_ipv4 \\$public_ipv4\n      ${private_ipv4} $HOME\nbogus: 1\n";
    let ran = run_new(&["--validate", "--public-ipv4=9.9.9.9"], text);
    assert!(
        ran.said.contains(&"f.yaml:7: bogus: no such key".to_owned()),
        "{:?}",
        ran.said
    );
    let system = Memory::new("core-01");
    let facts = Facts {
        public_ipv4: "9.9.9.9".parse().ok(),
        ..facts()
    };
    run_on(&system, &[], text.replace("bogus: 1\n", "").as_bytes(), facts);
    assert_eq!(
        system.text("/a").unwrap(),
        "10.0.0.11 9.9.9.9 $public_ipv4\n${private_ipv4} $HOME\n"
    );
}

#[test]
fn etcd_without_a_started_unit_is_said_to_come_to_nothing() {
    let text = STATIC.replace("    - name: etcd2.service\n      command: start\n", "");
    let ran = run_new(&["--dry-run"], &text);
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.said[0],
        "f.yaml:7: coreos.etcd2: notice: has no effect: etcd2.service is not started by any of units, though fleet.service is"
    );
    assert!(!ran.out.contains("etcd"), "{}", ran.out);
}

#[test]
fn a_name_is_found_by_this_machines_address() {
    let text = STATIC
        .replace("    name: core-01\n", "")
        .replace("hostname: core-01\n", "hostname: other\n");
    let ran = run_new(&["--dry-run"], &text);
    assert!(ran.out.contains("ETCD_NAME=core-01\n"), "{}", ran.out);
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for text in [
        "#cloud-config",
        "#cloud-config\r\n",
        "#cloud-config\n---\n# said\n",
        "#cloud-config\ncoreos:\nusers:\n",
    ] {
        let ran = run_new(&[], text);
        assert_eq!((ran.code, ran.changes.len()), (0, 0), "{text}");
        assert_eq!(ran.said, ["unchanged"], "{text}");
    }
}

#[test]
fn a_password_is_set_where_it_is_another_and_told_to_nobody() {
    let system = Memory::new("core-01");
    run_again(&system, UNITS);
    run_again(&system, "#cloud-config\nusers: [{name: mira}]\n");
    assert_eq!(run_again(&system, UNITS).changes, [""; 0]);
    let other = "#cloud-config\nusers: [{name: elroy, passwd: $6$secret}]\n";
    let no = crate::bootstrap::system::Ended {
        success: false,
        stdout: String::new(),
        stderr: "chpasswd: cannot lock /etc/passwd; try again later.\n".to_owned(),
    };
    system.answer("chpasswd", no);
    let failed = run_again(&system, other);
    assert_eq!(
        failed.said,
        [
            "fleetd bootstrap: cannot make the user elroy: chpasswd --encrypted failed: chpasswd: cannot lock /etc/passwd; try again later."
        ]
    );
}

#[test]
fn a_password_is_in_no_programs_arguments() {
    let system = Memory::new("core-01");
    // Of a user who is made, and of one who is there.
    for hash in ["$6$one", "$6$two"] {
        let text = format!("#cloud-config\nusers: [{{name: elroy, passwd: {hash}}}]\n");
        let ran = run_again(&system, &text);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        assert!(!ran.changes.concat().contains("$6$"), "{:?}", ran.changes);
        let shadow = system.text("/etc/shadow").unwrap();
        assert!(shadow.starts_with(&format!("elroy:{hash}:")), "{shadow}");
        assert_eq!(run_again(&system, &text).changes, [""; 0]);
    }
}

#[test]
fn the_examples_of_the_documentation_are_taken() {
    let page = include_str!("../../../../../docs/bootstrap.md");
    let mut examples: Vec<String> = Vec::new();
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some("#cloud-config") => examples.push("#cloud-config\n".to_owned()),
            Some(line) if !examples.is_empty() => {
                let last = examples.last_mut().unwrap();
                last.push_str(line);
                last.push('\n');
            }
            _ => {}
        }
    }
    assert_eq!(examples.len(), 3);
    for text in examples {
        let ran = run_new(&["--validate"], &text);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        let is_foreign = text.contains("runcmd");
        assert_eq!(ran.said.is_empty(), !is_foreign, "{:?}", ran.said);
    }
}
