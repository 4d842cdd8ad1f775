//! fleetd as a program, as far as it goes without being the daemon (fleet-reference §3.6, last row; §6, CLI).

#![expect(clippy::unwrap_used, reason = "what cannot be run fails the test")]

use std::process::Command;

/// Exit code, stdout and stderr of `fleetd LINE`.
fn fleetd(line: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
    command.args(line.split_whitespace());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    format!("{code}\n{}---\n{}", text(output.stdout), text(output.stderr))
}

#[test]
fn the_version_is_told_in_every_spelling() {
    let expected = format!("0\nfleetd version {}\n---\n", env!("CARGO_PKG_VERSION"));
    for line in ["version", "--version", "-version"] {
        assert_eq!(fleetd(line, &[]), expected, "{line}");
    }
}

#[test]
fn anything_else_is_wrong_usage_on_stderr() {
    let usage = |what: &str| {
        format!(
            "2\n---\nerror: {what}\n\nUsage: fleetd [OPTIONS]\n       fleetd <COMMAND>\n\nFor more information, try '--help'.\n"
        )
    };
    for (line, what) in [
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("--frobnicate", "unexpected argument '--frobnicate' found"),
        ("-x", "unexpected argument '-x' found"),
    ] {
        assert_eq!(fleetd(line, &[]), usage(what), "{line}");
    }
    for line in ["--config", "-config", "--config= x", "--version=1"] {
        let said = fleetd(line, &[]);
        assert!(said.starts_with("2\n---\nerror: "), "{said}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_exit_1_and_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleet.conf");
    let path = file.display().to_string();
    for spelling in ["--config PATH", "--config=PATH", "-config PATH", "-config=PATH"] {
        let line = spelling.replace("PATH", &path);
        assert_eq!(
            fleetd(&line, &[]),
            format!(
                "1\n---\nfleetd: cannot read the configuration {path}: No such file or directory (os error 2)\n"
            ),
            "{spelling}"
        );
    }
    for (text, environment, expected) in [
        (
            "verbosity=1\nagent_ttl=soon\n",
            &[][..],
            "PATH line 2: agent_ttl=soon is not allowed: expected a span from 2s to 1h, such as 15s or 1m30s",
        ),
        (
            "[fleet]\n",
            &[],
            "PATH line 1: sections have no meaning here: expected key=value",
        ),
        (
            "token_limit=100\n",
            &[("FLEET_TOKEN_LIMIT", "")],
            "FLEET_TOKEN_LIMIT: token_limit= is not allowed: expected a number from 1 to 65535",
        ),
        (
            "",
            &[("FLEET_ETCD_PASSWORD", "hunter2"), ("FLEET_ETCD_KEY_PREFIX", "/")],
            "FLEET_ETCD_KEY_PREFIX: etcd_key_prefix=/ is not allowed: expected a path such as /_coreos.com/fleet/",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            fleetd(&format!("--config {path}"), environment),
            format!("1\n---\nfleetd: {}\n", expected.replace("PATH", &path))
        );
    }
}
