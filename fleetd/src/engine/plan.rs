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
use std::time::Duration;

use units::{DesiredState, MachineId, Placement, UnitName, UnitRecord};

use super::decision::{Decision, Step};
use super::draft::Draft;
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
    /// Units of the scope that have no place though they want one: anything that makes room concerns them.
    pub(super) waiting: BTreeSet<UnitName>,
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
    let mut planner = Planner {
        view,
        scope,
        memory,
        now,
        policy,
        drafts: BTreeMap::new(),
        pending: BTreeSet::new(),
        nowhere: Vec::new(),
        waiting: BTreeSet::new(),
        restless: BTreeSet::new(),
        plan: Plan::default(),
    };
    for name in scope {
        planner.view.renew(name);
    }
    planner.settle_all();
    planner.unseat_followers();
    planner.make_room();
    planner.spread_globals();
    planner.place_all();
    planner.judge_globals();
    planner.finish()
}

/// What a unit is to the engine.
pub(super) enum Aim<'a> {
    /// Nobody wants it anywhere: destroyed, inactive, or a template.
    Nowhere,
    /// On one machine.
    Somewhere(&'a UnitRecord),
    /// On every machine that fits.
    Everywhere,
    /// Its record or content cannot be read: what it has is left alone, nothing new is done.
    Unknown(&'a str),
}

struct Planner<'a> {
    view: View<'a>,
    /// The units to decide about.
    scope: &'a BTreeSet<UnitName>,
    memory: &'a Memory,
    now: Duration,
    policy: &'a Policy,
    drafts: BTreeMap<&'a UnitName, Draft<'a>>,
    /// Units to find a place for.
    pending: BTreeSet<&'a UnitName>,
    /// Global units without a copy.
    nowhere: Vec<&'a UnitName>,
    waiting: BTreeSet<UnitName>,
    restless: BTreeSet<UnitName>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn cluster(&self) -> &'a Cluster {
        self.view.cluster
    }

    fn draft(&mut self, name: &'a UnitName) -> &mut Draft<'a> {
        let cluster = self.view.cluster;
        self.drafts
            .entry(name)
            .or_insert_with(|| Draft::new(cluster, name))
    }

    fn aim(&self, name: &UnitName) -> Aim<'a> {
        Aim::of(self.cluster(), name)
    }

    /// Time alone changes what is decided about the unit, at that moment.
    fn wake_at(&mut self, name: &UnitName, at: Duration) {
        self.restless.insert(name.clone());
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }

    fn finish(mut self) -> Outcome {
        let drafts = self.drafts.into_values();
        let mut decisions: Vec<Decision> = drafts
            .filter_map(Draft::finish)
            .flat_map(Decision::split)
            .collect();
        // By machine: its agent then hears of its units in few transactions, and reads its orders as few times.
        decisions.sort_by_key(|decision| decision.assigns.keys().next().copied());
        for decision in decisions {
            self.restless.insert(decision.unit.clone());
            self.plan.steps.push(Step::Unit(decision));
        }
        Outcome {
            plan: self.plan,
            occupancy: self.view.occupancy,
            carriers: self.view.replacing.carriers,
            waiting: self.waiting,
            restless: self.restless,
        }
    }
}

impl<'a> Aim<'a> {
    pub(super) fn of(cluster: &'a Cluster, name: &UnitName) -> Self {
        let Some(unit) = cluster.units.get(name) else {
            return Aim::Nowhere;
        };
        let record = match &unit.record {
            Ok(record) => record,
            Err(why) => return Aim::Unknown(why),
        };
        if record.desired == DesiredState::Inactive || name.is_template() {
            return Aim::Nowhere;
        }
        match &unit.requirements {
            Ok(requirements) if requirements.global => Aim::Everywhere,
            Ok(_) => Aim::Somewhere(record),
            Err(why) => Aim::Unknown(why),
        }
    }
}
