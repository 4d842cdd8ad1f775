//! Machines that show no sign of life any more.

use units::Phase;

use super::bed::{Bed, decisions, name};
use crate::engine::Change;
use crate::registry::encode;

#[test]
fn the_units_of_a_lost_machine_move_in_one_transaction_each() {
    let (mut bed, [a, b, _]) = Bed::with(["", "", ""]);
    for i in 0..6 {
        bed.launch(&format!("u{i}.service"), "");
    }
    bed.settle();
    bed.kill(a);
    let plan = bed.pass();
    assert_eq!(plan.steps.len(), 2);
    for unit in ["u0.service", "u3.service"] {
        let decision = decisions(&plan, unit)[0];
        assert!(decision.is_rescue);
        assert!(matches!(decision.schedule, Change::Set(_)));
        assert_eq!(decision.assigns[&a], Change::Clear);
        assert!(
            decision.reason.contains("00000001 is lost"),
            "{}",
            decision.reason
        );
    }
    bed.settle();
    assert_eq!(bed.home("u1.service"), Some(b), "the others stayed");
    assert!(bed.unplaced().is_empty());
    assert!(bed.cluster.machines[&a].assignments.is_empty());
    bed.check();
}

#[test]
fn what_cannot_run_elsewhere_keeps_its_order_and_has_a_verdict() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", ""]);
    bed.launch("pinned.service", "MachineID=00000001");
    bed.launch("ssd.service", "MachineMetadata=disk=ssd");
    bed.launch("follower.service", "MachineOf=ssd.service");
    bed.settle();
    bed.cut(a);
    bed.settle();
    for unit in ["pinned.service", "ssd.service", "follower.service"] {
        assert_eq!(bed.home(unit), Some(a), "{unit}");
        assert_eq!(bed.phase(unit, a), Some(Phase::Run), "{unit}");
        assert_eq!(bed.refusal(unit, a), "shows no sign of life", "{unit}");
    }
    assert_eq!(
        bed.refusal("pinned.service", b),
        "is not 00000001, which MachineID= asks for"
    );
    bed.heal(a);
    bed.settle();
    for unit in ["pinned.service", "ssd.service", "follower.service"] {
        assert_eq!(bed.verdict(unit), None, "{unit}");
        assert_eq!(bed.agents[&a].copies[&name(unit)].starts, 1, "{unit}");
    }
    bed.check();
}

#[test]
fn what_had_nowhere_to_go_moves_as_soon_as_there_is_a_place() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", ""]);
    bed.launch("ssd.service", "MachineMetadata=disk=ssd");
    bed.settle();
    bed.kill(a);
    bed.settle();
    assert_eq!(bed.home("ssd.service"), Some(a));
    bed.record(b, "disk=ssd", false);
    bed.settle();
    assert_eq!(bed.copies("ssd.service"), [b]);
    assert_eq!(bed.verdict("ssd.service"), None);
    bed.check();
}

#[test]
fn followers_move_with_their_peer_off_a_lost_machine() {
    let (mut bed, [a, b, c]) = Bed::with(["", "", ""]);
    bed.launch("z.service", "");
    bed.launch("a.service", "MachineOf=z.service");
    bed.settle();
    assert_eq!(bed.home("a.service"), Some(a));
    bed.kill(a);
    bed.settle();
    let home = bed.home("z.service").unwrap();
    assert!(home == b || home == c);
    assert_eq!(bed.copies("a.service"), [home]);
    bed.check();
}

#[test]
fn a_unit_on_a_machine_out_of_sight_still_stands_in_the_way_of_its_like() {
    let (mut bed, [a, b]) = Bed::with(["zone=x", "zone=x"]);
    bed.launch("web@1.service", "MachineID=00000001");
    bed.settle();
    bed.cut(a);
    bed.launch("web@2.service", "Conflicts=web@*.service\nFailureDomain=zone");
    bed.settle();
    assert_eq!(
        bed.refusal("web@2.service", b),
        "shares its zone with 00000001, which holds web@1.service, which conflicts"
    );
    bed.check();
}

#[test]
fn a_machine_that_left_is_not_lost_and_nothing_waits_for_it() {
    let (mut bed, [a, b, c]) = Bed::with(["", "", ""]);
    bed.launch("pinned.service", "MachineID=00000001");
    bed.settle();
    bed.leave(a);
    bed.leave(b);
    bed.settle();
    assert_eq!(bed.home("pinned.service"), None);
    assert_eq!(bed.phase("pinned.service", a), None);
    let plan = bed.plan();
    assert_eq!((plan.braked, bed.memory.absent()), (0, 0));
    let verdict = bed.verdict("pinned.service").unwrap();
    let named: Vec<_> = verdict.machines.iter().map(|m| m.machine).collect();
    assert_eq!(named, [c], "machines that left are no candidates");
    bed.check();
}

#[test]
fn orders_and_places_of_units_that_are_gone_are_cleared_from_lost_machines() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.kill(a);
    bed.destroy("x.service");
    bed.settle();
    assert!(bed.cluster.schedule.is_empty());
    assert!(bed.cluster.machines[&a].assignments.is_empty());
    bed.check();
}

#[test]
fn a_place_without_an_order_on_a_machine_out_of_sight_is_found_another_machine() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.kill(a);
    let placement = units::Placement {
        machine: a,
        reason: String::new(),
    };
    bed.launch("x.service", "");
    bed.put(bed.keys.schedule(&name("x.service")), encode(&placement));
    bed.settle();
    assert_eq!(bed.copies("x.service"), [b]);
    bed.check();
}
