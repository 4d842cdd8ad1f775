//! `submit`, `load` and `start`: where content comes from, and what is done with it.

use units::State;

use super::fake::Part::{self, After};
use super::fake::{Fleetd, changed, error, json};
use super::say::*;

const UNIT: &str = "web.service";
const PUT: &str = "PUT /fleet/v1/units/web.service";
const RUN: &str = "POST /fleet/v2/units/web.service/runs";

/// A fleetd whose registry, at revision 10, does not have web.service, which lies here.
fn new_unit(then: Vec<Part>) -> Fleetd {
    let mut script = vec![current(10), After(PUT)];
    script.extend(then);
    Fleetd::new().file(UNIT, WEB).on(PUT, changed(201, 11)).events(&[UNIT], script)
}

/// A fleetd that has web.service in that state, running on a machine if that is launched.
fn old_unit(desired: units::DesiredState, then: Vec<Part>) -> Fleetd {
    let mut script = vec![unit(5, UNIT, record(WEB, desired))];
    if desired == Launched {
        script.extend([placed(6, UNIT, M1), state(7, UNIT, M1, held(5, true, "active/running"))]);
    }
    script.push(current(10));
    script.extend(then);
    Fleetd::new().events(&[UNIT], script)
}

/// web.service is placed and started, and then this becomes of it.
fn launched_and(states: impl IntoIterator<Item = State>) -> Vec<Part> {
    let mut script = vec![unit(11, UNIT, record(WEB, Launched)), placed(12, UNIT, M1)];
    script.push(state(13, UNIT, M1, held(11, false, "inactive/dead")));
    script.extend(states.into_iter().enumerate().map(|(index, said)| state(14 + index as i64, UNIT, M1, said)));
    script
}

#[test]
fn submit_new() {
    insta::assert_snapshot!(new_unit(vec![]).run("submit web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn submit_by_a_path_and_by_a_name_without_its_suffix() {
    let fleet = new_unit(vec![]).file("units/web.service", OTHER);
    insta::assert_snapshot!(fleet.run("submit units/web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"0a9b607"}
    "#);
    let fleet = new_unit(vec![]);
    insta::assert_snapshot!(fleet.run("submit web"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"e1284e8"}
    "#);
}

#[test]
fn submit_again() {
    let fleet = old_unit(Inactive, vec![]).file(UNIT, WEB);
    insta::assert_snapshot!(fleet.run("submit web.service"), @r#"exit 0"#);
    insta::assert_snapshot!(fleet.run("submit --replace web.service"), @r#"
    exit 0
    ----- stdout
    Found same Unit(web.service) in Registry, nothing to do
    "#);
}

#[test]
fn submit_something_else_under_the_same_name() {
    let fleet = old_unit(Inactive, vec![]).file(UNIT, OTHER).on(PUT, changed(201, 11));
    insta::assert_snapshot!(fleet.run("submit web.service"), @r#"
    exit 0
    ----- stderr
    WARNING: Unit web.service in registry differs from local unit file web.service. Add --replace to override.
    "#);
    insta::assert_snapshot!(fleet.run("submit --replace web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"0a9b607"}
    "#);
}

#[test]
fn submit_does_not_replace_what_runs() {
    let fleet = old_unit(Launched, vec![]).file(UNIT, OTHER);
    insta::assert_snapshot!(fleet.run("submit --replace web.service"), @r#"
    exit 0
    ----- stderr
    Warning: can not replace Unit(web.service) in state 'launched', use the appropriate command
    "#);
    insta::assert_snapshot!(fleet.run("load --replace web.service"), @r#"
    exit 0
    ----- stderr
    Warning: can not replace Unit(web.service) in state 'launched', use the appropriate command
    "#);
}

#[test]
fn replace_needs_something_to_replace_with() {
    let fleet = old_unit(Inactive, vec![]);
    insta::assert_snapshot!(fleet.run("submit --replace web.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: unable to find a local unit file for Unit(web.service) to replace it with
    "#);
}

#[test]
fn a_broken_file_does_not_stand_in_the_way_of_what_the_registry_has() {
    let fleet = old_unit(Inactive, vec![]).file(UNIT, "[Service");
    insta::assert_snapshot!(fleet.run("submit web.service"), @r#"
    exit 0
    ----- stderr
    WARNING: web.service:1:9: expected "]" to end the section name, found the end of the line; unit web.service in registry is used
    "#);
}

#[test]
fn nothing_is_sent_if_one_of_several_files_is_broken() {
    let fleet = Fleetd::new()
        .file("a.service", WEB)
        .file("b.service", "[Service]\nExecStart=/bin/true\n\n[X-Fleet]\n MachineMetadata = region\n")
        .file("c.service", "[Service]\nExecStart /bin/true\n")
        .file("d.service", b"[Service]\nExecStart=/bin/\xff\n")
        .file("e.service", "# nothing\n")
        .events(&["a.service", "b.service"], vec![current(10)])
        .events(&["a.service", "c.service"], vec![current(10)])
        .events(&["a.service", "d.service"], vec![current(10)])
        .events(&["a.service", "e.service"], vec![current(10)])
        .events(&["a.service", "f.service"], vec![current(10)])
        .events(&["g.target.service"], vec![current(10)]);
    insta::assert_snapshot!(fleet.run("submit a.service b.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: b.service:5:20: MachineMetadata="region": expected key=value with one "=", several of them each in quotes or lines of their own
    "#);
    insta::assert_snapshot!(fleet.run("submit a.service c.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: c.service:2:20: expected "=" after the option name "ExecStart /bin/true", found the end of the line
    "#);
    insta::assert_snapshot!(fleet.run("submit a.service d.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: d.service:2:16: expected UTF-8 text
    "#);
    insta::assert_snapshot!(fleet.run("submit a.service e.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: e.service: unit file is empty: expected at least one option
    "#);
    insta::assert_snapshot!(fleet.run("submit a.service f.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: unable to find Unit(f.service) in Registry or on filesystem
    "#);
    insta::assert_snapshot!(fleet.run("submit a.service g@{1..3}"), @r#"
    exit 1
    ----- stderr
    Error: g@{1..3}: invalid character '{' in unit name
    "#);
}

#[test]
fn what_may_not_be_meant_is_said() {
    let text = format!("stray\n{WEB}\n[X-Fleet]\nMachineof=a.service\nColour=blue\n");
    let fleet = new_unit(vec![]).file(UNIT, text);
    insta::assert_snapshot!(fleet.run("submit web.service"), @r#"
    exit 0
    ----- stdout
    Unit web.service inactive
    ----- stderr
    WARNING: web.service:1:1: this stands before the first section and is ignored
    WARNING: web.service:1:1: line 1, column 1: this stands before the first section and is ignored
    WARNING: web.service:9:1: unrecognized requirement in [X-Fleet] section: "Machineof" (did you mean "MachineOf"?)
    WARNING: web.service:10:1: unrecognized requirement in [X-Fleet] section: "Colour"
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"8d6e6d2"}
    "#);
}

#[test]
fn instances_take_the_registry_s_template_first() {
    let fleet = Fleetd::new()
        .file("web@.service", OTHER)
        .events(&["web@1.service", "web@2.service"], vec![current(10)])
        .on("GET /fleet/v1/units/web@.service", json(content("web@.service", WEB)))
        .on("PUT /fleet/v1/units/web@1.service", changed(201, 11))
        .on("PUT /fleet/v1/units/web@2.service", changed(201, 12));
    insta::assert_snapshot!(fleet.run("submit web@1 web@2.service"), @r#"
    exit 0
    ----- stdout
    Unit web@1.service inactive
    Unit web@2.service inactive
    ----- writes
    PUT /fleet/v1/units/web@1.service {"desiredState":"inactive","name":"web@1.service","options":"e1284e8"}
    PUT /fleet/v1/units/web@2.service {"desiredState":"inactive","name":"web@2.service","options":"e1284e8"}
    "#);
    assert_eq!(fleet.count("GET /fleet/v1/units/web@.service"), 1);
}

#[test]
fn instances_take_the_template_beside_them() {
    let fleet = Fleetd::new()
        .file("units/web@.service", OTHER)
        .events(&["web@1.service"], vec![current(10)])
        .on("GET /fleet/v1/units/web@.service", error(404, "unit does not exist"))
        .on("PUT /fleet/v1/units/web@1.service", changed(201, 11));
    insta::assert_snapshot!(fleet.run("submit web@1"), @r#"
    exit 1
    ----- stderr
    Error creating units: failed getting Unit(web@1.service) from template: unable to find template Unit(web@.service) in Registry or on filesystem
    "#);
    insta::assert_snapshot!(fleet.run("submit units/web@1"), @r#"
    exit 0
    ----- stdout
    Unit web@1.service inactive
    ----- writes
    PUT /fleet/v1/units/web@1.service {"desiredState":"inactive","name":"web@1.service","options":"0a9b607"}
    "#);
}

#[test]
fn an_instance_is_replaced_by_what_lies_here() {
    let web1 = "web@1.service";
    let fleet = Fleetd::new()
        .file("web@.service", OTHER)
        .events(&[web1], vec![unit(5, web1, record(WEB, Inactive)), current(10)])
        .on("GET /fleet/v1/units/web@.service", json(content("web@.service", WEB)))
        .on("PUT /fleet/v1/units/web@1.service", changed(201, 11));
    insta::assert_snapshot!(fleet.run("submit web@1"), @r#"
    exit 0
    ----- stderr
    WARNING: Unit web@1.service in registry differs from local template unit file web@.service. Add --replace to override.
    "#);
    insta::assert_snapshot!(fleet.run("submit --replace web@1"), @r#"
    exit 0
    ----- stdout
    Unit web@1.service inactive
    ----- writes
    PUT /fleet/v1/units/web@1.service {"desiredState":"inactive","name":"web@1.service","options":"0a9b607"}
    "#);
}

#[test]
fn templates_are_submitted_but_never_started() {
    let fleet = Fleetd::new()
        .file("web@.service", WEB)
        .events(&["web@.service"], vec![current(10)])
        .on("PUT /fleet/v1/units/web@.service", changed(201, 11));
    insta::assert_snapshot!(fleet.run("start web@.service"), @r#"
    exit 1
    ----- stderr
    Error starting units: cannot activate template "web@.service"; start an instance of it: fleetctl start web@1.service
    "#);
    insta::assert_snapshot!(fleet.run("load web@.service"), @r#"
    exit 1
    ----- stderr
    Error loading units: cannot activate template "web@.service"; load an instance of it: fleetctl load web@1.service
    "#);
    insta::assert_snapshot!(fleet.run("submit web@.service"), @r#"
    exit 0
    ----- stdout
    Unit web@.service inactive
    ----- writes
    PUT /fleet/v1/units/web@.service {"desiredState":"inactive","name":"web@.service","options":"e1284e8"}
    "#);
}

#[test]
fn what_the_api_refuses() {
    let fleet = Fleetd::new()
        .file(UNIT, WEB)
        .events(&[UNIT], vec![current(10)])
        .on(PUT, error(409, "unit does not exist and options field empty"))
        .on(PUT, error(503, "fleet server unable to communicate with etcd"))
        .on(PUT, error(500, ""));
    insta::assert_snapshot!(fleet.run("submit web.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: web.service: unit does not exist and options field empty
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"e1284e8"}
    "#);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: web.service: fleetd at unix://[DIR]/sock cannot serve now: fleet server unable to communicate with etcd; is etcd up? see `journalctl -u fleet` there
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"e1284e8"}
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
    insta::assert_snapshot!(fleet.run("start web.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: web.service: fleetd at unix://[DIR]/sock failed (500): it gave no reason; see `journalctl -u fleet` there
    ----- writes
    PUT /fleet/v1/units/web.service {"desiredState":"inactive","name":"web.service","options":"e1284e8"}
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    PUT /fleet/v1/units/web.service {"desiredState":"launched","name":"web.service","options":"e1284e8"}
    "#);
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
    let fleet = old_unit(Launched, script).file(UNIT, OTHER).on(PUT, changed(201, 11));
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
    let script = vec![unit(11, UNIT, record(WEB, Loaded)), placed(12, UNIT, M1), state(13, UNIT, M1, said)];
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

#[test]
fn no_units() {
    let fleet = Fleetd::new();
    insta::assert_snapshot!(fleet.run("submit"), @r#"
    exit 0
    ----- stderr
    No units given
    "#);
    insta::assert_snapshot!(fleet.run("start --replace"), @r#"
    exit 0
    ----- stderr
    No units given
    "#);
}
