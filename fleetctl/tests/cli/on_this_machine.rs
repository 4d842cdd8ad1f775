//! `init`, `join` and `leave` are done by the fleetd beside fleetctl.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// fleetctl in a directory of its own: what lies beside it is up to the test.
fn install(directory: &Path, fleetd: Option<&str>) {
    put(
        Path::new(env!("CARGO_BIN_EXE_fleetctl")),
        &directory.join("fleetctl"),
    );
    if let Some(script) = fleetd {
        let text = directory.join("script");
        fs::write(&text, script).unwrap();
        put(&text, &directory.join("fleetd"));
    }
}

/// By another process: a file that this one has written cannot be run while a test beside this one forks.
fn put(from: &Path, to: &Path) {
    let status = Command::new("install").arg("-m755").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

fn run(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(directory.join("fleetctl"));
    // No fleetd of the system's.
    command.args(words).env("PATH", directory);
    command.output().unwrap()
}

#[test]
fn fleetd_gets_the_words_as_they_are_and_its_end_is_fleetctls() {
    let directory = tempfile::tempdir().unwrap();
    symlink("/bin/sh", directory.path().join("sh")).unwrap();
    let script = "#!/bin/sh\nfor word; do echo \"<$word>\"; done\nexit 7\n";
    install(directory.path(), Some(script));
    for (words, expected) in [
        (
            &["init", "--address", "10.0.0.1"][..],
            "<init>\n<--address>\n<10.0.0.1>\n",
        ),
        (
            &["join", "10.0.0.1", "--token", "ab cd", "--member"],
            "<join>\n<10.0.0.1>\n<--token>\n<ab cd>\n<--member>\n",
        ),
        (&["leave", "--help"], "<leave>\n<--help>\n"),
    ] {
        let output = run(directory.path(), words);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert_eq!(output.status.code(), Some(7), "{words:?}");
    }
}

#[test]
fn without_fleetd_they_say_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    install(directory.path(), None);
    for verb in ["init", "join", "leave"] {
        let output = run(directory.path(), &[verb]);
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "Error: `fleetctl {verb}` changes the machine it runs on, and fleetd is not installed here\n"
            )
        );
        assert_eq!(output.status.code(), Some(1));
    }
}
