//! Waits for units to reach their goals, and says what happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use units::{UnitName, Verdict};

use super::follower::News;
use super::{Follower, Goal, Progress, progress};
use crate::api::{Addresses, Api};
use crate::error::Error;
use crate::printer::{Printer, Progress as ProgressLine};
use crate::text;

/// How long nothing may happen before somebody who waits is told for what.
const SILENCE: Duration = Duration::from_secs(2);

/// The longest time between two such words.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How long the word on what is being waited for may itself be waited for.
const PATIENCE_FOR_LEADER: Duration = Duration::from_secs(1);

/// How long to wait, from `--block-attempts`.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// When to give up; never if `None`.
    pub deadline: Option<Instant>,
    /// Wait also for a machine that can hold the unit, rather than take the verdict for an answer.
    pub while_unplaced: bool,
}

/// Waits for units to reach their goals.
#[derive(Debug)]
pub struct Waiter<'w, 'a> {
    /// Asked whether there is a leader.
    pub api: &'w Api,
    /// Where lines go.
    pub printer: Printer,
    /// Knows how the units stand.
    pub follower: &'w mut Follower<'a>,
    /// Names machines by their address, too.
    pub addresses: &'w Addresses,
    /// When to give up.
    pub patience: Patience,
    /// What becomes of a unit that cannot be placed once it can: `start`, `be loaded`.
    pub later: &'static str,
}

/// The units whose goals are not all reached yet.
type Pending = BTreeMap<UnitName, Pursuit>;

/// A unit on its way.
struct Pursuit {
    goals: VecDeque<Goal>,
    last: Progress,
}

/// How a pursuit stands.
enum Standing {
    Pending,
    /// Pending, unless all others have been looked at too.
    Unplaceable,
    Done,
    Failed,
}

impl Waiter<'_, '_> {
    /// Waits until every unit has reached its goals, one after the other, or cannot; says each thing as it happens.
    /// Gives the units that did not get there, which have been reported.
    ///
    /// # Errors
    /// The API cannot be asked any more, or stdout cannot be written.
    pub async fn wait(mut self, goals: BTreeMap<UnitName, Vec<Goal>>) -> Result<BTreeSet<UnitName>, Error> {
        let mut failed = BTreeSet::new();
        let mut pending: Pending = goals
            .into_iter()
            .map(|(name, goals)| (name, Pursuit::new(goals)))
            .collect();
        let mut line = self.printer.progress();
        let mut news = Some(News::All);
        while let Some(some) = news {
            let names: Vec<UnitName> = match some {
                News::Unit(name) => vec![name],
                News::All => pending.keys().cloned().collect(),
            };
            for name in names {
                let Some(pursuit) = pending.get_mut(&name) else {
                    continue;
                };
                match self.pursue(&name, pursuit, &mut line)? {
                    Standing::Pending | Standing::Unplaceable => continue,
                    Standing::Done => {}
                    Standing::Failed => drop(failed.insert(name.clone())),
                }
                pending.remove(&name);
            }
            if !self.patience.while_unplaced && self.are_all_considered(&pending) {
                for name in self.give_up_unplaceable(&mut pending, &mut line) {
                    failed.insert(name);
                }
            }
            if pending.is_empty() {
                return Ok(failed);
            }
            news = self.next(&pending, &mut line).await?;
        }
        line.clear();
        for (name, pursuit) in pending {
            self.report_late(&name, &pursuit);
            failed.insert(name);
        }
        Ok(failed)
    }

    /// What changes next; `None` once patience is at its end.
    async fn next(&mut self, pending: &Pending, line: &mut ProgressLine) -> Result<Option<News>, Error> {
        let deadline = self.patience.deadline;
        let mut over = pin!(async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        });
        let mut next = pin!(self.follower.next());
        let mut silence = SILENCE;
        loop {
            tokio::select! {
                biased;
                news = &mut next => return Ok(Some(news?)),
                () = &mut over => return Ok(None),
                () = sleep(silence) => {
                    if line.has_more_to_say() {
                        let leadership = leadership(self.api).await;
                        line.show(format_args!("{}{leadership}", describe(pending)));
                    }
                    silence = (silence * 2).min(LONGEST_SILENCE);
                }
            }
        }
    }

    /// Goes from goal to goal as far as the unit has got.
    fn pursue(
        &self,
        name: &UnitName,
        pursuit: &mut Pursuit,
        line: &mut ProgressLine,
    ) -> Result<Standing, Error> {
        let Some(watched) = self.follower.get(name) else {
            return Ok(Standing::Done);
        };
        while let Some(goal) = pursuit.goals.front() {
            match progress(goal, watched, self.addresses) {
                Progress::Reached(text) => {
                    if !text.is_empty() {
                        line.clear();
                        self.printer.line(text)?;
                    }
                    pursuit.goals.pop_front();
                }
                Progress::Failed(text) => {
                    line.clear();
                    self.printer.say(text);
                    if watched.unit.is_some() {
                        self.printer.hint(format_args!("fleetctl status {name}"));
                    }
                    return Ok(Standing::Failed);
                }
                verdict @ Progress::Unplaceable(_) => {
                    pursuit.last = verdict;
                    return Ok(Standing::Unplaceable);
                }
                other => {
                    pursuit.last = other;
                    return Ok(Standing::Pending);
                }
            }
        }
        Ok(Standing::Done)
    }

    /// Whether the engine has come to each of the units. One may have no place only because another of the same command,
    /// which it follows, had none yet.
    fn are_all_considered(&self, pending: &Pending) -> bool {
        let has_word = |name: &UnitName| {
            self.follower
                .get(name)
                .and_then(|w| w.placed())
                .is_some_and(|(_, state)| state.is_some())
        };
        pending
            .iter()
            .all(|(name, p)| matches!(p.last, Progress::Unplaceable(_)) || has_word(name))
    }

    fn give_up_unplaceable(&self, pending: &mut Pending, line: &mut ProgressLine) -> Vec<UnitName> {
        let mut given_up = Vec::new();
        pending.retain(|name, pursuit| {
            let Progress::Unplaceable(verdict) = &pursuit.last else {
                return true;
            };
            line.clear();
            self.report_unplaceable(name, verdict);
            given_up.push(name.clone());
            false
        });
        given_up
    }

    fn report_unplaceable(&self, name: &UnitName, verdict: &Verdict) {
        self.printer.say(text::verdict(name, verdict));
        self.printer.say(format_args!(
            "It stays submitted and will {} by itself once a machine fits; to cancel: fleetctl unload {name}",
            self.later
        ));
    }

    fn report_late(&self, name: &UnitName, pursuit: &Pursuit) {
        let state = pursuit.goals.front().map_or("", |goal| goal.what.word());
        self.printer.error(
            "Error waiting for units",
            format_args!("timed out waiting for unit {name} to report state {state}"),
        );
        match &pursuit.last {
            Progress::Unplaceable(verdict) => self.report_unplaceable(name, verdict),
            Progress::Waiting(what) => self.printer.say(format_args!("It still waits for {what}")),
            Progress::Reached(_) | Progress::Failed(_) => {}
        }
    }
}

impl Pursuit {
    fn new(goals: Vec<Goal>) -> Self {
        Self {
            goals: goals.into(),
            last: Progress::Waiting(String::new()),
        }
    }
}

/// What is being waited for, by the first unit in name's order.
fn describe(pending: &Pending) -> String {
    let Some((name, pursuit)) = pending.first_key_value() else {
        return String::new();
    };
    let what = match &pursuit.last {
        Progress::Waiting(what) => what.clone(),
        Progress::Unplaceable(verdict) => format!("a machine that fits: {}", verdict.summary),
        Progress::Reached(text) | Progress::Failed(text) => text.clone(),
    };
    match pending.len() {
        1 => format!("{name} waits for {what}"),
        n => format!("{n} units wait; {name} waits for {what}"),
    }
}

/// What there is to add if nobody places units, or nobody answers.
async fn leadership(api: &Api) -> &'static str {
    match timeout(PATIENCE_FOR_LEADER, api.has_leader()).await {
        Ok(Ok(true)) => "",
        Ok(Ok(false)) => "; the cluster has no leader at the moment",
        Ok(Err(_)) | Err(_) => "; the fleet API does not answer at the moment",
    }
}
