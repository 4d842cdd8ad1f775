//! What the engine keeps from one plan to the next, so that a plan costs what has changed and not what there is.
//!
//! The first plan looks at everything. Each later one looks at the units that a change may concern, and leaves all others
//! where the plan before has left them. What it comes to is what a look at everything would come to: that is what the
//! tests of the engine and the simulator compare, plan by plan. A full read of the registry (every ten minutes, and with
//! each new leader) starts anew with a look at everything.

mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use units::{Glob, Hash, MachineId, Requirements, UnitName};

use super::decision::Step;
use super::memory::{Memory, Policy};
use super::occupancy::Occupancy;
use super::plan::{self, Outcome, Plan};
use super::replacing::{self, Carriers, Replacing};
use super::view::View;
use crate::cluster::{Cluster, Touched};

/// The engine's planner, with what it remembers of the plans before.
#[derive(Debug)]
pub struct Scheduler {
    /// What has changed since the last plan.
    touched: Touched,
    occupancy: Occupancy,
    carriers: Carriers,
    /// Units by the ones that `MachineOf=` says they have to be with.
    followers: BTreeMap<String, BTreeSet<UnitName>>,
    /// Units without a place, and Global ones, with what they ask for: a change anywhere may give them one.
    roaming: BTreeMap<UnitName, Arc<Requirements>>,
    /// Units of `roaming` by the patterns of their `Conflicts=`.
    objections: BTreeMap<Glob, BTreeSet<UnitName>>,
    /// Units to look at again in any case.
    restless: BTreeSet<UnitName>,
    /// Units whose record cannot be read.
    unreadable: BTreeSet<UnitName>,
    /// Machines whose presence is still to be taken in.
    unseen: BTreeSet<MachineId>,
    /// Contents that no unit refers to.
    unused: BTreeSet<Hash>,
    considered: usize,
}

impl Default for Scheduler {
    /// One that knows nothing: its first plan looks at everything.
    fn default() -> Self {
        Self {
            touched: Touched {
                all: true,
                ..Touched::default()
            },
            occupancy: Occupancy::default(),
            carriers: Carriers::default(),
            followers: BTreeMap::new(),
            roaming: BTreeMap::new(),
            objections: BTreeMap::new(),
            restless: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            unseen: BTreeSet::new(),
            unused: BTreeSet::new(),
            considered: 0,
        }
    }
}

impl Scheduler {
    /// Takes note of what a change of the cluster has touched; every change has to be told.
    pub fn note(&mut self, touched: Touched) {
        self.touched.add(touched);
    }

    /// How many units the last plan decided about: what it cost.
    pub fn considered(&self) -> usize {
        self.considered
    }

    /// Whether machines have come, gone or changed since the last plan.
    pub(super) fn concerns_machines(&self) -> bool {
        self.touched.all || !self.touched.machines.is_empty()
    }

    /// Decides everything that has to change now, exactly as [`plan`](super::plan) does.
    pub fn plan(&mut self, cluster: &Cluster, memory: &Memory, now: Duration, policy: &Policy) -> Plan {
        if cluster.is_recovering {
            *self = Self::default();
            return Plan::default();
        }
        let touched = std::mem::take(&mut self.touched);
        let (mut scope, is_whole) = self.take_in(cluster, touched);
        let view = View {
            cluster,
            occupancy: std::mem::take(&mut self.occupancy),
            replacing: Replacing::new(cluster, std::mem::take(&mut self.carriers)),
            ending: memory.ending(cluster, now, policy),
        };
        if !is_whole {
            self.close(&view, &mut scope);
        }
        self.considered = scope.len();
        let Outcome {
            mut plan,
            occupancy,
            carriers,
            mut roaming,
            restless,
        } = plan::decide(view, &scope, memory, now, policy);
        self.occupancy = occupancy;
        self.carriers = carriers;
        self.restless = restless;
        for unit in &scope {
            self.roam(unit, roaming.remove(unit));
        }
        self.take_in_presences(cluster, &mut plan);
        self.discard_contents(cluster, &mut plan);
        plan
    }

    /// Keeps the unit among those that a change anywhere may concern, or no longer.
    fn roam(&mut self, unit: &UnitName, requirements: Option<Arc<Requirements>>) {
        if self.roaming.get(unit) == requirements.as_ref() {
            return;
        }
        if let Some(before) = self.roaming.remove(unit) {
            for glob in &before.conflicts {
                if let Some(units) = self.objections.get_mut(glob) {
                    units.remove(unit);
                    if units.is_empty() {
                        self.objections.remove(glob);
                    }
                }
            }
        }
        if let Some(requirements) = requirements {
            for glob in &requirements.conflicts {
                self.objections
                    .entry(glob.clone())
                    .or_default()
                    .insert(unit.clone());
            }
            self.roaming.insert(unit.clone(), requirements);
        }
    }

    fn take_in_presences(&mut self, cluster: &Cluster, plan: &mut Plan) {
        for id in &self.unseen {
            let Some(machine) = cluster.machines.get(id) else {
                continue;
            };
            // A copy whose state cannot be read would be taken for none, and its agent would let go of it.
            let known = machine
                .unreadable_states
                .iter()
                .all(|unit| machine.assignments.contains_key(unit));
            if let Some(presence) = machine.presence.as_ref().filter(|_| known) {
                plan.steps.push(Step::TakeIn {
                    machine: *id,
                    presence: presence.created,
                });
            }
        }
    }

    fn discard_contents(&self, cluster: &Cluster, plan: &mut Plan) {
        // What a record that cannot be read refers to nobody knows; a machine that reboots may need it again.
        if !self.unreadable.is_empty() {
            return;
        }
        for hash in &self.unused {
            if let Some(content) = cluster.contents.get(hash) {
                plan.steps.push(Step::Discard {
                    hash: *hash,
                    modified: content.modified,
                });
            }
        }
    }
}
