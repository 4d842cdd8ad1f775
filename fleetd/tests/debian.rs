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
/// script's paths lead below `root`. What goes to the journal is in the file `journal`.
fn remove(root: &Path, leave: i32) -> Output {
    fs::create_dir_all(root.join("run/systemd/system")).unwrap();
    let below = |path: &str| root.join(path).display().to_string();
    let mut script = include_str!("../dist/debian/prerm").to_owned();
    for path in ["run/systemd/system", "etc/systemd/system", "run/fleet/units"] {
        let absolute = format!("/{path}");
        assert!(script.contains(&absolute), "{path}");
        script = script.replace(&absolute, &below(path));
    }
    let programs = format!(
        "fleetd() {{ echo why >&2; return {leave}; }}; systemctl() {{ :; }}; logger() {{ echo \"$*\" >> {}; return 1; }}",
        below("journal")
    );
    Command::new("sh")
        .args(["-c", &format!("{programs}\n{script}"), "prerm", "remove"])
        .env_remove("DPKG_ROOT")
        .output()
        .unwrap()
}

const NOT_LEFT: &str =
    "this machine has NOT left the cluster: fleetd leave failed, for the reason given above";
const MEMBER: &str = "etcd was left as it is, and keeps this machine as its member";
const RUNNING: &str = "still running, and nobody looks after them: a.service b.service";
const IN_ORDER: &str =
    "to leave in order: apt-get install fleet, systemctl start fleet, fleetctl leave; then remove it again";

#[test]
fn a_removal_that_is_no_leave_goes_on_and_says_so_loudly() {
    for (leave, is_member, runs, expected) in [
        (0, false, false, &[][..]),
        // One that is all of its cluster keeps etcd, as it was asked to.
        (0, true, false, &[]),
        (1, false, false, &[NOT_LEFT, IN_ORDER]),
        (1, true, false, &[NOT_LEFT, MEMBER, IN_ORDER]),
        (1, true, true, &[NOT_LEFT, MEMBER, RUNNING, IN_ORDER]),
        // Not set up by fleetctl, and its fleetd could not leave when it was stopped.
        (0, false, true, &[RUNNING, IN_ORDER]),
    ] {
        let machine = tempfile::tempdir().unwrap();
        if is_member {
            write(machine.path(), &format!("{DROP_INS}/20-fleet.conf"), "");
        }
        if runs {
            write(machine.path(), "run/fleet/units/a.service", "");
            write(machine.path(), "run/fleet/units/b.service", "");
        }
        let removed = remove(machine.path(), leave);
        assert!(removed.status.success(), "{removed:?}");
        let lines = |before: &str| -> String {
            let lines = expected.iter().map(|line| format!("{before}{line}\n"));
            lines.collect()
        };
        let said = String::from_utf8(removed.stderr).unwrap();
        assert_eq!(said, format!("why\n{}", lines("fleet: ")));
        let journal = fs::read_to_string(machine.path().join("journal")).unwrap_or_default();
        assert_eq!(journal, lines("-t fleet -p daemon.err -- package removal: "));
    }
}

/// Where the package puts a file, named from fleetd's directory.
fn installed(file: &str) -> Option<String> {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"]
        .as_array()
        .unwrap();
    let text = |asset: &toml::Value, index: usize| asset[index].as_str().unwrap().to_owned();
    let fits = |pattern: String| match pattern.split_once('*') {
        Some((before, after)) => file.starts_with(before) && file.ends_with(after),
        None => file == pattern,
    };
    let asset = assets.iter().find(|asset| fits(text(asset, 0)))?;
    assert_eq!(text(asset, 2), "644", "{file}");
    let target = text(asset, 1);
    let name = file.rsplit('/').next().unwrap();
    Some(if target.ends_with('/') {
        target + name
    } else {
        target
    })
}

#[test]
fn the_package_has_every_page_of_the_manual_and_the_completions() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = 0;
    for dir in ["dist/man", "../fleetctl/dist/man"] {
        for page in fs::read_dir(here.join(dir)).unwrap() {
            let name = page.unwrap().file_name().into_string().unwrap();
            let section = name.rsplit('.').next().unwrap();
            let expected = format!("usr/share/man/man{section}/{name}");
            assert_eq!(installed(&format!("{dir}/{name}")), Some(expected));
            pages += 1;
        }
    }
    assert!(pages > 20, "{pages}");
    let scripts = [
        ("fleetctl.bash", "usr/share/bash-completion/completions/fleetctl"),
        ("_fleetctl", "usr/share/zsh/vendor-completions/_fleetctl"),
        (
            "fleetctl.fish",
            "usr/share/fish/vendor_completions.d/fleetctl.fish",
        ),
    ];
    let dir = "../fleetctl/dist/completions";
    for (file, expected) in scripts {
        assert_eq!(installed(&format!("{dir}/{file}")).as_deref(), Some(expected));
    }
    assert_eq!(fs::read_dir(here.join(dir)).unwrap().count(), scripts.len());
}
