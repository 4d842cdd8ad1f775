//! The engine's plan: from the cluster as it is to everything that has to be written, with reasons.
//!
//! Pure and deterministic: the same cluster, memory and moment give the same plan. Every pass looks at the whole
//! cluster (level-triggered), so that nothing depends on having seen a particular event, and a pass that was cut short
//! is simply made again.
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
use super::returned::{self, Fate};
use super::verdict;
use super::view::{Holding, View};
use crate::cluster::{Cluster, Machine, Unit};

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

/// Decides everything that has to change now.
///
/// While a recovery is under way that is nothing: what machines run that are still to come in is not known.
///
/// `now` is a span of the leader's own clock, the one `memory` was kept with.
pub fn plan(cluster: &Cluster, memory: &Memory, now: Duration, policy: &Policy) -> Plan {
    if cluster.is_recovering {
        return Plan::default();
    }
    let mut planner = Planner {
        view: View::new(cluster, memory.ending(cluster, now, policy)),
        memory,
        now,
        policy,
        drafts: BTreeMap::new(),
        pending: BTreeSet::new(),
        plan: Plan::default(),
    };
    planner.settle_all();
    planner.unseat_followers();
    planner.make_room();
    planner.spread_globals();
    planner.place_all();
    planner.finish()
}

/// What a unit is to the engine.
enum Aim<'a> {
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
    memory: &'a Memory,
    now: Duration,
    policy: &'a Policy,
    drafts: BTreeMap<&'a UnitName, Draft<'a>>,
    /// Units to find a place for.
    pending: BTreeSet<&'a UnitName>,
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
        let Some(unit) = self.cluster().units.get(name) else {
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

    fn wake_at(&mut self, at: Duration) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }

    fn finish(mut self) -> Plan {
        let decisions = self
            .drafts
            .into_values()
            .filter_map(Draft::finish)
            .flat_map(Decision::split);
        self.plan.steps.extend(decisions.map(Step::Unit));
        let cluster = self.view.cluster;
        for (id, machine) in &cluster.machines {
            // A copy whose state cannot be read would be taken for none, and its agent would let go of it.
            let known = machine
                .unreadable_states
                .iter()
                .all(|unit| machine.assignments.contains_key(unit));
            if let Some(presence) = machine
                .presence
                .as_ref()
                .filter(|_| known && !machine.is_taken_in())
            {
                self.plan.steps.push(Step::TakeIn {
                    machine: *id,
                    presence: presence.created,
                });
            }
        }
        // What a record that cannot be read refers to nobody knows; a machine that reboots may need it again.
        let known = cluster.units.values().all(|unit| unit.record.is_ok());
        for (hash, content) in cluster.contents.iter().filter(|(_, c)| known && c.users == 0) {
            self.plan.steps.push(Step::Discard {
                hash: *hash,
                modified: content.modified,
            });
        }
        self.plan
    }
}
