//! How a `start` can end, other than well.

use units::{Hold, State};

use super::fake::Part::{self, After};
use super::fake::{Fleetd, changed, json};
use super::say::*;

const UNIT: &str = "web.service";
const PUT: &str = "PUT /fleet/v1/units/web.service";

/// A new web.service is sent, and then this happens.
fn started(then: impl IntoIterator<Item = Part>) -> Fleetd {
    let mut script = vec![current(10), After(PUT), unit(11, UNIT, record(WEB, Launched))];
    script.extend(then);
    Fleetd::new().file(UNIT, WEB).on(PUT, changed(201, 11)).events(&[UNIT], script)
}

#[test]
fn no_machine_fits() {
    let fleet = started([verdict(12, UNIT, Some(refusals(11)))]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service cannot be placed: none of 23 machines can hold it: 23 metadata does not match
      1234abcd.../10.0.0.1: has zone=b, MachineMetadata= asks for zone=a
      beef0002...: has no metadata zone, MachineMetadata= asks for zone=a
      … and 21 more
    It stays submitted and will start by itself once a machine fits; to cancel: fleetctl unload web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn no_machine_fits_for_now() {
    let passing = units::Verdict {
        passing: true,
        ..refusals(11)
    };
    let fleet = started([
        verdict(12, UNIT, Some(refusals(10))),
        verdict(13, UNIT, Some(passing)),
        verdict(14, UNIT, None),
        placed(14, UNIT, M1),
        state(15, UNIT, M1, held(11, true, "active/running")),
    ]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn a_machine_that_fits_is_waited_for_on_request() {
    let fleet = started([
        verdict(12, UNIT, Some(refusals(11))),
        After("GET /fleet/v2/leader"),
        verdict(14, UNIT, None),
        placed(14, UNIT, M1),
        state(15, UNIT, M1, held(11, true, "active/running")),
    ]);
    insta::assert_snapshot!(fleet.run("start --block-attempts=9 web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- stderr
    web.service waits for a machine that fits: none of 23 machines can hold it: 23 metadata does not match
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn patience_ends() {
    let fleet = started([verdict(12, UNIT, Some(refusals(11)))]);
    insta::assert_snapshot!(fleet.run("start --block-attempts=1 web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Error waiting for units: timed out waiting for unit web.service to report state launched
    Unit web.service cannot be placed: none of 23 machines can hold it: 23 metadata does not match
      1234abcd.../10.0.0.1: has zone=b, MachineMetadata= asks for zone=a
      beef0002...: has no metadata zone, MachineMetadata= asks for zone=a
      … and 21 more
    It stays submitted and will start by itself once a machine fits; to cancel: fleetctl unload web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    let fleet = started([placed(12, UNIT, M1)]);
    insta::assert_snapshot!(fleet.run("load --block-attempts 1 web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Error waiting for units: timed out waiting for unit web.service to report state loaded
    It still waits for the registry to confirm
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn without_a_leader() {
    let fleet = started([
        After("GET /fleet/v2/leader"),
        placed(14, UNIT, M1),
        state(15, UNIT, M1, held(11, true, "active/running")),
    ])
    .on("GET /fleet/v2/leader", json(r#"{"machine":null}"#));
    insta::assert_snapshot!(without_default_leader(fleet).run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- stderr
    web.service waits for a place; the cluster has no leader at the moment
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

/// The fake has a leader unless told otherwise: uses that answer up.
fn without_default_leader(fleet: Fleetd) -> Fleetd {
    fleet.forget("GET /fleet/v2/leader");
    fleet
}

#[test]
fn it_fails() {
    let end = |systemd: &str| started([placed(12, UNIT, M1), state(13, UNIT, M1, held(11, true, systemd))]);
    insta::assert_snapshot!(end("failed/failed/exit-code").run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- stderr
    Unit web.service failed on 1234abcd.../10.0.0.1: systemd says failed (failed), result exit-code
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    insta::assert_snapshot!(end("inactive/dead/signal").run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- stderr
    Unit web.service failed on 1234abcd.../10.0.0.1: systemd says inactive (dead), result signal
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    insta::assert_snapshot!(end("activating/auto-restart/exit-code").run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- stderr
    Unit web.service failed on 1234abcd.../10.0.0.1: systemd says activating (auto-restart), result exit-code; it will try again
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn it_finishes() {
    let fleet = started([placed(12, UNIT, M1), state(13, UNIT, M1, held(11, true, "inactive/dead/success"))]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn the_machine_is_in_trouble() {
    let said = State {
        generation: 0,
        assignment: 12,
        problem: Some("cannot write /run/fleet/units/web.service: no space left on device".to_owned()),
        ..held(11, false, "")
    };
    let fleet = started([placed(12, UNIT, M1), state(13, UNIT, M1, said)]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service is in trouble on 1234abcd.../10.0.0.1: cannot write /run/fleet/units/web.service: no space left on device
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn a_machine_refuses_and_another_takes_it() {
    let said = State {
        hold: Hold::Refused,
        problem: Some("web.service belongs to the host".to_owned()),
        ..held(11, false, "")
    };
    let fleet = started([
        placed(12, UNIT, M1),
        state(13, UNIT, M1, said),
        placed(14, UNIT, M2),
        state(15, UNIT, M2, held(11, true, "active/running")),
    ]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service launched on beef0002...
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn somebody_else_interferes() {
    let fleet = started([destroyed(12, UNIT)]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service was destroyed by somebody else meanwhile
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    let fleet = started([unit(12, UNIT, record(WEB, Loaded))]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service was changed by somebody else meanwhile: its desired state is loaded, its content e1284e8
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    let fleet = started([unit(12, UNIT, record(OTHER, Launched))]);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service was changed by somebody else meanwhile: its desired state is launched, its content 0a9b607
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn somebody_else_was_faster() {
    // Our change at revision 13 was none: the unit had been launched at 11, after we looked.
    let script = vec![
        unit(5, UNIT, record(WEB, Inactive)),
        current(10),
        unit(11, UNIT, record(WEB, Launched)),
        placed(12, UNIT, M1),
        After(PUT),
        state(14, UNIT, M1, held(11, true, "active/running")),
    ];
    let fleet = Fleetd::new().events(&[UNIT], script).on(PUT, changed(204, 13));
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service"}
    "#);
}

#[test]
fn one_of_several_fails() {
    let script = vec![
        current(10),
        After("PUT /fleet/v1/units/a.service"),
        After("PUT /fleet/v1/units/b.service"),
        unit(11, "a.service", record(WEB, Launched)),
        unit(12, "b.service", record(OTHER, Launched)),
        placed(13, "a.service", M1),
        placed(13, "b.service", M2),
        state(14, "a.service", M1, held(11, true, "failed/failed/exit-code")),
        state(15, "b.service", M2, held(12, true, "active/running")),
    ];
    let fleet = Fleetd::new()
        .file("a.service", WEB)
        .file("b.service", OTHER)
        .on("PUT /fleet/v1/units/a.service", changed(201, 11))
        .on("PUT /fleet/v1/units/b.service", changed(201, 12))
        .events(&["a.service", "b.service"], script);
    insta::assert_snapshot!(fleet.run("start a.service b.service"), @r#"
    exit 1
    ----- stdout
    Unit a.service inactive
    Unit b.service inactive
    Unit a.service launched on 1234abcd.../10.0.0.1
    Unit b.service launched on beef0002...
    ----- stderr
    Unit a.service failed on 1234abcd.../10.0.0.1: systemd says failed (failed), result exit-code
    hint: fleetctl status a.service
    ----- writes
    PUT /fleet/v1/units/a.service {"desiredState":"launched","name":"a.service","options":"e1284e8"}
    PUT /fleet/v1/units/b.service {"desiredState":"launched","name":"b.service","options":"0a9b607"}
    "#);
}
