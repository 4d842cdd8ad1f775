//! The package's maintainer scripts: what a removal says, and what a purge takes along.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const DROP_INS: &str = "etc/systemd/system/etcd.service.d";

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What is left in `/etc/fleet`, and what was said.
fn purge(drop_in: Option<&str>) -> (String, String) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for file in [
        "etc/fleet/pki/machine.key",
        "etc/fleet/token",
        "etc/fleet/fleet.conf",
        "var/lib/fleet/gateway.json",
        "run/fleet/guard/deadline",
    ] {
        write(root, file, "");
    }
    if let Some(name) = drop_in {
        write(root, &format!("{DROP_INS}/{name}"), "[Service]\n");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/debian/postrm");
    let mut command = Command::new("sh");
    let purged = command
        .arg(script)
        .arg("purge")
        .env("DPKG_ROOT", root)
        .output()
        .unwrap();
    assert!(purged.status.success(), "{purged:?}");
    assert!(!root.join("var/lib/fleet").exists() && !root.join("run/fleet").exists());
    // Nothing at all, where the directory is gone as well.
    let mut left: Vec<String> = match fs::read_dir(root.join("etc/fleet")) {
        Ok(left) => left
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect(),
        Err(_) => Vec::new(),
    };
    left.sort();
    (left.join(" "), String::from_utf8(purged.stderr).unwrap())
}

#[test]
fn a_purge_keeps_what_an_etcd_that_was_not_left_runs_with() {
    for drop_in in ["20-fleet.conf", "20-cloudinit.conf"] {
        let (left, said) = purge(Some(drop_in));
        assert_eq!(left, "pki token");
        assert!(
            said.starts_with("fleet: kept ") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn a_purge_takes_everything_where_etcd_is_not_ours_or_was_left() {
    for drop_in in [None, Some("10-of-a-person.conf")] {
        assert_eq!(purge(drop_in), (String::new(), String::new()));
    }
}

/// Removes the package on a machine where `fleetd leave` ends with this exit code. The programs are shell functions, and the
/// script's paths lead below `root`.
fn remove(root: &Path, leave: i32) -> Output {
    fs::create_dir_all(root.join("run/systemd/system")).unwrap();
    let below = |path: &str| root.join(path).display().to_string();
    let script = include_str!("../dist/debian/prerm")
        .replace("/run/systemd/system", &below("run/systemd/system"))
        .replace("/etc/systemd/system", &below("etc/systemd/system"));
    let programs = format!("fleetd() {{ echo why >&2; return {leave}; }}; systemctl() {{ :; }}");
    Command::new("sh")
        .args(["-c", &format!("{programs}\n{script}"), "prerm", "remove"])
        .env_remove("DPKG_ROOT")
        .output()
        .unwrap()
}

#[test]
fn a_removal_that_is_no_leave_says_that_etcd_keeps_the_machine() {
    const KEPT: &str = "fleet: etcd was left as it is, and keeps this machine as its member\n";
    let machine = tempfile::tempdir().unwrap();
    for (is_member, leave, expected) in [
        (false, 1, "why\n".to_owned()),
        (true, 1, format!("why\n{KEPT}")),
        (true, 0, "why\n".to_owned()),
    ] {
        if is_member {
            write(machine.path(), &format!("{DROP_INS}/20-fleet.conf"), "");
        }
        let removed = remove(machine.path(), leave);
        assert!(removed.status.success(), "{removed:?}");
        assert_eq!(String::from_utf8(removed.stderr).unwrap(), expected);
    }
}
