//! What a pass knows of one unit, and what it has decided about it so far. Only what differs from the cluster comes out
//! at the end.
//!
//! To find a unit by its name among tens of thousands is most of what a plan costs; so all that the cluster knows of it is
//! looked up here, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use units::{Assignment, MachineId, OnDisconnect, Phase, Placement, Requirements, UnitName, Verdict};

use super::aim::Aim;
use super::decision::{Change, Decision};
use super::view::{Asker, View};
use crate::cluster::{Entry, Machine, Unit};
use crate::registry::Revision;

/// The units that a pass decides about, by name.
pub(crate) type Drafts<'a> = BTreeMap<&'a UnitName, Draft<'a>>;

#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) unit: &'a UnitName,
    /// The unit as its owner wants it, if there is one.
    pub(crate) known: Option<&'a Unit>,
    pub(crate) aim: Aim<'a>,
    /// The unit as one that machines can be asked about, if it is known what it needs.
    pub(crate) asker: Option<Asker<'a>>,
    /// As [`View::places`].
    pub(crate) places: Vec<(&'a MachineId, &'a Machine)>,
    pub(crate) scheduled: Option<&'a Entry<Option<Placement>>>,
    judged: Option<&'a Entry<Option<Verdict>>>,
    /// It wants a place and has none: at first one is to be found, at last no machine will do.
    pub(crate) is_pending: bool,
    /// It has to be looked at again in any case: time alone changes what is decided about it.
    pub(crate) is_restless: bool,
    schedule: Change<Placement>,
    assigns: BTreeMap<MachineId, Change<Assignment>>,
    verdict: Change<Verdict>,
    reasons: Vec<String>,
    is_rescue: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(view: &View<'a>, unit: &'a UnitName) -> Self {
        let cluster = view.cluster;
        let known = cluster.units.get(unit);
        let requirements = known.and_then(|known| known.requirements.as_ref().ok());
        Self {
            unit,
            known,
            aim: Aim::of(unit, known),
            asker: requirements.map(|requirements| view.asker(unit, requirements)),
            places: view.places(unit),
            scheduled: cluster.schedule.get(unit),
            judged: cluster.verdicts.get(unit),
            is_pending: false,
            is_restless: false,
            schedule: Change::Keep,
            assigns: BTreeMap::new(),
            verdict: Change::Keep,
            reasons: Vec::new(),
            is_rescue: false,
        }
    }

    /// What it asks of machines, if that is known.
    pub(crate) fn requirements(&self) -> Option<&'a Arc<Requirements>> {
        self.asker.as_ref().map(|asker| asker.requirements)
    }

    /// The machine that the registry says it belongs to.
    pub(crate) fn home(&self) -> Option<&'a MachineId> {
        self.scheduled?.value.as_ref().map(|placement| &placement.machine)
    }

    fn because(&mut self, why: &str) {
        if !self.reasons.iter().any(|r| r == why) {
            self.reasons.push(why.to_owned());
        }
    }

    /// Revision of its record; 0 if there is none.
    pub(crate) fn generation(&self) -> Revision {
        self.known.map_or(0, |known| known.generation)
    }

    /// What it asks for when its machine loses the cluster; `keep` if that is not known.
    pub(crate) fn on_disconnect(&self) -> OnDisconnect {
        self.requirements()
            .map(|asks| asks.on_disconnect)
            .unwrap_or_default()
    }

    /// Machines with an order to run it, readable or not, and whether they are there.
    pub(crate) fn running(&self) -> Vec<(&'a MachineId, bool)> {
        let runs = |m: &Machine| m.assignments.contains_key(self.unit) && !m.is_releasing(self.unit);
        let there = self.places.iter().filter(|(_, m)| runs(m));
        there.map(|(id, m)| (*id, m.is_present())).collect()
    }

    /// The machine, if it has been told something about the unit.
    fn told(&self, id: &MachineId) -> Option<&'a Machine> {
        let at = self.places.binary_search_by_key(&id, |(there, _)| there).ok()?;
        let (_, machine) = self.places.get(at)?;
        machine.assignments.contains_key(self.unit).then_some(machine)
    }

    fn order(&self, id: &MachineId) -> Option<&'a Assignment> {
        self.told(id)?.assignment(self.unit)
    }

    /// It belongs there from now on.
    pub(crate) fn schedule(&mut self, placement: Placement) {
        self.because(&placement.reason);
        self.schedule = Change::Set(placement);
    }

    /// It belongs nowhere.
    pub(crate) fn unschedule(&mut self, why: &str) {
        if self.scheduled.is_some() {
            self.because(why);
            self.schedule = Change::Clear;
        }
    }

    /// That machine is given this order.
    pub(crate) fn assign(&mut self, id: &MachineId, wanted: Assignment, why: &str) {
        if self.order(id) == Some(&wanted) {
            self.assigns.insert(*id, Change::Keep);
        } else {
            self.because(why);
            self.assigns.insert(*id, Change::Set(wanted));
        }
    }

    /// That machine is to let go of it. An order that cannot be read is replaced by one that can.
    pub(crate) fn release(&mut self, id: &MachineId, why: &str) {
        let order = self.order(id).cloned();
        let from_record = || {
            let unit = self.known?;
            let record = unit.record.as_ref().ok()?;
            Some(Assignment {
                generation: unit.generation,
                run: record.run,
                hash: record.hash,
                desired: record.desired,
                phase: Phase::Release,
                on_disconnect: self.on_disconnect(),
            })
        };
        match order.or_else(from_record) {
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
        if self.told(id).is_some() {
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
        let before = self.judged.and_then(|judged| judged.value.as_ref());
        // The revision alone is no news.
        let same = before.is_some_and(|before| {
            Verdict {
                revision: verdict.revision,
                ..before.clone()
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
        self.verdict = match self.judged {
            Some(_) => Change::Clear,
            None => Change::Keep,
        };
    }

    /// Whether it orders a machine to let go that has not been told so before.
    pub(crate) fn releases(&self) -> bool {
        self.assigns
            .values()
            .any(|c| matches!(c, Change::Set(a) if a.phase == Phase::Release))
    }

    /// The decision, if there is anything to write.
    pub(crate) fn finish(mut self) -> Option<Decision> {
        self.assigns.retain(|_, change| !change.is_keep());
        let decision = Decision {
            unit: self.unit.clone(),
            schedule: self.schedule,
            assigns: self.assigns,
            verdict: self.verdict,
            reason: self.reasons.join("; "),
            is_rescue: self.is_rescue,
        };
        (!decision.is_empty()).then_some(decision)
    }
}
