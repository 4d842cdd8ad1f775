//! fleet-reference §4.2: global flags, and the variables of the environment that stand for them.

use super::super::fake::{Fleetd, json};
use super::is;

const HEADING: &str = "MACHINE→IP→METADATA\n";

fn fleet() -> Fleetd {
    Fleetd::new().on("GET /fleet/v1/machines", json("{}"))
}

/// `list-machines` with a flag, and with the variable for it, comes to the same.
#[test]
fn flags_and_variables() {
    const NO_PEM: &str = "[DIR]/none.pem";
    let dead = "Error retrieving list of active machines from fleet API (cannot reach the fleet API at http://127.0.0.1:1: \
                connection refused; does fleet.socket listen on that port? see `systemctl status fleet.socket` there)\n\
                Possible issues:\n";
    // The flag, its value, exit code, stdout, and how stderr begins; empty stands for nothing at all.
    let rows: &[(&str, &str, i32, &str, &str)] = &[
        ("endpoint", "http://127.0.0.1:1", 1, "", dead),
        (
            "endpoint",
            "http://127.0.0.1:1,unix:///nowhere",
            1,
            "",
            "WARNING: --endpoint names more than one: only the first is used\n",
        ),
        ("endpoint", "file://[DIR]/sock", 0, HEADING, ""),
        (
            "endpoint",
            "/var/run/fleet.sock",
            2,
            "",
            "Error: URL scheme undefined in --endpoint \"/var/run/fleet.sock\"",
        ),
        (
            "endpoint",
            "unix://var/run/fleet.sock",
            2,
            "",
            "Error: unable to connect to host \"var\" with scheme \"unix\"",
        ),
        ("driver", "API", 0, HEADING, ""),
        ("driver", "etcd", 2, "", "Error: driver etcd is not supported"),
        ("driver", "x", 2, "", "Error: unrecognized driver \"x\""),
        ("etcd-key-prefix", "/_coreos.com/fleet/", 2, "", "Error: "),
        ("request-timeout", "2.5", 0, HEADING, ""),
        (
            "request-timeout",
            "soon",
            2,
            "",
            "Error: invalid value \"soon\" for --request-timeout: expected seconds",
        ),
        // Over http:// nothing would be checked; a unix socket needs none of it.
        ("ca-file", NO_PEM, 0, HEADING, ""),
        ("cert-file", NO_PEM, 0, HEADING, ""),
        ("key-file", NO_PEM, 0, HEADING, ""),
        ("etcd-cafile", NO_PEM, 0, HEADING, ""),
        ("etcd-certfile", NO_PEM, 0, HEADING, ""),
        ("etcd-keyfile", NO_PEM, 0, HEADING, ""),
        ("debug", "true", 0, HEADING, "DEBUG GET /fleet/v1/machines: 200"),
        ("debug", "false", 0, HEADING, ""),
        ("experimental-api", "true", 0, HEADING, ""),
    ];
    for (flag, value, exit, stdout, stderr) in rows {
        let fleet = fleet();
        let said = |line: &str, environment: &[(&str, &str)]| {
            let mut said = fleet.said(line, environment);
            // How long it took.
            if let Some((request, _)) = said.stderr.split_once(" after ").filter(|_| *flag == "debug") {
                said.stderr = request.to_owned();
            }
            said
        };
        let value = value.replace("[DIR]", &fleet.path().display().to_string());
        let joined = said(&format!("list-machines --{flag}={value}"), &[]);
        is(&joined, flag, *exit, stdout, &joined.stderr);
        assert!(
            joined.stderr.starts_with(stderr),
            "--{flag}={value}: {}",
            joined.stderr
        );
        assert_eq!(
            joined.stderr.is_empty(),
            stderr.is_empty(),
            "--{flag}={value}: {}",
            joined.stderr
        );
        let before = said(&format!("--{flag}={value} list-machines"), &[]);
        is(&before, flag, *exit, stdout, &joined.stderr);
        if !matches!(*flag, "debug" | "experimental-api") {
            let apart = said(&format!("list-machines --{flag} {value}"), &[]);
            is(&apart, flag, *exit, stdout, &joined.stderr);
        }
        let variable = format!("FLEETCTL_{}", flag.replace('-', "_").to_uppercase());
        let by_variable = said("list-machines", &[(&variable, &value)]);
        let stderr = joined
            .stderr
            .replace(&format!("--{flag} is"), &format!("{variable} is"));
        is(&by_variable, &variable, *exit, stdout, &stderr);
        // Set, but empty, it says nothing.
        let empty = said("list-machines", &[(&variable, "")]);
        assert_eq!(
            empty.exit,
            if *flag == "endpoint" { empty.exit } else { 0 },
            "{variable}="
        );
    }
}

#[test]
fn the_command_line_beats_the_environment() {
    let fleet = fleet();
    let here = format!("unix://{}/sock", fleet.path().display());
    for (variable, wrong, flag) in [
        (
            "FLEETCTL_ENDPOINT",
            "http://127.0.0.1:1",
            format!("--endpoint {here}"),
        ),
        ("FLEETCTL_DRIVER", "etcd", "--driver=API".to_owned()),
        (
            "FLEETCTL_REQUEST_TIMEOUT",
            "soon",
            "--request-timeout=3".to_owned(),
        ),
        (
            "FLEETCTL_EXPERIMENTAL_API",
            "false",
            "--experimental-api".to_owned(),
        ),
    ] {
        let wrong = &[(variable, wrong)][..];
        assert_ne!(fleet.said("list-machines", wrong).exit, 0, "{variable}");
        is(
            &fleet.said(&format!("list-machines {flag}"), wrong),
            &flag,
            0,
            HEADING,
            "",
        );
        is(
            &fleet.said(&format!("{flag} list-machines"), wrong),
            &flag,
            0,
            HEADING,
            "",
        );
    }
}

/// Only global flags have variables.
#[test]
fn flags_of_commands_have_no_variables() {
    let all = [
        ("FLEETCTL_NO_LEGEND", "true"),
        ("FLEETCTL_FIELDS", "ip"),
        ("FLEETCTL_FULL", "true"),
    ];
    is(
        &fleet().said("list-machines", &all),
        "list-machines",
        0,
        HEADING,
        "",
    );
}

/// What is read from TLS files is read for https:// alone, by either name.
#[test]
fn certificates() {
    let names = [
        ("--ca-file", "FLEETCTL_CA_FILE"),
        ("--etcd-cafile", "FLEETCTL_ETCD_CAFILE"),
    ];
    for (flag, variable) in names {
        let by_flag = fleet().said(
            &format!("list-machines --endpoint=https://10.0.0.1:1 {flag}=none.pem"),
            &[],
        );
        let by_variable = fleet().said(
            "list-machines --endpoint=https://10.0.0.1:1",
            &[(variable, "none.pem")],
        );
        assert!(
            by_flag.stderr.contains("none.pem") && by_flag.exit == 2,
            "{by_flag}"
        );
        assert_eq!(by_flag.to_string(), by_variable.to_string());
        let refused = fleet().said(
            "list-machines --endpoint=http://10.0.0.1:1",
            &[(variable, "none.pem")],
        );
        assert!(
            refused.stderr.contains("need an https:// endpoint") && refused.exit == 2,
            "{refused}"
        );
    }
}
