//! `start` and `load`, where they end well, and what they do about what is there already.

use units::State;

use super::fake::Part::{self, After};
use super::fake::{Fleetd, changed};
use super::say::*;

const RUN: &str = "POST /fleet/v2/units/web.service/runs";

/// web.service is placed and started, and then this becomes of it.
fn launched_and(states: impl IntoIterator<Item = State>) -> Vec<Part> {
    let mut script = vec![unit(11, UNIT, record(WEB, Launched)), placed(12, UNIT, M1)];
    script.push(state(13, UNIT, M1, held(11, false, "inactive/dead")));
    script.extend(
        states
            .into_iter()
            .enumerate()
            .map(|(index, said)| state(14 + index as i64, UNIT, M1, said)),
    );
    script
}

#[test]
fn start_new() {
    let fleet = new_unit(launched_and([
        held(11, true, "activating/start"),
        held(11, true, "active/running"),
    ]));
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
fn start_without_waiting() {
    insta::assert_snapshot!(new_unit(vec![]).run("start --no-block web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Triggered unit web.service start
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    let fleet = old_unit(Launched, vec![]);
    insta::assert_snapshot!(fleet.run("start --no-block web.service"), @r#"exit 0"#);
}

#[test]
fn start_on_every_machine_is_not_waited_for() {
    let text = format!("{WEB}\n[X-Fleet]\nGlobal=true\n");
    let fleet = new_unit(vec![]).file(UNIT, &text);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Triggered global unit web.service start
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"4729323"}
    "#);
    let fleet = Fleetd::new()
        .events(&[UNIT], vec![global(5, UNIT, record(&text, Loaded)), current(10)])
        .on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Triggered global unit web.service start
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service"}
    "#);
}

#[test]
fn start_what_is_there() {
    let started = launched_and([held(11, true, "active/running")]);
    let mut then = vec![After(PUT)];
    then.extend(started);
    let fleet = old_unit(Loaded, then).on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service"}
    "#);
}

#[test]
fn start_what_runs_already() {
    insta::assert_snapshot!(old_unit(Launched, vec![]).run("start web.service web"), @r#"exit 0"#);
}

#[test]
fn start_what_has_failed_once_more() {
    let again = units::UnitRecord {
        run: 1,
        ..record(WEB, Launched)
    };
    let script = vec![
        unit(5, UNIT, record(WEB, Launched)),
        placed(6, UNIT, M1),
        state(7, UNIT, M1, held(5, true, "failed/failed/exit-code")),
        current(10),
        After(RUN),
        unit(11, UNIT, again),
        state(12, UNIT, M1, held(5, true, "failed/failed/exit-code")),
        state(13, UNIT, M1, held(11, true, "active/running")),
    ];
    let fleet = Fleetd::new().events(&[UNIT], script).on(RUN, ran(1, 11));
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    POST /fleet/v2/units/web.service/runs
    "#);
}

#[test]
fn start_waits_for_what_was_started_before() {
    let script = vec![
        unit(5, UNIT, record(WEB, Launched)),
        placed(6, UNIT, M1),
        current(10),
        state(13, UNIT, M1, held(5, true, "active/running")),
    ];
    let fleet = Fleetd::new().events(&[UNIT], script);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    "#);
}

#[test]
fn start_with_new_content_where_it_runs() {
    let script = vec![
        After(PUT),
        unit(11, UNIT, record(OTHER, Launched)),
        state(12, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
        state(13, UNIT, M1, held(11, true, "active/running")),
    ];
    let fleet = old_unit(Launched, script)
        .file(UNIT, OTHER)
        .on(PUT, changed(201, 11));
    insta::assert_snapshot!(fleet.run("start --replace web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service launched on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"0a9b607"}
    "#);
}

#[test]
fn load_new() {
    let script = vec![
        unit(11, UNIT, record(WEB, Loaded)),
        placed(12, UNIT, M2),
        state(13, UNIT, M2, held(11, false, "inactive/dead")),
    ];
    insta::assert_snapshot!(new_unit(script).run("load web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    Unit web.service loaded on beef0002...
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn load_what_runs() {
    let script = vec![
        After(PUT),
        unit(11, UNIT, record(WEB, Loaded)),
        state(12, UNIT, M1, held(5, true, "deactivating/stop-sigterm")),
        state(13, UNIT, M1, held(11, false, "inactive/dead")),
    ];
    let fleet = old_unit(Launched, script).on(PUT, changed(204, 11));
    insta::assert_snapshot!(fleet.run("load web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service loaded on 1234abcd.../10.0.0.1
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service"}
    "#);
}

#[test]
fn load_what_systemd_does_not_take() {
    let said = State {
        load: "bad-setting".to_owned(),
        ..held(11, false, "inactive/dead")
    };
    let script = vec![
        unit(11, UNIT, record(WEB, Loaded)),
        placed(12, UNIT, M1),
        state(13, UNIT, M1, said),
    ];
    insta::assert_snapshot!(new_unit(script).run("load web.service"), @r#"
    exit 1
    ----- stdout
    Unit web.service inactive
    ----- stderr
    Unit web.service cannot be loaded on 1234abcd.../10.0.0.1: systemd says bad-setting
    hint: fleetctl status web.service
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"loaded","name":"web.service","options":"e1284e8"}
    "#);
}
