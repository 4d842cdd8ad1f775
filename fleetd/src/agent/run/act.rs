//! What follows from what was heard: work on units, words to the cluster, reads.

use super::*;

impl Loop<'_> {
    /// Everything that follows from what was heard: work, words, reads.
    pub(super) fn turn(&mut self) {
        let now = Instant::now();
        let due = self
            .units
            .iter()
            .filter(|(_, u)| u.retry_at.is_some_and(|at| at <= now));
        self.dirty
            .extend(due.map(|(name, _)| name.clone()).collect::<Vec<_>>());
        if self.later.is_some_and(|at| at <= now) {
            self.later = None;
            self.dirty.extend(
                self.units
                    .iter()
                    .filter(|(_, u)| u.work.is_some())
                    .map(|(name, _)| name.clone()),
            );
        }
        for name in std::mem::take(&mut self.dirty) {
            self.plan(&name, now);
            self.speak(&name);
        }
        self.read();
        self.publish();
        self.describe();
        self.finish_leaving();
        while self.tasks.try_join_next().is_some() {}
    }

    /// The guard ended the unit while the cluster was out of sight. That was no end of its own: it counts as not
    /// started, and starts again if it still belongs here.
    fn forgive(&mut self, name: &UnitName) {
        let Some(held) = self.units.get_mut(name).and_then(|u| u.held.as_mut()) else {
            return;
        };
        let record = Record {
            started: Started::No,
            ..held.record.clone()
        };
        if let Err(error) = self.agent.local.remember(name, &record) {
            // The mark stays, and with the next look at the unit it is tried again.
            tracing::error!(unit = %name, %error, "could not note that the unit was ended by the guard");
            return;
        }
        held.record = record;
        self.agent.guard.forgive(name);
        tracing::warn!(unit = %name, "found the unit ended by the guard: this machine had lost the cluster");
    }

    pub(super) fn plan(&mut self, name: &UnitName, now: Instant) {
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        if let Some(work) = &unit.work {
            if work.order != unit.order && unit.order != Order::Keep {
                work.superseded.cancel();
            }
            return;
        }
        if unit.retry_at.is_some_and(|at| at > now) || unit.is_refused() {
            return;
        }
        let Some(status) = unit.status.clone() else { return };
        // Only for an order that knows what this content is: one to keep an old copy as it is must not start it anew.
        let is_wanted = matches!(&unit.order, Order::Run(a) if a.on_disconnect == OnDisconnect::Stop);
        if is_wanted && unit.is_guarded() && !plan::is_up(&status) && self.agent.guard.has_ended(name) {
            self.forgive(name);
        }
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        unit.retry_at = None;
        let plan = plan::plan(&unit.order, unit.held.as_ref(), &status);
        let allowed = self.is_leaving
            || self
                .reading
                .as_ref()
                .is_some_and(|r| r.may_stop(self.joined.as_ref().map(|j| j.created)));
        if plan.steps.is_empty() || (!allowed && orders::ends_something(&plan)) {
            return;
        }
        let revision = self.reading.as_ref().map_or(0, |r| r.revision);
        tracing::info!(unit = %name, revision, steps = %orders::words(&plan), reason = plan.reason, "works on a unit");
        let superseded = CancellationToken::new();
        let worker = Worker {
            bench: self.bench.clone(),
            unit: name.clone(),
            held: unit.held.clone(),
            superseded: superseded.clone(),
            may_be_superseded: matches!(&unit.order, Order::Run(_)),
            words: self.words.clone(),
            text: None,
        };
        unit.work = Some(Work {
            order: unit.order.clone(),
            superseded,
            since: now,
        });
        self.tasks.spawn(worker.work(plan));
    }

    pub(super) fn speak(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get(name) else { return };
        match unit.say() {
            Say::This(state) => self.publisher.want(name, state),
            Say::Later(at) => self.later = Some(self.later.map_or(at, |later| later.min(at))),
            Say::Nothing => {}
        }
        if unit.is_forgotten() {
            self.units.remove(name);
        }
    }

    pub(super) fn read(&mut self) {
        if !self.must_read || self.is_reading {
            return;
        }
        self.must_read = false;
        self.is_reading = true;
        let (registry, keys) = (self.agent.registry.clone(), self.agent.keys.clone());
        let (trust, id) = (self.agent.trust.clone(), self.agent.identity.id);
        let pause = if self.reading.is_none() {
            self.backoff.pause()
        } else {
            Duration::ZERO
        };
        let first = self.joined.is_none();
        self.beside(async move {
            let result = orders::read(&registry, &keys, &trust, &id).await;
            if result.is_err() && !first {
                sleep(pause).await;
            } else if result.is_err() {
                sleep(Duration::from_millis(200).max(pause)).await;
            }
            Message::Read(result)
        });
    }

    pub(super) fn publish(&mut self) {
        let Some(joined) = &self.joined else { return };
        if self.is_writing {
            return;
        }
        // One compare and one write for each; the fence makes sure that a presence that is over says nothing more.
        let said = self.publisher.take(self.started.elapsed(), MAX_OPS - 1);
        if said.is_empty() {
            return;
        }
        let (keys, id) = (&self.agent.keys, self.agent.identity.id);
        let mut txn = Txn::new().when(Precondition::Created(keys.presence(&id), joined.created));
        for (unit, state) in &said {
            let key = keys.state(&id, unit);
            txn = match state {
                Some(state) => txn.put_leased(key, encode(state), joined.lease),
                None => txn.delete(key),
            };
        }
        self.is_writing = true;
        let registry = self.agent.registry.clone();
        self.beside(async move {
            let result = registry.commit(txn).await;
            if result.as_ref().is_ok_and(|c| matches!(c, Commit::Applied(_))) {
                return Message::Wrote(said, result);
            }
            // Not a busy loop while the store is away or the presence is being lost.
            sleep(Duration::from_secs(1)).await;
            Message::Wrote(said, result)
        });
    }

    pub(super) fn finish_leaving(&mut self) {
        let over = self.is_leaving
            && !self.is_finishing
            && self.units.values().all(|u| u.held.is_none() && u.work.is_none());
        if !over {
            return;
        }
        self.is_finishing = true;
        let Some(joined) = self.joined.clone() else {
            // The lease ran out meanwhile: that has said it already.
            self.hear(Message::Left);
            return;
        };
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        let door = self.door.clone();
        self.beside(async move {
            if let Err(error) = door.leave(&joined).await {
                // Nothing runs here any more: the lease that runs out says the same a little later.
                tracing::warn!(%error, "could not remove the presence");
            }
            Message::Left
        });
    }
}
