//! Every combination of what is wanted and what is there that the plan tells apart.

use units::{Assignment, DesiredState, Hash, Phase};

use super::*;
use crate::agent::local::Record;

fn hash(text: &str) -> Hash {
    units::UnitFile::parse(text).unwrap().hash()
}

fn old() -> Hash {
    hash("[Service]\nExecStart=/bin/old\n")
}

fn new() -> Hash {
    hash("[Service]\nExecStart=/bin/new\n")
}

fn wanted(desired: DesiredState, generation: i64, run: u64) -> Order {
    Order::Run(Assignment {
        on_disconnect: OnDisconnect::Keep,
        generation,
        run,
        hash: new(),
        desired,
        phase: Phase::Run,
    })
}

fn launched(generation: i64, run: u64) -> Order {
    wanted(DesiredState::Launched, generation, run)
}

fn held(hash: Hash, generation: i64, run: u64, started: Started) -> Held {
    Held {
        hash: Some(hash),
        guarded: false,
        record: Record {
            generation,
            run,
            started,
            installed: true,
            enabled: false,
            asked_us: 0,
        },
    }
}

fn status(load: &str, active: &str) -> Status {
    Status {
        load: load.into(),
        active: active.into(),
        ..Status::default()
    }
}

fn unknown() -> Status {
    Status::default()
}

fn up() -> Status {
    Status {
        invocation: "1".into(),
        main_pid: 42,
        ..status("loaded", "active")
    }
}

fn failed() -> Status {
    Status {
        invocation: "1".into(),
        ..status("loaded", "failed")
    }
}

fn finished() -> Status {
    status("loaded", "inactive")
}

/// The steps in short, for tables.
fn steps(order: &Order, held: Option<&Held>, status: &Status) -> String {
    let words = |step: &Step| match step {
        Step::Fetch(_) => "fetch".to_owned(),
        Step::Write { .. } => "write".to_owned(),
        Step::Start { generation, run } => format!("start({generation},{run})"),
        Step::Note {
            generation,
            run,
            started,
        } => format!("note({generation},{run},{started})"),
        other => format!("{other:?}").to_lowercase(),
    };
    let words: Vec<String> = plan(order, held, status).steps.iter().map(words).collect();
    words.join(" ")
}

#[test]
fn a_new_unit_is_started_without_a_reload() {
    assert_eq!(
        steps(&launched(5, 0), None, &unknown()),
        "fetch claim write link installed enable start(5,0)"
    );
    assert_eq!(
        steps(&wanted(DesiredState::Loaded, 5, 0), None, &unknown()),
        "fetch claim write link installed"
    );
}

#[test]
fn changed_content_stops_the_old_before_the_new_is_written_and_reloads() {
    let before = held(old(), 4, 0, Started::Yes);
    let steps = steps(&launched(5, 0), Some(&before), &up());
    assert_eq!(
        steps,
        "fetch claim stop write link reload installed enable start(5,0)"
    );
}

#[test]
fn a_unit_is_started_once_for_each_generation_and_run() {
    let before = held(new(), 5, 0, Started::Yes);
    for now in [up(), failed(), finished(), unknown()] {
        assert_eq!(steps(&launched(5, 0), Some(&before), &now), "", "{now:?}");
    }
    assert_eq!(
        steps(&launched(6, 0), Some(&before), &finished()),
        "enable start(6,0)"
    );
    assert_eq!(
        steps(&launched(6, 0), Some(&before), &up()),
        "enable start(6,0)",
        "no stop: a start of what runs is none"
    );
}

#[test]
fn another_run_stops_what_still_runs() {
    let before = held(new(), 5, 0, Started::Yes);
    assert_eq!(
        steps(&launched(6, 1), Some(&before), &up()),
        "stop enable start(6,1)"
    );
    assert_eq!(
        steps(&launched(6, 1), Some(&before), &failed()),
        "enable start(6,1)"
    );
}

#[test]
fn a_start_cut_short_by_a_crash_is_issued_again_only_if_there_is_no_sign_of_it() {
    let before = held(new(), 5, 0, Started::Asked);
    assert_eq!(steps(&launched(5, 0), Some(&before), &up()), "note(5,0,true)");
    assert_eq!(steps(&launched(5, 0), Some(&before), &failed()), "note(5,0,true)");
    let ran = Status {
        invocation: "1".into(),
        ..finished()
    };
    assert_eq!(steps(&launched(5, 0), Some(&before), &ran), "note(5,0,true)");
    assert_eq!(
        steps(&launched(5, 0), Some(&before), &finished()),
        "enable start(5,0)"
    );
}

#[test]
fn loaded_stops_what_fleet_started_and_nothing_else() {
    let loaded = wanted(DesiredState::Loaded, 6, 0);
    assert_eq!(
        steps(&loaded, Some(&held(new(), 5, 0, Started::Yes)), &up()),
        "stop note(6,0,false)"
    );
    assert_eq!(
        steps(&loaded, Some(&held(new(), 5, 0, Started::Yes)), &finished()),
        "stop note(6,0,false)",
        "its start may still be queued"
    );
    assert_eq!(
        steps(&loaded, Some(&held(new(), 6, 0, Started::No)), &up()),
        "",
        "a person started it"
    );
    assert_eq!(
        steps(&loaded, Some(&held(new(), 5, 0, Started::No)), &finished()),
        "note(6,0,false)"
    );
}

#[test]
fn release_disables_stops_and_removes() {
    let mut before = held(old(), 4, 0, Started::Yes);
    assert_eq!(
        steps(&Order::Release, Some(&before), &up()),
        "stop resetfailed remove"
    );
    assert_eq!(
        steps(&Order::Release, Some(&before), &failed()),
        "stop resetfailed remove",
        "systemd may be about to restart it"
    );
    assert_eq!(
        steps(
            &Order::Release,
            Some(&held(old(), 4, 0, Started::No)),
            &finished()
        ),
        "resetfailed remove"
    );
    before.record.enabled = true;
    assert_eq!(
        steps(&Order::Release, Some(&before), &up()),
        "disable stop resetfailed remove"
    );
    assert_eq!(steps(&Order::Release, None, &up()), "", "not ours");
}

#[test]
fn without_an_authoritative_word_everything_stays() {
    for now in [up(), failed(), finished(), unknown()] {
        assert_eq!(
            steps(&Order::Keep, Some(&held(old(), 4, 0, Started::Yes)), &now),
            ""
        );
        assert_eq!(steps(&Order::Keep, None, &now), "");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_written_again() {
    let before = Held {
        hash: None,
        guarded: false,
        record: Record {
            started: Started::Yes,
            ..Record::default()
        },
    };
    let steps = steps(&launched(5, 0), Some(&before), &up());
    assert_eq!(
        steps,
        "fetch claim stop write link reload installed enable start(5,0)"
    );
}

#[test]
fn a_file_that_systemd_was_not_told_of_is_linked_before_anything_else() {
    let mut before = held(new(), 5, 0, Started::No);
    before.record.installed = false;
    assert_eq!(
        steps(&launched(5, 0), Some(&before), &unknown()),
        "link reload installed"
    );
    assert_eq!(
        steps(&launched(5, 0), Some(&before), &up()),
        "link reload installed"
    );
}

#[test]
fn a_start_cut_short_is_noted_for_the_run_it_was_issued_for() {
    let before = held(new(), 5, 0, Started::Asked);
    assert_eq!(
        steps(&launched(6, 1), Some(&before), &up()),
        "note(5,0,true)",
        "then the new run follows"
    );
}
