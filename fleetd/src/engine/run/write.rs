//! A plan becomes transactions, behind the leader's fence.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Leader;
use crate::engine::{Change, Decision, Step};
use crate::registry::{Commit, MAX_OPS, Precondition, RegistryError, Revision, Txn};

/// Transactions of one plan that are under way at once: each waits for a disk and, with several members, for the network,
/// while etcd could take the next ones in.
const UNDER_WAY: usize = 4;

impl Leader<'_> {
    /// Writes the steps of a plan. After the first transaction that is not applied no other is begun; its outcome is the
    /// error.
    pub(super) async fn write(
        &mut self,
        mut steps: &[Step],
        heard: Instant,
    ) -> Result<(), Result<Commit, RegistryError>> {
        let engine = self.engine;
        let mut under_way = FuturesUnordered::new();
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok() && under_way.len() < UNDER_WAY && !steps.is_empty() {
                let (txn, taken) = self.batch(steps);
                let (now_writing, rest) = steps.split_at(taken);
                // Only what units are told is told side by side. A machine is taken in when all that was decided about its
                // copies is written, for from then on its agent takes a missing order for one to stop; a content goes
                // when nobody is told of it any more.
                let is_alone = !now_writing.iter().all(|step| matches!(step, Step::Unit(_)));
                if is_alone && !under_way.is_empty() {
                    break;
                }
                steps = rest;
                under_way.push(async move { (now_writing, engine.registry.commit(txn).await) });
            }
            engine.pulse.beat();
            match under_way.next().await {
                None => return outcome,
                Some((written, Ok(Commit::Applied(revision)))) => self.wrote(written, revision, heard),
                Some((lost, failure)) => {
                    let failed = self.tasks(lost);
                    engine.metrics.schedule_failed.add(failed.scheduled);
                    engine.metrics.unschedule_failed.add(failed.unscheduled);
                    outcome = outcome.and(Err(failure));
                }
            }
        }
    }

    /// Takes note of what was applied.
    fn wrote(&mut self, written: &[Step], revision: Revision, heard: Instant) {
        self.backoff.reset();
        self.echo.wrote(revision, Instant::now());
        let rescued = written
            .iter()
            .filter(|s| matches!(s, Step::Unit(d) if d.is_rescue))
            .count();
        self.memory.moved(rescued);
        let metrics = &self.engine.metrics;
        metrics.rescued.add(u64::try_from(rescued).unwrap_or(u64::MAX));
        self.count(written, heard.elapsed());
        written.iter().for_each(|step| log(step, revision));
    }

    fn tasks(&self, steps: &[Step]) -> Tasks {
        let mut tasks = Tasks::default();
        for step in steps {
            if let Step::Unit(decision) = step {
                tasks.count(decision, self.cluster.schedule.contains_key(&decision.unit));
            }
        }
        tasks
    }

    /// Takes note of what was written, so long after the change that it answers.
    fn count(&self, written: &[Step], after: Duration) {
        let (metrics, tasks) = (&self.engine.metrics, self.tasks(written));
        metrics.scheduled.add(tasks.scheduled);
        metrics.unscheduled.add(tasks.unscheduled);
        metrics.unplaceable.add(tasks.unplaceable);
        (0..tasks.scheduled).for_each(|_| metrics.placement_took.observe(after));
    }

    /// As many steps as one transaction takes. They are independent of one another in etcd's eyes, so applying them
    /// together changes nothing but the number of round trips.
    fn batch(&self, steps: &[Step]) -> (Txn, usize) {
        let fence = Precondition::Created(self.engine.keys.leader(), self.leadership.fence);
        let mut whole = Txn::new().when(fence.clone());
        let mut known = BTreeSet::from([fence]);
        let mut taken = 0;
        for step in steps {
            let txn = step.transaction(&self.cluster);
            let news: BTreeSet<Precondition> = txn
                .preconditions
                .into_iter()
                .filter(|p| !known.contains(p))
                .collect();
            let fits = known.len() + news.len() <= MAX_OPS && whole.ops.len() + txn.ops.len() <= MAX_OPS;
            if taken > 0 && !fits {
                break;
            }
            whole.preconditions.extend(news.iter().cloned());
            known.extend(news);
            whole.ops.extend(txn.ops);
            taken += 1;
        }
        (whole, taken)
    }
}

/// Decisions in fleet's words (fleet-reference §9).
#[derive(Debug, Default, PartialEq, Eq)]
struct Tasks {
    scheduled: u64,
    unscheduled: u64,
    unplaceable: u64,
}

impl Tasks {
    /// A move is both: away from the one machine, on to the other.
    fn count(&mut self, decision: &Decision, had_place: bool) {
        match &decision.schedule {
            Change::Set(_) => {
                self.scheduled += 1;
                self.unscheduled += u64::from(had_place);
            }
            Change::Clear => self.unscheduled += 1,
            Change::Keep => {}
        }
        if matches!(&decision.verdict, Change::Set(verdict) if !verdict.passing) {
            self.unplaceable += 1;
        }
    }
}

fn log(step: &Step, revision: Revision) {
    match step {
        Step::Unit(decision) => {
            let unit = &decision.unit;
            let orders: Vec<String> = decision.orders().collect();
            let orders = orders.join(", ");
            tracing::info!(%unit, revision, orders, reason = %decision.reason, "decided");
        }
        Step::TakeIn { machine, presence } => {
            tracing::info!(%machine, presence, revision, "took the machine in")
        }
        Step::Discard { hash, .. } => {
            tracing::info!(hash = hash.short(), revision, "removed an unused content")
        }
    }
}
