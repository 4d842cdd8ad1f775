//! Agents that do as they are told, at once or when the test lets them, and say so.

use std::collections::{BTreeMap, BTreeSet};

use units::{Assignment, DesiredState, Hash, Hold, MachineId, MachineRecord, Phase, State, UnitName};

use super::bed::Bed;
use crate::registry::{Op, Revision, encode};

#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) copies: BTreeMap<UnitName, Copy>,
    /// Names that are the host's own.
    pub(super) taken: BTreeSet<UnitName>,
    pub(super) is_leaving: bool,
    is_cut: bool,
    refused: BTreeSet<UnitName>,
}

/// A unit as a machine has it.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    generation: i64,
    run: u64,
    hash: Hash,
    started: bool,
    pub(super) is_up: bool,
    /// Its machine was out of sight since it was started: it may have been placed elsewhere meanwhile.
    was_away: bool,
    /// Counts starts from nothing, and changes of content: one that stays the same ran through.
    pub(super) starts: usize,
}

impl Copy {
    fn state(&self, assignment: Revision) -> State {
        let active = match (self.started, self.is_up) {
            (true, true) => "active",
            (true, false) => "activating",
            (false, _) => "inactive",
        };
        State {
            hold: Hold::Held,
            hash: Some(self.hash),
            started: self.started,
            load: "loaded".to_owned(),
            active: active.to_owned(),
            generation: self.generation,
            run: self.run,
            ..nothing(assignment)
        }
    }
}

fn nothing(assignment: Revision) -> State {
    State {
        assignment,
        hold: Hold::Gone,
        generation: 0,
        run: 0,
        hash: None,
        started: false,
        load: String::new(),
        active: String::new(),
        sub: String::new(),
        result: String::new(),
        restarts: 0,
        since: 0,
        problem: None,
    }
}

impl Agent {
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
        self.copies.values_mut().for_each(|copy| copy.was_away = true);
    }

    pub(super) fn heal(&mut self) {
        self.is_cut = false;
        self.is_leaving = false;
    }

    pub(super) fn is_in_sight(&self) -> bool {
        !self.is_cut
    }

    /// Its memory is gone with the boot.
    pub(super) fn forget(&mut self) {
        self.copies.clear();
        self.refused.clear();
    }

    /// What it says together with its presence.
    pub(super) fn brings(&self) -> Vec<(UnitName, State)> {
        self.copies
            .iter()
            .map(|(unit, copy)| (unit.clone(), copy.state(0)))
            .collect()
    }

    /// Does what an order says; what it then has to say of the unit.
    fn obey(
        &mut self,
        unit: &UnitName,
        order: Option<(Option<&Assignment>, Revision)>,
        may_stop: bool,
        is_broken: bool,
    ) -> Option<State> {
        let revision = order.map_or(0, |(_, revision)| revision);
        match order.map(|(order, _)| order) {
            Some(Some(order)) if order.phase == Phase::Run => {
                if self.taken.contains(unit) && !self.copies.contains_key(unit) {
                    self.refused.insert(unit.clone());
                    return Some(refused(unit, revision, order));
                }
                self.refused.remove(unit);
                let started = order.desired == DesiredState::Launched;
                let before = self.copies.get(unit);
                let same =
                    before.is_some_and(|c| (c.hash, c.run, c.started) == (order.hash, order.run, started));
                let copy = Copy {
                    generation: order.generation,
                    run: order.run,
                    hash: order.hash,
                    started,
                    is_up: match before.filter(|_| same) {
                        Some(copy) => copy.is_up,
                        None => !is_broken,
                    },
                    was_away: before.is_some_and(|c| c.was_away),
                    starts: before.map_or(0, |c| c.starts) + usize::from(!same),
                };
                self.copies.insert(unit.clone(), copy);
            }
            Some(Some(order)) if may_stop => {
                self.copies.remove(unit);
                return Some(match self.refused.contains(unit) {
                    true => refused(unit, revision, order),
                    false => nothing(revision),
                });
            }
            None if may_stop => {
                self.copies.remove(unit);
                self.refused.remove(unit);
            }
            None | Some(_) => {}
        }
        self.copies.get(unit).map(|copy| copy.state(revision))
    }
}

fn refused(unit: &UnitName, revision: Revision, order: &Assignment) -> State {
    State {
        hold: Hold::Refused,
        generation: order.generation,
        problem: Some(format!("has a {unit} of its own")),
        ..nothing(revision)
    }
}

impl Bed {
    /// Every machine does what it is told and answers; how many had something to say.
    pub(super) fn answer_all(&mut self) -> usize {
        let machines: Vec<MachineId> = self.agents.keys().copied().collect();
        machines.into_iter().filter(|id| self.answer(*id)).count()
    }

    /// One machine does what it is told and answers; whether it had anything to say.
    pub(super) fn answer(&mut self, id: MachineId) -> bool {
        let mut agent = self.agents.remove(&id).unwrap();
        let ops = if agent.is_cut {
            Vec::new()
        } else {
            self.answers(id, &mut agent)
        };
        self.agents.insert(id, agent);
        let any = !ops.is_empty();
        if any {
            self.write(ops);
        }
        any
    }

    fn answers(&mut self, id: MachineId, agent: &mut Agent) -> Vec<Op> {
        let Some(machine) = self.cluster.machines.get(&id).filter(|m| m.is_present()) else {
            return Vec::new();
        };
        let may_stop = machine.is_taken_in();
        let mut units: BTreeSet<UnitName> = machine.assignments.keys().cloned().collect();
        units.extend(machine.states.keys().cloned());
        units.extend(agent.copies.keys().cloned());
        let mut ops = Vec::new();
        for unit in units {
            let order = machine
                .assignments
                .get(&unit)
                .map(|e| (e.value.as_ref(), e.modified));
            let had = agent.copies.contains_key(&unit);
            let said = agent.obey(&unit, order, may_stop, self.broken.contains(&unit));
            let started = !had && agent.copies.contains_key(&unit);
            if started && !self.once_global.contains(&unit) {
                let there = |a: &Agent| !a.is_cut && a.copies.get(&unit).is_some_and(|c| !c.was_away);
                for (other, _) in self.agents.iter().filter(|(_, a)| there(a)) {
                    self.doubles.push(format!(
                        "{unit} started on {} while on {}",
                        id.short(),
                        other.short()
                    ));
                }
            }
            let key = self.keys.state(&id, &unit);
            match said {
                Some(state) if machine.states.get(&unit).map(|e| &e.value) != Some(&state) => {
                    let value = encode(&state);
                    ops.push(Op::Put {
                        key,
                        value,
                        lease: None,
                    });
                }
                None if machine.states.contains_key(&unit) => ops.push(Op::Delete { key }),
                _ => {}
            }
        }
        if agent.is_leaving && agent.copies.is_empty() && ops.is_empty() {
            agent.cut();
            let record = machine.record.as_ref().map(|r| MachineRecord {
                left: true,
                ..r.value.clone()
            });
            ops.extend(machine.states.keys().map(|unit| Op::Delete {
                key: self.keys.state(&id, unit),
            }));
            ops.push(Op::Delete {
                key: self.keys.presence(&id),
            });
            let (key, value) = (self.keys.machine(&id), encode(&record.unwrap()));
            ops.push(Op::Put {
                key,
                value,
                lease: None,
            });
        }
        ops
    }
}
