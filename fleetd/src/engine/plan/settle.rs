//! Units that hold a place: whether they keep it, and what becomes of copies where they do not belong.

use super::*;
use crate::registry::Revision;

impl<'a> Planner<'a> {
    /// Goes through every unit, the longest-placed first.
    pub(super) fn settle_all(&mut self, drafts: &mut Drafts<'a>) {
        let mut by_age: Vec<&mut Draft<'a>> = drafts.values_mut().collect();
        by_age.sort_by_cached_key(|draft| placed_since(draft));
        for draft in &mut by_age {
            self.settle(draft);
        }
        // Old copies last: they give way to whatever belongs where they are.
        for draft in by_age {
            if let Aim::Somewhere(record) = draft.aim {
                self.settle_old_copies(draft, record);
            }
        }
    }

    pub(super) fn settle(&mut self, draft: &mut Draft<'a>) {
        self.withdraw_answered(draft);
        match draft.aim {
            Aim::Nowhere => self.withdraw_all(draft),
            Aim::Unknown(why) => self.leave_alone(draft, why),
            Aim::Everywhere => self.settle_global(draft),
            Aim::Somewhere(_) => self.settle_single(draft),
        }
    }

    /// Orders to release that have been answered have done their work, but one: a refusal stays as long as the unit is
    /// the one that was refused, for it is what keeps the engine from asking that machine again.
    pub(super) fn withdraw_answered(&mut self, draft: &mut Draft<'a>) {
        let name = draft.unit;
        let wanted = !matches!(draft.aim, Aim::Nowhere);
        let generation = draft.known.map(|known| known.generation);
        for (id, machine) in draft.places.clone() {
            let Some(assignment) = machine.assignment(name).filter(|_| machine.is_releasing(name)) else {
                continue;
            };
            let remembers = wanted
                && machine.answers(name, units::Hold::Refused)
                && generation == Some(assignment.generation);
            if let Some(until) = self.view.may_run_until(id, name) {
                self.wake_at(draft, until);
            } else if self.view.is_gone(id, name) && !remembers {
                draft.clear(id, "it is gone from there");
            }
        }
    }

    pub(super) fn withdraw_all(&mut self, draft: &mut Draft<'a>) {
        let why = match draft.known {
            None => "the unit was destroyed",
            Some(_) if draft.unit.is_template() => "the unit is a template",
            Some(_) => "the unit is to be inactive",
        };
        draft.unschedule(why);
        draft.acquit();
        for (id, _) in draft.running() {
            self.release(draft, id, why);
        }
    }

    /// Takes the unit off a machine: by order if the machine can take one, else by withdrawing the order it had. One that
    /// is still ending the unit without us keeps the order until it must be done.
    pub(super) fn release(&mut self, draft: &mut Draft<'a>, id: &MachineId, why: &str) {
        let name = draft.unit;
        let present = self.cluster().machines.get(id).is_some_and(|m| m.is_present());
        let ending = self.view.may_run_until(id, name);
        if let Some(until) = ending {
            self.wake_at(draft, until);
        }
        if present || ending.is_some() {
            draft.release(id, why);
            self.view.occupancy.occupy(name, id, Holding::Leaving);
        } else {
            draft.clear(id, why);
            self.view.occupancy.vacate(name, id);
        }
    }

    /// A unit that cannot be understood keeps all it has; a machine that brings a copy of it is told to go on.
    pub(super) fn leave_alone(&mut self, draft: &mut Draft<'a>, why: &str) {
        let name = draft.unit;
        let mut has_any = false;
        for (id, machine) in draft.places.clone() {
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
                let assignment = returned::as_it_is(&copy.value, draft.on_disconnect());
                draft.assign(id, assignment, why);
            }
        }
        if !has_any {
            draft.judge(verdict::unusable(self.cluster(), draft, why));
        }
    }

    pub(super) fn settle_global(&mut self, draft: &mut Draft<'a>) {
        draft.unschedule("the unit is global");
        for (id, present) in draft.running() {
            // Out of sight it keeps its order: loss alone never takes a global unit's place away.
            match self.may_stay(draft, id).filter(|_| present) {
                Some(rejection) => self.release(draft, id, &rejection.to_string()),
                None if self.cluster().machines.get(id).is_some_and(|m| m.has_left()) => {
                    self.release(draft, id, "the machine left the cluster");
                }
                None => match self.outgrown(draft, id).filter(|_| !present) {
                    Some(rejection) => self.release(draft, id, &rejection.to_string()),
                    None => self.hold(draft, id, "the unit changed"),
                },
            }
        }
    }

    /// Why a machine out of sight must not be told what the unit has become since its order: it does not suit it any
    /// more. That takes its place away where loss alone does not.
    fn outgrown(&self, draft: &Draft<'a>, id: &MachineId) -> Option<Rejection> {
        let machine = self.cluster().machines.get(id)?;
        let order = machine.assignment(draft.unit)?;
        let has_changed = draft.generation() != order.generation;
        let requirements = draft.requirements().filter(|_| has_changed)?;
        filter::suits(machine, id, requirements).err()
    }

    pub(super) fn settle_single(&mut self, draft: &mut Draft<'a>) {
        let cluster = self.cluster();
        let home = draft.home().and_then(|id| cluster.machines.get_key_value(id));
        match home {
            None => self.find_home(draft),
            Some((id, machine)) if machine.is_present() => match self.may_stay(draft, id) {
                None => self.hold(draft, id, "the unit changed"),
                Some(rejection) => self.unseat(draft, id, &rejection),
            },
            Some((id, machine)) if machine.has_left() => {
                draft.unschedule("its machine left the cluster");
                self.release(draft, id, "its machine left the cluster");
                draft.is_pending = true;
            }
            Some((id, _)) => {
                // Lost. It counts as being there until there is a better place for it.
                self.view.occupancy.occupy(draft.unit, id, Holding::Held);
                draft.is_pending = true;
            }
        }
    }

    /// A unit without a place (or with one that cannot be read) that a machine has an order for, or a copy of, belongs
    /// there. If it cannot stay there it has to go first.
    pub(super) fn find_home(&mut self, draft: &mut Draft<'a>) {
        let name = draft.unit;
        let there = |m: &Machine| !m.has_left() && !m.is_releasing(name);
        let places = draft.places.clone().into_iter().filter(|(_, m)| there(m));
        let (present, absent): (Vec<_>, Vec<_>) = places.partition(|(_, m)| m.is_present());
        let stays = present.iter().find(|(id, _)| self.may_stay(draft, id).is_none());
        if let Some((id, machine)) = stays.or_else(|| absent.first().filter(|_| present.is_empty())) {
            let reason = "runs there already".to_owned();
            draft.schedule(Placement {
                machine: **id,
                reason,
            });
            match machine.is_present() {
                true => self.hold(draft, id, "runs there already"),
                false => self.view.occupancy.occupy(name, id, Holding::Held),
            }
            return;
        }
        draft.unschedule("its machine is not known");
        for (id, machine) in draft.places.clone() {
            // Out of sight it keeps its order, unless it left.
            if !machine.assignments.contains_key(name)
                || machine.is_releasing(name)
                || (!machine.is_present() && !machine.has_left())
            {
                continue;
            }
            let why = match self.fits(draft, id) {
                Some(rejection) => format!("{} {rejection}", id.short()),
                None => "its machine is not known".to_owned(),
            };
            self.release(draft, id, &why);
        }
        draft.is_pending = true;
    }

    /// Copies of a placed unit on machines where it does not belong (any more).
    pub(super) fn settle_old_copies(&mut self, draft: &mut Draft<'a>, record: &'a UnitRecord) {
        let (cluster, name) = (self.cluster(), draft.unit);
        let Some(home) = draft.home() else { return };
        for (id, machine) in draft.places.clone().into_iter().filter(|(id, _)| *id != home) {
            let assigned = machine.assignments.contains_key(name) && !machine.is_releasing(name);
            if !machine.is_present() {
                if assigned {
                    self.release(draft, id, "it belongs elsewhere, and the machine is out of sight");
                }
                continue;
            }
            let stray = returned::stray(machine, name);
            if !assigned && stray.is_none() {
                continue;
            }
            let rejection = self.fits(draft, id);
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
                Fate::Release(why) if assigned => self.release(draft, id, &why),
                // Without an assignment its agent lets go of it as soon as it is taken in. Until then it is asked anew:
                // why it goes may have to do with a content that no unit names any more.
                Fate::Release(_) => draft.is_restless = true,
                Fate::MoveBack(why) => {
                    self.release(draft, home, &why);
                    draft.is_pending = false;
                    draft.schedule(Placement {
                        machine: *id,
                        reason: why,
                    });
                    self.hold(draft, id, "it is there already");
                    return;
                }
                Fate::Keep => {
                    if let Some(copy) = stray {
                        let why = "kept until its successor is active";
                        let order = returned::as_it_is(&copy.value, draft.on_disconnect());
                        draft.assign(id, order, why);
                    }
                    self.view.occupancy.occupy(name, id, Holding::Leaving);
                    self.plan.retained.insert((name.clone(), *id));
                    self.wake_at(draft, since.unwrap_or(self.now) + self.policy.retain);
                }
            }
        }
    }

    /// Keeps the unit on a machine, with an order that says what is wanted now.
    pub(super) fn hold(&mut self, draft: &mut Draft<'a>, id: &MachineId, why: &str) {
        if let Some(unit) = draft.known
            && let (Ok(record), Ok(requirements)) = (&unit.record, &unit.requirements)
        {
            draft.assign(id, unit.order(record, requirements), why);
        }
        draft.acquit();
        self.view.occupancy.occupy(draft.unit, id, Holding::Held);
    }

    /// Takes its place from a unit; where it goes is decided once it is gone from there.
    pub(super) fn unseat(&mut self, draft: &mut Draft<'a>, id: &MachineId, rejection: &Rejection) {
        let why = format!("{} {rejection}", id.short());
        draft.unschedule(&why);
        self.release(draft, id, &why);
        draft.is_pending = true;
    }

    /// Takes their places from units that another one on their machine replaces, and from those that have to be with them.
    pub(super) fn make_room(&mut self, drafts: &mut Drafts<'a>) {
        let cluster = self.cluster();
        if self.view.replacing.carriers.is_empty() {
            return;
        }
        // Elsewhere nobody has come and nobody has gone.
        let homes: BTreeSet<&MachineId> = drafts.values().filter_map(Draft::home).collect();
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
                        let draft = drafts.entry(name).or_insert_with(|| Draft::new(&self.view, name));
                        self.unseat(draft, id, &Rejection::Replaced(carrier.clone()));
                    }
                }
                // A carrier that has lost its own place by that drives nobody out any more: two that each replace what the
                // other has to be with would send each other round for ever.
                self.unseat_followers(drafts);
                carriers.retain(|c| self.view.holds(id, c.as_ref()));
            }
        }
    }

    pub(super) fn fits(&self, draft: &Draft<'a>, id: &MachineId) -> Option<Rejection> {
        let asker = draft.asker.as_ref()?;
        filter::check(&self.view, asker, id, Stance::Coming).err()
    }

    /// As [`Self::fits`], for a unit that is there already; but for `MachineOf=`, which is looked at when every unit's
    /// own place is settled.
    pub(super) fn may_stay(&self, draft: &Draft<'a>, id: &MachineId) -> Option<Rejection> {
        let asker = draft.asker.as_ref()?;
        let rejection = filter::check(&self.view, asker, id, Stance::Staying).err();
        rejection.filter(|rejection| !matches!(rejection, Rejection::MachineOf(_)))
    }

    pub(super) fn unseat_followers(&mut self, drafts: &mut Drafts<'a>) {
        let cluster = self.cluster();
        let has_peers = |draft: &Draft<'_>| draft.requirements().is_some_and(|r| !r.machine_of.is_empty());
        let is_placed = |draft: &&mut Draft<'a>| draft.scheduled.is_some() && has_peers(draft);
        let mut followers: Vec<&mut Draft<'a>> = drafts.values_mut().filter(is_placed).collect();
        loop {
            let before = followers.len();
            followers.retain_mut(|draft| {
                if draft.is_pending {
                    return false;
                }
                let home = draft.home().and_then(|id| cluster.machines.get_key_value(id));
                let Some((id, _)) = home.filter(|(id, _)| self.view.holds(id, draft.unit.as_ref())) else {
                    return false;
                };
                // Whatever else there may be against it: of the rest of the filters only the first one speaks.
                match draft.requirements().map(|r| filter::has_peers(&self.view, r, id)) {
                    Some(Err(rejection)) => {
                        self.unseat(draft, id, &rejection);
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

/// Since when the unit has had a place; what it is only let go of is no place of its own.
fn placed_since(draft: &Draft<'_>) -> Revision {
    let scheduled = draft.scheduled.map(|entry| entry.created);
    let orders = draft.places.iter().filter(|(_, m)| !m.is_releasing(draft.unit));
    let ordered = orders.filter_map(|(_, m)| m.assignments.get(draft.unit).map(|entry| entry.created));
    scheduled
        .into_iter()
        .chain(ordered)
        .min()
        .unwrap_or(Revision::MAX)
}
