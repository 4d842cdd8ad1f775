//! An ssh that does what its script says, and what fleetctl made of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::fake::Fleetd;

/// Writes down its words; then plays the part, and what that does not end it does as ssh would, on this machine.
const SSH: &str = r#"#!/bin/sh
directory=$(dirname "$0")
line=ssh
for word; do line="$line <$word>"; done
echo "$line" >> "$directory/ssh.log"
kind=run
case "$*" in *" fd-forward "*) kind=forward;; esac
for word; do
	case $word in
	-G) kind=config;;
	-O) kind=control;;
	-W) kind=forward-port;;
	esac
done
PART
case $kind in
config) exit 0;;
control) exit 255;;
forward-port) exec fleetctl fd-forward "$directory/sock";;
esac
while [ "$1" != -- ]; do
	[ $# -gt 0 ] || exit 0
	shift
done
shift
exec sh -c "$*"
"#;

/// Puts an ssh before all others of `$PATH`, whose part is some lines of shell; there `$kind` says what it is for:
/// `config`, `control`, `run`, `forward` or `forward-port`.
pub(crate) fn with_ssh(fleet: Fleetd, part: &str) -> Fleetd {
    let fleet = fleet
        .file("ssh.script", SSH.replace("PART", part))
        .file(".ssh/known_hosts", "");
    let path = |name: &str| fleet.path().join(name);
    // By another process: a file that this one has written cannot be run while a test beside this one forks.
    let install = Command::new("install")
        .arg("-m755")
        .args([path("ssh.script"), path("ssh")])
        .status();
    assert!(install.unwrap().success());
    symlink(env!("CARGO_BIN_EXE_fleetctl"), path("fleetctl")).unwrap();
    fleet
}

/// Runs fleetctl; all there is to see, and the words of every ssh.
pub(crate) fn run(fleet: &Fleetd, arguments: &str) -> String {
    run_with(fleet, arguments, &[])
}

/// As [`run`], with some environment.
pub(crate) fn run_with(fleet: &Fleetd, arguments: &str, environment: &[(&str, &str)]) -> String {
    let _ = fs::remove_file(fleet.path().join("ssh.log"));
    let directory = fleet.path().display().to_string();
    let own = [("HOME", directory.as_str()), ("XDG_RUNTIME_DIR", "")];
    let text = fleet.run_with(arguments, &[&own, environment].concat());
    format!("{text}----- ssh\n{}", log(fleet))
}

/// The words of every ssh since the last run, without what differs each time.
fn log(fleet: &Fleetd) -> String {
    let log = fs::read_to_string(fleet.path().join("ssh.log")).unwrap_or_default();
    let log = log.replace(&fleet.path().display().to_string(), "[DIR]");
    // fleetctl-PID-TIME
    let mut parts = log.split("/fleetctl-");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("/fleetctl-[RUN]");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '-'));
    }
    text
}
