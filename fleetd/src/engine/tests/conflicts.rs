//! Units that cannot be together, on a machine or in a failure domain.

use units::Phase;

use super::bed::{Bed, name};

#[test]
fn a_conflict_holds_whichever_of_the_two_declares_it() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("declares.service", "Conflicts=plain*.service");
    bed.settle();
    bed.launch("plain1.service", "");
    bed.settle();
    assert_eq!(
        bed.refusal("plain1.service", a),
        "holds declares.service, which conflicts"
    );

    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("plain1.service", "");
    bed.settle();
    bed.launch("declares.service", "Conflicts=plain*.service");
    bed.settle();
    assert_eq!(
        bed.refusal("declares.service", a),
        "holds plain1.service, which conflicts"
    );
    bed.check();
}

#[test]
fn a_unit_is_not_in_its_own_way() {
    let (mut bed, ids) = Bed::with(["", ""]);
    for i in 1..=3 {
        bed.launch(&format!("web@{i}.service"), "Conflicts=web@*.service");
    }
    bed.settle();
    assert_eq!(bed.home("web@1.service"), Some(ids[0]));
    assert_eq!(bed.home("web@2.service"), Some(ids[1]));
    assert_eq!(bed.unplaced(), ["web@3.service"]);
    bed.check();
}

#[test]
fn of_two_that_come_to_conflict_the_longest_placed_stays_and_only_the_other_moves() {
    for declares in ["old.service", "new.service"] {
        let (mut bed, [a, b]) = Bed::with(["", "full=no"]);
        // Names in the order opposite to the ages: it is not the name that decides.
        let [old, new] = ["old.service", "new.service"];
        bed.launch(old, "MachineID=00000001");
        bed.settle();
        bed.launch(new, "MachineID=00000001");
        bed.settle();
        let conflict = match declares {
            "old.service" => "Conflicts=new.service",
            _ => "Conflicts=old.service",
        };
        bed.launch(declares, conflict);
        bed.launch(if declares == old { new } else { old }, "");
        bed.pass();
        assert_eq!(bed.phase(old, a), Some(Phase::Run), "{declares}");
        assert_eq!(bed.phase(new, a), Some(Phase::Release), "{declares}");
        // Before the newcomer has gone, it must not drive out the one it makes room for.
        bed.pass();
        assert_eq!(bed.phase(old, a), Some(Phase::Run), "{declares}");
        bed.settle();
        assert_eq!(bed.copies(old), [a], "{declares}");
        let starts = bed.agents[&a].copies[&name(old)].starts;
        assert_eq!(starts, 2, "once at first, once for its new content");
        assert_eq!(bed.copies(new), [b], "{declares}");
        bed.check();
    }
}

#[test]
fn a_newcomer_waits_while_what_it_conflicts_with_is_on_its_way_out() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("old.service", "");
    bed.settle();
    bed.destroy("old.service");
    bed.launch("new.service", "Conflicts=old.service");
    bed.pass();
    let verdict = bed.verdict("new.service").unwrap();
    assert!(verdict.passing);
    assert_eq!(
        bed.refusal("new.service", a),
        "still has to let go of old.service, which conflicts"
    );
    bed.settle();
    assert_eq!(bed.home("new.service"), Some(a));
    assert_eq!(bed.verdict("new.service"), None);
    bed.check();
}

const WIDE: &str = "Conflicts=web@*.service\nFailureDomain=zone";

#[test]
fn a_failure_domain_widens_conflicts_to_all_machines_of_a_zone() {
    let (mut bed, [a, b, c, d]) = Bed::with(["zone=x", "zone=x", "zone=y", ""]);
    for i in 1..=3 {
        bed.launch(&format!("web@{i}.service"), WIDE);
    }
    bed.settle();
    assert_eq!(bed.home("web@1.service"), Some(a));
    assert_eq!(bed.home("web@2.service"), Some(c));
    assert_eq!(
        [a, b, c, d].map(|id| bed.refusal("web@3.service", id)),
        [
            "holds web@1.service, which conflicts",
            "shares its zone with 00000001, which holds web@1.service, which conflicts",
            "holds web@2.service, which conflicts",
            "has no metadata zone, which FailureDomain= needs",
        ]
    );
    bed.check();
}

#[test]
fn a_failure_domain_that_only_one_of_two_declares_holds_for_both() {
    let zones = ["zone=x", "zone=x", ""];
    let (mut bed, [_, b, _]) = Bed::with(zones);
    bed.launch("wide.service", "Conflicts=plain.service\nFailureDomain=zone");
    bed.settle();
    bed.launch("plain.service", "MachineID=00000002");
    bed.settle();
    assert_eq!(
        bed.refusal("plain.service", b),
        "shares its zone with 00000001, which holds wide.service, which conflicts"
    );

    let (mut bed, [_, b, c]) = Bed::with(zones);
    bed.launch("plain.service", "");
    bed.settle();
    bed.launch("wide.service", "Conflicts=plain.service\nFailureDomain=zone");
    bed.settle();
    assert_eq!(
        bed.refusal("wide.service", b),
        "shares its zone with 00000001, which holds plain.service, which conflicts"
    );
    // Machines without the key are in no domain: the other unit may be there.
    bed.launch("plain.service", "MachineID=00000003");
    bed.settle();
    assert_eq!(bed.home("plain.service"), Some(c));
    assert!(bed.home("wide.service").is_some());
    bed.check();
}

#[test]
fn each_of_several_failure_domains_counts_on_its_own() {
    let (mut bed, ids) = Bed::with(["rack=1,zone=x", "rack=1,zone=y", "rack=2,zone=x", "rack=2,zone=y"]);
    for i in 1..=3 {
        bed.launch(
            &format!("web@{i}.service"),
            "Conflicts=web@*.service\nFailureDomain=rack zone",
        );
    }
    bed.settle();
    assert_eq!(bed.home("web@1.service"), Some(ids[0]));
    assert_eq!(bed.home("web@2.service"), Some(ids[3]));
    assert_eq!(bed.unplaced(), ["web@3.service"]);
    bed.check();
}

#[test]
fn the_longest_placed_stays_in_its_failure_domain_while_the_other_goes() {
    let (mut bed, [a, b, c]) = Bed::with(["zone=x", "zone=x", "zone=y"]);
    bed.launch("web@9.service", "MachineID=00000001");
    bed.settle();
    bed.launch("web@1.service", "MachineID=00000002");
    bed.settle();
    bed.launch("web@9.service", WIDE);
    bed.launch("web@1.service", WIDE);
    bed.pass();
    bed.pass();
    assert_eq!(bed.phase("web@9.service", a), Some(Phase::Run));
    assert_eq!(bed.phase("web@1.service", b), Some(Phase::Release));
    bed.launch("web@2.service", WIDE);
    bed.launch("web@3.service", WIDE);
    bed.settle();
    assert_eq!(bed.copies("web@9.service"), [a]);
    let third = ["web@1.service", "web@2.service", "web@3.service"].map(|u| bed.home(u));
    assert_eq!(third.iter().filter(|home| **home == Some(c)).count(), 1);
    bed.check();
}
