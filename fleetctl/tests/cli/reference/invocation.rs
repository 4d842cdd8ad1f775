//! fleet-reference §4.1: invocation, exit codes, output.

use super::super::fake::{Fleetd, json};
use super::check;

const HEADING: &str = "MACHINE→IP→METADATA\n";
const VERSION: &str = concat!("fleetctl version ", env!("CARGO_PKG_VERSION"), "\n");

fn fleet() -> Fleetd {
    Fleetd::new()
        .on("GET /fleet/v1/machines", json("{}"))
        .on("GET /fleet/v1/state", json("{}"))
}

#[test]
fn command_lines() {
    check(
        fleet,
        &[
            ("list-machines", 0, HEADING, ""),
            // Unique prefixes. What was unique in fleet is unique still: restart, recover.
            ("list-m", 0, HEADING, ""),
            ("cat", 1, "", "One unit file must be provided\n"),
            ("c", 1, "", "One unit file must be provided\n"),
            ("r", 0, "", "No units given\n"),
            ("sub", 0, "", "No units given\n"),
            ("vers", 0, VERSION, ""),
            // Flags anywhere, with and without `=`.
            ("--no-legend list-machines", 0, "", ""),
            ("--no-legend=true list-machines", 0, "", ""),
            ("--fields=ip --no-legend=false list-machines", 0, "IP\n", ""),
            ("--fields ip list-machines", 0, "IP\n", ""),
            ("list-machines --fields ip --request-timeout 3", 0, "IP\n", ""),
            ("--request-timeout=3.0 list-machines --fields=ip", 0, "IP\n", ""),
            ("--no-block --block-attempts 3 start", 0, "", "No units given\n"),
            ("-l list-machines", 0, HEADING, ""),
            // The last one counts.
            ("list-machines --fields=machine --fields=ip", 0, "IP\n", ""),
            ("list-machines --l --full -l", 0, HEADING, ""),
            ("version", 0, VERSION, ""),
            ("--version", 0, VERSION, ""),
            ("-v", 0, VERSION, ""),
            // Nothing to do.
            ("submit", 0, "", "No units given\n"),
            ("load", 0, "", "No units given\n"),
            ("start", 0, "", "No units given\n"),
            ("stop", 0, "", "No units given\n"),
            ("unload", 0, "", "No units given\n"),
            ("destroy", 0, "", "No units given\n"),
            ("restart", 0, "", "No units given\n"),
            ("status", 0, "", "No units given\n"),
            // Wrong usage.
            (
                "list",
                2,
                "",
                "Error: unknown command \"list\" for \"fleetctl\"\n\nDid you mean this?\n\
                 →list-units\n→list-unit-files\n→list-machines\n\nRun 'fleetctl help' for usage.\n",
            ),
            (
                "strat",
                2,
                "",
                "Error: unknown command \"strat\" for \"fleetctl\"\n\nDid you mean this?\n\
                 →start\n→restart\n→status\n\nRun 'fleetctl help' for usage.\n",
            ),
            (
                "xyzzy",
                2,
                "",
                "Error: unknown command \"xyzzy\" for \"fleetctl\"\nRun 'fleetctl help' for usage.\n",
            ),
            (
                "help xyzzy",
                2,
                "",
                "Error: unknown command \"xyzzy\" for \"fleetctl\"\nRun 'fleetctl help' for usage.\n",
            ),
            (
                "start --xyzzy",
                2,
                "",
                "Error: unexpected argument '--xyzzy' found; see `fleetctl help`\n",
            ),
            (
                "--xyzzy start",
                2,
                "",
                "Error: unexpected argument '--xyzzy' found; see `fleetctl help`\n",
            ),
            (
                "start --block-attempts=some",
                2,
                "",
                "Error: invalid value 'some' for '--block-attempts <N>': invalid digit found in string; see `fleetctl help`\n",
            ),
            (
                "--debug",
                2,
                "",
                "Error: no command was given; see `fleetctl help`\n",
            ),
        ],
    );
}

#[test]
fn help_has_fleets_layout() {
    let headings = |text: &str| {
        let is_heading = |line: &&str| line.ends_with(':') && !line.starts_with(' ');
        text.lines()
            .filter(is_heading)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let of_fleetctl = [
        "NAME:",
        "USAGE:",
        "VERSION:",
        "COMMANDS:",
        "GLOBAL OPTIONS:",
        "GLOBAL OPTIONS FOR SSH:",
        "Exit codes:",
    ];
    let of_start = [
        "NAME:",
        "USAGE:",
        "DESCRIPTION:",
        "ARGUMENTS:",
        "OPTIONS:",
        "GLOBAL OPTIONS:",
        "GLOBAL OPTIONS FOR SSH:",
    ];
    let of_recover = [
        "NAME:",
        "USAGE:",
        "DESCRIPTION:",
        "OPTIONS:",
        "GLOBAL OPTIONS:",
        "GLOBAL OPTIONS FOR SSH:",
    ];
    for (lines, expected) in [
        (
            &["help", "--help", "-h", "--h", "hel", "help=nonsense --help"][..5],
            &of_fleetctl[..],
        ),
        (
            &[
                "help start",
                "start --help",
                "start -h",
                "star --h",
                "--help start",
                "help star",
            ][..4],
            &of_start[..],
        ),
        (&["help recover", "recover -h", "recover --help"], &of_recover[..]),
    ] {
        let first = fleet().said(lines[0], &[]);
        assert_eq!((first.exit, &*first.stderr), (0, ""), "{}", lines[0]);
        assert_eq!(headings(&first.stdout), expected, "{}", lines[0]);
        for line in lines {
            let said = fleet().said(line, &[]);
            assert_eq!((said.exit, &said.stdout), (0, &first.stdout), "{line}");
        }
    }
    let bare = fleet().command(&[]).output().unwrap();
    assert_eq!(bare.stdout, fleet().command(&["help"]).output().unwrap().stdout);
}

#[test]
fn tables() {
    let machines = r#"{"machines":[{"id":"1234abcd000000000000000000000000","primaryIP":"10.0.0.1","metadata":{"b":"2","a":"1"}},
        {"id":"short"}]}"#;
    let state = r#"{"states":[{"name":"web.service","machineID":"1234abcd000000000000000000000000","systemdActiveState":"active","systemdSubState":"running"}]}"#;
    check(
        || {
            Fleetd::new()
                .on("GET /fleet/v1/machines", json(machines))
                .on("GET /fleet/v1/state", json(state))
        },
        &[
            (
                "list-machines",
                0,
                "MACHINE→→IP→→METADATA\n1234abcd...→10.0.0.1→a=1,b=2\nshort→→-→→-\n",
                "",
            ),
            (
                "list-machines --full --no-legend",
                0,
                "1234abcd000000000000000000000000→10.0.0.1→a=1,b=2\nshort→→→→→-→→-\n",
                "",
            ),
            (
                "list-units",
                0,
                "UNIT→→MACHINE→→→ACTIVE→SUB\nweb.service→1234abcd.../10.0.0.1→active→running\n",
                "",
            ),
            (
                "list-units --l",
                0,
                "UNIT→→MACHINE→→→→→→ACTIVE→SUB\nweb.service→1234abcd000000000000000000000000/10.0.0.1→active→running\n",
                "",
            ),
        ],
    );
    check(
        fleet,
        &[
            ("list-units", 0, "UNIT→MACHINE→ACTIVE→SUB\n", ""),
            ("list-units --no-legend", 0, "", ""),
        ],
    );
}
