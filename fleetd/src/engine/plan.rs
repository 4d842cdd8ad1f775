//! The engine's plan: from the cluster as it is to everything that has to be written, with reasons.
//!
//! Pure and deterministic: the same cluster, memory and moment give the same plan. A plan decides about a scope: all
//! units, or those that a change may concern (`scope`), while all others keep what they have. Both come to the same;
//! nothing depends on having seen a particular event, and a pass that was cut short is simply made again.
//!
//! The order within a pass:
//! 1. *settle*: units that hold a place keep it while it is still valid, the longest-placed first, so that of two
//!    that cannot be together the newcomer goes;
//! 2. units whose `MachineOf=` peers are no longer there lose their place;
//! 3. units that another one on their machine replaces lose their place, and with them those that follow them;
//! 4. *globals* get their copies on every fitting machine;
//! 5. *place*: the rest goes to the best machine that passes every filter (ranked by `Spread=`, then by load), or gets a
//!    verdict;
//! 6. presences are taken in, unused contents go.

mod place;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use units::{MachineId, Placement, Requirements, UnitName, UnitRecord};

use super::aim::Aim;
use super::decision::{Decision, Step};
use super::draft::{Draft, Drafts};
use super::filter::{self, Rejection, Stance};
use super::memory::{Allowance, Memory, Policy};
use super::occupancy::{Holding, Occupancy};
use super::replacing::Carriers;
use super::returned::{self, Fate};
use super::scheduler::Scheduler;
use super::verdict;
use super::view::{Asker, View};
use crate::cluster::{Cluster, Machine};

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

/// Decides everything that has to change now, by a look at everything.
///
/// While a recovery is under way that is nothing: what machines run that are still to come in is not known.
///
/// `now` is a span of the leader's own clock, the one `memory` was kept with.
pub fn plan(cluster: &Cluster, memory: &Memory, now: Duration, policy: &Policy) -> Plan {
    Scheduler::default().plan(cluster, memory, now, policy)
}

/// What a plan came to, and what is to be remembered for the next one.
pub(super) struct Outcome {
    pub(super) plan: Plan,
    pub(super) occupancy: Occupancy,
    pub(super) carriers: Carriers,
    /// Units of the scope that a change anywhere may give a place, with what they ask for: those that have none though
    /// they want one, and Global ones.
    pub(super) roaming: BTreeMap<UnitName, Arc<Requirements>>,
    /// Units of the scope that have to be looked at again in any case: something is to be written about them, or time
    /// alone changes what is decided.
    pub(super) restless: BTreeSet<UnitName>,
}

/// Decides about the units of `scope`; what `view` shows of all others stands.
pub(super) fn decide<'a>(
    view: View<'a>,
    scope: &'a BTreeSet<UnitName>,
    memory: &'a Memory,
    now: Duration,
    policy: &'a Policy,
) -> Outcome {
    let mut drafts: Drafts<'_> = scope.iter().map(|unit| (unit, Draft::new(&view, unit))).collect();
    let mut planner = Planner {
        view,
        memory,
        now,
        policy,
        plan: Plan::default(),
    };
    for draft in drafts.values() {
        planner.view.renew(draft);
    }
    planner.settle_all(&mut drafts);
    planner.unseat_followers(&mut drafts);
    planner.make_room(&mut drafts);
    planner.spread_globals(&mut drafts);
    planner.place_all(&mut drafts);
    planner.judge_globals(&mut drafts);
    planner.finish(drafts)
}

struct Planner<'a> {
    view: View<'a>,
    memory: &'a Memory,
    now: Duration,
    policy: &'a Policy,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn cluster(&self) -> &'a Cluster {
        self.view.cluster
    }

    /// Time alone changes what is decided about the unit, at that moment.
    fn wake_at(&mut self, draft: &mut Draft<'a>, at: Duration) {
        draft.is_restless = true;
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }

    fn finish(mut self, drafts: Drafts<'a>) -> Outcome {
        let mut roaming = BTreeMap::new();
        let mut restless = Vec::new();
        let mut decisions: Vec<Decision> = Vec::new();
        for (unit, draft) in drafts {
            let roams = draft.is_pending || matches!(draft.aim, Aim::Everywhere);
            if let Some(asks) = draft.requirements().filter(|_| roams) {
                roaming.insert(unit.clone(), asks.clone());
            }
            let is_restless = draft.is_restless;
            let decision = draft.finish();
            if is_restless || decision.is_some() {
                restless.push(unit.clone());
            }
            decisions.extend(decision.into_iter().flat_map(Decision::split));
        }
        // By machine: its agent then hears of its units in few transactions, and reads its orders as few times.
        decisions.sort_by_cached_key(|decision| decision.assigns.keys().next().copied());
        self.plan.steps.extend(decisions.into_iter().map(Step::Unit));
        Outcome {
            plan: self.plan,
            occupancy: self.view.occupancy,
            carriers: self.view.replacing.carriers,
            roaming,
            restless: restless.into_iter().collect(),
        }
    }
}
