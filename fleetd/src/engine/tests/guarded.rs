//! Units with `OnDisconnect=stop`: at most once, so nothing of them starts before the old copy must be gone.

use units::{DesiredState, Phase};

use super::bed::Bed;
use crate::engine::{Step, plan};

const STOP: &str = "OnDisconnect=stop";

/// Design §6: G + 2 s + 1 % of the TTL, which is 15 s here.
const BOUND: f64 = 10.0 + 2.0 + 0.15;

fn lost() -> (Bed, units::MachineId, units::MachineId) {
    let (mut bed, [a, b]) = Bed::with(["", "disk=big"]);
    bed.launch("db.service", STOP);
    bed.settle();
    assert_eq!(bed.home("db.service"), Some(a));
    bed.cut(a);
    bed.pass();
    (bed, a, b)
}

#[test]
fn the_next_copy_waits_until_the_lost_machine_must_have_ended_the_old_one() {
    let (mut bed, a, b) = lost();
    assert_eq!(bed.home("db.service"), Some(a));
    let verdict = bed.verdict("db.service").unwrap();
    assert!(
        verdict.passing && verdict.summary.contains("OnDisconnect=stop"),
        "{verdict:?}"
    );
    let wake = bed.plan().wake.unwrap();
    assert_eq!(
        (wake - bed.now).as_secs_f64(),
        BOUND,
        "looks again when the bound is over"
    );
    bed.wait(12);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(a));
    bed.wait(1);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(b));
    assert_eq!(bed.phase("db.service", a), None);
    assert_eq!(bed.verdict("db.service"), None);
}

#[test]
fn a_machine_that_is_back_in_time_keeps_the_unit() {
    let (mut bed, a, _) = lost();
    bed.wait(12);
    bed.heal(a);
    bed.settle();
    bed.wait(60);
    bed.settle();
    assert_eq!(bed.home("db.service"), Some(a));
    bed.check();
}

#[test]
fn a_unit_destroyed_and_made_anew_meanwhile_waits_as_well() {
    let (mut bed, a, b) = lost();
    bed.destroy("db.service");
    bed.pass();
    assert_eq!(
        bed.phase("db.service", a),
        Some(Phase::Release),
        "the order stands until it must be done"
    );
    bed.launch("db.service", STOP);
    bed.pass();
    assert_eq!(bed.phase("db.service", b), None);
    bed.wait(13);
    bed.settle();
    assert_eq!(bed.home("db.service"), Some(b));
}

#[test]
fn one_that_was_made_inactive_leaves_nothing_behind() {
    let (mut bed, a, _) = lost();
    bed.want("db.service", DesiredState::Inactive);
    bed.pass();
    bed.wait(13);
    bed.settle();
    assert!(bed.cluster.machines[&a].assignments.is_empty());
}

#[test]
fn a_machine_lost_while_it_lets_go_is_waited_for() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", ""]);
    bed.launch("db.service", "OnDisconnect=stop\nMachineMetadata=disk=ssd");
    bed.settle();
    bed.record(a, "", false);
    bed.record(b, "disk=ssd", false);
    bed.pass();
    assert_eq!(bed.phase("db.service", a), Some(Phase::Release));
    bed.cut(a);
    bed.pass();
    assert_eq!(bed.phase("db.service", b), None);
    bed.wait(13);
    bed.settle();
    assert_eq!(bed.home("db.service"), Some(b));
}

#[test]
fn a_new_leader_counts_from_its_own_first_look() {
    let (mut bed, a, b) = lost();
    bed.wait(10);
    bed.begin_term();
    bed.pass();
    bed.wait(10);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(a));
    bed.wait(6);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(b));
}

/// What counts is what the machine was told: the owner may have written anything since.
#[test]
fn the_order_says_what_the_machine_will_do_not_the_content_of_today() {
    let (mut bed, a, b) = lost();
    bed.launch("db.service", "OnDisconnect=keep");
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(a));
    bed.wait(13);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(b));
}

#[test]
fn a_copy_that_comes_back_where_it_does_not_belong_is_released_at_once() {
    let (mut bed, a, b) = lost();
    bed.wait(13);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(b));
    bed.heal(a);
    let plan = plan(&bed.cluster, &bed.memory, bed.now, &bed.policy);
    assert!(plan.retained.is_empty());
    assert!(
        plan.steps
            .iter()
            .any(|s| matches!(s, Step::TakeIn { machine, .. } if *machine == a))
    );
    bed.settle();
    assert_eq!(bed.copies("db.service"), [b]);
}

/// The copy itself must not run on two machines, though its owner has changed his mind since. Found by the simulator: its
/// agent, frozen until then, still took it for running, and started it again to keep it as it was.
#[test]
fn a_copy_that_says_stop_is_released_though_the_unit_does_not_say_so_any_more() {
    let (mut bed, a, b) = lost();
    bed.wait(13);
    bed.pass();
    assert_eq!(bed.home("db.service"), Some(b));
    bed.launch("db.service", "OnDisconnect=keep");
    bed.heal(a);
    let plan = bed.pass();
    assert!(plan.retained.is_empty(), "{plan:?}");
    assert_eq!(bed.phase("db.service", a), None);
    bed.settle();
    assert_eq!(bed.copies("db.service"), [b]);
}
