//! Many machines lost at once: etcd or the network is suspected, not the machines.

use std::time::Duration;

use super::bed::{Bed, id};

/// This many machines with ten units each.
fn farm(machines: usize) -> Bed {
    let mut bed = Bed::new();
    for n in 1..=machines {
        bed.join(id(n), "");
    }
    for i in 0..machines * 10 {
        bed.launch(&format!("u{i:03}.service"), "");
    }
    bed.settle();
    bed
}

/// Units that are on this machine by their place.
fn there(bed: &Bed, n: usize) -> usize {
    bed.cluster.machines[&id(n)].assignments.len()
}

#[test]
fn one_machine_of_three_is_moved_at_once() {
    let mut bed = farm(3);
    bed.kill(id(1));
    let plan = bed.pass();
    assert_eq!((plan.braked, there(&bed, 1)), (0, 0));
    bed.settle();
    bed.check();
}

#[test]
fn two_of_six_are_moved_at_once_and_three_are_held() {
    let mut bed = farm(6);
    bed.kill(id(1));
    bed.kill(id(2));
    assert_eq!(bed.pass().braked, 0);

    let mut bed = farm(6);
    for n in 1..=3 {
        bed.kill(id(n));
    }
    assert_eq!(bed.pass().braked, 30);
}

#[test]
fn a_mass_loss_is_held_for_one_ttl_from_the_last_loss_and_then_paced() {
    let mut bed = farm(4);
    bed.kill(id(1));
    bed.kill(id(2));
    let plan = bed.pass();
    assert_eq!(plan.braked, 20);
    assert_eq!(plan.wake, Some(Duration::from_secs(15)));
    let verdict = bed.verdict("u000.service").unwrap();
    assert!(verdict.passing);
    assert_eq!(
        verdict.summary,
        "stays with its lost machine for now: too many were lost at once, so etcd or the network is suspected"
    );
    bed.wait(10);
    bed.kill(id(3));
    let plan = bed.pass();
    assert_eq!((plan.braked, plan.wake), (30, Some(Duration::from_secs(25))));
    bed.wait(14);
    assert_eq!(bed.plan().braked, 30);
    // From here on ten a second, one by one.
    bed.wait(1);
    assert_eq!(bed.plan().braked, 29);
    assert_eq!(bed.plan().wake, Some(bed.now + Duration::from_millis(100)));
    for left in (19..29).rev() {
        bed.now += Duration::from_millis(100);
        bed.settle();
        assert_eq!(bed.plan().braked, left);
    }
    bed.wait(2);
    assert_eq!([1, 2, 3].map(|n| there(&bed, n)), [0, 0, 0]);
    assert!(bed.unplaced().is_empty() && bed.cluster.verdicts.is_empty());
    bed.check();
}

#[test]
fn machines_that_come_back_while_held_keep_everything() {
    let mut bed = farm(3);
    bed.cut(id(1));
    bed.cut(id(2));
    bed.settle();
    bed.wait(14);
    bed.heal(id(1));
    bed.heal(id(2));
    bed.settle();
    assert!(bed.cluster.verdicts.is_empty());
    for agent in bed.agents.values() {
        assert_eq!(agent.copies.len(), 10);
        assert!(agent.copies.values().all(|copy| copy.starts == 1));
    }
    bed.check();
}

#[test]
fn a_loss_after_all_came_back_is_an_ordinary_one() {
    let mut bed = farm(3);
    bed.cut(id(1));
    bed.cut(id(2));
    bed.settle();
    bed.heal(id(1));
    bed.heal(id(2));
    bed.settle();
    bed.kill(id(3));
    assert_eq!(bed.pass().braked, 0);
    bed.settle();
    assert_eq!(there(&bed, 3), 0);
    bed.check();
}

#[test]
fn a_new_leader_counts_from_its_own_first_look() {
    let mut bed = farm(3);
    bed.kill(id(1));
    bed.kill(id(2));
    bed.wait(14);
    bed.begin_term();
    bed.settle();
    bed.wait(14);
    assert_eq!(bed.plan().braked, 20);
    bed.wait(1);
    assert!(bed.plan().braked < 20);
}
