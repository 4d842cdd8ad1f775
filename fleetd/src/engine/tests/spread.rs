//! Instances balanced over the values of metadata keys.

use units::DesiredState::Inactive;
use units::MachineId;

use super::bed::{Bed, id};

fn launch(bed: &mut Bed, instances: std::ops::RangeInclusive<usize>, lines: &str) {
    for i in instances {
        bed.launch(&format!("web@{i}.service"), lines);
    }
}

fn homes(bed: &Bed, instances: std::ops::RangeInclusive<usize>) -> Vec<MachineId> {
    instances
        .map(|i| bed.home(&format!("web@{i}.service")).unwrap())
        .collect()
}

#[test]
fn instances_are_balanced_over_the_values_then_over_the_machines() {
    let (mut bed, [a, b, c, d]) = Bed::with(["zone=x", "zone=x", "zone=x", "zone=y"]);
    launch(&mut bed, 1..=6, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=6), [a, d, b, d, c, d]);
    let reasons = [1, 2, 6].map(|i| bed.placement(&format!("web@{i}.service")).reason);
    assert_eq!(
        reasons,
        [
            "least instances in zone=x (0), then least loaded of the machines that fit (0 units there before it)",
            "least instances in zone=y (0), then least loaded of the machines that fit (0 units there before it)",
            "least instances in zone=y (2), then least loaded of the machines that fit (2 units there before it)",
        ]
    );
    bed.check();
}

#[test]
fn keys_count_in_their_order() {
    let machines = ["zone=x,rack=1", "zone=x,rack=2", "zone=y,rack=1"];
    for (keys, [second, third], ranked) in [
        ("zone rack", [3, 2], "zone=x (1) and rack=2 (0)"),
        ("rack zone", [2, 3], "rack=1 (1) and zone=y (0)"),
    ] {
        let (mut bed, [a, ..]) = Bed::with(machines);
        bed.launch("web@1.service", "MachineID=00000001");
        bed.settle();
        launch(&mut bed, 2..=3, &format!("Spread={keys}"));
        bed.settle();
        assert_eq!(homes(&bed, 1..=3), [a, id(second), id(third)], "{keys}");
        let reason = bed.placement("web@3.service").reason;
        assert!(
            reason.starts_with(&format!("least instances in {ranked}, then")),
            "{reason}"
        );
    }
}

#[test]
fn load_decides_between_equals_but_not_against_the_balance() {
    let (mut bed, [a, b, c]) = Bed::with(["zone=x", "zone=y", "zone=z"]);
    for i in 1..=3 {
        bed.launch(&format!("busy{i}.service"), "MachineID=00000001");
    }
    bed.launch("some.service", "MachineID=00000002");
    bed.settle();
    launch(&mut bed, 1..=3, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=3), [c, b, a]);
}

#[test]
fn it_gives_way_rather_than_leave_a_unit_unplaced() {
    let (mut bed, [a, b, c]) = Bed::with(["zone=x", "zone=y,disk=ssd", "zone=y,disk=ssd"]);
    launch(&mut bed, 1..=4, "Spread=zone\nMachineMetadata=disk=ssd");
    bed.settle();
    assert_eq!(homes(&bed, 1..=4), [b, c, b, c]);
    assert!(bed.placement("web@4.service").reason.contains("zone=y (3)"));

    // Filters come first: where it may not be it does not go, however few are there.
    bed.launch("web@5.service", "Spread=zone\nMachineMetadata=zone=x");
    bed.settle();
    assert_eq!(homes(&bed, 5..=5), [a]);
    bed.check();
}

#[test]
fn machines_without_the_key_share_a_value_of_their_own() {
    let (mut bed, [a, b, c]) = Bed::with(["zone=x", "", ""]);
    launch(&mut bed, 1..=4, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=4), [a, b, c, a]);
    let reason = bed.placement("web@3.service").reason;
    assert!(
        reason.starts_with("least instances in no zone (1), then"),
        "{reason}"
    );
}

#[test]
fn all_instances_of_the_template_count_and_no_others() {
    let (mut bed, [a, b]) = Bed::with(["zone=x", "zone=y"]);
    bed.launch("web@1.service", "MachineID=00000002");
    bed.launch("db@1.service", "MachineID=00000001");
    bed.launch("db@2.service", "MachineID=00000001");
    bed.launch("web@2.timer", "MachineID=00000001");
    bed.settle();
    bed.launch("web@2.service", "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=2), [b, a]);
}

#[test]
fn what_has_a_place_keeps_it_and_what_leaves_makes_room() {
    let (mut bed, [a, b]) = Bed::with(["zone=x", "zone=y"]);
    launch(&mut bed, 1..=4, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=4), [a, b, a, b]);
    for unit in ["web@1.service", "web@3.service"] {
        bed.want(unit, Inactive);
    }
    bed.settle();
    assert_eq!(
        [2, 4].map(|i| bed.home(&format!("web@{i}.service"))),
        [Some(b); 2],
        "nothing is moved for the balance"
    );
    launch(&mut bed, 5..=6, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 5..=6), [a, a]);
    bed.check();
}

#[test]
fn a_lost_zone_is_made_up_for_in_balance() {
    let (mut bed, ids) = Bed::with(["zone=x", "zone=y", "zone=y", "zone=z", "zone=z"]);
    launch(&mut bed, 1..=6, "Spread=zone");
    bed.settle();
    bed.kill(ids[0]);
    bed.wait(60);
    let mut in_zone = std::collections::BTreeMap::new();
    for home in homes(&bed, 1..=6) {
        *in_zone
            .entry(bed.cluster.machines[&home].metadata["zone"].clone())
            .or_insert(0) += 1;
    }
    assert_eq!(in_zone.into_values().collect::<Vec<_>>(), [3, 3]);
    bed.check();
}

#[test]
fn machines_that_change_their_zone_are_counted_in_the_new_one() {
    let (mut bed, [a, b]) = Bed::with(["zone=x", "zone=x"]);
    launch(&mut bed, 1..=2, "Spread=zone");
    bed.settle();
    bed.record(id(2), "zone=y", false);
    bed.launch("web@3.service", "MachineID=00000002");
    bed.settle();
    launch(&mut bed, 4..=4, "Spread=zone");
    bed.settle();
    assert_eq!(homes(&bed, 1..=4), [a, b, b, a]);
}
