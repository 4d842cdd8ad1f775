//! What a pass has decided about one unit so far. Only what differs from the cluster comes out at the end.

use std::collections::BTreeMap;

use units::{Assignment, MachineId, Phase, Placement, UnitName, Verdict};

use super::decision::{Change, Decision};
use crate::cluster::Cluster;

#[derive(Debug)]
pub(crate) struct Draft<'a> {
    cluster: &'a Cluster,
    unit: &'a UnitName,
    schedule: Change<Placement>,
    assigns: BTreeMap<MachineId, Change<Assignment>>,
    verdict: Change<Verdict>,
    reasons: Vec<String>,
    is_rescue: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(cluster: &'a Cluster, unit: &'a UnitName) -> Self {
        Self {
            cluster,
            unit,
            schedule: Change::Keep,
            assigns: BTreeMap::new(),
            verdict: Change::Keep,
            reasons: Vec::new(),
            is_rescue: false,
        }
    }

    fn because(&mut self, why: &str) {
        if !self.reasons.iter().any(|r| r == why) {
            self.reasons.push(why.to_owned());
        }
    }

    fn known(&self, id: &MachineId) -> Option<&Assignment> {
        self.cluster.machines.get(id)?.assignment(self.unit)
    }

    /// It belongs there from now on.
    pub(crate) fn schedule(&mut self, placement: Placement) {
        self.because(&placement.reason);
        self.schedule = Change::Set(placement);
    }

    /// It belongs nowhere.
    pub(crate) fn unschedule(&mut self, why: &str) {
        if self.cluster.schedule.contains_key(self.unit) {
            self.because(why);
            self.schedule = Change::Clear;
        }
    }

    /// That machine is given this order.
    pub(crate) fn assign(&mut self, id: &MachineId, wanted: Assignment, why: &str) {
        if self.known(id) == Some(&wanted) {
            self.assigns.insert(*id, Change::Keep);
        } else {
            self.because(why);
            self.assigns.insert(*id, Change::Set(wanted));
        }
    }

    /// That machine is to let go of it. An order that cannot be read is replaced by one that can.
    pub(crate) fn release(&mut self, id: &MachineId, why: &str) {
        let unit = self.cluster.units.get(self.unit);
        let known = self.known(id).cloned();
        let from_record = || {
            let record = unit.and_then(|u| u.record.as_ref().ok())?;
            let generation = unit.map_or(0, |u| u.generation);
            Some(Assignment {
                generation,
                run: record.run,
                hash: record.hash,
                desired: record.desired,
                phase: Phase::Release,
                on_disconnect: self.cluster.on_disconnect(self.unit),
            })
        };
        match known.or_else(from_record) {
            Some(assignment) => self.assign(
                id,
                Assignment {
                    phase: Phase::Release,
                    ..assignment
                },
                why,
            ),
            // Neither order nor unit can be read: without an order the agent lets go as well, only nobody waits for it.
            None => self.clear(id, why),
        }
    }

    /// That machine is told nothing any more.
    pub(crate) fn clear(&mut self, id: &MachineId, why: &str) {
        if self
            .cluster
            .machines
            .get(id)
            .is_some_and(|m| m.assignments.contains_key(self.unit))
        {
            self.because(why);
            self.assigns.insert(*id, Change::Clear);
        }
    }

    /// It is taken off a machine that is out of sight, on the way to another one.
    pub(crate) fn rescue(&mut self, from: &MachineId) {
        self.clear(from, &format!("{} is lost", from.short()));
        self.is_rescue = true;
    }

    /// It has no place.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        let known = self
            .cluster
            .verdicts
            .get(self.unit)
            .and_then(|e| e.value.as_ref());
        // The revision alone is no news.
        let same = known.is_some_and(|k| {
            Verdict {
                revision: verdict.revision,
                ..k.clone()
            } == verdict
        });
        if same {
            self.verdict = Change::Keep;
        } else {
            self.because(&verdict.summary);
            self.verdict = Change::Set(verdict);
        }
    }

    /// It has a place, or wants none.
    pub(crate) fn acquit(&mut self) {
        self.verdict = if self.cluster.verdicts.contains_key(self.unit) {
            Change::Clear
        } else {
            Change::Keep
        };
    }

    /// Whether it orders a machine to let go that has not been told so before.
    pub(crate) fn releases(&self) -> bool {
        self.assigns
            .values()
            .any(|c| matches!(c, Change::Set(a) if a.phase == Phase::Release))
    }

    /// The decision, if there is anything to write.
    pub(crate) fn finish(self) -> Option<Decision> {
        let decision = Decision {
            unit: self.unit.clone(),
            schedule: self.schedule,
            assigns: self.assigns.into_iter().filter(|(_, c)| !c.is_keep()).collect(),
            verdict: self.verdict,
            reason: self.reasons.join("; "),
            is_rescue: self.is_rescue,
        };
        (!decision.is_empty()).then_some(decision)
    }
}
