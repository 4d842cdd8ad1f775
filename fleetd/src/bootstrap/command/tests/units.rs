//! What is done with units, and what of it fails.

use super::*;

fn run_again(system: &Memory, text: &str) -> Ran {
    run_on(system, &[], text.as_bytes(), facts())
}

#[test]
fn a_socket_is_restarted_together_with_its_service() {
    for (verb, name, told) in [
        ("start", "fleet", ["stop fleet.socket", "restart fleet.service"]),
        (
            "try-restart",
            "fleet",
            ["stop fleet.socket", "restart fleet.service"],
        ),
        (
            "restart",
            "a",
            ["stop a.socket a.service", "start a.socket a.service"],
        ),
        (
            "reload-or-restart",
            "a",
            ["stop a.socket a.service", "start a.socket a.service"],
        ),
    ] {
        let (socket, service) = (format!("{name}.socket"), format!("{name}.service"));
        let system = Memory::new("core-01");
        system.set_active(&socket, true);
        system.set_active(&service, true);
        let text = format!(
            "#cloud-config\ncoreos:\n  units:\n    - name: {socket}\n      command: {verb}\n      drop-ins:\n        - name: a.conf\n          content: |\n            [Socket]\n            ListenStream=49153\n"
        );
        let ran = run_again(&system, &text);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        let told = told.map(|told| format!("systemctl {told}"));
        assert!(
            ran.changes.windows(2).any(|two| two == told),
            "{verb}: {:?}",
            ran.changes
        );
        assert_eq!(run_again(&system, &text).said, ["unchanged"], "{verb}");
        // Nobody is behind it: it goes alone.
        system.set_active(&service, false);
        let ran = run_again(&system, &text.replace("49153", "49154"));
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        assert!(!ran.changes.contains(&told[1]), "{verb}: {:?}", ran.changes);
    }
}

/// Two units with files of their own.
const TWO: &str = "#cloud-config\ncoreos:\n  units:\n    - name: a.service\n      command: start\n      content: |\n        [Service]\n        ExecStart=/a\n    - name: b.service\n      command: start\n      content: |\n        [Service]\n        ExecStart=/b\n    - name: c.service\n      command: start\n";

#[test]
fn one_that_fails_does_not_keep_the_others_waiting() {
    let system = Memory::new("core-01");
    let ended = |success| crate::bootstrap::system::Ended {
        success,
        stdout: String::new(),
        stderr: "no such program\n".to_owned(),
    };
    system.answer("systemctl restart a.service", ended(false));
    system.answer("systemctl start c.service", ended(false));
    let ran = run_again(&system, TWO);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.said[ran.said.len() - 3..],
        [
            "start b.service",
            "fleetd bootstrap: cannot start a.service: systemctl restart a.service failed: no such program",
            "fleetd bootstrap: cannot start c.service: systemctl start c.service failed: no such program",
        ]
    );
    assert!(system.text("/run/fleet/bootstrap.unfinished").is_some());
    system.answer("systemctl restart a.service", ended(true));
    system.answer("systemctl start c.service", ended(true));
    let ran = run_again(&system, TWO);
    assert_eq!(ran.code, 0, "{:?}", ran.said);
    assert!(ran.changes.contains(&"systemctl restart a.service".to_owned()));
    assert!(system.text("/run/fleet/bootstrap.unfinished").is_none());
}

#[test]
fn without_etcd_all_is_done_but_fleet() {
    let system = Memory::new("core-01");
    let missing = crate::bootstrap::system::Ended {
        success: false,
        stdout: String::new(),
        stderr: String::new(),
    };
    system.reply("systemctl cat fleet-gateway.service", missing);
    let text = good::PROXY.replace(
        "runcmd:\n",
        "    - name: z.service\n      command: start\nruncmd:\n",
    );
    let ran = run_again(&system, &text);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.said[ran.said.len() - 3..],
        [
            "left out, for want of etcd: start fleet.service",
            "start z.service",
            "fleetd bootstrap: cannot pass connections to etcd on to its members at http://10.0.0.21:2380,http://10.0.0.22:2380: fleet-gateway.service is not installed: apt-get install fleet",
        ]
    );
}

#[test]
fn a_changed_template_concerns_its_instances() {
    let text = "#cloud-config\ncoreos:\n  units:\n    - name: a@.service\n      content: |\n        [Service]\n        ExecStart=/a\n    - name: a@1.service\n      command: start\n    - name: ab@1.service\n      command: start\n";
    let system = Memory::new("core-01");
    run_again(&system, text);
    let ran = run_again(&system, &text.replace("=/a", "=/b"));
    assert!(
        ran.changes.contains(&"systemctl restart a@1.service".to_owned()),
        "{:?}",
        ran.changes
    );
    assert!(!ran.changes.iter().any(|change| change.contains("ab@1")));
    assert_eq!(
        run_again(&system, text.replace("=/a", "=/b").as_str()).said,
        ["unchanged"]
    );
}

#[test]
fn a_password_is_in_a_file_of_its_own() {
    let text = "#cloud-config\ncoreos:\n  fleet:\n    etcd_username: fleet\n    etcd_password: 'a\"$%b\\'\n  units:\n    - name: fleet.service\n      command: start\n";
    let system = Memory::new("core-01");
    system.set_active("fleet.service", true);
    let ran = run_again(&system, text);
    assert_eq!(ran.code, 0, "{:?}", ran.said);
    assert_eq!(
        system
            .text("/etc/systemd/system/fleet.service.d/20-cloudinit.conf")
            .unwrap(),
        "[Service]\nEnvironment=\"FLEET_ETCD_USERNAME=fleet\"\nEnvironmentFile=/etc/fleet/etcd-password.env\n"
    );
    let file = system.file(plan::PASSWORD_FILE).unwrap();
    assert_eq!((file.mode, file.owner.as_str()), (0o600, "root"));
    assert_eq!(
        String::from_utf8(file.content).unwrap(),
        "FLEET_ETCD_PASSWORD=\"a\\\"\\$%b\\\\\"\n"
    );
    // Another password is another start of fleetd.
    let ran = run_again(&system, &text.replace("a\"", "c\""));
    assert!(
        ran.changes
            .contains(&"systemctl restart fleet.service".to_owned())
    );
    assert!(!ran.said.concat().contains("$%b"), "{:?}", ran.said);
}

#[test]
fn etcd_is_given_directories_that_it_can_write_to() {
    for (lines, wanted) in [
        ("data-dir: /srv/a", &["make /srv/a"][..]),
        ("wal-dir: /srv/a/wal", &["make /srv/a"]),
        ("wal-dir: /wal", &["have /"]),
        ("wal-dir: /srv/wal", &["have /srv"]),
        ("wal-dir: /srv//wal", &["have /srv/"]),
        ("wal-dir: /var/lib/etcd/wal/", &[]),
        ("data-dir: /srv/a\n    wal-dir: /srv/a/wal", &["make /srv/a"]),
        (
            "data-dir: /srv/a\n    wal-dir: /srv/b/wal",
            &["make /srv/a", "make /srv/b"],
        ),
        ("name: core-01", &[]),
        (
            "data-dir: /srv/a\n    proxy: on\n    initial-cluster: a=http://10.0.0.12:2380",
            &[],
        ),
    ] {
        let text = format!(
            "#cloud-config\ncoreos:\n  etcd2:\n    {lines}\n  units:\n    - name: etcd2.service\n      command: start\n"
        );
        let ran = run_new(&["--dry-run"], &text);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        let made = ran.out.lines().filter_map(|line| line.strip_prefix("do   "));
        let made = made.filter_map(|line| line.strip_suffix(" for etcd.service's user"));
        assert_eq!(made.collect::<Vec<_>>(), wanted, "{lines}");
    }
}

#[test]
fn a_mask_lasts_as_long_as_runtime_says() {
    let system = Memory::new("core-01");
    let text = |runtime: bool| {
        format!(
            "#cloud-config\ncoreos:\n  units:\n    - name: a.service\n      mask: true\n      runtime: {runtime}\n"
        )
    };
    assert_eq!(
        run_again(&system, &text(true)).changes,
        ["systemctl mask --runtime a.service"]
    );
    assert_eq!(run_again(&system, &text(true)).said, ["unchanged"]);
    // What is masked until the next boot is not masked.
    assert_eq!(
        run_again(&system, &text(false)).changes,
        ["systemctl mask a.service"]
    );
    for runtime in [false, true] {
        assert_eq!(run_again(&system, &text(runtime)).said, ["unchanged"]);
    }
}

#[test]
fn etcd_is_not_waited_for_where_it_cannot_write_its_log() {
    let system = Memory::new("core-01");
    // Another's, and not to be given away: there is nothing that bootstrap may do.
    for (wal, above) in [("/srv/wal", "/srv"), ("/srv/a/wal", "/srv/a"), ("/wal", "/")] {
        system.put("/srv/a/of-a-person", "");
        let text = format!(
            "#cloud-config\ncoreos:\n  etcd2:\n    wal-dir: {wal}\n  units:\n    - name: etcd2.service\n      command: start\n    - name: fleet.service\n      command: start\n"
        );
        let ran = run_again(&system, &text);
        assert_eq!(ran.code, 1, "{:?}", ran.said);
        let verb = if wal == "/srv/a/wal" { "make" } else { "have" };
        assert_eq!(
            ran.said[ran.said.len() - 3..],
            [
                "left out, for want of a directory: found etcd's cluster: start etcd.service".to_owned(),
                "left out, for want of etcd: start fleet.service".to_owned(),
                format!(
                    "fleetd bootstrap: cannot {verb} {above} for etcd.service's user: etcd.service's user etcd cannot write to {above}, which is somebody else's: have etcd use another, or chown it"
                ),
            ]
        );
        assert!(
            !ran.changes.iter().any(|change| change.contains("install")),
            "{:?}",
            ran.changes
        );
    }
}
