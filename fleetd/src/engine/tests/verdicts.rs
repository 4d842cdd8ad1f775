//! What people read: verdicts and reasons.

use insta::assert_snapshot;
use units::Verdict;

use super::bed::{Bed, decisions, id};

fn show(verdict: &Verdict) -> String {
    let mut lines = vec![verdict.summary.clone()];
    if verdict.passing {
        lines.push("(passing)".to_owned());
    }
    lines.extend(verdict.counts.iter().map(|(kind, n)| format!("{n}: {kind}")));
    let machine = |m: &units::Refusal| format!("{} {}: {}", m.machine.short(), m.address, m.reason);
    lines.extend(verdict.machines.iter().map(machine));
    lines.join("\n")
}

#[test]
fn a_cluster_without_machines_says_that_none_has_joined() {
    let mut bed = Bed::new();
    bed.launch("x.service", "");
    bed.settle();
    assert_snapshot!(show(&bed.verdict("x.service").unwrap()), @"no machine has joined the cluster yet");
}

#[test]
fn the_only_machine_is_called_that() {
    let (mut bed, _) = Bed::with([""]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    assert_snapshot!(show(&bed.verdict("x.service").unwrap()), @r"
    the only machine cannot hold it
    1: metadata does not match
    00000001 10.0.0.1: has no metadata disk, MachineMetadata= asks for disk=ssd
    ");
}

#[test]
fn every_machine_has_its_own_reason() {
    let (mut bed, [_, b, _, _, e]) = Bed::with([
        "disk=ssd,zone=x",
        "disk=ssd,zone=y",
        "disk=hdd,zone=x",
        "disk=ssd",
        "disk=ssd,zone=z",
    ]);
    bed.launch("web@1.service", "MachineID=00000001");
    bed.launch("kept.service", "MachineID=00000005");
    bed.settle();
    bed.cut(e);
    bed.agents
        .get_mut(&b)
        .unwrap()
        .taken
        .insert(super::bed::name("web@2.service"));
    bed.launch(
        "web@2.service",
        "MachineMetadata=disk=ssd\nConflicts=web@*.service\nFailureDomain=zone",
    );
    bed.settle();
    assert_snapshot!(show(&bed.verdict("web@2.service").unwrap()), @r"
    none of 5 machines can hold it: 1 conflicting unit there, 1 lacks the FailureDomain metadata, 1 metadata does not match, 1 name belongs to the host, 1 not present
    1: conflicting unit there
    1: lacks the FailureDomain metadata
    1: metadata does not match
    1: name belongs to the host
    1: not present
    00000001 10.0.0.1: holds web@1.service, which conflicts
    00000002 10.0.0.2: has a web@2.service of its own
    00000003 10.0.0.3: has disk=hdd, MachineMetadata= asks for disk=ssd
    00000004 10.0.0.4: has no metadata zone, which FailureDomain= needs
    00000005 10.0.0.5: shows no sign of life
    ");
    assert_snapshot!(show(&bed.verdict("kept.service").unwrap()), @r"
    none of 5 machines can hold it: 4 not the machine named by MachineID, 1 not present
    1: not present
    4: not the machine named by MachineID
    00000001 10.0.0.1: is not 00000005, which MachineID= asks for
    00000002 10.0.0.2: is not 00000005, which MachineID= asks for
    00000003 10.0.0.3: is not 00000005, which MachineID= asks for
    00000004 10.0.0.4: is not 00000005, which MachineID= asks for
    00000005 10.0.0.5: shows no sign of life
    ");
}

#[test]
fn a_unit_on_its_way_says_what_it_waits_for() {
    let (mut bed, [a]) = Bed::with(["disk=ssd"]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    bed.record(a, "disk=hdd", false);
    let plan = bed.pass();
    assert_snapshot!(decisions(&plan, "x.service")[0].reason, @"00000001 has disk=hdd, MachineMetadata= asks for disk=ssd; waits until the machine it is leaving has let go of it");
    assert_snapshot!(show(&bed.verdict("x.service").unwrap()), @r"
    waits until the machine it is leaving has let go of it
    (passing)
    ");
    bed.settle();
    assert_snapshot!(show(&bed.verdict("x.service").unwrap()), @r"
    the only machine cannot hold it
    1: metadata does not match
    00000001 10.0.0.1: has disk=hdd, MachineMetadata= asks for disk=ssd
    ");
}

#[test]
fn a_move_off_a_lost_machine_gives_both_reasons() {
    let (mut bed, [a, _]) = Bed::with(["", ""]);
    bed.launch("x.service", "");
    bed.settle();
    bed.kill(a);
    let plan = bed.pass();
    assert_snapshot!(decisions(&plan, "x.service")[0].reason, @"00000001 is lost; least loaded of the machines that fit (0 units there before it)");
}

#[test]
fn at_most_twenty_machines_are_named_and_all_are_counted() {
    let mut bed = Bed::new();
    for n in 1..=30 {
        bed.join(id(n), if n <= 10 { "disk=hdd" } else { "" });
    }
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.launch("y.service", "MachineID=0000ffff");
    bed.settle();
    let verdict = bed.verdict("x.service").unwrap();
    assert_eq!(verdict.counts.values().sum::<usize>(), 30);
    let named: Vec<_> = verdict.machines.iter().map(|m| m.machine).collect();
    assert_eq!(named, (1..=20).map(id).collect::<Vec<_>>());
    assert_eq!(
        verdict.generation,
        bed.cluster.units[&super::bed::name("x.service")].generation
    );
}

#[test]
fn a_verdict_is_written_again_only_when_it_says_something_new() {
    let (mut bed, [a]) = Bed::with([""]);
    bed.launch("x.service", "MachineMetadata=disk=ssd");
    bed.settle();
    let written = bed.verdict("x.service").unwrap();
    bed.launch("other.service", "");
    bed.settle();
    assert!(bed.revision > written.revision);
    assert_eq!(bed.verdict("x.service").unwrap(), written);
    bed.record(a, "disk=hdd", false);
    bed.settle();
    assert_eq!(
        bed.refusal("x.service", a),
        "has disk=hdd, MachineMetadata= asks for disk=ssd"
    );
    bed.want("x.service", units::DesiredState::Inactive);
    bed.settle();
    assert_eq!(bed.verdict("x.service"), None);
}
