//! What the loop hears, and what it makes of it.

use super::*;

impl Loop<'_> {
    pub(super) fn hear_worker(&mut self, word: Word) {
        match word {
            Word::Holds(name, held) => {
                if let Some(unit) = self.units.get_mut(&name) {
                    let changes_names = unit.held.is_some() != held.is_some();
                    let was_guarded = unit.is_guarded();
                    unit.held = held;
                    if was_guarded && !unit.is_guarded() && self.agent.guard.uncover(&name) {
                        let guard = self.agent.guard.clone();
                        self.tasks.spawn(async move { guard.relax().await });
                    }
                    if changes_names {
                        self.watch_names();
                    }
                }
            }
            Word::Observed(name, status) => self.observed(vec![(name, status)]),
            Word::Over(name, outcome) => self.worked(name, outcome),
        }
    }

    pub(super) fn hear(&mut self, message: Message) {
        match message {
            Message::Observed(result, asked) => {
                self.is_observing = false;
                match result {
                    Ok(statuses) => self.observed(statuses),
                    Err(error) => {
                        // The reconnect sends a resync, which asks again.
                        tracing::warn!(%error, units = asked.len(), "could not ask systemd about units");
                    }
                }
                self.observe_unknown();
                if self.joined.is_none() {
                    self.join();
                }
            }
            Message::Read(result) => {
                self.is_reading = false;
                match result {
                    Ok(reading) => {
                        self.backoff.reset();
                        let ours = self.joined.as_ref().map(|j| j.created);
                        let is_gone = reading.presence != ours
                            && ours.is_some_and(|created| created <= reading.revision);
                        self.remember_overrides(reading.overrides(ours).cloned());
                        self.reading = Some(reading);
                        if is_gone {
                            // At the end of a leave it was removed by ourselves.
                            if !self.is_leaving {
                                tracing::warn!("found the presence of this machine removed, joins again");
                            }
                            self.hear(Message::Lost);
                        } else {
                            self.obey();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "could not read what this machine is to do");
                        self.reading = None;
                        self.must_read = true;
                        self.obey();
                    }
                }
            }
            Message::Joined(result) => self.came_in(result),
            Message::Lost => {
                self.joined = None;
                if let Some(keeper) = self.keeper.take() {
                    keeper.abort();
                }
                self.obey();
                self.join();
            }
            Message::Wrote(said, result) => {
                self.is_writing = false;
                match result {
                    Ok(Commit::Applied(_)) => self.publisher.written(said, self.started.elapsed()),
                    Ok(Commit::Refused(_)) => {
                        // The presence is not the one it was: a look tells.
                        self.must_read = true;
                        self.publisher.failed(&said);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "could not publish states");
                        self.publisher.failed(&said);
                    }
                }
            }
            Message::LeaveAnnounced(accepted) => {
                if accepted {
                    tracing::info!(
                        units = self.units.len(),
                        "leaving the cluster: stopping the units of this machine"
                    );
                    self.is_leaving = true;
                    self.obey();
                } else if let Some(answer) = self.leaving.take() {
                    let _ = answer.send(false);
                }
            }
            Message::Described(result) => self.described(result),
            Message::Owned(name, owner) => {
                if let Some(unit) = self.units.get_mut(&name)
                    && owner == Owner::Nobody
                    && unit.refused.take().is_some()
                {
                    tracing::info!(unit = %name, "found the name free again");
                    self.dirty.insert(name);
                }
            }
            Message::Word(heard) => {
                tracing::warn!(cluster = %heard.word.cluster, "was told that the registry is to be followed as it is");
                self.put_back(heard, Duration::ZERO);
            }
            Message::PutBack(heard, result) => self.recovered(heard, result),
            Message::Left => {
                if let Some(answer) = self.leaving.take() {
                    let _ = answer.send(true);
                }
                self.has_left = true;
            }
        }
    }

    pub(super) fn see(&mut self, update: Update, mirror: &mut Mirror) {
        match update {
            Update::Reset(_) | Update::Changed(_) | Update::Reconnected => self.must_read = true,
            Update::Disconnected(error) => {
                tracing::warn!(%error, "lost sight of the registry; every unit is kept as it is");
                self.reading = None;
                self.obey();
            }
            Update::WentBack { had, found } => {
                let known = Known {
                    revision: had,
                    cluster: None,
                    ..self.agent.trust.known()
                };
                let _ = self.agent.trust.believe(&known, found, None);
                mirror.accept();
                self.obey();
            }
        }
    }

    pub(super) fn happened(&mut self, event: init::Event) {
        match event {
            init::Event::Changed(name, status) => self.observed(vec![(name, status)]),
            init::Event::Resync => {
                for unit in self.units.values_mut() {
                    unit.status = None;
                }
                self.observe_unknown();
                self.check_refused();
            }
            init::Event::FilesChanged => self.check_refused(),
        }
    }

    /// Names that were the host's may have become free.
    pub(super) fn check_refused(&mut self) {
        let refused = self
            .units
            .iter()
            .filter(|(_, u)| u.refused.is_some())
            .map(|(name, _)| name.clone());
        for name in refused.collect::<Vec<_>>() {
            let init = self.agent.init.clone();
            self.beside(async move {
                let owner = init
                    .owner(&name)
                    .await
                    .unwrap_or_else(|_| Owner::Host("?".into()));
                Message::Owned(name, owner)
            });
        }
    }

    pub(super) fn observed(&mut self, statuses: Vec<(UnitName, Status)>) {
        for (name, status) in statuses {
            if let Some(unit) = self.units.get_mut(&name) {
                unit.status = Some(remembering(status, unit.status.take()));
                self.dirty.insert(name);
            }
        }
    }

    pub(super) fn worked(&mut self, name: UnitName, outcome: Outcome) {
        match &outcome {
            Outcome::Done | Outcome::Superseded => {
                tracing::debug!(unit = %name, ?outcome, "worked on a unit")
            }
            Outcome::Ended(word) => {
                tracing::warn!(unit = %name, result = word, "started a unit that did not come up")
            }
            Outcome::Refused(why) => tracing::warn!(unit = %name, reason = why, "refused a unit"),
            Outcome::Failed(why) => tracing::warn!(unit = %name, reason = why, "failed to work on a unit"),
        }
        if let Some(unit) = self.units.get_mut(&name) {
            unit.worked(outcome);
            self.dirty.insert(name);
        }
    }

    pub(super) fn came_in(&mut self, result: Result<Joined, AbsenceError>) {
        self.is_joining = false;
        match result {
            Ok(joined) => {
                self.backoff.reset();
                self.agent.standing.set(None);
                if let Some(said) = &joined.resumed {
                    self.publisher.assume(said.clone());
                }
                let door = self.door.clone();
                let kept = joined.clone();
                self.keeper = Some(self.beside(async move {
                    door.keep(&kept).await;
                    Message::Lost
                }));
                self.joined = Some(joined);
                // A presence answers to `seen` from now on.
                self.must_read = true;
                self.dirty.extend(self.units.keys().cloned());
            }
            Err(error) => {
                let pause = match &error {
                    AbsenceError::Duplicate { .. } => {
                        tracing::error!(%error, "could not join the cluster");
                        self.agent.standing.set(Some(error.to_string()));
                        self.agent.ttl
                    }
                    // Only a person ends that. One who has done so while this was under way is not to be overlooked.
                    AbsenceError::Join(crate::registry::trust::JoinError::Doubt(_))
                        if self.agent.trust.doubt().is_some() =>
                    {
                        return;
                    }
                    _ => {
                        tracing::warn!(%error, "could not join the cluster, trying again");
                        self.backoff.pause()
                    }
                };
                self.join_after(pause);
            }
        }
    }

    /// Listens for a person's word while there is a doubt.
    pub(super) fn doubted(&mut self) {
        self.obey();
        if self.agent.trust.doubt().is_none() || self.is_recovering {
            return;
        }
        self.is_recovering = true;
        let (registry, keys) = (self.agent.registry.clone(), self.agent.keys.clone());
        let (trust, backoff) = (self.agent.trust.clone(), backoff(&self.agent.identity.id));
        self.beside(async move {
            recovery::tell(&registry, &keys, &trust, backoff.clone()).await;
            Message::Word(recovery::follow(registry, keys, &trust, backoff).await)
        });
    }

    /// On disk before anything starts by them: the registry may be lost at any moment.
    fn remember_overrides(&mut self, said: Option<Overrides>) {
        let Some(said) = said.filter(|said| self.overrides.as_ref() != Some(said)) else {
            return;
        };
        if let Err(error) = self.agent.local.remember_overrides(&said) {
            tracing::error!(%error, "could not remember which metadata the API had set");
        }
        self.overrides = Some(said);
    }

    fn put_back(&mut self, heard: Heard, pause: Duration) {
        let local = &self.agent.local;
        let copy = |(name, unit): (&UnitName, &Unit)| {
            let held = unit.held.as_ref()?;
            // What it was letting go of when it lost faith is wanted no more.
            let is_leaving = unit
                .assigned
                .as_ref()
                .is_some_and(|(a, _)| a.as_ref().is_some_and(|a| a.phase == Phase::Release));
            Some(recovery::Copy {
                unit: name.clone(),
                text: std::fs::read_to_string(local.path(name))
                    .ok()
                    .filter(|_| !is_leaving)?,
                hash: held.hash?,
                record: held.record.clone(),
            })
        };
        let copies = self.units.iter().filter_map(copy).collect();
        let (registry, keys) = (self.agent.registry.clone(), self.agent.keys.clone());
        let Identity { id, boot_id, .. } = self.agent.identity.clone();
        let (overrides, unseen) = (self.overrides.clone(), self.door.absent_record());
        self.beside(async move {
            sleep(pause).await;
            let put_back = async {
                // First: units must not be back without what they were placed by.
                if let Some(overrides) = &overrides {
                    recovery::put_back_overrides(&registry, &keys, &heard, overrides, &unseen).await?;
                }
                recovery::put_back(&registry, &keys, &id, &boot_id, &heard, copies).await
            };
            let result = put_back.await;
            Message::PutBack(heard, result)
        });
    }

    fn recovered(&mut self, heard: Heard, result: Result<Vec<Adopted>, RegistryError>) {
        let adopted = match result {
            Ok(adopted) => adopted,
            Err(error) => {
                tracing::warn!(%error, "could not put back what this machine holds, trying again");
                let pause = self.backoff.pause();
                self.put_back(heard, pause);
                return;
            }
        };
        for Adopted { unit, generation } in adopted {
            let idle = self.units.get_mut(&unit).filter(|u| u.work.is_none());
            let Some(held) = idle.and_then(|u| u.held.as_mut()) else {
                continue;
            };
            held.record.generation = generation;
            if let Err(error) = self.agent.local.remember(&unit, &held.record) {
                tracing::error!(%unit, %error, "could not note the unit's generation");
            }
        }
        // Orders of before are void, and so are answers to them.
        for unit in self.units.values_mut() {
            unit.told(None, Order::Keep);
        }
        self.is_recovering = false;
        self.must_follow_anew = true;
        self.reading = None;
        self.must_read = true;
        self.backoff.reset();
        self.agent.trust.accept(&heard.word.cluster);
        // Whatever presence there was is one of before.
        self.hear(Message::Lost);
    }

    pub(super) fn join(&mut self) {
        self.join_after(Duration::ZERO);
    }

    pub(super) fn join_after(&mut self, pause: Duration) {
        if self.is_joining
            || self.is_leaving
            || self
                .units
                .values()
                .any(|u| u.held.is_some() && u.status.is_none())
        {
            return;
        }
        self.is_joining = true;
        for (name, unit) in &self.units {
            if let Say::This(state) = unit.say() {
                self.publisher.want(name, state);
            }
        }
        let words = self.publisher.all();
        let door = self.door.clone();
        self.beside(async move {
            sleep(pause).await;
            Message::Joined(door.join(words).await)
        });
    }

    /// After a restart: the guard goes on with what is here.
    pub(super) fn take_up_guard(&mut self) {
        let guarded = self.units.iter().filter(|(_, u)| u.is_guarded());
        let guarded: BTreeSet<UnitName> = guarded.map(|(name, _)| name.clone()).collect();
        let guard = self.agent.guard.clone();
        guard.adopt(guarded.clone());
        self.tasks.spawn(async move {
            for unit in &guarded {
                if let Err(error) = guard.cover(unit).await {
                    tracing::error!(%unit, %error, "could not have the unit guarded");
                }
            }
            guard.relax().await;
        });
    }

    pub(super) fn watch_names(&self) {
        let held = self.units.iter().filter(|(_, u)| u.held.is_some());
        self.agent
            .init
            .watch(held.map(|(name, _)| name.clone()).collect());
    }

    pub(super) fn observe_unknown(&mut self) {
        let unknown = self
            .units
            .iter()
            .filter(|(_, u)| u.status.is_none())
            .map(|(name, _)| name.clone());
        let unknown: Vec<UnitName> = unknown.collect();
        if unknown.is_empty() || self.is_observing {
            return;
        }
        self.is_observing = true;
        let init = self.agent.init.clone();
        self.beside(async move {
            let result = init.observe(&unknown).await;
            if result.is_err() {
                // The connection is being made again, which takes a moment.
                sleep(Duration::from_millis(200)).await;
            }
            Message::Observed(result, unknown)
        });
    }

    /// Gives every unit the order that the last reading, or the lack of one, amounts to.
    pub(super) fn obey(&mut self) {
        let doubt = self.agent.trust.doubt().is_some();
        let incarnation = self.joined.as_ref().map(|j| j.created);
        let reading = self.reading.as_ref().filter(|_| !doubt);
        let told: BTreeMap<UnitName, (Option<Assignment>, i64)> =
            reading.map(|r| r.assignments.clone()).unwrap_or_default();
        for name in told
            .keys()
            .filter(|name| !self.units.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.units.insert(name, Unit::new(None));
        }
        for (name, unit) in &mut self.units {
            let assigned = match reading {
                Some(_) => told.get(name).cloned(),
                // Not known at present: what was said last is what states still answer to.
                None => unit.assigned.clone(),
            };
            let order = match reading {
                // Accepted by the registry: from there on it is carried through, whatever becomes of etcd.
                _ if self.is_leaving => Order::Release,
                None => Order::Keep,
                Some(reading) => orders::order(reading, incarnation, assigned.as_ref()),
            };
            if unit.order != order || unit.assigned != assigned {
                unit.told(assigned, order);
                self.dirty.insert(name.clone());
            }
        }
        // What an order asks for may have had to wait until something may be stopped: it is the same order still.
        let may_stop = reading.is_some_and(|r| r.may_stop(incarnation));
        let could_stop = std::mem::replace(&mut self.may_stop, may_stop);
        if may_stop && !could_stop {
            self.dirty.extend(self.units.keys().cloned());
        }
        self.observe_unknown();
    }
}
