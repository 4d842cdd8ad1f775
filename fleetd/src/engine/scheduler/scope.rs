//! Which units a change may concern.
//!
//! A unit outside the scope keeps its place, its orders and its verdict without being looked at. So everything that a
//! decision about it could depend on has to bring it in: its own records and machines, and the units in the scope that
//! it has to be with, or must not be with, or makes room for.

use std::ops::Bound;

use super::*;
use crate::engine::aim::Aim;
use crate::engine::filter::Stance;
use crate::engine::occupancy::Holding;

impl Scheduler {
    /// The units that what was touched concerns by itself, and whether these are all.
    pub(super) fn take_in(&mut self, cluster: &Cluster, touched: Touched) -> (BTreeSet<UnitName>, bool) {
        let mut touched = match touched.all {
            true => {
                *self = Self::default();
                self.touched = Touched::default();
                everything(cluster)
            }
            false => touched,
        };
        self.keep_contents(cluster, &touched);
        let mut scope = self.take_in_machines(cluster, &touched);
        let mut carriers_change = false;
        let mut asks_change = touched.all;
        for unit in &touched.units {
            let known = cluster.units.get(unit);
            match known.is_some_and(|known| known.record.is_err()) {
                true => self.unreadable.insert(unit.clone()),
                false => self.unreadable.remove(unit),
            };
            asks_change |= self.follow(unit, known.and_then(|known| known.requirements.as_ref().ok()));
            let carries = replacing::carries(unit, known);
            carriers_change |= self.carriers.get(unit) != carries;
            match carries {
                Some(requirements) => self.carriers.insert(unit.clone(), requirements.clone()),
                None => self.carriers.remove(unit),
            };
        }
        if carriers_change && !touched.all {
            // Who makes room for whom may have changed all over: who goes round in a circle is a matter of all carriers.
            let all = Touched {
                all: true,
                ..Touched::default()
            };
            return self.take_in(cluster, all);
        }
        if asks_change {
            // Whether a carrier contradicts itself depends on what its peers ask for.
            scope.extend(self.carriers.keys().cloned());
        }
        if touched.all {
            scope.append(&mut touched.units);
            return (scope, true);
        }
        let concerned = touched.units.iter().chain(&self.restless);
        scope.extend(concerned.filter(|unit| !self.is_at_rest(cluster, unit)).cloned());
        (scope, false)
    }

    fn keep_contents(&mut self, cluster: &Cluster, touched: &Touched) {
        for hash in &touched.contents {
            let is_unused = cluster.contents.contains_key(hash) && !cluster.is_used(hash);
            match is_unused {
                true => self.unused.insert(*hash),
                false => self.unused.remove(hash),
            };
        }
    }

    /// Counts machines anew that have changed. Everything there is concerned, and everything without a place.
    fn take_in_machines(&mut self, cluster: &Cluster, touched: &Touched) -> BTreeSet<UnitName> {
        let mut scope = BTreeSet::new();
        for id in touched.machines.union(&touched.seen) {
            scope.extend(self.occupancy.on(id).map(|(unit, _)| unit.clone()));
            let machine = cluster.machines.get(id);
            if let Some(machine) = machine {
                scope.extend(machine.assignments.keys().chain(machine.states.keys()).cloned());
            }
            match machine.is_some_and(|m| m.is_present() && !m.is_taken_in()) {
                true => self.unseen.insert(*id),
                false => self.unseen.remove(id),
            };
        }
        if !touched.machines.is_empty() {
            scope.extend(self.roaming.keys().cloned());
        }
        // Not before all are in the scope: what is counted elsewhere too has to be counted anew there as well.
        for id in &touched.machines {
            let metadata = cluster.machines.get(id).map(|machine| &machine.metadata);
            self.occupancy.renew_machine(*id, metadata);
        }
        scope
    }

    /// Learns what the unit asks for, and keeps `followers` in step; whether the unit asks for something else than when it was looked at last.
    fn follow(&mut self, unit: &UnitName, asks: Option<&Arc<Requirements>>) -> bool {
        let asked = self.occupancy.known(unit);
        if asks == asked {
            return false;
        }
        for peer in asked.iter().flat_map(|r| &r.machine_of) {
            if let Some(followers) = self.followers.get_mut(peer) {
                followers.remove(unit);
                if followers.is_empty() {
                    self.followers.remove(peer);
                }
            }
        }
        for peer in asks.iter().flat_map(|r| &r.machine_of) {
            self.followers
                .entry(peer.clone())
                .or_default()
                .insert(unit.clone());
        }
        if let Some(requirements) = asks {
            self.occupancy.learn(unit, requirements);
        }
        true
    }

    /// Whether nothing is to be done about a unit that was touched: it has the place that the last plan gave it, and its
    /// machine has been told what is wanted. So it is after each word of an agent, and once a decision was written.
    fn is_at_rest(&self, cluster: &Cluster, unit: &UnitName) -> bool {
        let Some(known) = cluster.units.get(unit) else {
            return false;
        };
        let (Ok(record), Ok(requirements)) = (&known.record, &known.requirements) else {
            return false;
        };
        let places = cluster.places(unit);
        let is_placed = match Aim::of(unit, Some(known)) {
            Aim::Somewhere(_) => cluster.home(unit).is_some_and(|home| places == [*home]),
            // A copy that has gone may be followed by another one.
            Aim::Everywhere => {
                !self.restless.contains(unit) && !cluster.schedule.contains_key(unit) && !places.is_empty()
            }
            Aim::Nowhere | Aim::Unknown(_) => false,
        };
        let is_told = |id: &MachineId| {
            // A machine on its way out, or out of sight, is never at rest.
            let machine = cluster.machines.get(id).filter(|m| m.is_open());
            let order = machine.and_then(|m| m.assignment(unit));
            let refuses = machine
                .and_then(|m| m.states.get(unit))
                .is_some_and(|state| state.value.hold == units::Hold::Refused);
            let holds = self.occupancy.holding(unit.as_ref(), id) == Some(Holding::Held);
            holds && !refuses && order == Some(&known.order(record, requirements))
        };
        // Whom it has to be with, and who makes room for whom, is looked at only once a unit has its place.
        let beside_carrier = |c: &UnitName| {
            let there = self.occupancy.machines_of(c.as_str());
            c == unit || there.iter().any(|id| places.contains(id))
        };
        is_placed
            && self.occupancy.known(unit) == Some(requirements)
            && self.occupancy.machines_of(unit.as_str()).len() == places.len()
            && !cluster.verdicts.contains_key(unit)
            && requirements.machine_of.is_empty()
            && places.iter().all(is_told)
            && !self.carriers.keys().any(beside_carrier)
    }

    /// Adds to the scope all that units in it may move, keep from a place or make room for.
    pub(super) fn close(&self, view: &View<'_>, scope: &mut BTreeSet<UnitName>) {
        let mut open: Vec<UnitName> = scope.iter().cloned().collect();
        let mut patterns = Patterns::default();
        while let Some(unit) = open.pop() {
            let mut concerned = BTreeSet::new();
            self.followers_of(&unit, &mut concerned);
            self.roaming_beside(view, &unit, &mut patterns, &mut concerned);
            neighbours(view, &unit, &mut concerned);
            for other in concerned {
                if scope.insert(other.clone()) {
                    open.push(other);
                }
            }
        }
    }

    fn followers_of(&self, unit: &UnitName, concerned: &mut BTreeSet<UnitName>) {
        concerned.extend(self.followers.get(unit.as_str()).into_iter().flatten().cloned());
    }

    /// Units without a place, and Global ones, that the unit may keep from a machine: by what it asks for, by what it
    /// asked for when it was looked at last, or by what they ask for.
    fn roaming_beside<'a>(
        &'a self,
        view: &View<'a>,
        unit: &UnitName,
        seen: &mut Patterns,
        concerned: &mut BTreeSet<UnitName>,
    ) {
        if self.roaming.is_empty() {
            return;
        }
        let asks = [view.requirements(unit), view.occupancy.known(unit)];
        let globs = asks
            .into_iter()
            .flatten()
            .flat_map(|r| r.conflicts.iter().chain(&r.replaces));
        for glob in globs {
            if !seen.naming.insert(glob.clone()) {
                continue;
            }
            let prefix = glob.literal_prefix();
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let named = self.roaming.range::<str, _>(from).map(|(other, _)| other);
            let named = named.take_while(|other| other.as_str().starts_with(prefix));
            concerned.extend(named.filter(|other| glob.matches(other.as_str())).cloned());
        }
        for (glob, units) in &self.objections {
            if !seen.objecting.contains(glob) && glob.matches(unit.as_str()) {
                seen.objecting.insert(glob.clone());
                concerned.extend(units.iter().cloned());
            }
        }
    }
}

/// Patterns of which all that they bring in is in the scope: the instances of a template mostly have the same.
#[derive(Default)]
struct Patterns {
    /// By the units that they name.
    naming: BTreeSet<Glob>,
    /// By the units that have them.
    objecting: BTreeSet<Glob>,
}

/// Units that are where the unit is, or could come to be settled, and cannot be there together with it.
fn neighbours(view: &View<'_>, unit: &UnitName, concerned: &mut BTreeSet<UnitName>) {
    let home = view.cluster.home(unit).into_iter();
    let machines: BTreeSet<&MachineId> = home
        .chain(view.cluster.places(unit))
        .chain(view.occupancy.machines_of(unit.as_str()))
        .collect();
    let asker = view
        .requirements(unit)
        .map(|requirements| view.asker(unit, requirements));
    for id in machines {
        if let Some(asker) = &asker {
            concerned.extend(
                view.conflicts_on(asker, id, Stance::Coming)
                    .map(|(other, _)| other.clone()),
            );
            let elsewhere = view.conflicts_in_domain(asker, id, Stance::Coming);
            concerned.extend(elsewhere.map(|(other, ..)| other.clone()));
        }
        if view.replacing.is_carrier(unit) {
            let goes = |other: &&UnitName| view.replacing.names(unit, other);
            concerned.extend(view.held_on(id).filter(goes).cloned());
        }
    }
}

/// All that is there, as if it had changed.
fn everything(cluster: &Cluster) -> Touched {
    let units = cluster.units.keys().chain(cluster.schedule.keys());
    Touched {
        units: units
            .chain(cluster.verdicts.keys())
            .chain(cluster.placed_units())
            .cloned()
            .collect(),
        machines: cluster.machines.keys().copied().collect(),
        seen: BTreeSet::new(),
        contents: cluster.contents.keys().copied().collect(),
        all: true,
    }
}
