//! No decision adds a violation of constraints against what it compared.

use fleetd::cluster::{Cluster, Machine};
use units::{Assignment, MachineId, Phase, Requirements, UnitName};

use super::rest::digits;
use super::{Rule, Violation};

/// Looks at an order to run `unit` on `id`, as the engine has just written it, in the cluster as it is with it.
///
/// `is_new`: the machine had no order for the unit before. One that is out of sight keeps what it has and is told of
/// changes, but nothing new goes there.
///
/// What the order had to compare (the unit, the machine's presence) is held against it at once. What stands beside it
/// and is not compared (other units, the machine's metadata) only if `is_old` says that the engine has had the time to
/// hear of it.
pub fn check(
    cluster: &Cluster,
    id: &MachineId,
    unit: &UnitName,
    order: &Assignment,
    is_new: bool,
    is_old: &dyn Fn(i64) -> bool,
) -> Option<Violation> {
    let machine = cluster.machines.get(id)?;
    let broken = |what: String| {
        Some(Violation::new(
            Rule::NoNewViolation,
            format!("{unit} on {}: {what}", digits(id)),
        ))
    };
    if is_new && !machine.is_present() {
        return broken("the machine shows no sign of life".to_owned());
    }
    let known = cluster.units.get(unit);
    let requirements = known.and_then(|u| u.requirements.as_ref().ok());
    let belongs = cluster.home(unit) == Some(id) || requirements.is_some_and(|r| r.global);
    if !belongs {
        // An old copy that is kept for a while; only what the engine has not taken in yet can be one, or one it kept.
        return None;
    }
    let Some(known) = known else {
        return broken("there is no such unit".to_owned());
    };
    if known.generation != order.generation {
        return broken(format!(
            "the order is for generation {}, the unit is of {}",
            order.generation, known.generation
        ));
    }
    let requirements = requirements?;
    if let Some(record) = machine.record.as_ref().filter(|r| is_old(r.modified))
        && let Some(what) = misfit(id, machine, requirements)
    {
        return broken(format!("{what} (record of revision {})", record.modified));
    }
    if !is_new {
        // What a user's edit made of two units that are there already; it has to be gone when all has come to rest.
        return None;
    }
    let other = conflicts(cluster, id, machine, unit, requirements, is_old)?;
    broken(format!("{other} is there, and they conflict"))
}

/// What the machine itself lacks.
fn misfit(id: &MachineId, machine: &Machine, requirements: &Requirements) -> Option<String> {
    let metadata = &machine.metadata;
    let lacks = |(key, wanted): &(&String, &std::collections::BTreeSet<String>)| {
        !metadata.get(*key).is_some_and(|value| wanted.contains(value))
    };
    if let Some(wanted) = requirements
        .machine_id
        .as_ref()
        .filter(|w| !id.matches_requirement(w))
    {
        return Some(format!("it wants machine {wanted}"));
    }
    let (key, _) = requirements.metadata.iter().find(lacks)?;
    Some(format!("the machine's {key} does not match"))
}

/// A unit that conflicts, on the machine itself or on one that shares its failure domain.
fn conflicts<'a>(
    cluster: &'a Cluster,
    id: &MachineId,
    machine: &Machine,
    unit: &UnitName,
    requirements: &Requirements,
    is_old: &dyn Fn(i64) -> bool,
) -> Option<&'a UnitName> {
    let shares = |there: &Machine, keys: &[String]| {
        keys.iter()
            .any(|k| machine.metadata.contains_key(k) && machine.metadata.get(k) == there.metadata.get(k))
    };
    // A thousand machines are not looked through for each order.
    let everywhere = cluster.machines.len() < 50 || !requirements.failure_domain.is_empty();
    let near = cluster
        .machines
        .iter()
        .filter(|(there, _)| everywhere || *there == id);
    for (there, neighbour) in near {
        let is_record_old = |m: &Machine| m.record.as_ref().is_some_and(|r| is_old(r.modified));
        for (other, entry) in neighbour.assignments.iter().filter(|(other, _)| *other != unit) {
            let Some(order) = entry.value.as_ref().filter(|_| is_old(entry.modified)) else {
                continue;
            };
            let is_gone = neighbour
                .states
                .get(other)
                .is_some_and(|s| s.value.hold != units::Hold::Held && s.value.assignment == entry.modified);
            let Some(theirs) = cluster.units.get(other).filter(|u| is_old(u.generation)) else {
                continue;
            };
            let Ok(their) = theirs.requirements.as_ref() else {
                continue;
            };
            if is_gone || (order.phase == Phase::Release && !neighbour.is_present()) {
                continue;
            }
            let here = there == id;
            let domain = |r: &Requirements| {
                here || (shares(neighbour, &r.failure_domain)
                    && is_record_old(neighbour)
                    && is_record_old(machine))
            };
            let ours =
                requirements.conflicts.iter().any(|g| g.matches(other.as_ref())) && domain(requirements);
            let from_them = their.conflicts.iter().any(|g| g.matches(unit.as_ref())) && domain(their);
            if ours || from_them {
                return Some(other);
            }
        }
    }
    None
}
