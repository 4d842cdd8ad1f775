//! From keys and values to a [`Cluster`], and from each change to the next one.

use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use units::{Hash, MachineId, Requirements, UnitFile, UnitName, UnitRecord};

use super::{Cluster, Content, Entry, Machine, Unit};
use crate::registry::keys::{Key, Keys};
use crate::registry::{Batch, Change, KeyValue, Revision, Snapshot};

impl Cluster {
    /// An empty cluster, before anything was read.
    pub fn empty(keys: Keys) -> Self {
        Self {
            keys,
            revision: 0,
            uuid: None,
            doubted: Default::default(),
            is_recovering: false,
            units: Default::default(),
            contents: Default::default(),
            schedule: Default::default(),
            verdicts: Default::default(),
            machines: Default::default(),
        }
    }

    /// The cluster as one read of everything below its prefix shows it.
    pub fn from_snapshot(keys: Keys, snapshot: &Snapshot) -> Self {
        let mut cluster = Self::empty(keys);
        for kv in &snapshot.kvs {
            cluster.put(kv);
        }
        cluster.revision = snapshot.revision;
        cluster
    }

    /// Moves on by the changes of one revision. Batches must come in order and without gaps.
    pub fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Put(kv) => self.put(kv),
                Change::Delete { key } => self.delete(key),
            }
        }
        self.revision = batch.revision;
    }

    fn put(&mut self, kv: &KeyValue) {
        match self.keys.parse(&kv.key) {
            Some(Key::Cluster) => self.uuid = Some(String::from_utf8_lossy(&kv.value).into_owned()),
            Some(Key::Leader | Key::EngineVersion | Key::Recovered(_)) | None => {}
            Some(Key::Doubted(uuid)) => {
                let seen = std::str::from_utf8(&kv.value).ok().and_then(|s| s.parse().ok());
                self.doubted.insert(uuid, seen.unwrap_or(Revision::MAX));
            }
            Some(Key::Recovering) => self.is_recovering = true,
            Some(Key::Unit(name)) => {
                let record = json::<UnitRecord>(kv);
                self.set_unit(name, kv.mod_revision, Some(record));
            }
            Some(Key::Content(hash)) => self.set_content(hash, kv),
            Some(Key::Schedule(name)) => {
                self.schedule.insert(name, entry(kv, json(kv).ok()));
            }
            Some(Key::Verdict(name)) => {
                self.verdicts.insert(name, entry(kv, json(kv).ok()));
            }
            Some(Key::Machine(id)) => {
                let record = json::<units::MachineRecord>(kv).ok();
                let machine = self.machine(id);
                machine.is_unreadable = record.is_none();
                machine.metadata = record
                    .as_ref()
                    .map(units::MachineRecord::effective_metadata)
                    .unwrap_or_default();
                machine.record = record.map(|record| entry(kv, record));
            }
            Some(Key::Assign(id, name)) => {
                self.machine(id)
                    .assignments
                    .insert(name, entry(kv, json(kv).ok()));
            }
            Some(Key::Seen(id)) => {
                // Unreadable reads as 0, which is no revision: the presence will be taken in again.
                let seen = std::str::from_utf8(&kv.value)
                    .ok()
                    .and_then(|s| Revision::from_str(s).ok());
                self.machine(id).seen = Some(entry(kv, seen.unwrap_or(0)));
            }
            Some(Key::Presence(id)) => {
                // The key under its lease is the sign of life, whatever its text.
                let presence = json(kv).unwrap_or(units::Presence {
                    boot_id: String::new(),
                    address: String::new(),
                    leaving: false,
                });
                self.machine(id).presence = Some(entry(kv, presence));
            }
            Some(Key::State(id, name)) => {
                let machine = self.machine(id);
                match json(kv) {
                    Ok(state) => {
                        machine.unreadable_states.remove(&name);
                        machine.states.insert(name, entry(kv, state));
                    }
                    Err(_) => {
                        machine.states.remove(&name);
                        machine.unreadable_states.insert(name);
                    }
                }
            }
        }
    }

    fn delete(&mut self, key: &str) {
        match self.keys.parse(key) {
            Some(Key::Cluster) => self.uuid = None,
            Some(Key::Leader | Key::EngineVersion | Key::Recovered(_)) | None => {}
            Some(Key::Doubted(uuid)) => drop(self.doubted.remove(&uuid)),
            Some(Key::Recovering) => self.is_recovering = false,
            Some(Key::Unit(name)) => self.set_unit(name, 0, None),
            Some(Key::Content(hash)) => self.forget_content(&hash),
            Some(Key::Schedule(name)) => {
                self.schedule.remove(&name);
            }
            Some(Key::Verdict(name)) => {
                self.verdicts.remove(&name);
            }
            Some(Key::Machine(id)) => self.change_machine(id, |m| {
                m.record = None;
                m.is_unreadable = false;
                m.metadata.clear();
            }),
            Some(Key::Assign(id, name)) => self.change_machine(id, |m| {
                m.assignments.remove(&name);
            }),
            Some(Key::Seen(id)) => self.change_machine(id, |m| m.seen = None),
            Some(Key::Presence(id)) => self.change_machine(id, |m| m.presence = None),
            Some(Key::State(id, name)) => self.change_machine(id, |m| {
                m.states.remove(&name);
                m.unreadable_states.remove(&name);
            }),
        }
    }

    fn machine(&mut self, id: MachineId) -> &mut Machine {
        self.machines.entry(id).or_default()
    }

    fn change_machine(&mut self, id: MachineId, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(&id) {
            change(machine);
            if machine.is_forgotten() {
                self.machines.remove(&id);
            }
        }
    }

    fn set_unit(&mut self, name: UnitName, generation: Revision, record: Option<Result<UnitRecord, String>>) {
        let before = self
            .units
            .get(&name)
            .and_then(|u| u.record.as_ref().ok())
            .map(|r| r.hash);
        let after = record.as_ref().and_then(|r| r.as_ref().ok()).map(|r| r.hash);
        if before != after {
            if let Some(content) = before.as_ref().and_then(|h| self.contents.get_mut(h)) {
                content.users = content.users.saturating_sub(1);
            }
            if let Some(content) = after.as_ref().and_then(|h| self.contents.get_mut(h)) {
                content.users += 1;
            }
        }
        let Some(record) = record else {
            self.units.remove(&name);
            return;
        };
        // A change of desired state alone keeps what the content asked for: nothing is parsed again.
        let requirements = match self.units.get(&name) {
            Some(unit) if before == after && unit.requirements.is_ok() => unit.requirements.clone(),
            _ => self.requirements_of(&name, after.as_ref()),
        };
        self.units.insert(
            name,
            Unit {
                generation,
                record,
                requirements,
            },
        );
    }

    fn set_content(&mut self, hash: Hash, kv: &KeyValue) {
        if let Some(content) = self.contents.get_mut(&hash)
            && content.file.is_ok()
        {
            // Put again by a transaction that refers to it: the name is a hash of the text, so the text is the same.
            content.modified = kv.mod_revision;
            return;
        }
        let users = self.users_of(&hash);
        let file = parse(&hash, &kv.value).map(Arc::new);
        let content = Content {
            modified: kv.mod_revision,
            file,
            users: users.len(),
        };
        self.contents.insert(hash, content);
        self.resolve(users, &hash);
    }

    fn forget_content(&mut self, hash: &Hash) {
        // The common case is the leader's own: a content goes when nobody refers to it.
        if self.contents.remove(hash).is_some_and(|c| c.users > 0) {
            self.resolve(self.users_of(hash), hash);
        }
    }

    fn users_of(&self, hash: &Hash) -> Vec<UnitName> {
        let refers = |u: &Unit| u.record.as_ref().is_ok_and(|r| r.hash == *hash);
        let users = self.units.iter().filter(|(_, u)| refers(u));
        users.map(|(name, _)| name.clone()).collect()
    }

    fn resolve(&mut self, names: Vec<UnitName>, hash: &Hash) {
        for name in names {
            let requirements = self.requirements_of(&name, Some(hash));
            if let Some(unit) = self.units.get_mut(&name) {
                unit.requirements = requirements;
            }
        }
    }

    fn requirements_of(&self, name: &UnitName, hash: Option<&Hash>) -> Result<Arc<Requirements>, String> {
        let hash = hash.ok_or_else(|| "its record cannot be read".to_owned())?;
        let content = self
            .contents
            .get(hash)
            .ok_or_else(|| format!("its content {} is missing", hash.short()))?;
        let file = content.file.as_ref().map_err(Clone::clone)?;
        let parsed =
            Requirements::parse(name, file).map_err(|e| format!("its content cannot be used: {e}"))?;
        Ok(Arc::new(parsed.requirements))
    }
}

fn parse(hash: &Hash, value: &[u8]) -> Result<UnitFile, String> {
    let text =
        std::str::from_utf8(value).map_err(|e| format!("content {} is not text: {e}", hash.short()))?;
    let file = UnitFile::parse(text).map_err(|e| format!("content {} cannot be read: {e}", hash.short()))?;
    if file.hash() == *hash {
        Ok(file)
    } else {
        Err(format!("content {} does not match its hash", hash.short()))
    }
}

fn entry<T>(kv: &KeyValue, value: T) -> Entry<T> {
    Entry {
        value,
        created: kv.create_revision,
        modified: kv.mod_revision,
    }
}

fn json<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, String> {
    serde_json::from_slice(&kv.value).map_err(|e| format!("{} cannot be read: {e}", kv.key))
}
