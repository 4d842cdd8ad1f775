//! Random clusters, disturbed at random and left to come to rest.

use std::collections::BTreeSet;

use proptest::prelude::*;
use units::DesiredState::{self, Inactive, Launched, Loaded};
use units::{Hold, MachineId, Metadata, Phase, Requirements, UnitName};

use super::bed::{Bed, id, name};
use crate::cluster::{Cluster, Machine};

const MACHINES: usize = 8;
const UNITS: usize = 15;

/// Something that happens to a cluster, to a machine or a unit by number.
#[derive(Debug, Clone)]
enum Happening {
    Submit(usize, String, DesiredState),
    Want(usize, DesiredState),
    Destroy(usize),
    Metadata(usize, &'static str),
    Cut(usize),
    Kill(usize),
    Heal(usize),
    Leave(usize),
    /// The name is the host's own on that machine from now on, or no longer.
    Take(usize, usize, bool),
    /// The unit comes up nowhere from now on, or does again.
    Break(usize, bool),
    Answer(usize),
    Pass,
    /// A pass that ends after so many transactions.
    CutShort(usize),
    Wait(u64),
}

fn metadata() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "zone=a",
        "zone=b",
        "zone=a,disk=ssd",
        "zone=b,disk=ssd",
        "zone=c,disk=hdd",
    ])
}

fn lines() -> impl Strategy<Value = String> {
    let unit = 0..UNITS;
    prop_oneof![
        4 => Just(String::new()),
        1 => Just("[Unit]\nDescription=another version".to_owned()),
        1 => Just("MachineMetadata=zone=a\nMachineMetadata=zone=b".to_owned()),
        1 => Just("MachineMetadata=disk=ssd\nMachineMetadata=zone=a".to_owned()),
        1 => Just("Conflicts=u1?.service".to_owned()),
        1 => Just("Conflicts=u*.service\nFailureDomain=zone".to_owned()),
        1 => unit.clone().prop_map(|u| format!("Conflicts={}", unit_name(u))),
        1 => unit.clone().prop_map(|u| format!("Conflicts={}\nFailureDomain=zone disk", unit_name(u))),
        2 => unit.clone().prop_map(|u| format!("MachineOf={}", unit_name(u))),
        1 => unit.clone().prop_map(|u| format!("Replaces={}", unit_name(u))),
        1 => Just("Replaces=u0?.service".to_owned()),
        // Of one and the same unit that is refused.
        1 => (unit.clone(), 1..UNITS).prop_map(|(u, v)| {
            format!("MachineOf={}\nReplaces={}", unit_name(u), unit_name((u + v) % UNITS))
        }),
        1 => (1..=MACHINES).prop_map(|m| format!("MachineID={}", id(m))),
        1 => Just("Global=true\nMachineMetadata=zone=a\nMachineMetadata=zone=b".to_owned()),
        1 => unit.prop_map(|u| format!("Global=true\nConflicts={}", unit_name(u))),
        1 => Just("Spread=zone".to_owned()),
        1 => Just("Conflicts=u?*.service".to_owned()),
        1 => Just("Conflicts=*0?.service".to_owned()),
        1 => Just("Conflicts=*[0-4].service".to_owned()),
        1 => Just("OnDisconnect=stop".to_owned()),
        1 => Just("OnDisconnect=stop\nConflicts=u0?.service".to_owned()),
        1 => Just("Spread=disk zone\nMachineMetadata=zone=a\nMachineMetadata=zone=b".to_owned()),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let machine = 1..=MACHINES;
    let unit = 0..UNITS;
    let desired = || prop::sample::select(vec![Launched, Launched, Launched, Loaded, Inactive]);
    prop_oneof![
        8 => (unit.clone(), lines(), desired()).prop_map(|(u, l, d)| Happening::Submit(u, l, d)),
        1 => (unit.clone(), desired()).prop_map(|(u, d)| Happening::Want(u, d)),
        1 => unit.clone().prop_map(Happening::Destroy),
        1 => (machine.clone(), metadata()).prop_map(|(m, t)| Happening::Metadata(m, t)),
        2 => machine.clone().prop_map(Happening::Cut),
        1 => machine.clone().prop_map(Happening::Kill),
        3 => machine.clone().prop_map(Happening::Heal),
        1 => machine.clone().prop_map(Happening::Leave),
        1 => (machine.clone(), unit.clone(), any::<bool>()).prop_map(|(m, u, t)| Happening::Take(m, u, t)),
        1 => (unit, any::<bool>()).prop_map(|(u, b)| Happening::Break(u, b)),
        6 => machine.prop_map(Happening::Answer),
        6 => Just(Happening::Pass),
        1 => (1..3_usize).prop_map(Happening::CutShort),
        1 => prop::sample::select(vec![1, 16, 301]).prop_map(Happening::Wait),
    ]
}

/// The last three are instances of a template.
fn unit_name(n: usize) -> String {
    match n {
        0..12 => format!("u{n:02}.service"),
        _ => format!("u@{n}.service"),
    }
}

fn happen(bed: &mut Bed, what: Happening) {
    match what {
        // A unit cannot follow itself: such a content is as good as unreadable.
        Happening::Submit(u, lines, _) if lines.contains(&format!("MachineOf={}", unit_name(u))) => {}
        Happening::Submit(u, lines, desired) => bed.submit(&unit_name(u), &lines, desired),
        Happening::Want(u, desired) => {
            if bed.cluster.units.contains_key(&name(&unit_name(u))) {
                bed.want(&unit_name(u), desired);
            }
        }
        Happening::Destroy(u) => bed.destroy(&unit_name(u)),
        Happening::Answer(m) => {
            if bed.agents.contains_key(&id(m)) {
                bed.answer(id(m));
            }
        }
        Happening::Take(m, u, taken) => {
            if let Some(agent) = bed.agents.get_mut(&id(m)) {
                match taken {
                    true => agent.taken.insert(name(&unit_name(u))),
                    false => agent.taken.remove(&name(&unit_name(u))),
                };
            }
        }
        Happening::Break(u, true) => drop(bed.broken.insert(name(&unit_name(u)))),
        Happening::Break(u, false) => drop(bed.broken.remove(&name(&unit_name(u)))),
        Happening::Pass => watched_pass(bed, usize::MAX),
        Happening::CutShort(steps) => watched_pass(bed, steps),
        Happening::Wait(seconds) => bed.now += std::time::Duration::from_secs(seconds),
        Happening::Metadata(m, _)
        | Happening::Cut(m)
        | Happening::Kill(m)
        | Happening::Heal(m)
        | Happening::Leave(m)
            if !bed.agents.contains_key(&id(m)) => {}
        Happening::Metadata(m, metadata) => {
            if !bed.cluster.machines[&id(m)].has_left() {
                bed.record(id(m), metadata, false);
            }
        }
        Happening::Heal(m) => {
            if !bed.agents[&id(m)].is_in_sight() {
                let metadata = bed.cluster.machines[&id(m)].metadata.clone();
                let list: Vec<String> = metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
                bed.record(id(m), &list.join(","), false);
                bed.heal(id(m));
            }
        }
        Happening::Cut(m) | Happening::Kill(m) | Happening::Leave(m) if !bed.agents[&id(m)].is_in_sight() => {
        }
        Happening::Cut(m) => bed.cut(id(m)),
        Happening::Kill(m) => bed.kill(id(m)),
        Happening::Leave(m) => bed.leave(id(m)),
    }
}

/// A pass, of which the first so many transactions are written; nothing that is well placed may move by it.
fn watched_pass(bed: &mut Bed, steps: usize) {
    let (well, before) = (well_placed(&bed.cluster, true), bed.cluster.clone());
    let mut plan = bed.plan();
    bed.memory.retain(&plan.retained, bed.now);
    // An old copy is let go of by the plan that keeps it no longer.
    let is_whole = plan.steps.len() <= steps;
    plan.steps.truncate(steps);
    bed.commit(&plan.steps);
    for (unit, id) in well {
        let placed = is_global(&before, &unit) || bed.cluster.home(&unit) == Some(&id);
        let told = bed.phase(unit.as_str(), id) == Some(Phase::Run);
        assert!(
            placed && told,
            "{unit} was well placed on {}, then: {plan:#?}",
            id.short()
        );
    }
    for unit in bed.cluster.units.keys() {
        if bed.once_global.contains(unit) || !is_whole {
            continue;
        }
        let told = |id: &MachineId, m: &Machine| {
            m.assignment(unit).is_some_and(|a| a.phase == Phase::Run)
                && !plan.retained.contains(&(unit.clone(), *id))
        };
        let told: Vec<&MachineId> = bed
            .cluster
            .present()
            .filter(|(id, m)| told(id, m))
            .map(|(id, _)| id)
            .collect();
        assert!(told.len() <= 1, "{unit} was told to run on {told:?}: {plan:#?}");
    }
    assert_eq!(bed.doubles, Vec::<String>::new(), "{plan:#?}");
}

fn is_global(cluster: &Cluster, unit: &UnitName) -> bool {
    requirements(cluster, unit).is_some_and(|r| r.global)
}

/// What a unit that is wanted asks for.
fn requirements<'a>(cluster: &'a Cluster, unit: &UnitName) -> Option<&'a Requirements> {
    let known = cluster.units.get(unit)?;
    let wanted = known.record.as_ref().is_ok_and(|r| r.desired != Inactive) && !unit.is_template();
    known.requirements.as_deref().ok().filter(|_| wanted)
}

/// Units on present machines, where everything they ask for holds. Written without a look at the engine's filters.
///
/// With `moving_back`, units that may return to a copy elsewhere are left out, with all that follow them.
fn well_placed(cluster: &Cluster, moving_back: bool) -> BTreeSet<(UnitName, MachineId)> {
    let mut places: BTreeSet<(UnitName, MachineId)> = BTreeSet::new();
    for (id, machine) in &cluster.machines {
        for unit in machine.assignments.keys() {
            let told = machine.assignment(unit).is_some_and(|a| a.phase == Phase::Run);
            // An order without a place, of a unit that was global, is as good as a place.
            if told && (is_global(cluster, unit) || cluster.home(unit).is_none_or(|home| home == id)) {
                places.insert((unit.clone(), *id));
            }
        }
    }
    // What is out of sight may have come into conflict there; the one in sight stays.
    let mut standing = places.clone();
    standing.retain(|(_, id)| moving_back || cluster.machines[id].is_present());
    let mut well: BTreeSet<(UnitName, MachineId)> = places
        .iter()
        .filter(|(unit, id)| is_global(cluster, unit) || cluster.home(unit) == Some(id))
        .filter(|(unit, id)| {
            let copies = cluster.present().filter(|(other, m)| {
                *other != id && m.states.get(unit).is_some_and(|s| s.value.hold == Hold::Held)
            });
            let returns = moving_back && !is_global(cluster, unit) && copies.count() > 0;
            !returns && suits(cluster, unit, id) && !clashes(cluster, &standing, unit, id)
        })
        .cloned()
        .collect();
    loop {
        let alone = |(unit, id): &&(UnitName, MachineId)| {
            let mut peers = requirements(cluster, unit)
                .into_iter()
                .flat_map(|r| &r.machine_of);
            peers.any(|peer| !well.contains(&(name(peer), *id)))
        };
        let Some(lost) = well.iter().find(alone).cloned() else {
            return well;
        };
        well.remove(&lost);
    }
}

fn suits(cluster: &Cluster, unit: &UnitName, id: &MachineId) -> bool {
    let machine = &cluster.machines[id];
    let refused = machine
        .states
        .get(unit)
        .is_some_and(|s| s.value.hold == Hold::Refused);
    requirements(cluster, unit).is_some_and(|r| {
        let named = r.machine_id.as_ref().is_none_or(|wanted| wanted == id.as_str());
        let mut keys = r.metadata.iter();
        let matches = keys.all(|(key, values)| machine.metadata.get(key).is_some_and(|v| values.contains(v)));
        let domain = r
            .failure_domain
            .iter()
            .all(|key| machine.metadata.contains_key(key));
        machine.is_open() && !refused && named && matches && domain
    })
}

fn clashes(
    cluster: &Cluster,
    places: &BTreeSet<(UnitName, MachineId)>,
    unit: &UnitName,
    id: &MachineId,
) -> bool {
    let Some(ours) = requirements(cluster, unit) else {
        return false;
    };
    let metadata = |id: &MachineId| -> &Metadata { &cluster.machines[id].metadata };
    let objects = |one: &Requirements, to: &UnitName, there: &MachineId| {
        let shares = |key: &String| {
            metadata(id).contains_key(key) && metadata(id).get(key) == metadata(there).get(key)
        };
        let near = id == there || one.failure_domain.iter().any(shares);
        near && one.conflicts.iter().any(|glob| glob.matches(to.as_str()))
    };
    let mut beside = places.iter().filter(|(_, there)| there == id);
    if beside.any(|(other, _)| replaces(cluster, other, unit)) {
        return true;
    }
    places
        .iter()
        .filter(|(other, _)| other != unit)
        .any(|(other, there)| {
            objects(ours, other, there)
                || cluster
                    .units
                    .get(other)
                    .and_then(|u| u.requirements.as_ref().ok())
                    .is_some_and(|r| objects(r, unit, there))
        })
}

/// Whether `unit` makes `other` go: `Replaces=` says so, and not in a circle.
fn replaces(cluster: &Cluster, unit: &UnitName, other: &UnitName) -> bool {
    let names = |one: &UnitName| -> BTreeSet<&UnitName> {
        let globs = requirements(cluster, one).map_or(&[][..], |r| &r.replaces);
        let named = |other: &&UnitName| *other != one && globs.iter().any(|g| g.matches(other.as_str()));
        cluster.units.keys().filter(named).collect()
    };
    let mut reached = names(other);
    loop {
        let further: BTreeSet<&UnitName> = reached.iter().flat_map(|one| names(one)).collect();
        if further.is_subset(&reached) {
            break;
        }
        reached.extend(further);
    }
    let stays = cluster.units[other]
        .requirements
        .as_ref()
        .map_or(true, |r| r.global);
    names(unit).contains(other) && !reached.contains(unit) && !stays
}

/// Passes, answers and time, until nothing is to come of any of them.
fn rest(bed: &mut Bed) {
    for _ in 0..60 {
        for round in 0.. {
            watched_pass(bed, usize::MAX);
            if bed.answer_all() == 0 && bed.plan().steps.is_empty() {
                break;
            }
            assert!(round < 50, "does not come to rest: {:#?}", bed.plan());
        }
        match bed.plan().wake {
            Some(at) => bed.now = at.max(bed.now),
            None => return,
        }
    }
    panic!("always has to wait for something: {:#?}", bed.plan());
}

fn check_at_rest(bed: &mut Bed) {
    bed.check();
    let cluster = &bed.cluster;
    let well = well_placed(cluster, false);
    for unit in cluster
        .units
        .keys()
        .filter(|u| requirements(cluster, u).is_some())
    {
        let judged = cluster.verdicts.contains_key(unit);
        let placed = match is_global(cluster, unit) {
            true => well.iter().any(|(u, _)| u == unit),
            false => cluster.home(unit).is_some(),
        };
        let is_lost = cluster
            .home(unit)
            .is_some_and(|id| !cluster.machines[id].is_present());
        assert_eq!(
            judged,
            !placed || is_lost,
            "{unit} has a verdict if and only if it has no good place"
        );
    }
    for (id, machine) in cluster.present() {
        for (unit, order) in &machine.assignments {
            let order = order.value.as_ref().unwrap();
            match order.phase {
                Phase::Run => assert!(well.contains(&(unit.clone(), *id)), "{unit} on {}", id.short()),
                Phase::Release => {
                    assert!(machine.answers(unit, Hold::Refused), "{unit} on {}", id.short());
                    assert!(requirements(cluster, unit).is_some(), "{unit} on {}", id.short());
                }
            }
        }
        for unit in bed.agents[id].copies.keys() {
            assert_eq!(
                bed.phase(unit.as_str(), *id),
                Some(Phase::Run),
                "{unit} on {}",
                id.short()
            );
        }
    }
    let lost = cluster.machines.values().filter(|m| m.is_lost()).count();
    assert!(bed.memory.absent() >= lost, "a lost machine is not missed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_cluster_comes_to_rest_with_everything_in_its_place_or_a_verdict(
        machines in prop::collection::vec(metadata(), 1..=MACHINES),
        happenings in prop::collection::vec(happening(), 0..80),
    ) {
        let mut bed = Bed::new();
        for (n, metadata) in machines.into_iter().enumerate() {
            bed.join(id(n + 1), metadata);
        }
        for happening in happenings {
            happen(&mut bed, happening);
        }
        rest(&mut bed);
        check_at_rest(&mut bed);
    }
}
