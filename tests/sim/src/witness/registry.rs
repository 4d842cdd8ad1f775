//! What is written into the registry, and what a machine is told of it.

use fleetd::cluster::Cluster;
use fleetd::registry::keys::Key;
use fleetd::registry::memory::Written;
use fleetd::registry::{Change, KeyValue, Revision, Select, Snapshot};
use units::{MachineId, Phase, Presence, UnitRecord};

use super::{WORD_HOLDS, Witness};
use crate::host::id_of;
use crate::rules::stops::Reading;
use crate::rules::{fence, lost, placement};
use crate::seam::Role;

impl Witness {
    /// A revision was made.
    pub fn written(&self, written: &Written<'_>) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let now = seen.now();
        let revision = written.batch.revision;
        let part = written.by.and_then(Role::parse);
        let writer = part.map(|(m, role)| (id_of(m), role));
        for change in &written.batch.changes {
            seen.describe(written.by.unwrap_or("lease"), revision, change);
            if let (Some(Key::Recovered(_)), Change::Put(_)) = (seen.keys.parse(change.key()), change) {
                seen.is_recovered = true;
            }
            let returns = writer.filter(|(_, role)| seen.is_recovered && *role == Role::Agent);
            let violation = fence::check(
                &seen.keys,
                &seen.cluster,
                seen.leader.as_ref(),
                writer,
                returns,
                change,
            )
            .or_else(|| {
                lost::check(
                    &seen.keys,
                    &seen.cluster,
                    part.map(|p| p.1),
                    returns.is_some(),
                    change,
                )
            });
            seen.accuse(violation);
            match (seen.keys.parse(change.key()), change) {
                (Some(Key::Unit(unit)), Change::Put(kv)) => {
                    if let Ok(record) = serde_json::from_slice::<UnitRecord>(&kv.value) {
                        seen.contents.insert((unit, revision), record.hash);
                    }
                }
                (Some(Key::Content(hash)), Change::Put(kv))
                    if String::from_utf8_lossy(&kv.value).contains("OnDisconnect=stop") =>
                {
                    seen.guarded.insert(hash);
                }
                (Some(Key::Presence(_)), Change::Put(kv)) => {
                    let leaves = serde_json::from_slice(&kv.value).is_ok_and(|p: Presence| p.leaving);
                    if let Some(machine) = part.and_then(|(m, _)| seen.machines.get_mut(m)) {
                        machine.is_leaving |= leaves;
                        if seen.is_recovered {
                            // It has heard the word, put back what it holds, and comes in: it believes this registry.
                            machine.epoch = Some(seen.epoch);
                        }
                    }
                }
                _ => {}
            }
        }
        let has_order = |key: &str| match seen.keys.parse(key) {
            Some(Key::Assign(id, unit)) => seen
                .cluster
                .machines
                .get(&id)
                .is_some_and(|m| m.assignments.contains_key(&unit)),
            _ => false,
        };
        let known: Vec<bool> = written.batch.changes.iter().map(|c| has_order(c.key())).collect();
        seen.made.push((revision, now));
        seen.cluster.apply(written.batch);
        for (change, was_known) in written.batch.changes.iter().zip(known) {
            match (seen.keys.parse(change.key()), change) {
                (Some(Key::Leader), Change::Put(kv)) => {
                    let id = std::str::from_utf8(&kv.value).ok();
                    seen.leader = id.and_then(|text| MachineId::parse(text).ok());
                }
                (Some(Key::Leader), Change::Delete { .. }) => seen.leader = None,
                (Some(Key::Assign(id, unit)), Change::Put(kv)) => {
                    if let Ok(order) = serde_json::from_slice::<units::Assignment>(&kv.value)
                        && order.phase == Phase::Run
                    {
                        let is_old = |revision| seen.is_old(revision, now);
                        let violation =
                            placement::check(&seen.cluster, &id, &unit, &order, !was_known, &is_old);
                        seen.accuse(violation);
                    }
                }
                _ => {}
            }
        }
    }

    /// The registry lost history, and this is what there is.
    pub fn replaced(&self, all: &[KeyValue], revision: Revision) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        seen.epoch += 1;
        seen.is_recovered = false;
        let kvs = all.to_vec();
        let leader = seen.keys.leader();
        let held = kvs.iter().find(|kv| kv.key == leader);
        let id = held.and_then(|kv| std::str::from_utf8(&kv.value).ok());
        seen.leader = id.and_then(|text| MachineId::parse(text).ok());
        seen.cluster = Cluster::from_snapshot(seen.keys.clone(), &Snapshot { kvs, revision });
        seen.made.clear();
        let record = |unit: &fleetd::cluster::Unit| Some((unit.generation, unit.record.as_ref().ok()?.hash));
        let known = seen.cluster.units.iter();
        seen.contents = known
            .filter_map(|(name, unit)| {
                record(unit).map(|(generation, hash)| ((name.clone(), generation), hash))
            })
            .collect();
    }

    /// How often the registry has lost history.
    pub fn epoch(&self) -> u32 {
        self.lock().epoch
    }

    /// The agent of `m` was given an answer to a read that was sent in `epoch`.
    pub fn agent_read(&self, m: usize, epoch: u32, what: &[Select], snapshot: &Snapshot) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let now = seen.now();
        let id = id_of(m);
        let assigns = Select::Prefix(seen.keys.assigns(&id));
        let cluster = Select::Key(seen.keys.cluster());
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        if what.contains(&cluster) && machine.epoch.is_none() && snapshot.get(&seen.keys.cluster()).is_some()
        {
            machine.epoch = Some(epoch);
        }
        let is_ours = machine.epoch == Some(epoch);
        if is_ours {
            machine.revision = machine.revision.max(snapshot.revision);
        }
        if !what.contains(&assigns) {
            return;
        }
        let boot = format!("{m}-{}", machine.boot);
        let reading = Reading::new(now, &seen.keys, &id, &boot, is_ours, snapshot);
        while machine.readings.len() > 1 && machine.readings.front().is_some_and(|r| r.at + WORD_HOLDS < now)
        {
            machine.readings.pop_front();
        }
        machine.readings.push_back(reading);
    }
}
