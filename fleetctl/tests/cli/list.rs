//! The tables. Tabs show as arrows here.

use super::fake::{Fleetd, Reply, error, json};
use super::say::{M1, M2, content};

const MACHINES: &str = r#"{"machines":[
    {"id":"beef0002000000000000000000000000","primaryIP":"","metadata":{}},
    {"id":"1234abcd000000000000000000000000","primaryIP":"10.0.0.1","metadata":{"zone":"b","region":"eu"}}]}"#;

fn fleet() -> Fleetd {
    Fleetd::new().on("GET /fleet/v1/machines", json(MACHINES))
}

#[test]
fn machines() {
    insta::assert_snapshot!(fleet().run("list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→→IP→→METADATA
    1234abcd...→10.0.0.1→region=eu,zone=b
    beef0002...→-→→-
    "#);
    insta::assert_snapshot!(fleet().run("list-m -l --no-legend=true"), @r#"
    exit 0
    ----- stdout
    1234abcd000000000000000000000000→10.0.0.1→region=eu,zone=b
    beef0002000000000000000000000000→-→→-
    "#);
    insta::assert_snapshot!(fleet().run("list-machines --l --fields=ip,machine"), @r#"
    exit 0
    ----- stdout
    IP→→MACHINE
    10.0.0.1→1234abcd000000000000000000000000
    -→→beef0002000000000000000000000000
    "#);
    let forged = r#"{"machines":[{"id":"1234abcd000000000000000000000000","metadata":{"a":"b\nbeef...\t10.9.9.9\tx\u001b[31m"}}]}"#;
    insta::assert_snapshot!(Fleetd::new().on("GET /fleet/v1/machines", json(forged)).run("list-machines --no-legend"), @r#"
    exit 0
    ----- stdout
    1234abcd...→-→a=b\nbeef...\t10.9.9.9\tx\u{1b}[31m
    "#);
    insta::assert_snapshot!(Fleetd::new().on("GET /fleet/v1/machines", json("{}")).run("list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    "#);
}

#[test]
fn a_machine_that_takes_no_part_says_so_once() {
    let fleet = Fleetd::new()
        .on(
            "GET /fleet/v1/machines",
            Reply::Warned(
                "machine id beef is in use",
                r#"{"machines":[],"nextPageToken":"x"}"#.into(),
            ),
        )
        .on(
            "GET /fleet/v1/machines?nextPageToken=x",
            Reply::Warned("machine id beef is in use", "{}".into()),
        );
    insta::assert_snapshot!(fleet.run("list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→IP→METADATA
    ----- stderr
    WARNING: unix://[DIR]/sock: machine id beef is in use
    "#);
}

#[test]
fn pages() {
    let page = |id: char, token: &str| {
        let id = String::from(id).repeat(32);
        json(format!(
            "{{\"machines\":[{{\"id\":\"{id}\"}}],\"nextPageToken\":\"{token}\"}}"
        ))
    };
    let fleet = Fleetd::new()
        .on("GET /fleet/v1/machines", page('c', "ZAACAA=="))
        .on(
            "GET /fleet/v1/machines?nextPageToken=ZAACAA==",
            page('b', "ZAADAA=="),
        )
        .on("GET /fleet/v1/machines?nextPageToken=ZAADAA==", json("{}"));
    insta::assert_snapshot!(fleet.run("list-machines"), @r#"
    exit 0
    ----- stdout
    MACHINE→→IP→METADATA
    bbbbbbbb...→-→-
    cccccccc...→-→-
    "#);
}

#[test]
fn units() {
    let states = format!(
        r#"{{"states":[
            {{"name":"web.service","hash":"e1284e8000000000000000000000000000000000","machineID":"{M2}","systemdLoadState":"loaded","systemdActiveState":"failed","systemdSubState":"failed"}},
            {{"name":"web.service","hash":"e1284e8000000000000000000000000000000000","machineID":"{M1}","systemdLoadState":"loaded","systemdActiveState":"active","systemdSubState":"running"}},
            {{"name":"api.service","machineID":"dead0003000000000000000000000000","systemdActiveState":"activating"}}]}}"#
    );
    let fleet = fleet().on("GET /fleet/v1/state", json(states));
    insta::assert_snapshot!(fleet.run("list-units"), @r#"
    exit 0
    ----- stdout
    UNIT→→MACHINE→→→ACTIVE→→SUB
    api.service→dead0003...→→activating→-
    web.service→1234abcd.../10.0.0.1→active→→running
    web.service→beef0002...→→failed→→failed
    "#);
    insta::assert_snapshot!(fleet.run("list-units --no-legend --fields=unit,hash,load"), @r#"
    exit 0
    ----- stdout
    api.service→-→-
    web.service→e1284e8→loaded
    web.service→e1284e8→loaded
    "#);
    insta::assert_snapshot!(fleet.run("list-units --full --fields unit,machine,hash"), @r#"
    exit 0
    ----- stdout
    UNIT→→MACHINE→→→→→→HASH
    api.service→dead0003000000000000000000000000→→-
    web.service→1234abcd000000000000000000000000/10.0.0.1→e1284e8000000000000000000000000000000000
    web.service→beef0002000000000000000000000000→→e1284e8000000000000000000000000000000000
    "#);
}

#[test]
fn unit_files() {
    let unit = |name: &str, text: &str, more: &str| {
        let unit = content(name, text);
        format!("{},{more}}}", unit.strip_suffix('}').unwrap())
    };
    let page = [
        unit(
            "web.service",
            super::say::WEB,
            &format!(r#""desiredState":"launched","currentState":"launched","machineID":"{M1}""#),
        ),
        unit(
            "web@.service",
            super::say::OTHER,
            r#""desiredState":"inactive","currentState":"inactive""#,
        ),
        unit(
            "all.service",
            "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n",
            r#""desiredState":"launched","currentState":"inactive""#,
        ),
    ];
    let fleet = fleet().on(
        "GET /fleet/v1/units",
        json(format!("{{\"units\":[{}]}}", page.join(","))),
    );
    insta::assert_snapshot!(fleet.run("list-unit-files"), @r#"
    exit 0
    ----- stdout
    UNIT→→HASH→DSTATE→→STATE→→TARGET
    all.service→055adf8→launched→-→→global
    web.service→e1284e8→launched→launched→1234abcd.../10.0.0.1
    web@.service→0a9b607→inactive→inactive→-
    "#);
    insta::assert_snapshot!(fleet.run("list-unit-files --full --fields=unit,hash,global,desc,tmachine"), @r#"
    exit 0
    ----- stdout
    UNIT→→HASH→→→→→→GLOBAL→DESC→→TMACHINE
    all.service→055adf891769abb1eaf06ee02db4ab568a3b561f→true→-→→global
    web.service→e1284e812f7bab98a9b61710bf954eff9a93dab0→false→A web server→1234abcd000000000000000000000000/10.0.0.1
    web@.service→0a9b6074b51a4e87042012f7320831d68434df43→false→-→→-
    ----- stderr
    WARNING: The "tmachine" field is deprecated. Use "target" instead
    "#);
}

#[test]
fn errors() {
    let fleet = fleet()
        .on("GET /fleet/v1/units", error(500, ""))
        .on("GET /fleet/v1/state", json("{}"));
    insta::assert_snapshot!(fleet.run("list-units --fields=unit,colour"), @r#"
    exit 1
    ----- stderr
    Error: Invalid key in output format: "colour"; there are: unit, machine, load, active, sub, hash, ip
    "#);
    insta::assert_snapshot!(fleet.run("list-machines --fields="), @r#"
    exit 1
    ----- stderr
    Error: Must define output format
    "#);
    insta::assert_snapshot!(fleet.run("list-unit-files"), @r#"
    exit 1
    ----- stderr
    Error retrieving list of units from repository: fleetd at unix://[DIR]/sock failed (500): it gave no reason; see `journalctl -u fleet` there
    "#);
    insta::assert_snapshot!(fleet.run("list-units"), @r#"
    exit 0
    ----- stdout
    UNIT→MACHINE→ACTIVE→SUB
    "#);
}
