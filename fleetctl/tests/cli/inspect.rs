//! `cat`, `status` and `version`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use units::{Assignment, CopyView, Hold, Phase, Placement, State, UnitName, UnitView};

use super::fake::{Fleetd, error, json};
use super::say::*;

const GET: &str = "GET /fleet/v2/units/web.service";

#[test]
fn version() {
    let fleet = Fleetd::new();
    insta::assert_snapshot!(fleet.run("version"), @r#"
    exit 0
    ----- stdout
    fleetctl version 0.1.0
    "#);
}

#[test]
fn cat() {
    let fleet = Fleetd::new()
        .on("GET /fleet/v1/units/web.service", json(content(UNIT, WEB)))
        .on(
            "GET /fleet/v1/units/a%5Cx2d.service",
            error(404, "unit does not exist"),
        );
    insta::assert_snapshot!(fleet.run("cat web"), @r#"
    exit 0
    ----- stdout
    [Unit]
    Description=A web server

    [Service]
    ExecStart=/bin/sleep 100
    "#);
    insta::assert_snapshot!(fleet.run("cat a\\x2d.service"), @r#"
    exit 1
    ----- stderr
    Unit a\x2d.service not found
    "#);
    insta::assert_snapshot!(fleet.run("cat"), @r#"
    exit 1
    ----- stderr
    One unit file must be provided
    "#);
    insta::assert_snapshot!(fleet.run("cat a b"), @r#"
    exit 1
    ----- stderr
    One unit file must be provided
    "#);
}

fn view() -> UnitView {
    UnitView {
        revision: 20,
        name: UnitName::parse(UNIT).unwrap(),
        unit: record(WEB, Launched),
        generation: 11,
        global: false,
        description: Some("A web server".to_owned()),
        placement: None,
        verdict: None,
        copies: Vec::new(),
    }
}

fn copy(machine: &str, address: &str, state: Option<State>) -> CopyView {
    let assignment = Assignment {
        generation: 11,
        run: 0,
        hash: record(WEB, Launched).hash,
        desired: Launched,
        phase: Phase::Run,
        on_disconnect: units::OnDisconnect::Keep,
    };
    CopyView {
        machine: id(machine),
        address: address.to_owned(),
        assignment: Some(assignment),
        state,
    }
}

fn on_m1(state: Option<State>) -> UnitView {
    UnitView {
        placement: Some(Placement {
            machine: id(M1),
            reason: "it has the fewest units of 3 machines that fit".to_owned(),
        }),
        copies: vec![copy(M1, "10.0.0.1", state)],
        ..view()
    }
}

fn fleet(view: &UnitView) -> Fleetd {
    Fleetd::new().on(GET, json(serde_json::to_string(view).unwrap()))
}

/// Active since a while.
fn active() -> State {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let since = now - Duration::from_secs(2 * 3_600 + 10 * 60 + 30);
    State {
        since: u64::try_from(since.as_micros()).unwrap(),
        ..held(11, true, "active/running/success")
    }
}

#[test]
fn status_of_what_runs_elsewhere() {
    let again = State {
        restarts: 3,
        ..active()
    };
    insta::assert_snapshot!(fleet(&on_m1(Some(again))).run("status web"), @r#"
    exit 0
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, active (running) for 2h 10min, restarted 3 times
    "#);
    insta::assert_snapshot!(fleet(&on_m1(None)).run("status web --no-block"), @r#"
    exit 3
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: has not answered yet
    "#);
}

#[test]
fn status_of_what_has_failed() {
    let failed = State {
        restarts: 1,
        problem: Some("systemd could not start it: failed".to_owned()),
        since: 0,
        ..held(11, true, "failed/failed/exit-code")
    };
    insta::assert_snapshot!(fleet(&on_m1(Some(failed))).run("status web"), @r#"
    exit 3
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, failed (failed), result exit-code, restarted once
         Problem: systemd could not start it: failed
    "#);
}

#[test]
fn status_of_what_has_no_place() {
    let view = UnitView {
        verdict: Some(refusals(11)),
        ..view()
    };
    insta::assert_snapshot!(fleet(&view).run("status web"), @r#"
    exit 3
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: nowhere
    Unit web.service cannot be placed: none of 23 machines can hold it: 23 metadata does not match
      1234abcd.../10.0.0.1: has zone=b, MachineMetadata= asks for zone=a
      beef0002...: has no metadata zone, MachineMetadata= asks for zone=a
      … and 21 more
    "#);
}

#[test]
fn status_of_what_runs_everywhere() {
    let refused = State {
        hold: Hold::Refused,
        problem: Some("web.service belongs to the host".to_owned()),
        ..held(11, false, "")
    };
    let view = UnitView {
        global: true,
        copies: vec![copy(M1, "10.0.0.1", Some(active())), copy(M2, "", Some(refused))],
        ..view()
    };
    insta::assert_snapshot!(fleet(&view).run("status web"), @r#"
    exit 3
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on every machine that fits
           State: 1234abcd.../10.0.0.1: loaded, active (running) for 2h 10min
           State: beef0002...: refused it
         Problem: web.service belongs to the host
    "#);
}

#[test]
fn status_of_a_copy_left_behind() {
    let mut view = on_m1(Some(active()));
    view.unit.run = 2;
    view.copies.push(CopyView {
        assignment: None,
        ..copy(M2, "", Some(active()))
    });
    insta::assert_snapshot!(fleet(&view).run("status web"), @r#"
    exit 0
    ----- stdout
    web.service - A web server
         Desired: launched, run 2
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, active (running) for 2h 10min
           State: beef0002...: loaded, active (running) for 2h 10min, though it does not belong there any more
    "#);
}

#[test]
fn status_on_the_machine_itself() {
    let systemctl = "#!/bin/sh\necho \"systemctl $*\"\nexit 3\n";
    let finished = State {
        since: 0,
        ..held(11, true, "inactive/dead/success")
    };
    let fleet = fleet(&on_m1(Some(finished))).on_machine(M1, systemctl);
    insta::assert_snapshot!(fleet.run("status web"), @r#"
    exit 3
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, inactive (dead)

    systemctl status -l --no-pager -- web.service
    "#);
    let fleet = self::fleet(&on_m1(Some(active()))).on_machine(M2, systemctl);
    insta::assert_snapshot!(fleet.run("status web"), @r#"
    exit 0
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, active (running) for 2h 10min
    "#);
}

#[test]
fn status_of_several_and_of_none() {
    let fleet =
        fleet(&on_m1(Some(active()))).on("GET /fleet/v2/units/a.service", error(404, "unit does not exist"));
    insta::assert_snapshot!(fleet.run("status a web"), @r#"
    exit 1
    ----- stdout
    web.service - A web server
         Desired: launched
         Content: e1284e8
          Placed: on 1234abcd.../10.0.0.1
         Because: it has the fewest units of 3 machines that fit
           State: 1234abcd.../10.0.0.1: loaded, active (running) for 2h 10min
    ----- stderr
    Unit a.service does not exist.
    "#);
    insta::assert_snapshot!(fleet.run("status"), @r#"
    exit 0
    ----- stderr
    No units given
    "#);
}
