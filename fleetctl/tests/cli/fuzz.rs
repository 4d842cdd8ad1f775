//! Command lines that nobody thought of: never a panic, an exit code that is documented, one line for an error, and
//! nothing sent where the line itself is wrong.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::fake::Part::Close;
use super::fake::{Fleetd, Reply, json};
use super::say::{WEB, current};

const CASES: u32 = 300;

const VERBS: &[&str] = &[
    "submit",
    "load",
    "start",
    "stop",
    "unload",
    "destroy",
    "restart",
    "cat",
    "status",
    "list-units",
    "list-unit-files",
    "list-machines",
    "recover",
    "version",
    "help",
    "completions",
    "journal",
    "ssh",
    "fd-forward",
    "verify",
    "list-",
    "sta",
    "lsit-units",
    "",
    "-",
    "__complete",
    "init",
    "join",
    "leave",
];

const FLAGS: &[&str] = &[
    "--endpoint",
    "--driver",
    "--etcd-key-prefix",
    "--request-timeout",
    "--ca-file",
    "--cert-file",
    "--key-file",
    "--tunnel",
    "--ssh-username",
    "--ssh-timeout",
    "--known-hosts-file",
    "--strict-host-key-checking",
    "--debug",
    "--help",
    "--h",
    "-h",
    "--version",
    "-v",
    "--experimental-api",
    "--etcd-cafile",
    "--sign",
    "--full",
    "--l",
    "-l",
    "--no-legend",
    "--fields",
    "--no-block",
    "--block-attempts",
    "--replace",
    "-o",
    "--output",
    "--dry-run",
    "--lines",
    "--follow",
    "--f",
    "-f",
    "--A",
    "-A",
    "--machine",
    "--unit",
    "--ssh-port",
    "--",
    "---",
    "--=",
    "-=",
    "--no-such",
];

const VALUES: &[&str] = &[
    "",
    "true",
    "false",
    "maybe",
    "0",
    "-1",
    "1",
    "2.5",
    "1e999",
    "NaN",
    "-inf",
    "99999999999999999999",
    "API",
    "etcd",
    "json",
    "table",
    "unit",
    "unit,hash",
    ",",
    "unit,,hash",
    "bash",
    "unix:///nowhere",
    "http://127.0.0.1:1",
    "http://",
    "https://127.0.0.1:1",
    "://",
    "unix://x",
    "http://[::1",
    "web",
    "web.service",
    "web@1",
    "web@.service",
    "web@*",
    "[",
    "*",
    "[a-",
    "\\",
    "a\\x2d.mount",
    "a/b/../c",
    "/",
    "..",
    ".",
    "@",
    "@.service",
    "a b",
    "a\nb",
    "\t",
    "\u{7f}",
    "\u{1b}[31m",
    "ü.service",
    "💥",
    "{a,b}",
    "dir",
    "broken.service",
    "nul.service",
    "%s%n",
    "$(reboot)",
    "1234abcd",
];

/// How a line on stderr begins when a command ends with 1.
const LINES: &[&str] = &[
    "Error",
    "WARNING: ",
    "DEBUG ",
    "Unit ",
    "No unit matches ",
    "No units given",
    "One unit file must be provided",
    "Possible issues:",
    "  - fleetd is ",
    "Failed to ",
    "Unable to ",
    "Both machine and unit flags provided",
    "Could not determine address of machine.",
    "Provide a single argument",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(VERBS).prop_map(str::to_owned),
        4 => select(FLAGS).prop_map(str::to_owned),
        3 => (select(FLAGS), select(VALUES)).prop_map(|(flag, value)| format!("{flag}={value}")),
        4 => select(VALUES).prop_map(str::to_owned),
        1 => ".{0,12}",
        1 => "-{1,2}[a-z=]{0,6}",
        1 => "[a-z@.-]{200,300}",
    ]
}

/// Mostly a command with what may belong to it, sometimes anything at all.
fn line() -> impl Strategy<Value = Vec<String>> {
    let words = || prop::collection::vec(word(), 0..5);
    let verb = select(VERBS).prop_map(str::to_owned);
    prop_oneof![
        1 => words(),
        4 => (words(), verb.clone(), words()).prop_map(|(before, verb, after)| [before, vec![verb], after].concat()),
        3 => (verb.clone(), prop::collection::vec(select(VALUES).prop_map(str::to_owned), 1..4))
            .prop_map(|(verb, values)| [vec![verb], values].concat()),
        2 => (verb, words()).prop_map(|(verb, after)| [vec![verb], after].concat()),
    ]
}

fn fleet() -> Fleetd {
    let fleet = Fleetd::new()
        .on("GET /fleet/v1/units", json("{}"))
        .on("GET /fleet/v1/state", json("{}"))
        .on("GET /fleet/v1/machines", json("{}"))
        .on(
            "GET /fleet/v2/units",
            json(r#"{"units":[{"name":"web@1.service"}]}"#),
        )
        .on("GET /fleet/v2/recovery", json("{}"))
        .on("GET /fleet/v2/events", Reply::Events(vec![current(10), Close]))
        .file("web.service", WEB)
        .file("web@.service", WEB)
        .file("dir/web.service", WEB)
        .file("broken.service", "[Service\n")
        .file("nul.service", b"[Service]\nA=\0\n");
    // Whatever fleetctl hands over to another program goes no further.
    let bin = fleet.path().to_owned();
    let install = |from: &str, to: &str| {
        let status = Command::new("install")
            .args(["-m755", from])
            .arg(bin.join(to))
            .status();
        assert!(status.unwrap().success());
    };
    install(env!("CARGO_BIN_EXE_fleetctl"), "fleetctl");
    let fleet = fleet.file("stub", "#!/bin/sh\nexit 1\n");
    let executable = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fleet.path().join("stub"), executable).unwrap();
    for program in ["fleetd", "ssh", "systemctl", "journalctl"] {
        std::os::unix::fs::symlink("stub", fleet.path().join(program)).unwrap();
    }
    fleet
}

#[test]
fn no_command_line_makes_it_stumble() {
    let fleet = fleet();
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let codes = std::cell::RefCell::new([0_u32; 4]);
    let outcome = runner.run(&line(), |words| {
        // No program can be given such a word.
        prop_assume!(words.iter().all(|word| !word.contains('\0')));
        let before = fleet.count("");
        let output = fleet
            .program(fleet.path().join("fleetctl"))
            .env("FLEETCTL_REQUEST_TIMEOUT", "5")
            .args(&words)
            .output()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let code = output.status.code();
        prop_assert!(matches!(code, Some(0..=3)), "{code:?}: {stderr}");
        prop_assert!(!stderr.contains("panicked"), "{stderr}");
        codes.borrow_mut()[usize::try_from(code.unwrap_or_default()).unwrap()] += 1;
        // fleet's own way to say that it does nothing any more.
        let is_verify = stderr.starts_with("WARNING: verify is deprecated");
        if code == Some(2) && !is_verify {
            prop_assert_eq!(fleet.count(""), before, "something was asked of the API");
            prop_assert_eq!(stdout, "");
            let (error, more) = stderr.split_once('\n').unwrap_or((&stderr, ""));
            prop_assert!(error.starts_with("Error: "), "{}", stderr);
            let is_hint = more.is_empty()
                || more == "Run 'fleetctl help' for usage.\n"
                || more.starts_with("\nDid you mean this?\n\t");
            prop_assert!(is_hint, "{}", stderr);
        }
        if code == Some(1) {
            // The stubs say nothing.
            let passed_on = words.iter().any(|w| {
                ["init", "join", "leave"]
                    .iter()
                    .any(|verb| verb.starts_with(w.as_str()))
            });
            prop_assert!(passed_on || !stderr.is_empty());
            let is_known = |line: &str| LINES.iter().any(|beginning| line.starts_with(beginning));
            prop_assert!(stderr.lines().all(is_known), "{}", stderr);
            prop_assert!(
                !stderr.replace('\n', "").contains(char::is_control),
                "{:?}",
                stderr
            );
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // They are no use if all of them are wrong for the same reason.
    let [fine, refused, usage, _] = codes.into_inner();
    assert!(
        fine > CASES / 20 && refused > CASES / 20 && usage > CASES / 20,
        "{fine} {refused} {usage}"
    );
}
