//! Units that run on every machine that fits.

use units::Phase;

use super::bed::{Bed, decisions, id, name};
use crate::registry::MAX_OPS;

#[test]
fn a_global_unit_is_on_every_machine_that_fits_and_on_no_other() {
    let (mut bed, [a, b, c]) = Bed::with(["disk=ssd", "disk=hdd", "disk=ssd"]);
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, c]);
    assert_eq!(bed.home("g.service"), None);
    bed.record(b, "disk=ssd", false);
    bed.record(c, "disk=hdd", false);
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, b]);
    bed.join(id(4), "disk=ssd");
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, b, id(4)]);
    assert_eq!(bed.verdict("g.service"), None);
    bed.check();
}

#[test]
fn a_global_unit_that_fits_nowhere_has_a_verdict() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.settle();
    for id in [a, b] {
        assert_eq!(
            bed.refusal("g.service", id),
            "has no metadata disk, MachineMetadata= asks for disk=ssd"
        );
    }
    bed.record(a, "disk=ssd", false);
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a]);
    assert_eq!(bed.verdict("g.service"), None);
    bed.check();
}

#[test]
fn a_global_unit_keeps_clear_of_what_it_conflicts_with() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.launch("g.service", "Global=true\nConflicts=x.service");
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a]);
    assert_eq!(bed.copies("g.service"), [b]);
    bed.destroy("x.service");
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, b]);
    bed.check();
}

#[test]
fn a_global_unit_that_refused_a_machine_is_tried_there_again_when_it_changes() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.agents.get_mut(&a).unwrap().taken.insert(name("g.service"));
    bed.launch("g.service", "Global=true");
    bed.settle();
    assert_eq!(bed.copies("g.service"), [b]);
    bed.agents.get_mut(&a).unwrap().taken.clear();
    bed.launch("g.service", "Global=true");
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, b]);
    bed.check();
}

#[test]
fn loss_never_takes_a_global_units_place_away() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", "disk=ssd"]);
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.settle();
    bed.cut(a);
    // Not even if it no longer fits there.
    bed.record(a, "disk=hdd", false);
    bed.settle();
    bed.wait(3600);
    assert_eq!(bed.phase("g.service", a), Some(Phase::Run));
    bed.record(a, "disk=ssd", false);
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.copies("g.service"), [a, b]);
    assert_eq!(bed.agents[&a].copies[&name("g.service")].starts, 1);
    bed.check();
}

#[test]
fn a_machine_out_of_sight_is_not_told_of_a_global_unit_that_no_longer_suits_it() {
    let (mut bed, [a, b]) = Bed::with(["disk=hdd", "disk=ssd"]);
    bed.launch("g.service", "Global=true");
    bed.settle();
    bed.cut(a);
    bed.launch("g.service", "Global=true\nDescription=another version");
    bed.settle();
    assert_eq!(
        bed.phase("g.service", a),
        Some(Phase::Run),
        "it still suits the machine"
    );
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(bed.phase("g.service", a), None);
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.copies("g.service"), [b]);
    bed.check();
}

#[test]
fn a_unit_that_becomes_global_or_ceases_to_be_keeps_a_copy_running() {
    let (mut bed, [a, b, c]) = Bed::with(["", "", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.launch("x.service", "Global=true");
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a, b, c]);
    assert!(bed.cluster.schedule.is_empty());
    bed.launch("x.service", "");
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a]);
    assert_eq!(bed.home("x.service"), Some(a));
    bed.check();
}

#[test]
fn a_global_unit_over_two_hundred_machines_is_told_in_transactions_that_etcd_takes() {
    let mut bed = Bed::new();
    for n in 1..=200 {
        bed.join(id(n), "");
    }
    bed.settle();
    bed.launch("g.service", "Global=true");
    let plan = bed.pass();
    let parts = decisions(&plan, "g.service");
    assert_eq!(parts.len(), 4);
    for part in parts {
        assert!(part.assigns.len() * 2 + 4 <= MAX_OPS);
    }
    bed.settle();
    assert_eq!(bed.copies("g.service").len(), 200);

    // One newcomer costs one transaction that speaks to it alone.
    bed.join(id(201), "");
    let plan = bed.pass();
    let parts = decisions(&plan, "g.service");
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].assigns.keys().collect::<Vec<_>>(), [&id(201)]);
    bed.destroy("g.service");
    bed.settle();
    assert_eq!(bed.copies("g.service"), []);
    bed.check();
}
