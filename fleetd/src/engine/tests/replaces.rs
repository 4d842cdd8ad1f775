//! Units that take the places of others (fleet-reference §2.6, quirk 6).

use units::Phase;

use super::bed::{Bed, name};

#[test]
fn the_one_that_replaces_stays_and_the_other_moves_once_it_is_gone() {
    // Neither the name nor the age decides.
    for [carrier, other] in [["a.service", "b.service"], ["b.service", "a.service"]] {
        let (mut bed, [first, second]) = Bed::with(["disk=ssd", ""]);
        bed.launch(other, "");
        bed.settle();
        assert_eq!(bed.home(other), Some(first));
        bed.launch(carrier, &format!("Replaces={other}\nMachineMetadata=disk=ssd"));
        bed.pass();
        assert_eq!(bed.home(carrier), Some(first));
        bed.answer_all();
        bed.pass();
        // Release, then run: it has no other place before it is gone.
        assert_eq!(
            (bed.phase(other, first), bed.home(other)),
            (Some(Phase::Release), None)
        );
        assert!(bed.verdict(other).unwrap().passing);
        bed.settle();
        assert_eq!((bed.home(carrier), bed.home(other)), (Some(first), Some(second)));
        assert_eq!(
            (bed.copies(carrier), bed.copies(other)),
            (vec![first], vec![second])
        );
        assert_eq!(bed.agents[&first].copies[&name(carrier)].starts, 1);
        bed.check();
    }
}

#[test]
fn on_one_machine_nothing_flaps_and_the_verdict_says_who_is_there() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("old.service", "");
    bed.settle();
    bed.launch("new.service", "Replaces=old.service");
    bed.settle();
    assert_eq!(bed.home("new.service"), Some(a));
    let verdict = bed.verdict("old.service").unwrap();
    assert!(!verdict.passing);
    assert_eq!(
        bed.refusal("old.service", a),
        "holds new.service, which replaces it"
    );
    assert_eq!(
        verdict.counts.into_keys().collect::<Vec<_>>(),
        ["replaced by a unit there"]
    );
    assert_eq!(bed.pass().steps, [], "it has come to rest");
    bed.check();

    // With another machine it has a place again, without the other having done a thing.
    bed.join(super::bed::id(2), "");
    bed.settle();
    assert_eq!(bed.home("old.service"), Some(super::bed::id(2)));
    assert_eq!(bed.agents[&a].copies[&name("new.service")].starts, 1);
    bed.check();
}

#[test]
fn it_comes_back_when_the_one_in_its_place_goes() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("new.service", "Replaces=old.service");
    bed.launch("old.service", "");
    bed.settle();
    // Placed in one pass: it is not even started.
    assert_eq!(bed.unplaced(), ["old.service"]);
    bed.want("new.service", units::DesiredState::Inactive);
    bed.settle();
    assert_eq!(bed.home("old.service"), Some(a));
    bed.check();
}

#[test]
fn only_a_machine_that_passes_every_filter_takes_what_was_replaced() {
    let (mut bed, [a, b, c]) = Bed::with(["disk=ssd", "disk=hdd", "disk=ssd"]);
    bed.launch("old.service", "MachineMetadata=disk=ssd");
    bed.launch("other.service", "Conflicts=old.service\nMachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(
        (bed.home("old.service"), bed.home("other.service")),
        (Some(a), Some(c))
    );
    bed.launch("new.service", "Replaces=old*\nMachineOf=pin.service");
    bed.launch("pin.service", "MachineID=00000001");
    bed.settle();
    assert_eq!(bed.home("new.service"), Some(a));
    assert_eq!(
        [a, b, c].map(|id| bed.refusal("old.service", id)),
        [
            "holds new.service, which replaces it",
            "has disk=hdd, MachineMetadata= asks for disk=ssd",
            "holds other.service, which conflicts",
        ]
    );
    bed.check();
}

#[test]
fn units_that_replace_each_other_stay_together_and_the_reason_says_why() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("a.service", "Replaces=b.service");
    bed.launch("b.service", "Replaces=a.service");
    bed.settle();
    assert_eq!((bed.home("a.service"), bed.home("b.service")), (Some(a), Some(a)));
    assert_eq!(
        bed.placement("b.service").reason,
        "least loaded of the machines that fit (1 unit there before it); stays beside a.service: Replaces= is ignored \
         where units replace each other"
    );
    // Of a template, each instance names all others.
    for i in 1..=3 {
        bed.launch(&format!("web@{i}.service"), "Replaces=web@*.service");
    }
    bed.settle();
    assert_eq!(bed.unplaced(), [""; 0]);
    bed.check();
}

#[test]
fn a_longer_circle_is_ignored_as_well() {
    let (mut bed, [_]) = Bed::with([""]);
    for (unit, other) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")] {
        bed.launch(&format!("{unit}.service"), &format!("Replaces={other}.service"));
    }
    bed.launch("e.service", "");
    bed.launch("c.service", "Replaces=d.service\nReplaces=e.service");
    bed.settle();
    assert_eq!(bed.unplaced(), ["e.service"], "that one is in no circle");
    // Without one of them it is a circle no more.
    bed.want("d.service", units::DesiredState::Inactive);
    bed.settle();
    assert_eq!(bed.unplaced(), ["b.service", "d.service", "e.service"]);
    bed.check();
}

#[test]
fn what_has_to_go_itself_takes_no_place() {
    let (mut bed, [a, b]) = Bed::with(["here=yes", ""]);
    for unit in ["v1.service", "v2.service", "v3.service"] {
        bed.launch(unit, "MachineMetadata=here=yes");
    }
    bed.settle();
    bed.launch("v2.service", "Replaces=v1.service");
    bed.launch("v3.service", "Replaces=v2.service\nMachineMetadata=here=yes");
    bed.pass();
    assert_eq!(bed.phase("v2.service", a), Some(Phase::Release));
    assert_eq!(bed.phase("v1.service", a), Some(Phase::Run));
    bed.settle();
    assert_eq!(
        ["v1", "v2", "v3"].map(|u| bed.home(&format!("{u}.service"))),
        [Some(a), Some(b), Some(a)]
    );
    bed.check();
}

#[test]
fn a_global_unit_is_never_driven_out() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("agent.service", "Global=true");
    bed.launch("new.service", "Replaces=agent.service");
    bed.settle();
    assert_eq!(bed.phase("agent.service", a), Some(Phase::Run));
    assert_eq!(bed.home("new.service"), Some(a));
    bed.check();
}

#[test]
fn who_follows_a_replaced_unit_goes_with_it() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", ""]);
    bed.launch("old.service", "");
    bed.launch("logs.service", "MachineOf=old.service");
    bed.settle();
    bed.launch("new.service", "Replaces=old.service\nMachineMetadata=disk=ssd");
    bed.settle();
    let homes = ["new.service", "old.service", "logs.service"].map(|u| bed.home(u));
    assert_eq!(homes, [Some(a), Some(b), Some(b)]);
    bed.check();
}

#[test]
fn nobody_drives_out_what_it_has_to_be_with() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("db.service", "");
    bed.launch("app.service", "MachineOf=db.service");
    bed.settle();
    bed.launch("new.service", "MachineOf=app.service\nReplaces=db.service");
    bed.settle();
    assert_eq!(bed.unplaced(), ["new.service"]);
    assert_eq!(
        bed.refusal("new.service", a),
        "would have to hold db.service for MachineOf=, which its Replaces= drives out"
    );
    bed.check();
}

#[test]
fn two_that_each_replace_what_the_other_has_to_be_with_do_not_go_round_for_ever() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("blue.service", "");
    bed.launch("green.service", "");
    bed.launch(
        "blue-side.service",
        "MachineOf=blue.service\nReplaces=green.service",
    );
    bed.launch(
        "green-side.service",
        "MachineOf=green.service\nReplaces=blue.service",
    );
    bed.settle();
    assert_eq!(bed.pass().steps, [], "it has come to rest");
    let homes = ["blue.service", "blue-side.service"].map(|u| bed.home(u));
    assert_eq!(homes, [Some(a); 2]);
    assert_eq!(bed.unplaced(), ["green-side.service", "green.service"]);
    bed.check();
}

#[test]
fn nothing_is_stopped_for_one_that_the_machine_does_not_take() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("old.service", "");
    bed.launch("filler.service", "MachineID=00000002");
    bed.settle();
    assert_eq!(bed.home("old.service"), Some(a));
    bed.agents.get_mut(&a).unwrap().taken.insert(name("new.service"));
    bed.launch("new.service", "Replaces=old.service");
    // The leader sees what it wrote before the machine has answered.
    bed.pass();
    bed.pass();
    bed.settle();
    assert_eq!(
        (bed.home("new.service"), bed.home("old.service")),
        (Some(b), Some(a))
    );
    assert_eq!(
        bed.agents[&a].copies[&name("old.service")].starts,
        1,
        "it ran through"
    );
    bed.check();
}

#[test]
fn it_goes_where_nobody_is_stopped_for_good_if_there_is_such_a_machine() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", ""]);
    bed.launch("old.service", "MachineMetadata=disk=ssd");
    bed.launch("filler.service", "MachineID=00000002");
    bed.settle();
    bed.launch("new.service", "Replaces=old.service");
    bed.settle();
    // As loaded as the first, and later by its id.
    assert_eq!(
        (bed.home("new.service"), bed.home("old.service")),
        (Some(b), Some(a))
    );
    assert_eq!(bed.agents[&a].copies[&name("old.service")].starts, 1);
    bed.check();
}
