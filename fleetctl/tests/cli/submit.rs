//! `submit`, `load` and `start`: where content comes from, and what becomes of it on the way.

use super::fake::{Fleetd, changed, error, json};
use super::say::*;

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
    let fleet = old_unit(Inactive, vec![])
        .file(UNIT, OTHER)
        .on(PUT, changed(201, 11));
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
        .file(
            "b.service",
            "[Service]\nExecStart=/bin/true\n\n[X-Fleet]\n MachineMetadata = region\n",
        )
        .file("c.service", "[Service]\nExecStart /bin/true\n")
        .file("d.service", b"[Service]\nExecStart=/bin/\xff\n")
        .file("e.service", "# nothing\n")
        .events(&["a.service", "b.service"], vec![current(10)])
        .events(&["a.service", "c.service"], vec![current(10)])
        .events(&["a.service", "d.service"], vec![current(10)])
        .events(&["a.service", "e.service"], vec![current(10)])
        .events(&["a.service", "f.service"], vec![current(10)]);
    insta::assert_snapshot!(fleet.run("submit a.service b.service"), @r#"
    exit 1
    ----- stderr
    Error creating units: b.service:5:20: MachineMetadata="region": expected key=value with one "="; for several, quote each or repeat the key
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
        .on(
            "GET /fleet/v1/units/web@.service",
            json(content("web@.service", WEB)),
        )
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
        .on(
            "GET /fleet/v1/units/web@.service",
            error(404, "unit does not exist"),
        )
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
        .on(
            "GET /fleet/v1/units/web@.service",
            json(content("web@.service", WEB)),
        )
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
fn too_many_units() {
    let fleet = Fleetd::new();
    let units: Vec<String> = (0..5000).map(|n| format!("web@{n}.service")).collect();
    insta::assert_snapshot!(fleet.run(&format!("start {}", units.join(" "))), @r#"
    exit 1
    ----- stderr
    Error: too many units for one command: give fewer, a thousand for example, and the rest in another
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
