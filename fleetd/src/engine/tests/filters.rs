//! What a machine must be to get a unit, and what the verdict says of one that is not.

use units::DesiredState::{Inactive, Launched, Loaded};
use units::Phase;

use super::bed::{Bed, decisions, id, name, text};

#[test]
fn machine_id_takes_the_whole_id_and_its_first_eight_digits() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("full.service", &format!("MachineID={b}"));
    bed.launch("short.service", "MachineID=00000002");
    bed.launch("other.service", "MachineID=00000009");
    bed.settle();
    assert_eq!(bed.home("full.service"), Some(b));
    assert_eq!(bed.home("short.service"), Some(b));
    assert_eq!(bed.home("other.service"), None);
    assert_eq!(
        bed.refusal("other.service", a),
        "is not 00000009, which MachineID= asks for"
    );
    bed.check();
}

#[test]
fn machine_metadata_takes_one_of_the_values_of_each_key() {
    let (mut bed, [a, b, c]) = Bed::with(["disk=ssd,zone=a", "disk=ssd,zone=b", "disk=hdd"]);
    let lines = "MachineMetadata=zone=a\nMachineMetadata=zone=b\nMachineMetadata=disk=hdd";
    for (unit, lines, home) in [
        (
            "or.service",
            "MachineMetadata=zone=b\nMachineMetadata=zone=c",
            Some(b),
        ),
        (
            "and.service",
            "MachineMetadata=zone=a\nMachineMetadata=disk=ssd",
            Some(a),
        ),
        ("hdd.service", "MachineMetadata=disk=hdd", Some(c)),
        ("none.service", lines, None),
    ] {
        bed.launch(unit, lines);
        bed.settle();
        assert_eq!(bed.home(unit), home, "{unit}");
    }
    assert_eq!(
        [a, b, c].map(|id| bed.refusal("none.service", id)),
        [
            "has disk=ssd, MachineMetadata= asks for disk=hdd",
            "has disk=ssd, MachineMetadata= asks for disk=hdd",
            "has no metadata zone, MachineMetadata= asks for zone=a or zone=b",
        ]
    );
    bed.check();
}

#[test]
fn a_unit_whose_machine_no_longer_matches_moves_once_it_is_gone_from_there() {
    let (mut bed, [a, b]) = Bed::with(["disk=ssd", "disk=ssd"]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(a));
    bed.record(a, "disk=hdd", false);
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(b));
    assert_eq!(bed.copies("x.service"), [b]);
    bed.check();
}

#[test]
fn a_unit_goes_where_all_its_machine_of_peers_are_and_moves_with_them() {
    let (mut bed, [a, b]) = Bed::with(["", "disk=ssd"]);
    bed.launch("follower.service", "MachineOf=one.service\nMachineOf=two.service");
    bed.settle();
    assert_eq!(
        bed.refusal("follower.service", a),
        "does not hold one.service, which MachineOf= asks for"
    );
    bed.launch("one.service", "MachineID=00000001");
    bed.settle();
    assert_eq!(
        bed.refusal("follower.service", a),
        "does not hold two.service, which MachineOf= asks for"
    );
    bed.launch("two.service", "MachineID=00000001");
    bed.settle();
    assert_eq!(bed.home("follower.service"), Some(a));
    bed.launch("one.service", "MachineMetadata=disk=ssd");
    bed.launch("two.service", "MachineMetadata=disk=ssd");
    bed.settle();
    for unit in ["one.service", "two.service", "follower.service"] {
        assert_eq!(bed.copies(unit), [b], "{unit}");
    }
    bed.check();
}

#[test]
fn a_chain_of_followers_is_placed_in_one_pass_and_falls_with_its_head() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("a.service", "MachineOf=b.service");
    bed.launch("b.service", "MachineOf=c.service");
    bed.launch("c.service", "");
    bed.pass();
    for unit in ["a.service", "b.service", "c.service"] {
        assert_eq!(bed.home(unit), Some(a), "{unit}");
    }
    bed.settle();
    bed.destroy("c.service");
    bed.settle();
    assert_eq!(bed.unplaced(), ["a.service", "b.service"]);
    assert!(bed.copies("a.service").is_empty() && bed.copies("b.service").is_empty());
    bed.check();
}

#[test]
fn a_follower_whose_head_is_gone_goes_whatever_else_there_is_against_it() {
    let (mut bed, [a, b]) = Bed::with(["", "zone=b"]);
    bed.launch("wide.service", "Conflicts=*.service\nFailureDomain=zone");
    bed.launch("alone.service", "MachineID=00000001");
    bed.settle();
    assert_eq!(bed.home("wide.service"), Some(b));
    // Its conflict with what is out of sight is found after it was let stay, and before its peers are looked for.
    bed.record(a, "zone=b", false);
    bed.cut(b);
    bed.launch("alone.service", "MachineOf=nobody.service");
    bed.settle();
    assert_eq!(bed.copies("alone.service"), []);
    bed.check();
}

#[test]
fn units_that_ask_for_each_others_machine_wait_for_ever_and_say_so() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("a.service", "MachineOf=b.service");
    bed.launch("b.service", "MachineOf=a.service");
    bed.settle();
    assert_eq!(bed.unplaced(), ["a.service", "b.service"]);
    assert_eq!(
        bed.refusal("a.service", a),
        "does not hold b.service, which MachineOf= asks for"
    );
    bed.check();
}

#[test]
fn a_unit_can_follow_a_global_one() {
    let (mut bed, [a, b]) = Bed::with(["", "disk=ssd"]);
    bed.launch("g.service", "Global=true\nMachineMetadata=disk=ssd");
    bed.launch("follower.service", "MachineOf=g.service");
    bed.settle();
    assert_eq!(bed.home("follower.service"), Some(b));
    assert_eq!(bed.phase("g.service", a), None);
    bed.check();
}

#[test]
fn the_least_loaded_machine_is_taken_and_of_equals_the_first_by_id() {
    let (mut bed, [a, b, c]) = Bed::with(["", "", ""]);
    for (unit, home) in [("1", a), ("2", b), ("3", c), ("4", a), ("5", b)] {
        bed.launch(&format!("u{unit}.service"), "");
        bed.settle();
        assert_eq!(bed.home(&format!("u{unit}.service")), Some(home));
    }
    assert_eq!(
        bed.placement("u4.service").reason,
        "least loaded of the machines that fit (1 unit there before it)"
    );
    // All at once comes to the same.
    for i in 6..=9 {
        bed.launch(&format!("u{i}.service"), "");
    }
    bed.pass();
    let homes = [6, 7, 8, 9].map(|i| bed.home(&format!("u{i}.service")));
    assert_eq!(homes, [c, a, b, c].map(Some));
}

#[test]
fn what_is_desired_decides_where_a_unit_is_and_what_its_machine_is_told() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.submit("x.service", "", Inactive);
    bed.settle();
    assert_eq!((bed.home("x.service"), bed.verdict("x.service")), (None, None));
    for desired in [Loaded, Launched, Loaded] {
        bed.want("x.service", desired);
        bed.settle();
        assert_eq!(bed.home("x.service"), Some(a));
        let machine = &bed.cluster.machines[&a];
        let unit = &bed.cluster.units[&name("x.service")];
        let order = machine.assignment(&name("x.service")).unwrap();
        assert_eq!((order.desired, order.phase), (desired, Phase::Run));
        assert_eq!((order.generation, order.run), (unit.generation, 0));
    }
    bed.want("x.service", Inactive);
    let plan = bed.pass();
    assert_eq!(
        decisions(&plan, "x.service")[0].reason,
        "the unit is to be inactive"
    );
    assert_eq!(bed.phase("x.service", a), Some(Phase::Release));
    bed.settle();
    assert!(bed.copies("x.service").is_empty() && bed.phase("x.service", a).is_none());

    bed.want("x.service", Launched);
    bed.settle();
    bed.destroy("x.service");
    let plan = bed.pass();
    assert_eq!(decisions(&plan, "x.service")[0].reason, "the unit was destroyed");
    bed.settle();
    assert!(
        [a, b]
            .iter()
            .all(|id| bed.cluster.machines[id].assignments.is_empty())
    );
    assert!(bed.cluster.contents.is_empty(), "its content went as well");
    bed.check();
}

#[test]
fn another_run_or_content_reaches_the_unit_where_it_is() {
    let (mut bed, [a, _]) = Bed::with(["", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.put_unit("x.service", &text(""), Launched, 1);
    bed.settle();
    let other = text("").replace("sleep", "true");
    bed.put_unit("x.service", &other, Launched, 1);
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a]);
    assert_eq!(bed.agents[&a].copies[&name("x.service")].starts, 3);
    assert_eq!(bed.cluster.contents.len(), 1, "the old content is gone");
    bed.check();
}

#[test]
fn a_template_is_never_placed_and_has_no_verdict() {
    let (mut bed, _) = Bed::with([""]);
    bed.launch("web@.service", "Conflicts=web@*");
    bed.launch("web@1.service", "Conflicts=web@*");
    bed.settle();
    assert_eq!(bed.unplaced(), ["web@.service"]);
    assert_eq!(bed.verdict("web@.service"), None);
    bed.check();
}

#[test]
fn a_name_of_the_hosts_is_tried_elsewhere_then_judged_and_tried_again_when_the_unit_changes() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    let ssh = || name("ssh.service");
    for id in [a, b] {
        bed.agents.get_mut(&id).unwrap().taken.insert(ssh());
    }
    bed.launch("ssh.service", "");
    bed.pass();
    assert_eq!(bed.home("ssh.service"), Some(a));
    bed.answer_all();
    bed.pass();
    // Refused, but not yet let go of: nothing new until that is answered too.
    assert_eq!(bed.phase("ssh.service", a), Some(Phase::Release));
    assert_eq!(bed.home("ssh.service"), None);
    bed.answer_all();
    bed.pass();
    assert_eq!(bed.home("ssh.service"), Some(b));
    bed.settle();
    for id in [a, b] {
        assert_eq!(bed.refusal("ssh.service", id), "has a ssh.service of its own");
        assert_eq!(
            bed.phase("ssh.service", id),
            Some(Phase::Release),
            "it is remembered"
        );
    }
    assert_eq!(
        bed.verdict("ssh.service").unwrap().counts["name belongs to the host"],
        2
    );

    bed.agents.get_mut(&b).unwrap().taken.clear();
    bed.launch("ssh.service", "");
    bed.settle();
    assert_eq!(bed.home("ssh.service"), Some(b));
    assert_eq!(bed.verdict("ssh.service"), None);
    bed.check();
}

#[test]
fn a_refusal_of_the_unit_as_it_was_says_nothing_about_the_unit_as_it_is() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.agents.get_mut(&a).unwrap().taken.insert(name("ssh.service"));
    bed.launch("ssh.service", "");
    bed.settle();
    bed.agents.get_mut(&a).unwrap().taken.clear();
    bed.launch("ssh.service", "");
    // Two passes before the machine says anything: the second still sees the refusal of before.
    bed.pass();
    assert_eq!(bed.phase("ssh.service", a), Some(Phase::Run));
    bed.pass();
    assert_eq!(bed.phase("ssh.service", a), Some(Phase::Run));
    bed.settle();
    assert_eq!(bed.copies("ssh.service"), [a]);
}

#[test]
fn a_name_that_came_free_is_tried_again_without_a_change_of_the_unit() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.agents.get_mut(&a).unwrap().taken.insert(name("ssh.service"));
    bed.launch("ssh.service", "");
    bed.settle();
    let agent = bed.agents.get_mut(&a).unwrap();
    agent.taken.clear();
    agent.forget();
    bed.settle();
    assert_eq!(bed.copies("ssh.service"), [a]);
    bed.check();
}

#[test]
fn a_leaving_machine_gets_nothing_new_and_hands_over_what_it_has() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.launch("pinned.service", "MachineID=00000001");
    bed.launch("g.service", "Global=true");
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(a));
    bed.leave(a);
    bed.launch("new.service", "");
    bed.pass();
    assert_eq!(bed.home("x.service"), None, "first it has to be gone");
    assert_eq!(bed.refusal("pinned.service", id(1)), "");
    bed.settle();
    assert_eq!(bed.copies("x.service"), [b]);
    assert_eq!(bed.copies("new.service"), [b]);
    assert_eq!(bed.copies("g.service"), [b]);
    assert!(bed.cluster.machines[&a].has_left());
    assert_eq!(bed.unplaced(), ["g.service", "pinned.service"]);
    bed.check();
    bed.join(a, "");
    bed.settle();
    assert_eq!(bed.home("pinned.service"), Some(a));
    assert_eq!(bed.home("x.service"), Some(b), "it stays where it is");
    assert_eq!(bed.copies("g.service"), [a, b]);
    bed.check();
}
