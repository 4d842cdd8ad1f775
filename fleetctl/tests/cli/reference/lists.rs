//! fleet-reference §4.3: the lists; and what they take besides: patterns, and JSON.

use super::super::fake::{Fleetd, error, json};
use super::super::say::{M1, M2, OTHER, WEB, content};
use super::{Row, check};

const GLOBAL: &str = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n";

fn fleet() -> Fleetd {
    let unit = |name: &str, text: &str, more: &str| {
        let unit = content(name, text);
        format!("{},{more}}}", unit.strip_suffix('}').unwrap())
    };
    let units = [
        unit(
            "web@2.service",
            WEB,
            r#""desiredState":"launched","currentState":"inactive""#,
        ),
        unit(
            "web@.service",
            OTHER,
            r#""desiredState":"inactive","currentState":"inactive""#,
        ),
        unit(
            "web@1.service",
            WEB,
            &format!(r#""desiredState":"launched","currentState":"launched","machineID":"{M1}""#),
        ),
        unit(
            "all.timer",
            GLOBAL,
            r#""desiredState":"loaded","currentState":"inactive""#,
        ),
    ];
    let state = |unit: &str, machine: &str, active: &str| {
        format!(
            r#"{{"name":"{unit}","hash":"e1284e812f7bab98a9b61710bf954eff9a93dab0","machineID":"{machine}",
                "systemdLoadState":"loaded","systemdActiveState":"{active}","systemdSubState":""}}"#
        )
    };
    let states = [
        state("web@1.service", M1, "active"),
        state("all.timer", M2, "failed"),
        state("all.timer", M1, "active"),
    ];
    let machines = format!(
        r#"{{"machines":[{{"id":"{M2}"}},{{"id":"{M1}","primaryIP":"10.0.0.1","metadata":{{"zone":"b","region":"eu"}}}}]}}"#
    );
    Fleetd::new()
        .on(
            "GET /fleet/v1/units",
            json(format!("{{\"units\":[{}]}}", units.join(","))),
        )
        .on(
            "GET /fleet/v1/state",
            json(format!("{{\"states\":[{}]}}", states.join(","))),
        )
        .on("GET /fleet/v1/machines", json(machines))
}

const ROWS: &[Row] = &[
    // Default fields, order of rows, `-` for what is missing.
    (
        "list-machines",
        0,
        "MACHINE→→IP→→METADATA\n1234abcd...→10.0.0.1→region=eu,zone=b\nbeef0002...→-→→-\n",
        "",
    ),
    (
        "list-units",
        0,
        "UNIT→→MACHINE→→→ACTIVE→SUB\nall.timer→1234abcd.../10.0.0.1→active→-\nall.timer→beef0002...→→failed→-\n\
         web@1.service→1234abcd.../10.0.0.1→active→-\n",
        "",
    ),
    (
        "list-unit-files",
        0,
        "UNIT→→HASH→DSTATE→→STATE→→TARGET\nall.timer→055adf8→loaded→→-→→global\nweb@.service→0a9b607→inactive→inactive→-\n\
         web@1.service→e1284e8→launched→launched→1234abcd.../10.0.0.1\nweb@2.service→e1284e8→launched→inactive→-\n",
        "",
    ),
    // Every field by itself.
    (
        "list-machines --no-legend --fields machine",
        0,
        "1234abcd...\nbeef0002...\n",
        "",
    ),
    ("list-machines --no-legend --fields ip", 0, "10.0.0.1\n-\n", ""),
    (
        "list-machines --no-legend --fields metadata",
        0,
        "region=eu,zone=b\n-\n",
        "",
    ),
    (
        "list-units --no-legend --fields unit",
        0,
        "all.timer\nall.timer\nweb@1.service\n",
        "",
    ),
    (
        "list-units --no-legend --fields load",
        0,
        "loaded\nloaded\nloaded\n",
        "",
    ),
    (
        "list-units --no-legend --fields hash",
        0,
        "e1284e8\ne1284e8\ne1284e8\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields global",
        0,
        "true\nfalse\nfalse\nfalse\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields desc",
        0,
        "-\n-\nA web server\nA web server\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields tmachine",
        0,
        "global\n-\n1234abcd.../10.0.0.1\n-\n",
        "WARNING: The \"tmachine\" field is deprecated. Use \"target\" instead\n",
    ),
    (
        "list-unit-files --full --fields=hash web@2",
        0,
        "HASH\ne1284e812f7bab98a9b61710bf954eff9a93dab0\n",
        "",
    ),
    (
        "list-unit-files --fields=ip,unit web@1",
        0,
        "IP→→UNIT\n10.0.0.1→web@1.service\n",
        "",
    ),
    // Wrong ones.
    (
        "list-machines --fields=hash",
        1,
        "",
        "Error: Invalid key in output format: \"hash\"; there are: machine, ip, metadata\n",
    ),
    (
        "list-units --fields=unit,dstate",
        1,
        "",
        "Error: Invalid key in output format: \"dstate\"; there are: unit, machine, load, active, sub, hash, ip\n",
    ),
    (
        "list-unit-files --fields=sub",
        1,
        "",
        "Error: Invalid key in output format: \"sub\"; there are: unit, hash, dstate, state, target, global, desc, tmachine, ip\n",
    ),
    (
        "list-units --fields=",
        1,
        "",
        "Error: Must define output format\n",
    ),
    (
        "list-unit-files --fields= -o json",
        1,
        "",
        "Error: Must define output format\n",
    ),
    // Patterns: whole names, `.service` may be left out; several are any of them; none that matches is no error.
    (
        "list-units --no-legend --fields=unit web@1",
        0,
        "web@1.service\n",
        "",
    ),
    (
        "list-units --no-legend --fields=unit web@*",
        0,
        "web@1.service\n",
        "",
    ),
    (
        "list-units --no-legend --fields=unit *.timer web@[12].service",
        0,
        "all.timer\nall.timer\nweb@1.service\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields=unit web@?",
        0,
        "web@1.service\nweb@2.service\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields=unit web@ *l*.timer",
        0,
        "all.timer\nweb@.service\n",
        "",
    ),
    (
        "list-unit-files --no-legend --fields=unit dir/web@2.service",
        0,
        "web@2.service\n",
        "",
    ),
    ("list-units we?", 0, "UNIT→MACHINE→ACTIVE→SUB\n", ""),
    ("list-units web", 0, "UNIT→MACHINE→ACTIVE→SUB\n", ""),
    (
        "list-machines --no-legend --fields=ip 12 beef00020000",
        0,
        "10.0.0.1\n-\n",
        "",
    ),
    (
        "list-machines 12 --no-legend beef --fields=ip",
        0,
        "10.0.0.1\n-\n",
        "",
    ),
    (
        "list-machines --no-legend --fields=machine b",
        0,
        "beef0002...\n",
        "",
    ),
    ("list-machines dead", 0, "MACHINE→IP→METADATA\n", ""),
    (
        "list-units we[b",
        2,
        "",
        "Error: we[b: invalid pattern \"we[b\": at character 5: expected \"]\" to end the class\n",
    ),
    (
        "list-units web@{1..3}",
        2,
        "",
        "Error: web@{1..3}: invalid character '{' in unit name\n",
    ),
    // JSON.
    ("list-units -o json nothing", 0, "[]\n", ""),
    (
        "list-machines --output=json",
        0,
        "[\n  {\n    \"ip\": \"10.0.0.1\",\n    \"machine\": \"1234abcd000000000000000000000000\",\n    \"metadata\": {\n      \
         \"region\": \"eu\",\n      \"zone\": \"b\"\n    }\n  },\n  {\n    \"ip\": null,\n    \
         \"machine\": \"beef0002000000000000000000000000\",\n    \"metadata\": {}\n  }\n]\n",
        "",
    ),
    (
        "list-units -o json all.timer --no-legend",
        0,
        "[\n  {\n    \"active\": \"active\",\n    \"hash\": \"e1284e812f7bab98a9b61710bf954eff9a93dab0\",\n    \
         \"ip\": \"10.0.0.1\",\n    \"load\": \"loaded\",\n    \"machine\": \"1234abcd000000000000000000000000\",\n    \
         \"sub\": null,\n    \"unit\": \"all.timer\"\n  },\n  {\n    \"active\": \"failed\",\n    \
         \"hash\": \"e1284e812f7bab98a9b61710bf954eff9a93dab0\",\n    \"ip\": null,\n    \"load\": \"loaded\",\n    \
         \"machine\": \"beef0002000000000000000000000000\",\n    \"sub\": null,\n    \"unit\": \"all.timer\"\n  }\n]\n",
        "",
    ),
    (
        "list-unit-files -ojson web@1 all.timer",
        0,
        "[\n  {\n    \"desc\": null,\n    \"dstate\": \"loaded\",\n    \"global\": true,\n    \
         \"hash\": \"055adf891769abb1eaf06ee02db4ab568a3b561f\",\n    \"ip\": null,\n    \"state\": null,\n    \
         \"target\": null,\n    \"unit\": \"all.timer\"\n  },\n  {\n    \"desc\": \"A web server\",\n    \
         \"dstate\": \"launched\",\n    \"global\": false,\n    \"hash\": \"e1284e812f7bab98a9b61710bf954eff9a93dab0\",\n    \
         \"ip\": \"10.0.0.1\",\n    \"state\": \"launched\",\n    \"target\": \"1234abcd000000000000000000000000\",\n    \
         \"unit\": \"web@1.service\"\n  }\n]\n",
        "",
    ),
    (
        "list-unit-files --output json --fields=unit,dstate web@?",
        0,
        "[\n  {\n    \"dstate\": \"launched\",\n    \"unit\": \"web@1.service\"\n  },\n  {\n    \
         \"dstate\": \"launched\",\n    \"unit\": \"web@2.service\"\n  }\n]\n",
        "",
    ),
    (
        "list-units -o yaml",
        2,
        "",
        "Error: invalid value 'yaml' for '--output <FORMAT>' [possible values: table, json]; see `fleetctl help`\n",
    ),
];

#[test]
fn lists() {
    check(fleet, ROWS);
}

#[test]
fn failures() {
    let broken = || {
        Fleetd::new()
            .on("GET /fleet/v1/machines", error(503, "no etcd"))
            .on("GET /fleet/v1/units", json("{}"))
            .on("GET /fleet/v1/state", json("{}"))
    };
    let reason =
        "fleetd at unix://[DIR]/sock cannot serve now: no etcd; is etcd up? see `journalctl -u fleet` there";
    for line in ["list-units", "list-unit-files", "list-units -o json"] {
        let expected = format!("Error retrieving list of units from repository: {reason}\n");
        super::is(&broken().said(line, &[]), line, 1, "", &expected);
    }
    let expected = format!(
        "Error retrieving list of active machines from fleet API ({reason})\nPossible issues:\n  \
         - fleetd is not running, or not there: `systemctl status fleet.service fleet.socket`, --endpoint\n  \
         - fleetd is running but cannot reach etcd: `journalctl -u fleet`, `etcdctl endpoint health`\n"
    );
    super::is(
        &broken().said("list-machines", &[]),
        "list-machines",
        1,
        "",
        &expected,
    );
}

/// `status` looks only, and takes patterns too; what changes something does not.
#[test]
fn patterns_elsewhere() {
    let names = r#"{"units":[{"name":"web@2.service"},{"name":"web@1.service"},{"name":"all.timer"}]}"#;
    let fleet = || Fleetd::new().on("GET /fleet/v2/units", json(names));
    check(
        fleet,
        &[
            (
                "status web@*",
                1,
                "",
                "Unit web@1.service does not exist.\nUnit web@2.service does not exist.\n",
            ),
            (
                "status all.timer *.timer b*",
                1,
                "",
                "No unit matches b*.\nUnit all.timer does not exist.\n",
            ),
            (
                "stop web@*",
                1,
                "",
                "Error: web@*: invalid character '*' in unit name\n",
            ),
            (
                "unload web@*",
                1,
                "",
                "Error: web@*: invalid character '*' in unit name\n",
            ),
            (
                "destroy *",
                1,
                "",
                "Error: *: invalid character '*' in unit name\n",
            ),
            (
                "restart web@?",
                1,
                "",
                "Error: web@?: invalid character '?' in unit name\n",
            ),
            (
                "start web@[12]",
                1,
                "",
                "Error: web@[12]: invalid character '[' in unit name\n",
            ),
            (
                "cat web@*",
                1,
                "",
                "Error: web@*: invalid character '*' in unit name\n",
            ),
        ],
    );
}
