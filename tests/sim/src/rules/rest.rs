//! What a cluster looks like that has come to rest.

use fleetd::cluster::{Cluster, invariants};
use fleetd::init::scripted::ScriptedInit;
use units::{DesiredState, Hold, MachineId, Phase, UnitName};

use super::{Rule, Violation};

/// A machine that is on.
#[derive(Debug)]
pub struct Up<'a> {
    /// Which.
    pub id: MachineId,
    /// The id of its boot.
    pub boot: String,
    /// Its systemd.
    pub init: &'a ScriptedInit,
}

/// Nothing is left in the registry of units, machines and orders that are no more.
pub fn garbage(cluster: &Cluster) -> Option<Violation> {
    let garbage = |what: String| Some(Violation::new(Rule::NoGarbage, what));
    for violation in invariants::check(cluster) {
        if let invariants::Violation::Garbage(key) = violation {
            return garbage(format!("{key} speaks of nothing"));
        }
    }
    if let Some((hash, _)) = cluster.contents.iter().find(|(hash, _)| !cluster.is_used(hash)) {
        return garbage(format!("content {} is used by nobody", hash.short()));
    }
    for (unit, entry) in &cluster.verdicts {
        if let Some(home) = cluster.home(unit) {
            let why = entry.value.as_ref().map_or("", |v| v.summary.as_str());
            return garbage(format!("{unit} is on {} and has a verdict: {why}", digits(home)));
        }
        let wanted = cluster.units.get(unit).and_then(|u| u.record.as_ref().ok());
        if wanted.is_some_and(|r| r.desired == DesiredState::Inactive) {
            return garbage(format!("{unit} is to be nowhere and has a verdict"));
        }
    }
    for (id, machine) in &cluster.machines {
        let mut unasked = machine
            .states
            .keys()
            .filter(|u| !machine.assignments.contains_key(*u));
        if let Some(unit) = unasked.next() {
            return garbage(format!(
                "{} says something of {unit}, which nobody asked for",
                digits(id)
            ));
        }
        for unit in machine.assignments.keys() {
            let refused = machine.answers(unit, Hold::Refused);
            if machine.is_releasing(unit) && !refused {
                return garbage(format!("{} is to let go of {unit} for ever", digits(id)));
            }
        }
        if machine.has_left() && !machine.assignments.is_empty() {
            return garbage(format!("{} left and has orders", digits(id)));
        }
    }
    None
}

/// Every unit is where it belongs, and is what its owner wants it to be; what has no place could have none.
pub fn converged(cluster: &Cluster, machines: &[Up<'_>]) -> Option<Violation> {
    let wrong = |what: String| Some(Violation::new(Rule::Converges, what));
    for up in machines {
        let machine = cluster.machines.get(&up.id);
        let presence = machine.and_then(|m| m.presence.as_ref());
        if presence.is_none_or(|p| p.value.boot_id != up.boot) {
            return wrong(format!("{} is up and not present", digits(&up.id)));
        }
        if !machine.is_some_and(|m| m.is_taken_in() && m.is_open()) {
            return wrong(format!("{} is not taken in", digits(&up.id)));
        }
    }
    if let Some(violation) = invariants::check(cluster)
        .into_iter()
        .find(|v| !matches!(v, invariants::Violation::Garbage(_)))
    {
        return Some(Violation::new(
            Rule::NoNewViolation,
            format!("left at rest: {violation}"),
        ));
    }
    for up in machines {
        if let Some((unit, carrier)) = replaced(cluster, &up.id) {
            let m = digits(&up.id);
            return Some(Violation::new(
                Rule::NoNewViolation,
                format!("left at rest: {unit} is on {m}, and {carrier} replaces it there"),
            ));
        }
    }
    for (unit, known) in &cluster.units {
        let Ok(record) = &known.record else { continue };
        let wants_place = record.desired != DesiredState::Inactive && !unit.is_template();
        let Ok(requirements) = &known.requirements else {
            return Some(Violation::new(
                Rule::NothingLost,
                format!("the content of {unit} is gone"),
            ));
        };
        if !wants_place || requirements.global {
            continue;
        }
        match (cluster.home(unit), cluster.verdicts.get(unit)) {
            (Some(_), _) => {}
            (None, None) => return wrong(format!("{unit} has neither a place nor a verdict")),
            (None, Some(_)) => {
                if let Some(fits) = machines.iter().find(|up| could_hold(cluster, &up.id, unit)) {
                    return wrong(format!("{unit} has no place, and {} fits", digits(&fits.id)));
                }
            }
        }
    }
    machines
        .iter()
        .find_map(|up| carried_out(cluster, &up.id, up.init))
}

/// The end of an id, which tells the simulator's machines apart.
pub(super) fn digits(id: &MachineId) -> String {
    format!("…{}", &id.as_str()[28..])
}

/// One machine does what it is told, all of it and nothing else.
fn carried_out(cluster: &Cluster, id: &MachineId, init: &ScriptedInit) -> Option<Violation> {
    let wrong = |what: String| Some(Violation::new(Rule::Converges, what));
    let machine = cluster.machines.get(id)?;
    let m = digits(id);
    for unit in init.linked() {
        let Ok(unit) = UnitName::parse(&unit) else {
            continue;
        };
        if machine
            .assignment(&unit)
            .is_none_or(|a| a.phase == Phase::Release)
        {
            return wrong(format!("{unit} is linked on {m}, which was not told to have it"));
        }
    }
    for (unit, entry) in &machine.assignments {
        let Some(order) = entry.value.as_ref().filter(|a| a.phase == Phase::Run) else {
            continue;
        };
        let known = cluster.units.get(unit)?;
        let Ok(record) = &known.record else { continue };
        let is_global = known.requirements.as_ref().is_ok_and(|r| r.global);
        if !is_global && cluster.home(unit) != Some(id) {
            return wrong(format!("{m} is to run {unit}, which belongs elsewhere"));
        }
        if (order.generation, order.run, order.hash, order.desired)
            != (known.generation, record.run, record.hash, record.desired)
        {
            return wrong(format!("{m} has an old order for {unit}"));
        }
        let Some(state) = machine.states.get(unit).map(|s| &s.value) else {
            return wrong(format!("{m} says nothing of {unit}"));
        };
        if state.hold == Hold::Refused {
            return wrong(format!("{m} refuses {unit}"));
        }
        let launched = order.desired == DesiredState::Launched;
        if state.assignment != entry.modified || state.hash != Some(order.hash) || state.started != launched {
            return wrong(format!("{m} has not carried out its order for {unit}: {state:?}"));
        }
        if launched && (state.generation, state.run) != (order.generation, order.run) {
            return wrong(format!(
                "{m} started {unit} for generation {}, run {}",
                state.generation, state.run
            ));
        }
        let really = init.status(unit.as_str());
        // systemd forgets what has ended, and the agent does not: that is no difference.
        if state.active != really.active {
            return wrong(format!(
                "{m} says {} of {unit}, and systemd says {}",
                state.active, really.active
            ));
        }
        if matches!(really.active.as_str(), "activating" | "deactivating") {
            return wrong(format!("{unit} is {} on {m}", really.active));
        }
    }
    None
}

/// A unit on `id`, and one there that replaces it.
fn replaced<'a>(cluster: &'a Cluster, id: &MachineId) -> Option<(&'a UnitName, &'a UnitName)> {
    let units = &cluster.machines.get(id)?.assignments;
    let runs = |unit: &&UnitName| cluster.home(unit) == Some(id);
    units.keys().filter(runs).find_map(|unit| {
        let mut others = units.keys();
        let carrier = others.find(|other| replaces(cluster, id, other, unit))?;
        Some((unit, carrier))
    })
}

/// Whether `carrier` belongs to `id` and replaces `unit`. What users ask for here never goes round in a circle.
fn replaces(cluster: &Cluster, id: &MachineId, carrier: &UnitName, unit: &UnitName) -> bool {
    let known = cluster.units.get(carrier);
    let globs = known
        .and_then(|u| u.requirements.as_ref().ok())
        .map(|r| &r.replaces);
    cluster.home(carrier) == Some(id)
        && globs.is_some_and(|globs| globs.iter().any(|g| g.matches(unit.as_ref())))
}

/// An independent look at whether `unit` could be on `id`, in the cluster as it is.
fn could_hold(cluster: &Cluster, id: &MachineId, unit: &UnitName) -> bool {
    let requirements = |unit: &UnitName| cluster.units.get(unit).and_then(|u| u.requirements.as_ref().ok());
    let (Some(machine), Some(wants)) = (cluster.machines.get(id), requirements(unit)) else {
        return false;
    };
    let fits = wants
        .machine_id
        .as_ref()
        .is_none_or(|w| id.matches_requirement(w))
        && wants
            .metadata
            .iter()
            .all(|(key, values)| machine.metadata.get(key).is_some_and(|v| values.contains(v)))
        && wants
            .failure_domain
            .iter()
            .all(|key| machine.metadata.contains_key(key))
        && !machine.answers(unit, Hold::Refused);
    let runs = |unit: &str| {
        UnitName::parse(unit)
            .ok()
            .and_then(|u| machine.assignment(&u).map(|a| a.phase == Phase::Run))
            .unwrap_or(false)
    };
    if !fits || !wants.machine_of.iter().all(|peer| runs(peer)) {
        return false;
    }
    let beside = machine.assignments.keys();
    if beside.into_iter().any(|other| replaces(cluster, id, other, unit)) {
        return false;
    }
    let shares = |there: &MachineId, keys: &[String]| {
        there == id
            || keys.iter().any(|k| {
                machine.metadata.contains_key(k)
                    && machine.metadata.get(k) == cluster.machines.get(there).and_then(|m| m.metadata.get(k))
            })
    };
    cluster.machines.iter().all(|(there, m)| {
        m.assignments.keys().filter(|other| *other != unit).all(|other| {
            let ours = wants.conflicts.iter().any(|g| g.matches(other.as_ref()))
                && shares(there, &wants.failure_domain);
            let theirs = requirements(other).is_some_and(|r| {
                r.conflicts.iter().any(|g| g.matches(unit.as_ref())) && shares(there, &r.failure_domain)
            });
            !ours && !theirs
        })
    })
}
