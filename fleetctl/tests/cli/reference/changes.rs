//! fleet-reference §4.5: the commands that change something.

use units::DesiredState;

use super::super::fake::Part::{self, After};
use super::super::fake::{Fleetd, changed, error};
use super::super::say::*;

const DIFFERS: &str = "WARNING: Unit web.service in registry differs from local unit file web.service. Add --replace to override.\n";
const SAME: &str = "Found same Unit(web.service) in Registry, nothing to do\n";
const CREATED: &str = "Unit web.service inactive\n";

/// What the cluster has of web.service, with the content `WEB`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    Nothing,
    Unit(DesiredState),
}

use Has::{Nothing, Unit};

/// The cluster has web.service so, or not, and does as it is told; this text lies here.
fn fleet(has: Has, here: &str) -> Fleetd {
    let mut script = Vec::new();
    if let Unit(desired) = has {
        script.push(unit(5, UNIT, record(WEB, desired)));
        if desired > Inactive {
            let started = desired == Launched;
            let systemd = if started {
                "active/running"
            } else {
                "inactive/dead"
            };
            script.extend([placed(6, UNIT, M1), state(7, UNIT, M1, held(5, started, systemd))]);
        }
    }
    script.push(current(10));
    let fleet = Fleetd::new().events(&[UNIT], script).on(PUT, changed(201, 11));
    match here {
        "" => fleet,
        text => fleet.file(UNIT, text),
    }
}

fn put(desired: &str, content: &str) -> String {
    let hash = match content {
        "" => String::new(),
        text => format!(",\"options\":\"{}\"", record(text, Inactive).hash.short()),
    };
    format!("{PUT} {{\"desiredState\":\"{desired}\",\"name\":\"web.service\"{hash}}}\n")
}

/// `submit`, `load`, `start` with `--no-block`, with and without `--replace`, against every state of the unit and with
/// the same and with another file here: exit code, stdout, stderr, and the change that is sent.
#[test]
fn creating_and_replacing() {
    let states = [Nothing, Unit(Inactive), Unit(Loaded), Unit(Launched)];
    for (verb, target) in [("submit", Inactive), ("load", Loaded), ("start", Launched)] {
        let triggered = match verb {
            "submit" => String::new(),
            _ => format!("Triggered unit web.service {verb}\n"),
        };
        for has in states {
            for replace in [false, true] {
                for here in ["", WEB, OTHER] {
                    // With the unit as it is: onward to the target, back to it for load, or nothing to do.
                    let onward = match has {
                        Unit(state) if verb != "submit" && state != target => {
                            (triggered.clone(), put(&target.to_string(), ""))
                        }
                        _ => (String::new(), String::new()),
                    };
                    let (exit, stdout, stderr, sent) = match (has, replace, here) {
                        (Nothing, _, "") => (
                            1,
                            String::new(),
                            "Error creating units: unable to find Unit(web.service) in Registry or on filesystem\n".to_owned(),
                            String::new(),
                        ),
                        (Nothing, _, text) => {
                            (0, format!("{CREATED}{triggered}"), String::new(), put(&target.to_string(), text))
                        }
                        (Unit(_), false, text) => {
                            let warning = if text == OTHER { DIFFERS } else { "" };
                            (0, onward.0, warning.to_owned(), onward.1)
                        }
                        (Unit(_), true, "") => (
                            1,
                            String::new(),
                            "Error creating units: unable to find a local unit file for Unit(web.service) to replace it with\n"
                                .to_owned(),
                            String::new(),
                        ),
                        (Unit(_), true, WEB) => (0, format!("{SAME}{}", onward.0), String::new(), onward.1),
                        (Unit(state), true, _) if state > target => (
                            0,
                            String::new(),
                            format!(
                                "Warning: can not replace Unit(web.service) in state '{state}', use the appropriate command\n"
                            ),
                            String::new(),
                        ),
                        (Unit(_), true, text) => {
                            let created = if target == Inactive { CREATED } else { "" };
                            (0, format!("{created}{triggered}"), String::new(), put(&target.to_string(), text))
                        }
                    };
                    let no_block = if verb == "submit" { "" } else { "--no-block " };
                    let flag = if replace { "--replace " } else { "" };
                    let line = format!("{verb} {no_block}{flag}web.service");
                    let said = fleet(has, here).said(&line, &[]);
                    let line = format!("{line}, with {has:?} and {here:?} here");
                    super::is(&said, &line, exit, &stdout, &stderr);
                    assert_eq!(said.writes, sent, "{line}");
                }
            }
        }
    }
}

/// `stop`, `unload`, `destroy`, `restart` with `--no-block`: the unit's state, exit code, stdout, stderr, change.
#[test]
fn withdrawing() {
    const UNKNOWN: &str = "Units not found in registry\n";
    let delete = "DELETE /fleet/v1/units/web.service\n";
    let run = "POST /fleet/v2/units/web.service/runs\n";
    let (to_loaded, to_inactive) = (put("loaded", ""), put("inactive", ""));
    let table: &[(&str, Has, i32, &str, &str, &str)] = &[
        ("stop", Nothing, 0, "", UNKNOWN, ""),
        (
            "stop",
            Unit(Inactive),
            1,
            "",
            "Unable to stop unit web.service in state inactive\n",
            "",
        ),
        (
            "stop",
            Unit(Loaded),
            0,
            "",
            "Successfully stopped units [].\n",
            "",
        ),
        (
            "stop",
            Unit(Launched),
            0,
            "Triggered unit web.service stop\n",
            "Successfully stopped units [].\n",
            &to_loaded,
        ),
        ("unload", Nothing, 0, "", UNKNOWN, ""),
        (
            "unload",
            Unit(Inactive),
            0,
            "",
            "Successfully unloaded units [].\n",
            "",
        ),
        (
            "unload",
            Unit(Loaded),
            0,
            "Triggered unit web.service unload\n",
            "Successfully unloaded units [].\n",
            &to_inactive,
        ),
        (
            "unload",
            Unit(Launched),
            0,
            "Triggered unit web.service unload\n",
            "Successfully unloaded units [].\n",
            &to_inactive,
        ),
        ("destroy", Nothing, 0, "", UNKNOWN, ""),
        (
            "destroy",
            Unit(Inactive),
            0,
            "Destroyed web.service\n",
            "",
            delete,
        ),
        (
            "destroy",
            Unit(Launched),
            0,
            "Destroyed web.service\n",
            "",
            delete,
        ),
        ("restart", Nothing, 0, "", UNKNOWN, ""),
        (
            "restart",
            Unit(Inactive),
            1,
            "",
            "Unable to restart unit web.service in state inactive\n",
            "",
        ),
        (
            "restart",
            Unit(Loaded),
            0,
            "Triggered unit web.service restart\n",
            "",
            run,
        ),
        (
            "restart",
            Unit(Launched),
            0,
            "Triggered unit web.service restart\n",
            "",
            run,
        ),
    ];
    for (verb, has, exit, stdout, stderr, sent) in table {
        let fleet = fleet(*has, "")
            .on("DELETE /fleet/v1/units/web.service", changed(204, 11))
            .on("POST /fleet/v2/units/web.service/runs", ran(1, 11));
        let line = format!("{verb} --no-block web");
        let said = fleet.said(&line, &[]);
        let line = format!("{line}, {has:?}");
        super::is(&said, &line, *exit, stdout, stderr);
        assert_eq!(said.writes, *sent, "{line}");
    }
}

/// `stop` and `restart` of units one of which is inactive change none of them; what the cluster does not have is skipped.
#[test]
fn several() {
    let fleet = |third: Vec<Part>| {
        let mut script = vec![
            unit(4, "a.service", record(WEB, Launched)),
            unit(5, UNIT, record(WEB, Inactive)),
        ];
        script.extend(third);
        script.push(current(10));
        Fleetd::new().events(&["a.service", "b.service", UNIT], script)
    };
    for verb in ["stop", "restart"] {
        let line = format!("{verb} a b web");
        let said = fleet(vec![]).said(&line, &[]);
        let stderr = format!(
            "Unit b.service not found in registry, skipped\nUnable to {verb} unit web.service in state inactive\n"
        );
        super::is(&said, &line, 1, "", &stderr);
        assert_eq!(said.writes, "", "{line}");
    }
}

/// What an error is called, where the API refuses the change.
#[test]
fn refused() {
    let table = [
        ("submit", Nothing, "Error creating units"),
        ("load", Nothing, "Error creating units"),
        ("start", Nothing, "Error creating units"),
        ("load", Unit(Inactive), "Error loading units"),
        ("start", Unit(Inactive), "Error starting units"),
        ("stop", Unit(Launched), "Error stopping units"),
        ("unload", Unit(Launched), "Error unloading units"),
        ("destroy", Unit(Launched), "Error destroying units"),
        ("restart", Unit(Launched), "Error restarting units"),
    ];
    for (verb, has, prefix) in table {
        let no = || error(400, "no");
        let here = if has == Nothing { WEB } else { "" };
        let fleet = fleet(has, here)
            .on("DELETE /fleet/v1/units/web.service", no())
            .on("POST /fleet/v2/units/web.service/runs", no());
        fleet.forget(PUT);
        let fleet = fleet.on(PUT, no());
        let conclusion = match verb {
            "stop" => "Failed to stop units [web.service]. err: see above\n",
            "unload" => "Failed to unload units [web.service]. err: see above\n",
            _ => "",
        };
        let stderr = format!("{prefix}: web.service: no\n{conclusion}");
        let line = format!("{verb} web");
        super::is(&fleet.said(&line, &[]), &line, 1, "", &stderr);
    }
}

/// `destroy` waits for the unit to be gone, or does not.
#[test]
fn destroyed_means_gone() {
    let delete = "DELETE /fleet/v1/units/web.service";
    let then = vec![
        After(delete),
        destroyed(11, UNIT),
        unplaced(12, UNIT),
        stateless(13, UNIT, M1),
    ];
    let fleet = old_unit(Launched, then).on(delete, changed(204, 11));
    super::is(
        &fleet.said("destroy web", &[]),
        "destroy web",
        0,
        "Destroyed web.service\n",
        "",
    );
}
