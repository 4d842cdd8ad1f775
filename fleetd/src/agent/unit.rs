//! One unit as the agent's loop sees it: what is wanted, what is there, what is being done about it.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use units::{Assignment, Hold, Phase, State};

use super::local::{Held, Started};
use super::plan::Order;
use super::worker::Outcome;
use crate::init::Status;
use crate::registry::Revision;

/// Work that is over within this time is reported when it is over; of longer work the stages in between are of
/// interest too.
const QUIET: Duration = Duration::from_secs(1);

/// Between tries of a step that fails.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) held: Option<Held>,
    /// `None` until systemd has been asked.
    pub(crate) status: Option<Status>,
    pub(crate) order: Order,
    /// The assignment the order comes from, and its revision.
    pub(crate) assigned: Option<(Option<Assignment>, Revision)>,
    pub(crate) work: Option<Work>,
    pub(crate) problem: Option<String>,
    /// The name is the host's own, in words; found for the assignment of this revision.
    pub(crate) refused: Option<(Revision, String)>,
    failures: u32,
    pub(crate) retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) order: Order,
    pub(crate) superseded: CancellationToken,
    pub(crate) since: Instant,
}

/// What to tell the cluster about a unit.
pub(crate) enum Say {
    /// This; `None` takes back what was said.
    This(Option<State>),
    /// Nothing new before this moment.
    Later(Instant),
    /// Nothing new.
    Nothing,
}

impl Unit {
    pub(crate) fn new(held: Option<Held>) -> Self {
        Self {
            held,
            status: None,
            order: Order::Keep,
            assigned: None,
            work: None,
            problem: None,
            refused: None,
            failures: 0,
            retry_at: None,
        }
    }

    fn revision(&self) -> Revision {
        self.assigned.as_ref().map_or(0, |(_, revision)| *revision)
    }

    fn assignment(&self) -> Option<&Assignment> {
        self.assigned
            .as_ref()
            .and_then(|(assignment, _)| assignment.as_ref())
    }

    /// Takes in what the registry says now.
    pub(crate) fn told(&mut self, assigned: Option<(Option<Assignment>, Revision)>, order: Order) {
        if self.revision() != assigned.as_ref().map_or(0, |(_, r)| *r) {
            // Another order is another chance, and what stood in the way of the last one says nothing about this one.
            self.retry_at = None;
            self.failures = 0;
            self.problem = None;
            if matches!(&order, Order::Run(a) if a.phase == Phase::Run) {
                self.refused = None;
            }
        }
        self.assigned = assigned;
        self.order = order;
    }

    /// Takes in how the work came out.
    pub(crate) fn worked(&mut self, outcome: Outcome) {
        self.work = None;
        match outcome {
            Outcome::Done => {
                self.problem = None;
                self.failures = 0;
                self.retry_at = None;
            }
            Outcome::Ended(word) => self.problem = Some(format!("systemd could not start it: {word}")),
            Outcome::Refused(why) => self.refused = Some((self.revision(), why)),
            Outcome::Superseded => {}
            Outcome::Failed(why) => {
                self.problem = Some(why);
                let pause = RETRY_FIRST
                    .saturating_mul(1 << self.failures.min(6))
                    .min(RETRY_LONGEST);
                self.failures += 1;
                self.retry_at = Some(Instant::now() + pause);
            }
        }
    }

    /// It must not run where the cluster cannot see it.
    pub(crate) fn is_guarded(&self) -> bool {
        self.held.as_ref().is_some_and(|h| h.guarded)
    }

    /// Nothing of it is here, and nobody speaks of it.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.held.is_none() && self.assigned.is_none() && self.work.is_none()
    }

    /// What to tell the cluster.
    pub(crate) fn say(&self) -> Say {
        if let Some(work) = &self.work
            && work.since.elapsed() < QUIET
        {
            return Say::Later(work.since + QUIET);
        }
        let assigned = self.assignment();
        // What it holds of an earlier content it still has to let go of: only then is the refusal all there is to say.
        let is_refusing = self.held.is_none() || self.is_refused();
        if let Some((_, why)) = self
            .refused
            .as_ref()
            .filter(|_| self.assigned.is_some() && is_refusing)
        {
            let state = State {
                problem: Some(why.clone()),
                ..self.state(Hold::Refused)
            };
            return Say::This(Some(state));
        }
        match (&self.held, assigned) {
            (Some(_), _) if self.status.is_none() => Say::Nothing,
            // A start that systemd has queued and not begun would read like a unit that has finished.
            (Some(_), _) if self.work.is_some() && self.is_down() => Say::Nothing,
            (Some(_), _) => Say::This(Some(self.state(Hold::Held))),
            // Whoever still works on it may be about to bring it in.
            (None, Some(_)) if self.work.is_some() => Say::Nothing,
            (None, Some(a)) if a.phase == Phase::Release && self.order != Order::Keep => {
                Say::This(Some(self.state(Hold::Gone)))
            }
            (None, Some(_)) if self.problem.is_some() => Say::This(Some(self.state(Hold::Held))),
            (None, Some(_)) => Say::Nothing,
            (None, None) if self.assigned.is_some() => Say::Nothing,
            (None, None) => Say::This(None),
        }
    }

    /// Its name is the host's own: it is not to be brought in. Letting go of it is another matter.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some() && matches!(&self.order, Order::Run(a) if a.phase == Phase::Run)
    }

    fn is_down(&self) -> bool {
        self.status.as_ref().is_none_or(|s| s.active == "inactive")
    }

    fn state(&self, hold: Hold) -> State {
        let unknown = Status::default();
        let status = self
            .status
            .as_ref()
            .filter(|_| hold == Hold::Held)
            .unwrap_or(&unknown);
        let record = self.held.as_ref().map(|h| h.record.clone()).unwrap_or_default();
        let is_up = matches!(status.active.as_str(), "active" | "reloading");
        let from_order = self.assignment().filter(|_| self.held.is_none());
        State {
            assignment: self.revision(),
            hold,
            generation: from_order.map_or(record.generation, |a| a.generation),
            run: from_order.map_or(record.run, |a| a.run),
            hash: self.held.as_ref().and_then(|h| h.hash),
            started: record.started == Started::Yes,
            load: status.load.clone(),
            active: status.active.clone(),
            sub: status.sub.clone(),
            result: status.result.clone(),
            restarts: status.restarts,
            since: status.since_us,
            // What stood in the way stands there no longer once the unit is up, by whatever way.
            problem: self.problem.clone().filter(|_| !is_up),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/failure.md, nr 13.
    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_is_tried_again_after_a_second_then_later_and_later_up_to_a_minute() {
        let mut unit = Unit::new(None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            unit.worked(Outcome::Failed("the disk is full".to_owned()));
            pauses.push(
                unit.retry_at
                    .map(|at| at.saturating_duration_since(Instant::now()).as_secs()),
            );
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
        unit.worked(Outcome::Done);
        assert_eq!((unit.retry_at, unit.problem.clone()), (None, None));
        unit.worked(Outcome::Failed("again".to_owned()));
        let pause = unit
            .retry_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        assert_eq!(pause, Some(RETRY_FIRST), "a success forgives");
    }
}
