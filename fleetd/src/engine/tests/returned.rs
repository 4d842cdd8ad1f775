//! Machines that come back with copies of units that have been placed elsewhere meanwhile.

use units::{DesiredState, Phase};

use super::bed::{Bed, name, text};

/// A unit that was on the first machine when that went out of sight, has been placed on the second, and not been
/// answered from there yet.
fn moved(lines: &str) -> (Bed, [units::MachineId; 3]) {
    let (mut bed, [a, b, c]) = Bed::with(["", "", ""]);
    bed.launch("x.service", lines);
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(a));
    bed.cut(a);
    bed.pass();
    assert_eq!(bed.home("x.service"), Some(b));
    (bed, [a, b, c])
}

#[test]
fn an_old_copy_goes_when_its_successor_is_active() {
    let (mut bed, [a, b, _]) = moved("");
    bed.settle();
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.copies("x.service"), [b]);
    assert_eq!(bed.phase("x.service", a), None);
    bed.check();
}

#[test]
fn a_unit_whose_successor_never_came_up_moves_back_to_its_healthy_copy() {
    let (mut bed, [a, b, _]) = moved("");
    bed.broken.insert(name("x.service"));
    bed.settle();
    bed.heal(a);
    bed.pass();
    assert_eq!(bed.home("x.service"), Some(a));
    assert_eq!(
        bed.placement("x.service").reason,
        "still runs there, and its successor had not come up"
    );
    assert_eq!(bed.phase("x.service", b), Some(Phase::Release));
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a]);
    assert_eq!(
        bed.agents[&a].copies[&name("x.service")].starts,
        1,
        "it ran all along"
    );
    bed.check();
}

#[test]
fn a_unit_of_which_another_run_is_wanted_does_not_move_back_to_be_started_beside_its_successor() {
    let (mut bed, [a, b, _]) = moved("");
    bed.put_unit("x.service", &text(""), DesiredState::Launched, 1);
    bed.pass();
    bed.heal(a);
    bed.pass();
    assert_eq!(bed.home("x.service"), Some(b));
    bed.settle();
    assert_eq!(bed.copies("x.service"), [b]);
    bed.check();
}

#[test]
fn an_old_copy_of_another_version_is_kept_for_five_minutes_while_its_successor_does_not_come_up() {
    let (mut bed, [a, b, _]) = moved("");
    bed.broken.insert(name("x.service"));
    bed.launch("x.service", "[Unit]\nDescription=another version");
    bed.settle();
    bed.heal(a);
    let plan = bed.pass();
    assert!(plan.retained.contains(&(name("x.service"), a)));
    assert_eq!(plan.wake, Some(bed.now + bed.policy.retain));
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a, b]);
    bed.wait(299);
    assert_eq!(bed.copies("x.service"), [a, b]);
    bed.wait(1);
    assert_eq!(bed.copies("x.service"), [b]);
    assert_eq!(bed.plan().wake, None);
    bed.check();
}

#[test]
fn an_old_copy_is_kept_as_it_is_and_goes_as_soon_as_the_successor_comes_up() {
    let (mut bed, [a, b, _]) = moved("");
    bed.broken.insert(name("x.service"));
    bed.launch("x.service", "[Unit]\nDescription=another version");
    bed.settle();
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.agents[&a].copies[&name("x.service")].starts, 1);
    bed.broken.clear();
    bed.agents
        .get_mut(&b)
        .unwrap()
        .copies
        .get_mut(&name("x.service"))
        .unwrap()
        .is_up = true;
    bed.settle();
    assert_eq!(bed.copies("x.service"), [b]);
    bed.check();
}

#[test]
fn of_a_returned_pair_that_conflicts_by_now_only_the_one_that_belongs_there_stays() {
    // Both on the first machine, x the older one.
    let (mut bed, [a, b]) = Bed::with(["role=db", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.launch("db.service", "MachineMetadata=role=db");
    bed.settle();
    assert_eq!(
        (bed.home("x.service"), bed.home("db.service")),
        (Some(a), Some(a))
    );
    bed.cut(a);
    bed.broken.insert(name("x.service"));
    bed.settle();
    bed.launch("db.service", "MachineMetadata=role=db\nConflicts=x.service");
    bed.settle();
    assert_eq!(
        (bed.home("x.service"), bed.home("db.service")),
        (Some(b), Some(a))
    );
    bed.heal(a);
    bed.settle();
    assert_eq!(
        bed.copies("x.service"),
        [b],
        "released at once, though its successor is not up"
    );
    assert_eq!(bed.copies("db.service"), [a]);
    let db = &bed.agents[&a].copies[&name("db.service")];
    assert_eq!(
        db.starts, 2,
        "once at first, once for its new content, and never driven out"
    );
    bed.check();
}

#[test]
fn old_copies_of_followers_are_kept_like_any_other() {
    let (mut bed, [a, b, _]) = Bed::with(["", "", ""]);
    bed.launch("peer.service", "");
    bed.launch("x.service", "MachineOf=peer.service");
    bed.settle();
    bed.cut(a);
    bed.broken.extend([name("x.service"), name("peer.service")]);
    bed.launch("peer.service", "[Unit]\nDescription=another version");
    bed.launch(
        "x.service",
        "MachineOf=peer.service\n[Unit]\nDescription=another version",
    );
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(b));
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a, b]);
    assert_eq!(bed.agents[&a].copies[&name("x.service")].starts, 1);
    bed.wait(300);
    assert_eq!(bed.copies("x.service"), [b]);
    bed.check();
}

#[test]
fn followers_move_back_with_their_peer() {
    for [peer, follower] in [["a.service", "b.service"], ["b.service", "a.service"]] {
        let (mut bed, [a, _, _]) = Bed::with(["", "", ""]);
        bed.launch(peer, "");
        bed.settle();
        bed.launch(follower, &format!("MachineOf={peer}"));
        bed.settle();
        bed.cut(a);
        bed.broken.extend([name(peer), name(follower)]);
        bed.settle();
        bed.heal(a);
        bed.settle();
        for unit in [peer, follower] {
            assert_eq!(bed.copies(unit), [a], "{unit}");
            assert_eq!(
                bed.agents[&a].copies[&name(unit)].starts,
                1,
                "{unit} ran all along"
            );
        }
        bed.check();
    }
}

#[test]
fn a_machine_is_taken_in_only_with_orders_for_what_it_brings() {
    let (mut bed, [a, _, _]) = moved("");
    bed.broken.insert(name("x.service"));
    bed.launch("x.service", "[Unit]\nDescription=another version");
    bed.settle();
    bed.heal(a);
    assert!(!bed.cluster.machines[&a].is_taken_in());
    assert!(!bed.answer(a), "before that it keeps all it has");
    bed.pass();
    assert!(bed.cluster.machines[&a].is_taken_in());
    assert_eq!(bed.phase("x.service", a), Some(Phase::Run));
}

#[test]
fn copies_that_nobody_wants_end_when_the_machine_is_taken_in() {
    let (mut bed, [a, _, _]) = moved("");
    bed.destroy("x.service");
    bed.settle();
    bed.heal(a);
    assert_eq!(bed.copies("x.service"), [a]);
    bed.settle();
    assert_eq!(bed.copies("x.service"), []);
    bed.check();
}

#[test]
fn a_copy_of_a_unit_without_a_place_gives_it_one() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.cut(a);
    let unit = name("x.service");
    bed.delete(bed.keys.schedule(&unit));
    bed.delete(bed.keys.assign(&a, &unit));
    bed.settle();
    assert_eq!(bed.home("x.service"), None);
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.home("x.service"), Some(a));
    assert_eq!(bed.agents[&a].copies[&unit].starts, 1);
    bed.check();
}

#[test]
fn a_rebooted_machine_is_told_again_to_run_what_belongs_there() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.kill(a);
    bed.settle();
    bed.heal(a);
    bed.settle();
    assert_eq!(bed.copies("x.service"), [a]);
    bed.check();
}

/// Destroyed and made anew while its old copy was out of sight: it has been let go of elsewhere for long, and that is no
/// reason to come before what has its place where the copy is.
#[test]
fn a_copy_of_a_unit_that_is_being_let_go_of_elsewhere_drives_nobody_out() {
    let (mut bed, [a, b]) = Bed::with(["", ""]);
    bed.launch("again.service", "");
    bed.settle();
    bed.cut(a);
    bed.wait(60);
    assert_eq!(bed.home("again.service"), Some(b));
    bed.destroy("again.service");
    // It is told to let go of it, and does not answer.
    bed.pass();
    bed.heal(a);
    bed.launch("other.service", "MachineID=00000001");
    bed.pass();
    assert_eq!(bed.home("other.service"), Some(a));
    bed.cut(a);
    bed.launch("again.service", "Conflicts=other.service");
    bed.heal(a);
    bed.pass();
    assert_eq!(bed.home("other.service"), Some(a));
    bed.settle();
    assert_eq!(
        (bed.home("other.service"), bed.home("again.service")),
        (Some(a), Some(b))
    );
    bed.check();
}
