//! Release, then run: what makes sure that a move never makes two copies.

use units::{Hold, Phase};

use super::bed::{Bed, decisions, name};
use crate::registry::encode;

/// A unit on the first of two machines that has just lost its place there.
fn moving() -> (Bed, [units::MachineId; 2]) {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", "disk=ssd"]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    bed.record(a, "", false);
    (bed, [a, b])
}

#[test]
fn a_new_order_comes_only_after_the_old_machine_has_let_go() {
    let (mut bed, [a, b]) = moving();
    let plan = bed.pass();
    let reason = &decisions(&plan, "x.service")[0].reason;
    assert!(
        reason.starts_with("00000001 has no metadata disk, MachineMetadata= asks for disk=ssd"),
        "{reason}"
    );
    let verdict = bed.verdict("x.service").unwrap();
    assert!(verdict.passing, "{verdict:?}");
    assert_eq!(
        verdict.summary,
        "waits until the machine it is leaving has let go of it"
    );
    for _ in 0..3 {
        assert_eq!(bed.pass().steps.len(), 0, "nothing to say before it has answered");
    }
    assert_eq!(bed.phase("x.service", b), None);
    bed.answer(a);
    bed.pass();
    assert_eq!(bed.phase("x.service", a), None);
    assert_eq!(bed.phase("x.service", b), Some(Phase::Run));
    assert_eq!(bed.verdict("x.service"), None);
    bed.settle();
    bed.check();
}

#[test]
fn only_an_answer_to_this_very_order_counts() {
    let (mut bed, [a, b]) = moving();
    bed.pass();
    let unit = name("x.service");
    let order = bed.cluster.machines[&a].assignments[&unit].modified;
    let held = bed.cluster.machines[&a].states[&unit].value.clone();
    for (hold, assignment) in [
        (Hold::Gone, order - 1),
        (Hold::Gone, 0),
        (Hold::Gone, order + 1),
        (Hold::Held, order),
    ] {
        let state = units::State {
            hold,
            assignment,
            ..held.clone()
        };
        bed.put(bed.keys.state(&a, &unit), encode(&state));
        bed.pass();
        assert_eq!(bed.phase("x.service", b), None, "{hold:?} {assignment}");
    }
    // No word at all is no answer either.
    bed.delete(bed.keys.state(&a, &unit));
    bed.pass();
    assert_eq!(bed.phase("x.service", b), None);
    bed.put(
        bed.keys.state(&a, &unit),
        encode(&units::State {
            hold: Hold::Gone,
            assignment: order,
            ..held
        }),
    );
    bed.pass();
    assert_eq!(bed.phase("x.service", b), Some(Phase::Run));
}

#[test]
fn a_machine_that_is_lost_while_it_lets_go_is_not_waited_for() {
    let (mut bed, [a, b]) = moving();
    bed.pass();
    bed.cut(a);
    bed.pass();
    assert_eq!(bed.phase("x.service", a), None);
    assert_eq!(bed.phase("x.service", b), Some(Phase::Run));
    bed.settle();
    bed.check();
}

#[test]
fn a_unit_wanted_again_before_it_is_gone_waits_too() {
    let (mut bed, [a, _]) = Bed::with(["", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.destroy("x.service");
    bed.pass();
    bed.launch("x.service", "");
    bed.pass();
    assert_eq!(bed.home("x.service"), None);
    assert_eq!(bed.phase("x.service", a), Some(Phase::Release));
    bed.settle();
    assert_eq!(bed.copies("x.service").len(), 1);
    bed.check();
}

#[test]
fn decisions_compare_everything_they_were_made_on() {
    let (mut bed, [a, b]) = moving();
    bed.pass();
    bed.answer(a);
    let plan = bed.plan();
    let step = &plan.steps[0];
    let txn = step.transaction(&bed.cluster);
    let unit = name("x.service");
    let keys = &bed.keys;
    for key in [
        keys.unit(&unit),
        keys.schedule(&unit),
        keys.verdict(&unit),
        keys.presence(&a),
        keys.presence(&b),
        keys.assign(&a, &unit),
        keys.assign(&b, &unit),
    ] {
        assert!(txn.preconditions.iter().any(|p| p.key() == key), "{key}");
    }
}
