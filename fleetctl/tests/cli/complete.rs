//! Completions: what fleetctl has to offer for a word, and what a shell makes of it.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::{Fleetd, Reply, json};

const UNITS: &str = "GET /fleet/v2/units";
const MACHINES: &str = "GET /fleet/v1/machines";

fn fleet() -> Fleetd {
    let units = r#"{"units":[{"name":"web@2.service"},{"name":"web@1.service"},{"name":"a:b.timer"},{"name":"x\\x2dy.mount"}]}"#;
    let machines = r#"{"machines":[{"id":"1234abcd000000000000000000000000","primaryIP":"10.0.0.1"},{"id":"beef0002000000000000000000000000"}]}"#;
    Fleetd::new()
        .on(UNITS, json(units))
        .on(MACHINES, json(machines))
        .file("web.service", super::say::WEB)
        .file("notes.txt", "")
        .file("units/web@.service", super::say::WEB)
}

/// The candidates for the last of these words.
fn candidates(fleet: &Fleetd, words: &[&str]) -> String {
    let index = words.len().to_string();
    let said = [&["__complete", index.as_str(), "fleetctl"], words].concat();
    let output = fleet.command(&said).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{words:?}: {output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.split_once('\t').unwrap());
    lines.map(|(word, _)| word).collect::<Vec<_>>().join(" ")
}

#[test]
fn words() {
    const ALL_UNITS: &str = r"a:b.timer web@1.service web@2.service x\x2dy.mount";
    let table: &[(&[&str], &str)] = &[
        (&["list-"], "list-units list-unit-files list-machines"),
        (&["st"], "start stop status"),
        // Units; for those that bring some, files that are named like units, too.
        (&["stop", ""], ALL_UNITS),
        (&["stop", "web@"], "web@1.service web@2.service"),
        (&["unload", "--no-block", "web@1.service", "a"], "a:b.timer"),
        (&["status", "x\\"], r"x\x2dy.mount"),
        (&["list-units", "a"], "a:b.timer"),
        (&["cat", "w"], "web@1.service web@2.service"),
        (&["start", "w"], "web@1.service web@2.service web.service"),
        (&["submit", "units/"], "units/web@.service"),
        (&["load", "no"], ""),
        // Of a command that is shortened.
        (&["dest", "a"], "a:b.timer"),
        // Machines.
        (
            &["list-machines", ""],
            "1234abcd000000000000000000000000 beef0002000000000000000000000000",
        ),
        (&["list-machines", "12"], "1234abcd000000000000000000000000"),
        // Flags, when one is begun, and values.
        (&["start", "--re"], "--replace --request-timeout"),
        (&["list-units", "-o", ""], "table json"),
        (&["list-units", "--output=j"], "--output=json"),
        (&["completions", ""], "bash zsh fish"),
        (&["--endpoint", "http://127.0.0.1:1", "stop", ""], ""),
        // What would take long, or ask for a password.
        (&["--tunnel", "10.0.0.1", "stop", ""], ""),
        (&["--endpoint", "nonsense", "stop", ""], ""),
        (&["--endpoint", "ssh://10.0.0.1[SOCKET]", "destroy", ""], ""),
    ];
    for (words, expected) in table {
        let fleet = fleet();
        // A socket that is there on this machine, and is meant on another.
        let socket = fleet.path().join("sock").display().to_string();
        let words: Vec<String> = words
            .iter()
            .map(|word| word.replace("[SOCKET]", &socket))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(candidates(&fleet, &words), *expected, "{words:?}");
    }
}

#[test]
fn a_description_follows_the_word() {
    let output = fleet()
        .command(&["__complete", "2", "fleetctl", "list-machines", "1"])
        .output()
        .unwrap();
    let expected = "1234abcd000000000000000000000000\t10.0.0.1\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// No API, one that refuses, and one that does not answer: nothing is said, and soon.
#[test]
fn without_an_api() {
    let silent = Fleetd::new().on(UNITS, Reply::Silence);
    let fleets = [
        fleet().without_socket(false),
        fleet().without_socket(true),
        Fleetd::new(),
        Fleetd::new().on(UNITS, Reply::HangUp),
        Fleetd::new().on(UNITS, json("[")),
        silent,
    ];
    for fleet in fleets {
        let begun = Instant::now();
        assert_eq!(candidates(&fleet, &["stop", ""]), "");
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
    for wrong in [
        &["__complete"][..],
        &["__complete", "x"],
        &["__complete", "9"],
        &["__complete", "0", "fleetctl"],
    ] {
        let output = fleet().command(wrong).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{wrong:?}: {output:?}"
        );
    }
}

/// bash with the line up to the cursor, and what it takes for the current word: `@`, `:`, `=` and quotes end words.
#[test]
fn bash() {
    const SCRIPT: &str = r#"source "$1"; compopt() { :; }
        COMP_LINE=$3 COMP_POINT=${#3}; _fleetctl "$2" "$4"; printf '%s ' "${COMPREPLY[@]}""#;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/completions/fleetctl.bash");
    for (line, word, expected) in [
        ("fleetctl star", "star", "start "),
        (
            "fleetctl stop ",
            "",
            r"a:b.timer web@1.service web@2.service x\\x2dy.mount ",
        ),
        ("fleetctl stop web@", "@", "@1.service @2.service "),
        ("fleetctl stop web@1", "@1", "@1.service "),
        ("fleetctl  stop a:", "", "b.timer "),
        ("fleetctl stop a:b", "b", "b.timer "),
        ("fleetctl stop 'we", "we", "web@1.service web@2.service "),
        (r"fleetctl stop x\\x2", r"x\\x2", r"x\\x2dy.mount "),
        ("fleetctl list-units --output=j", "j", "json "),
        ("fleetctl list-units --output=", "", "table json "),
    ] {
        let output = fleet()
            .program("bash")
            .args([
                "-c",
                SCRIPT,
                "bash",
                script,
                env!("CARGO_BIN_EXE_fleetctl"),
                line,
                word,
            ])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{line}");
        assert!(output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn scripts() {
    for (shell, file) in [
        ("bash", include_str!("../../dist/completions/fleetctl.bash")),
        ("zsh", include_str!("../../dist/completions/_fleetctl")),
        ("fish", include_str!("../../dist/completions/fleetctl.fish")),
    ] {
        let output = fleet().command(&["completions", shell]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), file);
    }
    insta::assert_snapshot!(fleet().run("completions csh"), @r#"
    exit 2
    ----- stderr
    Error: invalid value 'csh' for '<SHELL>' [possible values: bash, zsh, fish]; a similar value exists: 'zsh'; see `fleetctl help`
    "#);
}
