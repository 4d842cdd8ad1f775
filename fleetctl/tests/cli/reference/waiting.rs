//! fleet-reference §4.4: waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::super::fake::Part::After;
use super::super::fake::{Fleetd, changed};
use super::super::say::*;

/// A change, what the cluster has before and what becomes of it, and the lines at its end; without waiting, and of a unit
/// that runs everywhere.
#[test]
fn lines() {
    const ON: &str = "on 1234abcd.../10.0.0.1";
    let becomes = |desired, started, systemd| {
        vec![
            After(PUT),
            unit(11, UNIT, record(WEB, desired)),
            placed(12, UNIT, M1),
            state(13, UNIT, M1, held(11, started, systemd)),
        ]
    };
    let taken_back = vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Inactive)),
        unplaced(12, UNIT),
        stateless(13, UNIT, M1),
    ];
    let table = [
        (
            "load",
            Inactive,
            becomes(Loaded, false, "inactive/dead"),
            format!("Unit web.service loaded {ON}\n"),
            "",
        ),
        (
            "start",
            Inactive,
            becomes(Launched, true, "active/running"),
            format!("Unit web.service launched {ON}\n"),
            "",
        ),
        (
            "stop",
            Launched,
            becomes(Loaded, false, "inactive/dead"),
            format!("Unit web.service loaded {ON}\n"),
            "Successfully stopped units [web.service].\n",
        ),
        (
            "unload",
            Launched,
            taken_back,
            "Unit web.service inactive\n".to_owned(),
            "Successfully unloaded units [web.service].\n",
        ),
    ];
    for (verb, before, then, stdout, stderr) in table {
        let waited = old_unit(before, then).on(PUT, changed(204, 11));
        let line = format!("{verb} web");
        super::is(&waited.said(&line, &[]), &line, 0, &stdout, stderr);

        // `[]`: nothing was waited for.
        let stderr = stderr.replace("web.service", "");
        let line = format!("{verb} --no-block web");
        let stdout = format!("Triggered unit web.service {verb}\n");
        let at_once = old_unit(before, vec![]).on(PUT, changed(204, 11));
        super::is(&at_once.said(&line, &[]), &line, 0, &stdout, &stderr);

        let everywhere = || {
            let script = vec![global(5, UNIT, record(WEB, before)), current(10)];
            Fleetd::new().events(&[UNIT], script).on(PUT, changed(204, 11))
        };
        let stdout = format!("Triggered global unit web.service {verb}\n");
        for line in [format!("{verb} web"), format!("{verb} --no-block web")] {
            super::is(&everywhere().said(&line, &[]), &line, 0, &stdout, &stderr);
        }
    }
}

/// One attempt is 2 s.
#[test]
fn attempts() {
    let never = |desired| {
        vec![
            After(PUT),
            unit(11, UNIT, record(WEB, desired)),
            placed(12, UNIT, M1),
        ]
    };
    for (verb, before, desired, word, todo) in [
        ("start", Inactive, Launched, "launched", "start"),
        ("load", Inactive, Loaded, "loaded", "load"),
    ] {
        let fleet = old_unit(before, never(desired)).on(PUT, changed(204, 11));
        let line = format!("{verb} --block-attempts=1 web");
        let begun = Instant::now();
        let mut said = fleet.said(&line, &[]);
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(20),
            "{took:?}"
        );
        let waits = format!("web.service waits for 1234abcd.../10.0.0.1 to {todo} it\n");
        let stderr = format!(
            "Error waiting for units: timed out waiting for unit web.service to report state {word}\n\
             It still waits for 1234abcd.../10.0.0.1 to {todo} it\n"
        );
        // Said after about as long as the attempt takes.
        said.stderr = said.stderr.replace(&waits, "");
        super::is(&said, &line, 1, "", &stderr);
    }
}

/// 0 and less wait for ever: here, for longer than it takes until fleetctl says what for.
#[test]
fn attempts_without_an_end() {
    for attempts in ["0", "-1"] {
        let then = vec![
            After(PUT),
            unit(11, UNIT, record(WEB, Launched)),
            placed(12, UNIT, M1),
            After("GET /fleet/v2/leader"),
            state(13, UNIT, M1, held(11, true, "active/running")),
        ];
        let fleet = old_unit(Inactive, then).on(PUT, changed(204, 11));
        let line = format!("start --block-attempts={attempts} web");
        let stdout = "Unit web.service launched on 1234abcd.../10.0.0.1\n";
        let stderr = "web.service waits for 1234abcd.../10.0.0.1 to start it\n";
        super::is(&fleet.said(&line, &[]), &line, 0, stdout, stderr);
    }
}
