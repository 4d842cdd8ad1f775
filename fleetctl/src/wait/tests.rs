//! Tables: what is known of a unit, and how far that is from each goal.

use units::{
    DesiredState, Event, Hold, MachineId, Placement, State, UnitFile, UnitName, UnitRecord, Verdict,
};

use super::{Goal, Progress, Watched, What, progress};
use crate::api::Addresses;

const M1: &str = "1234abcd000000000000000000000000";
const M2: &str = "beef0002000000000000000000000000";

fn id(machine: &str) -> MachineId {
    MachineId::parse(machine).unwrap()
}

fn name() -> UnitName {
    UnitName::parse("a.service").unwrap()
}

fn record(desired: DesiredState) -> UnitRecord {
    UnitRecord {
        hash: UnitFile::parse("[Service]\nExecStart=/bin/true\n")
            .unwrap()
            .hash(),
        desired,
        run: 0,
    }
}

/// The unit is wanted so since revision 10.
fn wanted(desired: DesiredState) -> Watched {
    Watched {
        unit: Some(record(desired)),
        generation: 10,
        seen: 12,
        ..Watched::default()
    }
}

fn said(generation: i64, started: bool, systemd: &str) -> State {
    let (active, sub) = systemd.split_once('/').unwrap();
    State {
        assignment: generation + 1,
        hold: Hold::Held,
        generation,
        run: 0,
        hash: None,
        started,
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: sub.to_owned(),
        result: String::new(),
        restarts: 0,
        since: 1,
        problem: None,
    }
}

impl Watched {
    fn placed_on(mut self, machine: &str) -> Self {
        self.placement = Some(Placement {
            machine: id(machine),
            reason: String::new(),
        });
        self
    }

    fn with(mut self, machine: &str, state: State) -> Self {
        self.states.insert(id(machine), state);
        self
    }

    fn with_verdict(mut self, generation: i64, passing: bool) -> Self {
        self.verdict = Some(Verdict {
            generation,
            revision: generation,
            passing,
            summary: "no machine fits".to_owned(),
            counts: [].into(),
            machines: Vec::new(),
        });
        self
    }
}

fn goal(what: What) -> Goal {
    Goal {
        unit: name(),
        what,
        revision: 10,
        hash: None,
        run: 0,
    }
}

/// What comes of it, in short.
fn outcome(goal: &Goal, watched: &Watched) -> String {
    let addresses: Addresses = [(id(M1), "10.0.0.1".to_owned())].into();
    match progress(goal, watched, &addresses) {
        Progress::Waiting(what) => format!("waits for {what}"),
        Progress::Unplaceable(verdict) => format!("unplaceable: {}", verdict.summary),
        Progress::Reached(line) => format!("reached: {line}"),
        Progress::Failed(why) => format!("failed: {why}"),
    }
}

#[track_caller]
fn check(what: What, table: &[(Watched, &str)]) {
    for (watched, expected) in table {
        assert_eq!(
            outcome(&goal(what), watched),
            *expected,
            "{what:?} of {watched:#?}"
        );
    }
}

#[test]
fn launched() {
    let wanted = || wanted(DesiredState::Launched);
    let failing = State {
        problem: Some("no space left on device".to_owned()),
        ..said(10, false, "inactive/dead")
    };
    let of_before = State {
        assignment: 6,
        generation: 5,
        ..failing.clone()
    };
    let not_loaded = State {
        assignment: 11,
        ..of_before.clone()
    };
    let table = [
        (wanted(), "waits for a place"),
        (wanted().with_verdict(9, false), "waits for a place"),
        (
            wanted().with_verdict(10, true),
            "waits for a place: no machine fits",
        ),
        (wanted().with_verdict(10, false), "unplaceable: no machine fits"),
        (wanted().with_verdict(11, false), "unplaceable: no machine fits"),
        (
            wanted().with(M2, said(5, true, "active/running")),
            "waits for beef0002... to let go of it",
        ),
        (
            wanted().placed_on(M1),
            "waits for 1234abcd.../10.0.0.1 to start it",
        ),
        (
            wanted().placed_on(M1).with(M2, said(10, true, "active/running")),
            "waits for 1234abcd.../10.0.0.1 to start it",
        ),
        (
            wanted().placed_on(M1).with(M1, said(5, true, "active/running")),
            "waits for 1234abcd.../10.0.0.1 to start it: active (running)",
        ),
        (
            wanted()
                .placed_on(M1)
                .with(M1, said(10, false, "activating/start-pre")),
            "waits for 1234abcd.../10.0.0.1 to start it: activating (start-pre)",
        ),
        (
            wanted()
                .placed_on(M1)
                .with(M1, said(10, true, "activating/start")),
            "reached: Unit a.service launched on 1234abcd.../10.0.0.1",
        ),
        (
            wanted().placed_on(M2).with(M2, said(11, true, "active/running")),
            "reached: Unit a.service launched on beef0002...",
        ),
        (
            wanted().placed_on(M1).with(M1, of_before),
            "waits for 1234abcd.../10.0.0.1 to start it: inactive (dead)",
        ),
        (
            wanted().placed_on(M1).with(M1, not_loaded),
            "failed: Unit a.service is in trouble on 1234abcd.../10.0.0.1: no space left on device",
        ),
        (
            wanted().placed_on(M1).with(M1, failing),
            "failed: Unit a.service is in trouble on 1234abcd.../10.0.0.1: no space left on device",
        ),
    ];
    check(What::Launched, &table);
}

#[test]
fn running() {
    let state = |systemd: &str| said(10, true, systemd);
    let failed = State {
        result: "exit-code".to_owned(),
        ..state("failed/failed")
    };
    let told = State {
        problem: Some("systemd could not start it: failed".to_owned()),
        ..failed.clone()
    };
    // systemd has forgotten it since; a start that is only queued is not said to be issued.
    let forgotten = State {
        since: 0,
        ..state("inactive/dead")
    };
    let killed = State {
        result: "signal".to_owned(),
        ..state("inactive/dead")
    };
    let on_m1 = "on 1234abcd.../10.0.0.1: systemd says";
    let table = [
        (state("active/running"), "reached: ".to_owned()),
        (state("reloading/reload"), "reached: ".to_owned()),
        (state("inactive/dead"), "reached: ".to_owned()),
        (forgotten, "reached: ".to_owned()),
        (
            state("activating/start"),
            "waits for 1234abcd.../10.0.0.1 to start it: activating (start)".to_owned(),
        ),
        (
            state("deactivating/stop"),
            "waits for 1234abcd.../10.0.0.1 to start it: deactivating (stop)".to_owned(),
        ),
        (
            failed,
            format!("failed: Unit a.service failed {on_m1} failed (failed), result exit-code"),
        ),
        (
            killed,
            format!("failed: Unit a.service failed {on_m1} inactive (dead), result signal"),
        ),
        (
            state("activating/auto-restart"),
            format!("failed: Unit a.service failed {on_m1} activating (auto-restart); it will try again"),
        ),
        (
            told,
            "failed: Unit a.service failed on 1234abcd.../10.0.0.1: systemd could not start it: failed; \
             systemd says failed (failed), result exit-code"
                .to_owned(),
        ),
    ];
    for (state, expected) in table {
        let watched = wanted(DesiredState::Launched).placed_on(M1).with(M1, state);
        assert_eq!(outcome(&goal(What::Running), &watched), expected, "{watched:#?}");
    }
}

#[test]
fn loaded_and_stopped() {
    let wanted = || wanted(DesiredState::Loaded);
    let masked = State {
        load: "masked".to_owned(),
        ..said(10, false, "inactive/dead")
    };
    let loaded = "reached: Unit a.service loaded on 1234abcd.../10.0.0.1";
    let table = [
        // Known, goal `Loaded`, goal `Stopped`
        (wanted(), "waits for a place", "reached: Unit a.service loaded"),
        (
            wanted().with_verdict(10, false),
            "unplaceable: no machine fits",
            "reached: Unit a.service loaded",
        ),
        (
            wanted().with(M2, said(5, true, "active/running")),
            "waits for beef0002... to let go of it",
            "waits for beef0002... to let go of it",
        ),
        (
            wanted()
                .placed_on(M1)
                .with(M1, said(5, true, "deactivating/stop")),
            "waits for 1234abcd.../10.0.0.1 to load it: deactivating (stop)",
            "waits for 1234abcd.../10.0.0.1 to stop it: deactivating (stop)",
        ),
        (
            wanted().placed_on(M1).with(M1, said(10, false, "inactive/dead")),
            loaded,
            loaded,
        ),
        (
            wanted().placed_on(M1).with(M1, said(10, false, "failed/failed")),
            loaded,
            loaded,
        ),
        (
            wanted().placed_on(M1).with(M1, said(10, false, "active/running")),
            loaded,
            "waits for 1234abcd.../10.0.0.1 to stop it: active (running)",
        ),
        (
            wanted().placed_on(M1).with(M1, masked),
            "failed: Unit a.service cannot be loaded on 1234abcd.../10.0.0.1: systemd says masked",
            loaded,
        ),
    ];
    for (watched, load, stop) in table {
        check(What::Loaded, &[(watched.clone(), load)]);
        check(What::Stopped, &[(watched, stop)]);
    }
}

#[test]
fn inactive_and_gone() {
    let wanted = || wanted(DesiredState::Inactive);
    let gone = State {
        hold: Hold::Gone,
        ..said(5, false, "inactive/dead")
    };
    let stuck = State {
        problem: Some("the job timed out".to_owned()),
        ..said(5, true, "deactivating/stop")
    };
    let cases = [
        (wanted(), None),
        (
            wanted().placed_on(M1),
            Some("waits for 1234abcd.../10.0.0.1 to let go of it"),
        ),
        (
            wanted().with(M1, said(5, true, "active/running")),
            Some("waits for 1234abcd.../10.0.0.1 to let go of it"),
        ),
        (wanted().with(M1, gone), None),
        (
            wanted().with(M2, stuck),
            Some("waits for beef0002... to let go of it: the job timed out"),
        ),
    ];
    for (watched, waits) in cases {
        check(
            What::Inactive,
            &[(
                watched.clone(),
                waits.unwrap_or("reached: Unit a.service inactive"),
            )],
        );
        let destroyed = Watched {
            unit: None,
            ..watched
        };
        check(
            What::Gone,
            &[(destroyed, waits.unwrap_or("reached: Destroyed a.service"))],
        );
    }
    let made_anew = Watched {
        generation: 11,
        ..wanted()
    };
    check(
        What::Gone,
        &[
            (wanted(), "waits for the registry to confirm"),
            (made_anew, "reached: Destroyed a.service"),
        ],
    );
}

#[test]
fn the_record_that_counts_is_the_one_that_was_asked_for() {
    let goal = Goal {
        hash: Some(record(DesiredState::Launched).hash),
        run: 2,
        ..goal(What::Launched)
    };
    let of = |generation, desired, run| Watched {
        unit: Some(UnitRecord {
            run,
            ..record(desired)
        }),
        generation,
        ..Watched::default()
    };
    let confirm = "waits for the registry to confirm";
    let changed = "failed: Unit a.service was changed by somebody else meanwhile: its desired state is loaded, its content 86943ac";
    let destroyed = "failed: Unit a.service was destroyed by somebody else meanwhile";
    let table = [
        (of(9, DesiredState::Loaded, 2), confirm),
        (of(9, DesiredState::Launched, 1), confirm),
        (of(10, DesiredState::Launched, 2), "waits for a place"),
        // Somebody else made the same change before us, or one more run after us.
        (of(9, DesiredState::Launched, 2), "waits for a place"),
        (of(11, DesiredState::Launched, 3), "waits for a place"),
        (of(11, DesiredState::Loaded, 2), changed),
        (Watched::default(), confirm),
        (
            Watched {
                seen: 11,
                ..Watched::default()
            },
            destroyed,
        ),
    ];
    for (watched, expected) in table {
        assert_eq!(outcome(&goal, &watched), expected, "{watched:#?}");
    }
}

#[test]
fn events_are_folded() {
    let mut watched = Watched::default();
    let unit = |unit, generation| Event::Unit {
        name: name(),
        unit,
        generation,
        global: true,
    };
    let state = |state| Event::State {
        name: name(),
        machine: id(M1),
        state,
    };
    let said = said(10, true, "active/running");
    watched.apply(10, unit(Some(record(DesiredState::Launched)), 10));
    watched.apply(11, state(Some(said.clone())));
    watched.apply(12, Event::Current { revision: 12 });
    let expected = Watched {
        global: true,
        ..wanted(DesiredState::Launched).with(M1, said)
    };
    assert_eq!(watched, expected);
    // A state is no word on the unit itself.
    watched.apply(13, state(None));
    assert_eq!((watched.seen, watched.states.len()), (12, 0));
    watched.apply(14, unit(None, 0));
    assert_eq!((watched.seen, watched.unit), (14, None));
}
