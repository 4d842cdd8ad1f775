//! Units that want a place: a copy on every fitting machine, or the least loaded one of them, or a verdict.

use super::super::balance::Rank;
use super::*;

impl<'a> Planner<'a> {
    pub(super) fn spread_globals(&mut self) {
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

    pub(super) fn place_all(&mut self) {
        let mut waiting: Vec<&'a UnitName> = std::mem::take(&mut self.pending).into_iter().collect();
        // Those that take the places of others first: nothing is to be started only to make room.
        waiting.sort_by_key(|name| !self.view.replacing.is_carrier(name));
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
    pub(super) fn place(&mut self, name: &'a UnitName, allowance: &mut Allowance) -> bool {
        if self.is_being_released(name) {
            return false;
        }
        let cluster = self.cluster();
        let lost = cluster
            .home(name)
            .and_then(|id| cluster.machines.get_key_value(id))
            .filter(|(_, m)| m.is_lost());
        if let Some((id, _)) = lost {
            if let Some(until) = self.view.may_run_until(id, name) {
                self.wake_at(until);
                let why = "waits until its lost machine must have stopped it (OnDisconnect=stop)";
                let verdict = verdict::passing(cluster, name, why);
                self.draft(name).judge(verdict);
                return true;
            }
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

    /// A machine that passes every filter, and why that one: where it runs already, else the best by `Spread=`, else the
    /// least loaded.
    pub(super) fn choose(&self, name: &UnitName) -> Option<(&'a MachineId, String)> {
        let has = |m: &Machine| !m.is_releasing(name);
        let mut there = self.view.places(name).into_iter();
        if let Some((id, _)) = there.find(|(id, m)| has(m) && self.fits(name, id).is_none()) {
            return Some((id, "runs there already".to_owned()));
        }
        let fits = |id: &MachineId| self.fits(name, id).is_none();
        let (load, id, ranked) = match self.view.replacing.is_carrier(name) {
            false => self.best(name, &fits)?,
            true => {
                // Where nobody is stopped for good by it, if there is such a machine.
                let spares = |id: &MachineId| fits(id) && !self.strands(name, id);
                self.best(name, &spares).or_else(|| self.best(name, &fits))?
            }
        };
        let units = if load == 1 { "unit" } else { "units" };
        let ignored = self.ignored(name, id).unwrap_or_default();
        Some((id, format!("{ranked} ({load} {units} there before it){ignored}")))
    }

    /// The best by `Spread=`, else the least loaded, of the machines that will do, with its load and why it is that.
    fn best(
        &self,
        name: &UnitName,
        will_do: &dyn Fn(&MachineId) -> bool,
    ) -> Option<(usize, &'a MachineId, String)> {
        let Some(ranks) = self.view.by_balance(name) else {
            let (load, id) = self.view.by_load().find(|(_, id)| will_do(id))?;
            return Some((load, id, "least loaded of the machines that fit".to_owned()));
        };
        // Equal ranks are one.
        let mut equals = ranks.chunk_by(|a, b| a.counts == b.counts);
        equals.find_map(|equal| {
            let (load, id, rank) = least_loaded(equal, will_do)?;
            let words = rank.words();
            Some((
                load,
                id,
                format!("least instances in {words}, then least loaded of the machines that fit"),
            ))
        })
    }

    /// Whether a unit with `Replaces=` would, on that machine, drive out one that fits nowhere else.
    fn strands(&self, name: &UnitName, id: &MachineId) -> bool {
        let goes = |other: &&UnitName| self.view.replacing.drives_out(name, other);
        let mut goers = self.view.held_on(id).filter(goes);
        let is_elsewhere = |other: &UnitName| {
            let mut others = self.view.by_load().filter(|(_, there)| *there != id);
            others.any(|(_, there)| self.fits(other, there).is_none())
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
    pub(super) fn is_being_released(&self, name: &UnitName) -> bool {
        let drafted = self.drafts.get(name).is_some_and(Draft::releases);
        drafted
            || self
                .view
                .places(name)
                .iter()
                .any(|(id, m)| m.is_releasing(name) && !self.view.is_gone(id, name))
    }

    /// Why a unit has to stay with its lost machine for now.
    pub(super) fn held_back(&mut self, lost: &MachineId, allowance: &Allowance) -> Option<&'static str> {
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
}

/// The first machine that will do, by load over all of these ranks. What is asked of a machine costs much more than to
/// find the next one to ask.
fn least_loaded<'r, 'b, 'a>(
    ranks: &'r [Rank<'b, 'a>],
    will_do: &dyn Fn(&MachineId) -> bool,
) -> Option<(usize, &'a MachineId, &'r Rank<'b, 'a>)> {
    let mut queues: Vec<_> = ranks
        .iter()
        .map(|rank| (rank, rank.machines.iter().copied().peekable()))
        .collect();
    loop {
        let heads = queues.iter_mut().filter_map(|(rank, queue)| {
            let head = *queue.peek()?;
            Some((head, *rank, queue))
        });
        let ((load, id), rank, queue) = heads.min_by_key(|(head, _, _)| *head)?;
        if will_do(id) {
            return Some((load, id, rank));
        }
        queue.next();
    }
}
