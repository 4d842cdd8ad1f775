//! `stop`, `unload`, `destroy` and `restart`.

use units::{Hold, State, UnitRecord};

use super::fake::Part::{self, After};
use super::fake::{Fleetd, changed, error};
use super::say::*;

const DELETE: &str = "DELETE /fleet/v1/units/web.service";
const RUN: &str = "POST /fleet/v2/units/web.service/runs";

/// A fleetd that has web.service, running, and where then this happens.
fn running(then: Vec<Part>) -> Fleetd {
    let mut script = vec![
        unit(5, UNIT, record(WEB, Launched)),
        placed(6, UNIT, M1),
        state(7, UNIT, M1, held(5, true, "active/running")),
        current(10),
    ];
    script.extend(then);
    Fleetd::new().events(&[UNIT], script)
}

/// A fleetd that has web.service, on no machine.
fn idle(desired: units::DesiredState) -> Fleetd {
    Fleetd::new().events(&[UNIT], vec![unit(5, UNIT, record(WEB, desired)), current(10)])
}

fn gone(generation: i64) -> State {
    State {
        hold: Hold::Gone,
        ..held(generation, false, "")
    }
}

#[test]
fn stop() {
    let fleet = running(vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Loaded)),
        state(12, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
        state(13, UNIT, M1, held(11, false, "inactive/dead")),
    ])
    .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service loaded on 1234abcd.../10.0.0.1
    ----- stderr
    Successfully stopped units [web.service].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn stop_what_failed_to_stop_well() {
    let fleet = running(vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Loaded)),
        state(13, UNIT, M1, held(11, false, "failed/failed/timeout")),
    ])
    .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service loaded on 1234abcd.../10.0.0.1
    ----- stderr
    Successfully stopped units [web.service].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn stop_in_other_states() {
    insta::assert_snapshot!(idle(Inactive).run("stop web"), @r#"
    exit 1
    ----- stderr
    Unable to stop unit web.service in state inactive
    "#);
    insta::assert_snapshot!(idle(Loaded).run("stop web"), @r#"
    exit 0
    ----- stderr
    Successfully stopped units [].
    "#);
}

#[test]
fn stop_what_waits_for_a_machine() {
    let script = vec![
        unit(5, UNIT, record(WEB, Launched)),
        verdict(6, UNIT, Some(refusals(5))),
        current(10),
        After(PUT),
        unit(11, UNIT, record(WEB, Loaded)),
    ];
    let fleet = Fleetd::new().events(&[UNIT], script).on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop web"), @r#"
    exit 0
    ----- stdout
    Unit web.service loaded
    ----- stderr
    Successfully stopped units [web.service].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn stop_what_is_not_there() {
    let fleet = Fleetd::new().events(&[UNIT], vec![current(10)]);
    insta::assert_snapshot!(fleet.run("stop web.service"), @r#"
    exit 0
    ----- stderr
    Units not found in registry
    "#);
    insta::assert_snapshot!(fleet.run("stop"), @r#"
    exit 0
    ----- stderr
    No units given
    "#);
    let fleet = Fleetd::new().events(
        &["a.service", UNIT],
        vec![unit(5, UNIT, record(WEB, Loaded)), current(10)],
    );
    insta::assert_snapshot!(fleet.run("stop a web"), @r#"
    exit 0
    ----- stderr
    Unit a.service not found in registry, skipped
    Successfully stopped units [].
    "#);
}

#[test]
fn stop_without_waiting() {
    let fleet = running(vec![]).on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop --no-block web.service"), @r#"
    exit 0
    ----- stdout
    Triggered unit web.service stop
    ----- stderr
    Successfully stopped units [].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
    let everywhere = vec![global(5, UNIT, record(WEB, Launched)), current(10)];
    let fleet = Fleetd::new()
        .events(&[UNIT], everywhere)
        .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop web.service"), @r#"
    exit 0
    ----- stdout
    Triggered global unit web.service stop
    ----- stderr
    Successfully stopped units [].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn stop_is_refused_or_takes_too_long() {
    let fleet = running(vec![]).on(PUT, error(503, "fleet server unable to communicate with etcd"));
    insta::assert_snapshot!(fleet.run("stop web.service"), @r#"
    exit 1
    ----- stderr
    Error stopping units: web.service: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd; is etcd up? see `journalctl -u fleet` there
    Failed to stop units [web.service]. err: see above
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
    let fleet = running(vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Loaded)),
        state(12, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
    ])
    .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("stop --block-attempts=1 web.service"), @r#"
    exit 1
    ----- stderr
    Error waiting for units: timed out waiting for unit web.service to report state loaded
    It still waits for 1234abcd.../10.0.0.1 to stop it: deactivating (stop-sigterm)
    Failed to stop units [web.service]. err: see above
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn unload() {
    let fleet = running(vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Inactive)),
        unplaced(12, UNIT),
        state(13, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
        state(14, UNIT, M1, gone(5)),
    ])
    .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("unload web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Successfully unloaded units [web.service].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service"}
    "#);
    insta::assert_snapshot!(idle(Inactive).run("unload web.service"), @r#"
    exit 0
    ----- stderr
    Successfully unloaded units [].
    "#);
    let fleet = running(vec![]).on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("unload --no-block web.service"), @r#"
    exit 0
    ----- stdout
    Triggered unit web.service unload
    ----- stderr
    Successfully unloaded units [].
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service"}
    "#);
}

#[test]
fn destroy() {
    let fleet = running(vec![
        After(DELETE),
        destroyed(11, UNIT),
        unplaced(12, UNIT),
        state(13, UNIT, M1, gone(5)),
        stateless(14, UNIT, M1),
    ])
    .on(DELETE, changed(204, 11));
    insta::assert_snapshot!(fleet.run("destroy web.service"), @r#"
    exit 0
    ----- stdout
    Destroyed web.service
    ----- writes
    DELETE /fleet/v1/units/web.service
    "#);
    insta::assert_snapshot!(fleet.run("destroy --no-block web.service"), @r#"
    exit 0
    ----- stdout
    Destroyed web.service
    ----- writes
    DELETE /fleet/v1/units/web.service
    DELETE /fleet/v1/units/web.service
    "#);
    let fleet = idle(Inactive).on(DELETE, error(404, "unit does not exist"));
    insta::assert_snapshot!(fleet.run("destroy web.service"), @r#"
    exit 0
    ----- stdout
    Destroyed web.service
    ----- writes
    DELETE /fleet/v1/units/web.service
    "#);
    let fleet = Fleetd::new().events(&[UNIT], vec![current(10)]);
    insta::assert_snapshot!(fleet.run("destroy web.service"), @r#"
    exit 0
    ----- stderr
    Units not found in registry
    "#);
}

#[test]
fn destroy_waits_for_every_machine() {
    let everywhere = vec![
        global(5, UNIT, record(WEB, Launched)),
        state(7, UNIT, M1, held(5, true, "active/running")),
        state(7, UNIT, M2, held(5, true, "active/running")),
        current(10),
        After(DELETE),
        destroyed(11, UNIT),
        stateless(12, UNIT, M2),
    ];
    let fleet = Fleetd::new()
        .events(&[UNIT], everywhere)
        .on(DELETE, changed(204, 11));
    insta::assert_snapshot!(fleet.run("destroy --block-attempts=1 web.service"), @r#"
    exit 1
    ----- stderr
    Error waiting for units: timed out waiting for unit web.service to report state gone
    It still waits for 1234abcd.../10.0.0.1 to let go of it
    ----- writes
    DELETE /fleet/v1/units/web.service
    "#);
}

#[test]
fn destroy_goes_on_after_a_refusal() {
    let both = vec![
        unit(5, "a.service", record(WEB, Inactive)),
        unit(5, UNIT, record(WEB, Inactive)),
        current(10),
    ];
    let fleet = Fleetd::new()
        .events(&["a.service", UNIT], both)
        .on(
            "DELETE /fleet/v1/units/a.service",
            error(409, "it is being changed by somebody else"),
        )
        .on(DELETE, changed(204, 11));
    insta::assert_snapshot!(fleet.run("destroy --no-block a web"), @r#"
    exit 1
    ----- stdout
    Destroyed web.service
    ----- stderr
    Error destroying units: a.service: it is being changed by somebody else
    ----- writes
    DELETE /fleet/v1/units/a.service
    DELETE /fleet/v1/units/web.service
    "#);
}

#[test]
fn restart() {
    let again = UnitRecord {
        run: 4,
        ..record(WEB, Launched)
    };
    let fleet = running(vec![
        After(RUN),
        unit(11, UNIT, again),
        state(12, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
        state(13, UNIT, M1, held(11, true, "active/running")),
    ])
    .on(RUN, ran(4, 11));
    insta::assert_snapshot!(fleet.run("restart web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    POST /fleet/v2/units/web.service/runs
    "#);
}

#[test]
fn restart_in_other_states() {
    insta::assert_snapshot!(idle(Inactive).run("restart web.service"), @r#"
    exit 1
    ----- stderr
    Unable to restart unit web.service in state inactive
    "#);
    let everywhere = vec![global(5, UNIT, record(WEB, Launched)), current(10)];
    let fleet = Fleetd::new().events(&[UNIT], everywhere).on(RUN, ran(1, 11));
    insta::assert_snapshot!(fleet.run("restart web.service"), @r#"
    exit 0
    ----- stdout
    Triggered global unit web.service restart
    ----- writes
    POST /fleet/v2/units/web.service/runs
    "#);
    let fleet = running(vec![]).on(RUN, ran(1, 11));
    insta::assert_snapshot!(fleet.run("restart --no-block web.service"), @r#"
    exit 0
    ----- stdout
    Triggered unit web.service restart
    ----- writes
    POST /fleet/v2/units/web.service/runs
    "#);
}
