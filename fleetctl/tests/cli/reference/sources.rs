//! fleet-reference §1.3, arguments and names; §1.4, where the content of a unit comes from.

use super::super::fake::{Fleetd, changed, json};
use super::super::say::*;

/// `submit ARGUMENT` of a unit that the cluster does not have, of a file of that name: the unit it becomes.
#[test]
fn arguments_and_names() {
    const NO_NAME: &[(&str, &str)] = &[
        ("@.service", "unit name cannot start in \"@\""),
        ("@1.service", "unit name cannot start in \"@\""),
        ("foo@.device", "invalid unit type for template: \"device\""),
        ("foo@1.mount", "invalid unit type for template: \"mount\""),
        ("foo@{1..3}.service", "invalid character '{' in unit name"),
        ("foo@{1..3}", "invalid character '{' in unit name"),
        ("a+b", "invalid character '+' in unit name"),
        ("*.service", "invalid character '*' in unit name"),
        ("/", "unit name cannot be empty"),
    ];
    for (argument, unit) in [
        ("foo", "foo.service"),
        ("foo.service", "foo.service"),
        ("foo.1", "foo.1.service"),
        ("dir/bar.socket", "bar.socket"),
        ("./dir/bar", "bar.service"),
        ("a.timer", "a.timer"),
        ("a.path", "a.path"),
        ("a.mount", "a.mount"),
        ("a.target", "a.target"),
        ("a.slice", "a.slice"),
        ("a.socket.bak", "a.socket.bak.service"),
        ("a:b_c-d.e@f:1", "a:b_c-d.e@f:1.service"),
    ] {
        let put = format!("PUT /fleet/v1/units/{unit}");
        let fleet = Fleetd::new()
            .file(&format!("dir/{unit}"), WEB)
            .file(unit, WEB)
            .events(&[unit], vec![current(10)])
            .on(&put, changed(201, 11));
        let said = fleet.said(&format!("submit {argument}"), &[]);
        super::is(&said, argument, 0, &format!("Unit {unit} inactive\n"), "");
        assert!(said.writes.starts_with(&format!("{put} ")), "{argument}: {said}");
    }
    for (argument, reason) in NO_NAME {
        let fleet = Fleetd::new().file("a.service", WEB);
        let said = fleet.said(&format!("submit a {argument}"), &[]);
        let expected = format!("Error: {argument}: {reason}\n");
        super::is(&said, argument, 1, "", &expected);
        assert_eq!((said.writes.as_str(), fleet.count("")), ("", 0), "{argument}");
    }
    let long = format!("{}.service", "a".repeat(249));
    let said = Fleetd::new().said(&format!("submit {long}"), &[]);
    super::is(
        &said,
        &long,
        1,
        "",
        &format!("Error: {long}: unit name exceeds maximum length (256)\n"),
    );
}

/// Which of four contents `web@1` gets, of those that are there: in the registry, as a file, as a template in the
/// registry, as a template beside the argument.
#[test]
fn the_order_of_sources() {
    const UNIT: &str = "web@1.service";
    const HERE: &str = "[Service]\nExecStart=/bin/file\n";
    const TEMPLATE: &str = "[Service]\nExecStart=/bin/registrys-template\n";
    const LOCAL_TEMPLATE: &str = "[Service]\nExecStart=/bin/local-template\n";
    const NOTHING: &str = "failed getting Unit(web@1.service) from template: unable to find template Unit(web@.service) in \
                           Registry or on filesystem";
    const NOTHING_NEW: &str = "unable to find a local unit file for Unit(web@1.service) to replace it with";
    let differs = |kind: &str, file: &str| {
        format!(
            "WARNING: Unit web@1.service in registry differs from {kind} dir/{file}. Add --replace to override.\n"
        )
    };
    for there in 0..16 {
        let is_there = |bit: u8| there & (1 << bit) != 0;
        let (known, file, template, local) = (is_there(0), is_there(1), is_there(2), is_there(3));
        for replace in [false, true] {
            let put = format!("PUT /fleet/v1/units/{UNIT}");
            let mut script = vec![current(10)];
            if known {
                script.insert(0, unit(5, UNIT, record(WEB, Inactive)));
            }
            let mut fleet = Fleetd::new().events(&[UNIT], script).on(&put, changed(201, 11));
            if file {
                fleet = fleet.file("dir/web@1.service", HERE);
            }
            if template {
                fleet = fleet.on(
                    "GET /fleet/v1/units/web@.service",
                    json(content("web@.service", TEMPLATE)),
                );
            }
            if local {
                fleet = fleet.file("dir/web@.service", LOCAL_TEMPLATE);
            }
            // What is sent, or why nothing is.
            let (sent, warning) = match (known, replace) {
                (true, false) => (
                    Ok(None),
                    match (file, local) {
                        (true, _) => differs("local unit file", "web@1.service"),
                        (false, true) => differs("local template unit file", "web@.service"),
                        (false, false) => String::new(),
                    },
                ),
                (_, false) => (
                    match (file, template, local) {
                        (true, ..) => Ok(Some(HERE)),
                        (_, true, _) => Ok(Some(TEMPLATE)),
                        (.., true) => Ok(Some(LOCAL_TEMPLATE)),
                        _ => Err(NOTHING),
                    },
                    String::new(),
                ),
                (_, true) => (
                    match (file, local, template) {
                        (true, ..) => Ok(Some(HERE)),
                        (_, true, _) => Ok(Some(LOCAL_TEMPLATE)),
                        (.., true) => Ok(Some(TEMPLATE)),
                        _ if known => Err(NOTHING_NEW),
                        _ => Err(NOTHING),
                    },
                    String::new(),
                ),
            };
            let flag = if replace { "--replace " } else { "" };
            let line = format!("submit {flag}dir/web@1");
            let said = fleet.said(&line, &[]);
            let line = format!("{line}, registry {known}, file {file}, template {template}, beside {local}");
            match sent {
                Ok(Some(text)) => {
                    super::is(&said, &line, 0, "Unit web@1.service inactive\n", "");
                    let hash = record(text, Inactive).hash;
                    assert!(said.writes.contains(hash.short()), "{line}: {said}");
                }
                Ok(None) => {
                    super::is(&said, &line, 0, "", &warning);
                    assert_eq!(said.writes, "", "{line}");
                }
                Err(reason) => {
                    super::is(&said, &line, 1, "", &format!("Error creating units: {reason}\n"));
                    assert_eq!(said.writes, "", "{line}");
                }
            }
        }
    }
}
