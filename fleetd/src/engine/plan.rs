//! The engine's plan: from the cluster as it is to everything that has to be written, with reasons.
//!
//! Pure and deterministic: the same cluster, memory and moment give the same plan. Every pass looks at the whole
//! cluster (level-triggered), so that nothing depends on having seen a particular event, and a pass that was cut short
//! is simply made again.
//!
//! The order within a pass:
//! 1. *settle*: units that hold a place keep it while it is still valid, the longest-placed first, so that of two
//!    that cannot be together the newcomer goes;
//! 2. units whose `MachineOf=` peers are no longer there lose their place;
//! 3. *globals* get their copies on every fitting machine;
//! 4. *place*: the rest goes to the least loaded machine that passes every filter, or gets a verdict;
//! 5. presences are taken in, unused contents go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use units::{DesiredState, MachineId, Placement, UnitName, UnitRecord};

use super::decision::{Decision, Step};
use super::draft::Draft;
use super::filter::{self, Rejection, Stance};
use super::memory::{Allowance, Memory, Policy};
use super::returned::{self, Fate};
use super::verdict;
use super::view::{Holding, View, is_gone};
use crate::cluster::{Cluster, Machine, Unit};

/// What one pass came to.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// To be written, in this order; if one is refused the rest is void, for it was decided on what the refused one said.
    pub steps: Vec<Step>,
    /// Old copies that stay until their successor is active; the leader remembers since when.
    pub retained: BTreeSet<(UnitName, MachineId)>,
    /// Span of the leader's clock at which to look again though nothing changed.
    pub wake: Option<Duration>,
    /// Units on lost machines that stay there for now, because too many machines were lost at once.
    pub braked: usize,
}

/// Decides everything that has to change now.
///
/// `now` is a span of the leader's own clock, the one `memory` was kept with.
pub fn plan(cluster: &Cluster, memory: &Memory, now: Duration, policy: &Policy) -> Plan {
    let mut planner = Planner {
        view: View::new(cluster),
        memory,
        now,
        policy,
        drafts: BTreeMap::new(),
        pending: BTreeSet::new(),
        plan: Plan::default(),
    };
    planner.settle_all();
    planner.unseat_followers();
    planner.spread_globals();
    planner.place_all();
    planner.finish()
}

/// What a unit is to the engine.
enum Aim<'a> {
    /// Nobody wants it anywhere: destroyed, inactive, or a template.
    Nowhere,
    /// On one machine.
    Somewhere(&'a UnitRecord),
    /// On every machine that fits.
    Everywhere,
    /// Its record or content cannot be read: what it has is left alone, nothing new is done.
    Unknown(&'a str),
}

struct Planner<'a> {
    view: View<'a>,
    memory: &'a Memory,
    now: Duration,
    policy: &'a Policy,
    drafts: BTreeMap<&'a UnitName, Draft<'a>>,
    /// Units to find a place for.
    pending: BTreeSet<&'a UnitName>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn cluster(&self) -> &'a Cluster {
        self.view.cluster
    }

    fn draft(&mut self, name: &'a UnitName) -> &mut Draft<'a> {
        let cluster = self.view.cluster;
        self.drafts
            .entry(name)
            .or_insert_with(|| Draft::new(cluster, name))
    }

    fn aim(&self, name: &UnitName) -> Aim<'a> {
        let Some(unit) = self.cluster().units.get(name) else {
            return Aim::Nowhere;
        };
        let record = match &unit.record {
            Ok(record) => record,
            Err(why) => return Aim::Unknown(why),
        };
        if record.desired == DesiredState::Inactive || name.is_template() {
            return Aim::Nowhere;
        }
        match &unit.requirements {
            Ok(requirements) if requirements.global => Aim::Everywhere,
            Ok(_) => Aim::Somewhere(record),
            Err(why) => Aim::Unknown(why),
        }
    }

    /// Goes through every unit that the registry knows in any way, the longest-placed first.
    fn settle_all(&mut self) {
        let cluster = self.cluster();
        let mut ages: BTreeMap<&'a UnitName, i64> =
            cluster.units.keys().map(|name| (name, i64::MAX)).collect();
        let mut since = |name: &'a UnitName, created: i64| {
            ages.entry(name)
                .and_modify(|age| *age = created.min(*age))
                .or_insert(created);
        };
        cluster
            .schedule
            .iter()
            .for_each(|(name, entry)| since(name, entry.created));
        cluster.verdicts.keys().for_each(|name| since(name, i64::MAX));
        for (name, places) in self.view.placed_units() {
            let created = |m: &Machine| m.assignments.get(name).map(|e| e.created);
            since(
                name,
                places
                    .iter()
                    .filter_map(|(_, m)| created(m))
                    .min()
                    .unwrap_or(i64::MAX),
            );
        }
        let mut by_age: Vec<(i64, &'a UnitName)> = ages.into_iter().map(|(name, age)| (age, name)).collect();
        by_age.sort_unstable();
        for (_, name) in &by_age {
            self.settle(name);
        }
        // Old copies last: they give way to whatever belongs where they are.
        for (_, name) in by_age {
            if let Aim::Somewhere(record) = self.aim(name) {
                self.settle_old_copies(name, record);
            }
        }
    }

    fn settle(&mut self, name: &'a UnitName) {
        self.withdraw_answered(name);
        match self.aim(name) {
            Aim::Nowhere => self.withdraw_all(name),
            Aim::Unknown(why) => self.leave_alone(name, why),
            Aim::Everywhere => self.settle_global(name),
            Aim::Somewhere(_) => self.settle_single(name),
        }
    }

    /// Orders to release that have been answered have done their work, but one: a refusal stays as long as the unit is
    /// the one that was refused, for it is what keeps the engine from asking that machine again.
    fn withdraw_answered(&mut self, name: &'a UnitName) {
        let cluster = self.cluster();
        let wanted = !matches!(self.aim(name), Aim::Nowhere);
        let generation = cluster.units.get(name).map(|u| u.generation);
        for (id, machine) in self.view.places(name) {
            let Some(assignment) = machine.assignment(name).filter(|_| machine.is_releasing(name)) else {
                continue;
            };
            let remembers = wanted
                && machine.answers(name, units::Hold::Refused)
                && generation == Some(assignment.generation);
            if is_gone(machine, name) && !remembers {
                self.draft(name).clear(id, "it is gone from there");
            }
        }
    }

    fn withdraw_all(&mut self, name: &'a UnitName) {
        let why = match self.cluster().units.get(name) {
            None => "the unit was destroyed",
            Some(_) if name.is_template() => "the unit is a template",
            Some(_) => "the unit is to be inactive",
        };
        self.draft(name).unschedule(why);
        self.draft(name).acquit();
        for (id, _) in self.running(name) {
            self.release(name, id, why);
        }
    }

    /// Machines with an order to run `name`, readable or not.
    fn running(&self, name: &UnitName) -> Vec<(&'a MachineId, bool)> {
        let has = |m: &Machine| m.assignments.contains_key(name) && !m.is_releasing(name);
        self.view
            .places(name)
            .into_iter()
            .filter(|(_, m)| has(m))
            .map(|(id, m)| (id, m.is_present()))
            .collect()
    }

    /// Takes the unit off a machine: by order if the machine can take one, else by withdrawing the order it had.
    fn release(&mut self, name: &'a UnitName, id: &'a MachineId, why: &str) {
        let present = self.cluster().machines.get(id).is_some_and(|m| m.is_present());
        if present {
            self.draft(name).release(id, why);
            self.view.occupy(name, id, Holding::Leaving);
        } else {
            self.draft(name).clear(id, why);
            self.view.vacate(name, id);
        }
    }

    /// A unit that cannot be understood keeps all it has; a machine that brings a copy of it is told to go on.
    fn leave_alone(&mut self, name: &'a UnitName, why: &str) {
        let mut has_any = false;
        for (id, machine) in self.view.places(name) {
            if machine.assignments.contains_key(name) {
                has_any = true;
                self.view.occupy(name, id, Holding::Held);
            } else if let Some(copy) = returned::stray(machine, name) {
                has_any = true;
                let assignment = returned::as_it_is(&copy.value);
                self.draft(name).assign(id, assignment, why);
            }
        }
        if !has_any {
            let verdict = verdict::unusable(self.cluster(), name, why);
            self.draft(name).judge(verdict);
        }
    }

    fn settle_global(&mut self, name: &'a UnitName) {
        self.draft(name).unschedule("the unit is global");
        for (id, present) in self.running(name) {
            // Out of sight it keeps its order: loss alone never takes a global unit's place away.
            match self.may_stay(name, id).filter(|_| present) {
                Some(rejection) => self.release(name, id, &rejection.to_string()),
                None if self.cluster().machines.get(id).is_some_and(|m| m.has_left()) => {
                    self.release(name, id, "the machine left the cluster");
                }
                None => self.hold(name, id, "the unit changed"),
            }
        }
    }

    fn settle_single(&mut self, name: &'a UnitName) {
        let cluster = self.cluster();
        let home = cluster
            .home(name)
            .and_then(|id| cluster.machines.get_key_value(id));
        match home {
            None => self.find_home(name),
            Some((id, machine)) if machine.is_present() => match self.may_stay(name, id) {
                None => self.hold(name, id, "the unit changed"),
                Some(rejection) => self.unseat(name, id, &rejection),
            },
            Some((id, machine)) if machine.has_left() => {
                self.draft(name).unschedule("its machine left the cluster");
                self.release(name, id, "its machine left the cluster");
                self.pending.insert(name);
            }
            Some((id, _)) => {
                // Lost. It counts as being there until there is a better place for it.
                self.view.occupy(name, id, Holding::Held);
                self.pending.insert(name);
            }
        }
    }

    /// A unit without a place (or with one that cannot be read) that a machine has an order for, or a copy of, belongs
    /// there. If it cannot stay there it has to go first.
    fn find_home(&mut self, name: &'a UnitName) {
        let there = |m: &Machine| !m.has_left() && !m.is_releasing(name);
        let places = self.view.places(name).into_iter().filter(|(_, m)| there(m));
        let (present, absent): (Vec<_>, Vec<_>) = places.partition(|(_, m)| m.is_present());
        let stays = present.iter().find(|(id, _)| self.may_stay(name, id).is_none());
        if let Some((id, machine)) = stays.or_else(|| absent.first().filter(|_| present.is_empty())) {
            let reason = "runs there already".to_owned();
            self.draft(name).schedule(Placement {
                machine: **id,
                reason,
            });
            match machine.is_present() {
                true => self.hold(name, id, "runs there already"),
                false => self.view.occupy(name, id, Holding::Held),
            }
            return;
        }
        self.draft(name).unschedule("its machine is not known");
        for (id, machine) in self.view.places(name) {
            // Out of sight it keeps its order, unless it left.
            if !machine.assignments.contains_key(name)
                || machine.is_releasing(name)
                || (!machine.is_present() && !machine.has_left())
            {
                continue;
            }
            let why = match self.fits(name, id) {
                Some(rejection) => format!("{} {rejection}", id.short()),
                None => "its machine is not known".to_owned(),
            };
            self.release(name, id, &why);
        }
        self.pending.insert(name);
    }

    /// Copies of a placed unit on machines where it does not belong (any more).
    fn settle_old_copies(&mut self, name: &'a UnitName, record: &'a UnitRecord) {
        let cluster = self.cluster();
        let Some(home) = cluster.home(name) else { return };
        for (id, machine) in self.view.places(name).into_iter().filter(|(id, _)| *id != home) {
            let assigned = machine.assignments.contains_key(name) && !machine.is_releasing(name);
            if !machine.is_present() {
                if assigned {
                    self.draft(name)
                        .clear(id, "it belongs elsewhere, and the machine is out of sight");
                }
                continue;
            }
            let stray = returned::stray(machine, name);
            if !assigned && stray.is_none() {
                continue;
            }
            let rejection = self.fits(name, id);
            let since = self.memory.retained_since(name, id);
            let kept_for = since.map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
            match returned::fate(
                cluster,
                name,
                record,
                id,
                rejection.as_ref(),
                kept_for,
                self.policy.retain,
            ) {
                Fate::Release(why) if assigned => self.release(name, id, &why),
                // Without an assignment its agent lets go of it as soon as it is taken in.
                Fate::Release(_) => {}
                Fate::MoveBack(why) => {
                    self.release(name, home, &why);
                    self.pending.remove(name);
                    self.draft(name).schedule(Placement {
                        machine: *id,
                        reason: why,
                    });
                    self.hold(name, id, "it is there already");
                    return;
                }
                Fate::Keep => {
                    if let Some(copy) = stray {
                        let why = "kept until its successor is active";
                        self.draft(name).assign(id, returned::as_it_is(&copy.value), why);
                    }
                    self.view.occupy(name, id, Holding::Leaving);
                    self.plan.retained.insert((name.clone(), *id));
                    self.wake_at(since.unwrap_or(self.now) + self.policy.retain);
                }
            }
        }
    }

    /// Keeps the unit on a machine, with an order that says what is wanted now.
    fn hold(&mut self, name: &'a UnitName, id: &'a MachineId, why: &str) {
        if let Some(Unit {
            generation,
            record: Ok(record),
            ..
        }) = self.cluster().units.get(name)
        {
            self.draft(name).run(id, *generation, record, why);
        }
        self.draft(name).acquit();
        self.view.occupy(name, id, Holding::Held);
    }

    /// Takes its place from a unit; where it goes is decided once it is gone from there.
    fn unseat(&mut self, name: &'a UnitName, id: &'a MachineId, rejection: &Rejection) {
        let why = format!("{} {rejection}", id.short());
        self.draft(name).unschedule(&why);
        self.release(name, id, &why);
        self.pending.insert(name);
    }

    fn fits(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        let requirements = self.view.requirements(name)?;
        filter::check(&self.view, name, requirements, id, Stance::Coming).err()
    }

    /// As [`Self::fits`], for a unit that is there already.
    fn still_fits(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        let requirements = self.view.requirements(name)?;
        filter::check(&self.view, name, requirements, id, Stance::Staying).err()
    }

    /// As [`Self::still_fits`], but for `MachineOf=`, which is looked at when every unit's own place is settled.
    fn may_stay(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        self.still_fits(name, id)
            .filter(|rejection| !matches!(rejection, Rejection::MachineOf(_)))
    }

    fn unseat_followers(&mut self) {
        let cluster = self.cluster();
        let has_peers = |name: &UnitName| {
            self.view
                .requirements(name)
                .is_some_and(|r| !r.machine_of.is_empty())
        };
        let mut followers: Vec<&'a UnitName> = cluster.schedule.keys().filter(|n| has_peers(n)).collect();
        loop {
            let before = followers.len();
            followers.retain(|name| {
                if self.pending.contains(name) {
                    return false;
                }
                let home = cluster
                    .home(name)
                    .and_then(|id| cluster.machines.get_key_value(id));
                let Some((id, _)) = home.filter(|(id, _)| self.view.holds(id, name.as_ref())) else {
                    return false;
                };
                match self.still_fits(name, id) {
                    Some(rejection @ Rejection::MachineOf(_)) => {
                        self.unseat(name, id, &rejection);
                        false
                    }
                    _ => true,
                }
            });
            if followers.len() == before {
                return;
            }
        }
    }

    fn spread_globals(&mut self) {
        let cluster = self.cluster();
        for name in cluster.units.keys() {
            let Aim::Everywhere = self.aim(name) else {
                continue;
            };
            let mut anywhere = false;
            for (id, machine) in cluster.present() {
                if machine.assignments.contains_key(name) {
                    // Settled already, being released, or refused.
                    anywhere |= self.view.holds(id, name.as_ref());
                } else if self.fits(name, id).is_none() {
                    self.hold(name, id, "the unit is global and the machine fits");
                    anywhere = true;
                }
            }
            if anywhere {
                self.draft(name).acquit();
            } else {
                let verdict = verdict::of(&self.view, name);
                self.draft(name).judge(verdict);
            }
        }
    }

    fn place_all(&mut self) {
        let mut waiting: Vec<&'a UnitName> = std::mem::take(&mut self.pending).into_iter().collect();
        let mut allowance = self.memory.allowance(self.now, self.policy);
        // A second round is only for those whose MachineOf= peers found a place in the one before.
        loop {
            let before = waiting.len();
            waiting.retain(|name| !self.place(name, &mut allowance));
            let progress = waiting.len() < before;
            let follows = |name: &&UnitName| {
                self.view
                    .requirements(name)
                    .is_some_and(|r| !r.machine_of.is_empty())
            };
            if !progress || !waiting.iter().any(follows) {
                break;
            }
        }
        for name in waiting {
            let verdict = if self.is_being_released(name) {
                verdict::passing(
                    self.cluster(),
                    name,
                    "waits until the machine it is leaving has let go of it",
                )
            } else {
                verdict::of(&self.view, name)
            };
            self.draft(name).judge(verdict);
        }
    }

    /// Finds a place; `false` if there is none at present.
    fn place(&mut self, name: &'a UnitName, allowance: &mut Allowance) -> bool {
        if self.is_being_released(name) {
            return false;
        }
        let cluster = self.cluster();
        let lost = cluster
            .home(name)
            .and_then(|id| cluster.machines.get_key_value(id))
            .filter(|(_, m)| m.is_lost());
        if let Some((id, _)) = lost {
            if let Some(why) = self.held_back(id, allowance) {
                self.plan.braked += 1;
                let verdict = verdict::passing(cluster, name, why);
                self.draft(name).judge(verdict);
                return true;
            }
            self.view.vacate(name, id);
        }
        let Some((id, why)) = self.choose(name) else {
            if let Some((id, _)) = lost {
                self.view.occupy(name, id, Holding::Held);
            }
            return false;
        };
        if let Some((from, _)) = lost {
            self.draft(name).rescue(from);
            if let Allowance::Paced(left) = allowance {
                *left = left.saturating_sub(1);
            }
        }
        self.draft(name).schedule(Placement {
            machine: *id,
            reason: why.clone(),
        });
        self.hold(name, id, &why);
        true
    }

    /// A machine that passes every filter: one that runs the unit already, else the least loaded.
    fn choose(&self, name: &UnitName) -> Option<(&'a MachineId, String)> {
        let has = |m: &Machine| !m.is_releasing(name);
        let mut there = self.view.places(name).into_iter();
        if let Some((id, _)) = there.find(|(id, m)| has(m) && self.fits(name, id).is_none()) {
            return Some((id, "runs there already".to_owned()));
        }
        let (load, id) = self
            .view
            .by_load()
            .find(|(_, id)| self.fits(name, id).is_none())?;
        let units = if load == 1 { "unit" } else { "units" };
        Some((
            id,
            format!("least loaded of the machines that fit ({load} {units} there before it)"),
        ))
    }

    /// Whether a machine still has to let go of it: until then it must not start anywhere else.
    fn is_being_released(&self, name: &UnitName) -> bool {
        let drafted = self.drafts.get(name).is_some_and(Draft::releases);
        drafted
            || self
                .view
                .places(name)
                .iter()
                .any(|(_, m)| m.is_releasing(name) && !is_gone(m, name))
    }

    /// Why a unit has to stay with its lost machine for now.
    fn held_back(&mut self, lost: &MachineId, allowance: &Allowance) -> Option<&'static str> {
        if let Some(until) = self.memory.grace(lost, self.now) {
            self.wake_at(until);
            return Some("its machine was missing when this leader began, and is given time to come back");
        }
        match allowance {
            Allowance::Free => return None,
            Allowance::Held(until) => self.wake_at(*until),
            Allowance::Paced(0) => {
                self.wake_at(self.now + Duration::from_secs(1) / self.policy.brake_pace.max(1))
            }
            Allowance::Paced(_) => return None,
        }
        Some(
            "stays with its lost machine for now: too many were lost at once, so etcd or the network is suspected",
        )
    }

    fn wake_at(&mut self, at: Duration) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }

    fn finish(mut self) -> Plan {
        let decisions = self
            .drafts
            .into_values()
            .filter_map(Draft::finish)
            .flat_map(Decision::split);
        self.plan.steps.extend(decisions.map(Step::Unit));
        let cluster = self.view.cluster;
        for (id, machine) in &cluster.machines {
            // A copy whose state cannot be read would be taken for none, and its agent would let go of it.
            let known = machine
                .unreadable_states
                .iter()
                .all(|unit| machine.assignments.contains_key(unit));
            if let Some(presence) = machine
                .presence
                .as_ref()
                .filter(|_| known && !machine.is_taken_in())
            {
                self.plan.steps.push(Step::TakeIn {
                    machine: *id,
                    presence: presence.created,
                });
            }
        }
        // What a record that cannot be read refers to nobody knows; a machine that reboots may need it again.
        let known = cluster.units.values().all(|unit| unit.record.is_ok());
        for (hash, content) in cluster.contents.iter().filter(|(_, c)| known && c.users == 0) {
            self.plan.steps.push(Step::Discard {
                hash: *hash,
                modified: content.modified,
            });
        }
        self.plan
    }
}
