//! Units that want a place: a copy on every fitting machine, or the least loaded one of them, or a verdict.

use super::*;

impl<'a> Planner<'a> {
    pub(super) fn spread_globals(&mut self, drafts: &mut Drafts<'a>) {
        let globals = drafts.values_mut().filter(|d| matches!(d.aim, Aim::Everywhere));
        for draft in globals {
            let mut anywhere = false;
            for (id, machine) in self.cluster().present() {
                if machine.assignments.contains_key(draft.unit) {
                    // Settled already, being released, or refused.
                    anywhere |= self.view.holds(id, draft.unit.as_ref());
                } else if self.fits(draft, id).is_none() {
                    self.hold(draft, id, "the unit is global and the machine fits");
                    anywhere = true;
                }
            }
            draft.is_pending = !anywhere;
            if anywhere {
                draft.acquit();
            }
        }
    }

    /// Says why Global units are nowhere: once everything has its place, for those that have come count as well.
    pub(super) fn judge_globals(&mut self, drafts: &mut Drafts<'a>) {
        let globals = drafts.values_mut().filter(|d| matches!(d.aim, Aim::Everywhere));
        for draft in globals.filter(|draft| draft.is_pending) {
            draft.judge(verdict::of(&self.view, draft));
        }
    }

    pub(super) fn place_all(&mut self, drafts: &mut Drafts<'a>) {
        let single = drafts.values_mut().filter(|d| !matches!(d.aim, Aim::Everywhere));
        let mut waiting: Vec<&mut Draft<'a>> = single.filter(|draft| draft.is_pending).collect();
        // Those that take the places of others first: nothing is to be started only to make room.
        waiting.sort_by_key(|draft| !self.view.replacing.is_carrier(draft.unit));
        let mut allowance = self.memory.allowance(self.now, self.policy);
        waiting.retain_mut(|draft| !self.place(draft, &mut allowance));
        // Further rounds are only for those whose MachineOf= peers found a place in the one before.
        let follows = |draft: &&mut Draft<'a>| draft.requirements().is_some_and(|r| !r.machine_of.is_empty());
        let (mut followers, mut waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(follows);
        loop {
            let before = followers.len();
            followers.retain_mut(|draft| !self.place(draft, &mut allowance));
            if followers.len() == before {
                break;
            }
        }
        waiting.extend(followers);
        for draft in waiting {
            let verdict = match self.is_being_released(draft) {
                true => verdict::passing(
                    self.cluster(),
                    draft,
                    "waits until the machine it is leaving has let go of it",
                ),
                false => verdict::of(&self.view, draft),
            };
            draft.judge(verdict);
        }
    }

    /// Finds a place, or why there is to be none for now; `false` if no machine will do at present.
    pub(super) fn place(&mut self, draft: &mut Draft<'a>, allowance: &mut Allowance) -> bool {
        if self.is_being_released(draft) {
            return false;
        }
        let cluster = self.cluster();
        let home = draft.home().and_then(|id| cluster.machines.get_key_value(id));
        let lost = home.filter(|(_, m)| m.is_lost());
        if let Some((id, _)) = lost {
            if let Some(until) = self.view.may_run_until(id, draft.unit) {
                self.wake_at(draft, until);
                let why = "waits until its lost machine must have stopped it (OnDisconnect=stop)";
                draft.judge(verdict::passing(cluster, draft, why));
                draft.is_pending = false;
                return true;
            }
            if let Some(why) = self.held_back(draft, id, allowance) {
                self.plan.braked += 1;
                draft.judge(verdict::passing(cluster, draft, why));
                draft.is_pending = false;
                return true;
            }
            self.view.occupancy.vacate(draft.unit, id);
        }
        let Some((id, why)) = self.choose(draft) else {
            if let Some((id, _)) = lost {
                self.view.occupancy.occupy(draft.unit, id, Holding::Held);
                // How many may go at a time is for all lost units together: it is asked for anew each time.
                draft.is_restless = true;
            }
            return false;
        };
        if let Some((from, _)) = lost {
            draft.rescue(from);
            if let Allowance::Paced(left) = allowance {
                *left = left.saturating_sub(1);
            }
        }
        draft.is_pending = false;
        draft.schedule(Placement {
            machine: id,
            reason: why.clone(),
        });
        self.hold(draft, &id, &why);
        true
    }

    /// A machine that passes every filter, and why that one: where it runs already, else the best by `Spread=`, else the
    /// least loaded.
    pub(super) fn choose(&self, draft: &Draft<'a>) -> Option<(MachineId, String)> {
        let (name, asker) = (draft.unit, draft.asker.as_ref()?);
        let fits = |id: &MachineId| filter::takes(&self.view, asker, id);
        let has = |m: &Machine| !m.is_releasing(name);
        let mut there = draft.places.iter();
        if let Some((id, _)) = there.find(|(id, m)| has(m) && fits(id)) {
            return Some((**id, "runs there already".to_owned()));
        }
        let (load, id, ranked) = match self.view.replacing.is_carrier(name) {
            false => self.best(asker, &fits)?,
            true => {
                // Where nobody is stopped for good by it, if there is such a machine.
                let spares = |id: &MachineId| fits(id) && !self.strands(name, id);
                self.best(asker, &spares).or_else(|| self.best(asker, &fits))?
            }
        };
        let units = if load == 1 { "unit" } else { "units" };
        let ignored = self.ignored(name, &id).unwrap_or_default();
        Some((id, format!("{ranked} ({load} {units} there before it){ignored}")))
    }

    /// The best by `Spread=`, else the least loaded, of the machines that will do, with its load and why it is that.
    fn best(
        &self,
        asker: &Asker<'_>,
        will_do: &dyn Fn(&MachineId) -> bool,
    ) -> Option<(usize, MachineId, String)> {
        let occupancy = &self.view.occupancy;
        let (loads, asks) = (&occupancy.loads, asker.requirements);
        if let Some(mut ranks) = occupancy.balance.ranks(asker.unit, asks) {
            return ranks.find_map(|rank| {
                let (load, id) = rank.machines(loads, asks).find(|(_, id)| will_do(id))?;
                let words = rank.words(&id, loads);
                let why = format!("least instances in {words}, then least loaded of the machines that fit");
                Some((load, id, why))
            });
        }
        // Where it has to be with another one, there is little choice.
        let (load, id) = match asks.machine_of.first() {
            Some(peer) => {
                let machines = occupancy.machines_of(peer).iter().filter(|id| will_do(id));
                machines.map(|id| (loads.load(id), *id)).min()?
            }
            None => loads.candidates(asks).find(|(_, id)| will_do(id))?,
        };
        Some((load, id, "least loaded of the machines that fit".to_owned()))
    }

    /// Whether a unit with `Replaces=` would, on that machine, drive out one that fits nowhere else.
    fn strands(&self, name: &UnitName, id: &MachineId) -> bool {
        let goes = |other: &&UnitName| self.view.replacing.drives_out(name, other);
        let mut goers = self.view.held_on(id).filter(goes);
        let is_elsewhere = |other: &UnitName| {
            let Some(requirements) = self.view.requirements(other) else {
                return true;
            };
            let asker = self.view.asker(other, requirements);
            let mut others = self.view.occupancy.loads.candidates(asker.requirements);
            others.any(|(_, there)| there != *id && filter::takes(&self.view, &asker, &there))
        };
        goers.any(|other| !is_elsewhere(other))
    }

    /// What is not done about a unit on that machine though `Replaces=` says so, because it goes round in a circle.
    fn ignored(&self, name: &UnitName, id: &MachineId) -> Option<String> {
        let replacing = &self.view.replacing;
        let is_circular = |other: &&UnitName| replacing.is_circular(name, other);
        let other = match replacing.is_carrier(name) {
            true => self.view.held_on(id).find(is_circular)?,
            false => return None,
        };
        Some(format!(
            "; stays beside {other}: Replaces= is ignored where units replace each other"
        ))
    }

    /// Whether a machine still has to let go of it: until then it must not start anywhere else.
    pub(super) fn is_being_released(&self, draft: &Draft<'a>) -> bool {
        let name = draft.unit;
        let mut places = draft.places.iter();
        draft.releases() || places.any(|(id, m)| m.is_releasing(name) && !self.view.is_gone(id, name))
    }

    /// Why a unit has to stay with its lost machine for now.
    pub(super) fn held_back(
        &mut self,
        draft: &mut Draft<'a>,
        lost: &MachineId,
        allowance: &Allowance,
    ) -> Option<&'static str> {
        if let Some(until) = self.memory.grace(lost, self.now) {
            self.wake_at(draft, until);
            return Some("its machine was missing when this leader began, and is given time to come back");
        }
        match allowance {
            Allowance::Free => return None,
            Allowance::Held(until) => self.wake_at(draft, *until),
            Allowance::Paced(0) => {
                let pace = Duration::from_secs(1) / self.policy.brake_pace.max(1);
                self.wake_at(draft, self.now + pace);
            }
            Allowance::Paced(_) => return None,
        }
        Some(
            "stays with its lost machine for now: too many were lost at once, so etcd or the network is suspected",
        )
    }
}
