//! Units that hold a place: whether they keep it, and what becomes of copies where they do not belong.

use super::*;
use crate::registry::Revision;

impl<'a> Planner<'a> {
    /// Goes through every unit, the longest-placed first.
    pub(super) fn settle_all(&mut self) {
        let mut by_age: Vec<(Revision, &'a UnitName)> = self
            .scope
            .iter()
            .map(|name| (self.placed_since(name), name))
            .collect();
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

    /// Since when the unit has had a place; what it is only let go of is no place of its own.
    fn placed_since(&self, name: &UnitName) -> Revision {
        let cluster = self.cluster();
        let scheduled = cluster.schedule.get(name).map(|entry| entry.created);
        let ordered = cluster.places(name).iter().filter_map(|id| {
            let machine = cluster.machines.get(id).filter(|m| !m.is_releasing(name))?;
            machine.assignments.get(name).map(|e| e.created)
        });
        scheduled
            .into_iter()
            .chain(ordered)
            .min()
            .unwrap_or(Revision::MAX)
    }

    pub(super) fn settle(&mut self, name: &'a UnitName) {
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
    pub(super) fn withdraw_answered(&mut self, name: &'a UnitName) {
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
            if let Some(until) = self.view.may_run_until(id, name) {
                self.wake_at(name, until);
            } else if self.view.is_gone(id, name) && !remembers {
                self.draft(name).clear(id, "it is gone from there");
            }
        }
    }

    pub(super) fn withdraw_all(&mut self, name: &'a UnitName) {
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
    pub(super) fn running(&self, name: &UnitName) -> Vec<(&'a MachineId, bool)> {
        let has = |m: &Machine| m.assignments.contains_key(name) && !m.is_releasing(name);
        self.view
            .places(name)
            .into_iter()
            .filter(|(_, m)| has(m))
            .map(|(id, m)| (id, m.is_present()))
            .collect()
    }

    /// Takes the unit off a machine: by order if the machine can take one, else by withdrawing the order it had. One that
    /// is still ending the unit without us keeps the order until it must be done.
    pub(super) fn release(&mut self, name: &'a UnitName, id: &MachineId, why: &str) {
        let present = self.cluster().machines.get(id).is_some_and(|m| m.is_present());
        let ending = self.view.may_run_until(id, name);
        if let Some(until) = ending {
            self.wake_at(name, until);
        }
        if present || ending.is_some() {
            self.draft(name).release(id, why);
            self.view.occupancy.occupy(name, id, Holding::Leaving);
        } else {
            self.draft(name).clear(id, why);
            self.view.occupancy.vacate(name, id);
        }
    }

    /// A unit that cannot be understood keeps all it has; a machine that brings a copy of it is told to go on.
    pub(super) fn leave_alone(&mut self, name: &'a UnitName, why: &str) {
        let mut has_any = false;
        for (id, machine) in self.view.places(name) {
            if machine.assignments.contains_key(name) {
                has_any = true;
                // What it was to let go of before stays what it has to let go of.
                let holding = match machine.is_releasing(name) {
                    true => Holding::Leaving,
                    false => Holding::Held,
                };
                self.view.occupancy.occupy(name, id, holding);
            } else if let Some(copy) = returned::stray(machine, name) {
                has_any = true;
                let assignment = returned::as_it_is(&copy.value, self.cluster().on_disconnect(name));
                self.draft(name).assign(id, assignment, why);
            }
        }
        if !has_any {
            let verdict = verdict::unusable(self.cluster(), name, why);
            self.draft(name).judge(verdict);
        }
    }

    pub(super) fn settle_global(&mut self, name: &'a UnitName) {
        self.draft(name).unschedule("the unit is global");
        for (id, present) in self.running(name) {
            // Out of sight it keeps its order: loss alone never takes a global unit's place away.
            match self.may_stay(name, id).filter(|_| present) {
                Some(rejection) => self.release(name, id, &rejection.to_string()),
                None if self.cluster().machines.get(id).is_some_and(|m| m.has_left()) => {
                    self.release(name, id, "the machine left the cluster");
                }
                None => match self.outgrown(name, id).filter(|_| !present) {
                    Some(rejection) => self.release(name, id, &rejection.to_string()),
                    None => self.hold(name, id, "the unit changed"),
                },
            }
        }
    }

    /// Why a machine out of sight must not be told what the unit has become since its order: it does not suit it any
    /// more. That takes its place away where loss alone does not.
    fn outgrown(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        let machine = self.cluster().machines.get(id)?;
        let order = machine.assignment(name)?;
        let has_changed = self.cluster().units.get(name)?.generation != order.generation;
        let requirements = self.view.requirements(name).filter(|_| has_changed)?;
        filter::suits(machine, id, requirements).err()
    }

    pub(super) fn settle_single(&mut self, name: &'a UnitName) {
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
                self.view.occupancy.occupy(name, id, Holding::Held);
                self.pending.insert(name);
            }
        }
    }

    /// A unit without a place (or with one that cannot be read) that a machine has an order for, or a copy of, belongs
    /// there. If it cannot stay there it has to go first.
    pub(super) fn find_home(&mut self, name: &'a UnitName) {
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
                false => self.view.occupancy.occupy(name, id, Holding::Held),
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
    pub(super) fn settle_old_copies(&mut self, name: &'a UnitName, record: &'a UnitRecord) {
        let cluster = self.cluster();
        let Some(home) = cluster.home(name) else { return };
        for (id, machine) in self.view.places(name).into_iter().filter(|(id, _)| *id != home) {
            let assigned = machine.assignments.contains_key(name) && !machine.is_releasing(name);
            if !machine.is_present() {
                if assigned {
                    self.release(name, id, "it belongs elsewhere, and the machine is out of sight");
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
                // Without an assignment its agent lets go of it as soon as it is taken in. Until then it is asked anew:
                // why it goes may have to do with a content that no unit names any more.
                Fate::Release(_) => drop(self.restless.insert(name.clone())),
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
                        let order = returned::as_it_is(&copy.value, self.cluster().on_disconnect(name));
                        self.draft(name).assign(id, order, why);
                    }
                    self.view.occupancy.occupy(name, id, Holding::Leaving);
                    self.plan.retained.insert((name.clone(), *id));
                    self.wake_at(name, since.unwrap_or(self.now) + self.policy.retain);
                }
            }
        }
    }

    /// Keeps the unit on a machine, with an order that says what is wanted now.
    pub(super) fn hold(&mut self, name: &'a UnitName, id: &MachineId, why: &str) {
        if let Some(unit) = self.cluster().units.get(name)
            && let (Ok(record), Ok(requirements)) = (&unit.record, &unit.requirements)
        {
            let order = unit.order(record, requirements);
            self.draft(name).assign(id, order, why);
        }
        self.draft(name).acquit();
        self.view.occupancy.occupy(name, id, Holding::Held);
    }

    /// Takes its place from a unit; where it goes is decided once it is gone from there.
    pub(super) fn unseat(&mut self, name: &'a UnitName, id: &MachineId, rejection: &Rejection) {
        let why = format!("{} {rejection}", id.short());
        self.draft(name).unschedule(&why);
        self.release(name, id, &why);
        self.pending.insert(name);
    }

    /// Takes their places from units that another one on their machine replaces, and from those that have to be with them.
    pub(super) fn make_room(&mut self) {
        let cluster = self.cluster();
        if self.view.replacing.carriers.is_empty() {
            return;
        }
        // Elsewhere nobody has come and nobody has gone.
        let homes: BTreeSet<&MachineId> = self.scope.iter().filter_map(|name| cluster.home(name)).collect();
        for (id, machine) in cluster.present().filter(|(id, _)| homes.contains(id)) {
            // Who came in this very pass takes its place in the next one.
            let is_home = |unit: &&UnitName| cluster.home(unit) == Some(id);
            // Nothing is stopped for one that the machine has not taken yet: it may refuse the name, or not get the content.
            let is_there = |unit: &&UnitName| {
                let state = machine.states.get(*unit);
                state.is_some_and(|state| state.value.hold == units::Hold::Held)
            };
            let carriers = self.view.carriers_on(id);
            let mut carriers: Vec<UnitName> = carriers.filter(is_home).filter(is_there).cloned().collect();
            // Those that nobody drives out come first: what has to go itself takes no place. There is always one, for
            // a circle drives nobody out.
            let replacing = |a: &Self, one: &UnitName, all: &[UnitName]| {
                all.iter().any(|other| a.view.replacing.drives_out(other, one))
            };
            while let Some(at) = carriers.iter().position(|c| !replacing(self, c, &carriers)) {
                let carrier = carriers.remove(at);
                let goes = |unit: &&UnitName| is_home(unit) && self.view.replacing.drives_out(&carrier, unit);
                let goers: Vec<UnitName> = self.view.held_on(id).filter(goes).cloned().collect();
                if goers.is_empty() {
                    continue;
                }
                for name in &goers {
                    if let Some((name, _)) = cluster.units.get_key_value(name) {
                        self.unseat(name, id, &Rejection::Replaced(carrier.clone()));
                    }
                }
                // A carrier that has lost its own place by that drives nobody out any more: two that each replace what the
                // other has to be with would send each other round for ever.
                self.unseat_followers();
                carriers.retain(|c| self.view.holds(id, c.as_ref()));
            }
        }
    }

    pub(super) fn fits(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        let asker = self.view.asker(name)?;
        filter::check(&self.view, &asker, id, Stance::Coming).err()
    }

    /// As [`Self::fits`], for a unit that is there already; but for `MachineOf=`, which is looked at when every unit's
    /// own place is settled.
    pub(super) fn may_stay(&self, name: &UnitName, id: &MachineId) -> Option<Rejection> {
        let asker = self.view.asker(name)?;
        let rejection = filter::check(&self.view, &asker, id, Stance::Staying).err();
        rejection.filter(|rejection| !matches!(rejection, Rejection::MachineOf(_)))
    }

    pub(super) fn unseat_followers(&mut self) {
        let cluster = self.cluster();
        let has_peers = |name: &UnitName| {
            self.view
                .requirements(name)
                .is_some_and(|r| !r.machine_of.is_empty())
        };
        let is_placed = |name: &&UnitName| cluster.schedule.contains_key(*name) && has_peers(name);
        let mut followers: Vec<&'a UnitName> = self.scope.iter().filter(is_placed).collect();
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
                // Whatever else there may be against it: of the rest of the filters only the first one speaks.
                let requirements = self.view.requirements(name);
                match requirements.map(|r| filter::has_peers(&self.view, r, id)) {
                    Some(Err(rejection)) => {
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
}
