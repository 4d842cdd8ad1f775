//! Records that somebody broke: nothing stops because of them.

use units::Phase;

use super::bed::{Bed, hash, name, text};

const BROKEN: &[u8] = b"{ this is no record";

/// A unit on the first of two machines, and the same unit's key broken.
fn running() -> (Bed, [units::MachineId; 2]) {
    let (mut bed, ids) = Bed::with(["disk=ssd", "disk=ssd"]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(ids[0]));
    (bed, ids)
}

fn unmoved(bed: &Bed, [a, _]: [units::MachineId; 2]) {
    assert_eq!(bed.copies("x.service"), [a]);
    assert_eq!(bed.agents[&a].copies[&name("x.service")].starts, 1);
    assert_eq!(bed.phase("x.service", a), Some(Phase::Run));
}

#[test]
fn an_unreadable_unit_goes_on_and_its_content_is_kept() {
    let (mut bed, ids) = running();
    bed.put(bed.keys.unit(&name("x.service")), BROKEN);
    bed.settle();
    bed.wait(3600);
    unmoved(&bed, ids);
    assert_eq!(bed.cluster.contents.len(), 1);
    // Not even the loss of its machine changes anything.
    bed.cut(ids[0]);
    bed.settle();
    bed.heal(ids[0]);
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn an_unreadable_unit_that_has_nothing_is_not_placed_and_says_why() {
    let (mut bed, _) = Bed::with([""]);
    bed.put(bed.keys.unit(&name("x.service")), BROKEN);
    bed.settle();
    let verdict = bed.verdict("x.service").unwrap();
    assert!(
        verdict.summary.contains("units/x.service cannot be read"),
        "{verdict:?}"
    );
    bed.check();
}

#[test]
fn a_unit_whose_content_is_missing_or_wrong_goes_on() {
    let (mut bed, ids) = running();
    let key = bed.keys.content(&hash(&text("MachineMetadata=disk=ssd")));
    bed.delete(key.clone());
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
    bed.put(key.clone(), "[Service]\nExecStart=/bin/other\n");
    bed.settle();
    unmoved(&bed, ids);
    bed.put(key.clone(), [0xff, 0xfe]);
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
    bed.put(key, text("MachineMetadata=disk=ssd"));
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn a_unit_whose_content_never_was_there_says_so() {
    let (mut bed, _) = Bed::with([""]);
    bed.launch("x.service", "");
    let content = hash(&text(""));
    bed.delete(bed.keys.content(&content));
    bed.settle();
    assert_eq!(
        bed.verdict("x.service").unwrap().summary,
        format!("its content {} is missing", content.short())
    );
    bed.put(bed.keys.content(&content), "[Service]\nExecStart=/bin/other\n");
    bed.settle();
    assert_eq!(
        bed.verdict("x.service").unwrap().summary,
        format!("content {} does not match its hash", content.short())
    );
    bed.put(bed.keys.content(&content), text(""));
    bed.settle();
    assert!(bed.home("x.service").is_some());
    bed.check();
}

#[test]
fn an_unreadable_order_is_written_again() {
    let (mut bed, ids) = running();
    bed.put(bed.keys.assign(&ids[0], &name("x.service")), BROKEN);
    assert!(bed.answer(ids[0]), "it says so, and keeps the unit");
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn an_unreadable_place_is_the_place_of_the_order() {
    for is_cut in [false, true] {
        let (mut bed, ids) = running();
        if is_cut {
            bed.cut(ids[0]);
            bed.leave(ids[1]);
        }
        bed.put(bed.keys.schedule(&name("x.service")), BROKEN);
        // A newcomer that could take the place is not given it.
        bed.launch("a.service", "Conflicts=x.service");
        bed.settle();
        assert_eq!(bed.home("x.service"), Some(ids[0]), "{is_cut}");
        unmoved(&bed, ids);
        if is_cut {
            bed.heal(ids[0]);
            bed.settle();
            unmoved(&bed, ids);
        }
        bed.check();
    }
}

#[test]
fn an_unreadable_state_is_no_answer_and_stops_nothing() {
    let (mut bed, ids) = running();
    let key = bed.keys.state(&ids[0], &name("x.service"));
    bed.put(key, BROKEN);
    for _ in 0..3 {
        bed.pass();
    }
    unmoved(&bed, ids);
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn a_machine_that_brings_a_copy_with_an_unreadable_state_is_not_taken_in_until_it_can_be_read() {
    let (mut bed, ids) = running();
    bed.cut(ids[0]);
    let unit = name("x.service");
    bed.delete(bed.keys.assign(&ids[0], &unit));
    bed.delete(bed.keys.schedule(&unit));
    bed.leave(ids[1]);
    bed.settle();
    bed.heal(ids[0]);
    bed.put(bed.keys.state(&ids[0], &unit), BROKEN);
    bed.pass();
    assert!(!bed.cluster.machines[&ids[0]].is_taken_in());
    bed.settle();
    unmoved(&bed, ids);
    assert!(bed.cluster.machines[&ids[0]].is_taken_in());
    bed.check();
}

#[test]
fn an_unreadable_machine_record_keeps_what_is_there_and_gets_nothing_new() {
    let (mut bed, ids) = running();
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.settle();
    bed.put(bed.keys.machine(&ids[0]), BROKEN);
    bed.launch("new.service", "MachineMetadata=disk=ssd");
    bed.settle();
    unmoved(&bed, ids);
    assert_eq!(bed.copies("g.service"), ids);
    assert_eq!(bed.home("new.service"), Some(ids[1]));
    bed.launch("pinned.service", "MachineID=00000001");
    bed.settle();
    assert_eq!(
        bed.refusal("pinned.service", ids[0]),
        "has a record that cannot be read"
    );
    bed.check();
    bed.record(ids[0], "disk=ssd", false);
    bed.settle();
    assert_eq!(bed.home("pinned.service"), Some(ids[0]));
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn an_unreadable_presence_is_a_sign_of_life() {
    let (mut bed, ids) = running();
    bed.put(bed.keys.presence(&ids[0]), BROKEN);
    bed.settle();
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn an_unreadable_seen_is_written_again() {
    let (mut bed, ids) = running();
    bed.put(bed.keys.seen(&ids[0]), BROKEN);
    assert!(!bed.cluster.machines[&ids[0]].is_taken_in());
    bed.settle();
    assert!(bed.cluster.machines[&ids[0]].is_taken_in());
    unmoved(&bed, ids);
    bed.check();
}

#[test]
fn an_unreadable_verdict_is_written_again_or_removed() {
    let (mut bed, _) = running();
    bed.put(bed.keys.verdict(&name("x.service")), BROKEN);
    bed.launch("y.service", "MachineMetadata=disk=tape");
    bed.settle();
    assert!(!bed.cluster.verdicts.contains_key(&name("x.service")));
    bed.put(bed.keys.verdict(&name("y.service")), BROKEN);
    bed.settle();
    assert!(bed.verdict("y.service").is_some());
    bed.check();
}

#[test]
fn keys_of_others_are_no_business_of_the_engines() {
    let (mut bed, _) = running();
    bed.put("/_coreos.com/fleet/lease/engine-leader".to_owned(), BROKEN);
    bed.put("/other".to_owned(), BROKEN);
    assert_eq!(bed.pass().steps, []);
    bed.check();
}
