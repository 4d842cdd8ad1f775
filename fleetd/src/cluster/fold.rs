//! From keys and values to a [`Cluster`], and from each change to the next one.

use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use units::{Hash, MachineId, Requirements, UnitFile, UnitName, UnitRecord};

use super::{Cluster, Content, Entry, Machine, Touched, Unit};
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
            users: Default::default(),
            places: Default::default(),
            schedule: Default::default(),
            verdicts: Default::default(),
            machines: Default::default(),
        }
    }

    /// The cluster as one read of everything below its prefix shows it.
    pub fn from_snapshot(keys: Keys, snapshot: &Snapshot) -> Self {
        let mut cluster = Self::empty(keys);
        let mut touched = Touched::default();
        for kv in &snapshot.kvs {
            cluster.put(kv, &mut touched);
        }
        cluster.revision = snapshot.revision;
        cluster
    }

    /// Moves on by the changes of one revision, and says what they touched. Batches must come in order and without
    /// gaps.
    pub fn apply(&mut self, batch: &Batch) -> Touched {
        let mut touched = Touched::default();
        for change in &batch.changes {
            match change {
                Change::Put(kv) => self.put(kv, &mut touched),
                Change::Delete { key } => self.delete(key, &mut touched),
            }
        }
        self.revision = batch.revision;
        touched
    }

    fn put(&mut self, kv: &KeyValue, touched: &mut Touched) {
        match self.keys.parse(&kv.key) {
            Some(Key::Cluster) => self.uuid = Some(String::from_utf8_lossy(&kv.value).into_owned()),
            Some(Key::Leader | Key::EngineVersion | Key::Recovered(_)) | None => {}
            Some(Key::Doubted(uuid)) => {
                let seen = std::str::from_utf8(&kv.value).ok().and_then(|s| s.parse().ok());
                self.doubted.insert(uuid, seen.unwrap_or(Revision::MAX));
            }
            Some(Key::Recovering) => {
                self.is_recovering = true;
                touched.all = true;
            }
            Some(Key::Unit(name)) => {
                let name = self.known(name);
                touched.units.insert(name.clone());
                let record = json::<UnitRecord>(kv);
                self.set_unit(name, kv.mod_revision, Some(record), touched);
            }
            Some(Key::Content(hash)) => self.set_content(hash, kv, touched),
            Some(Key::Schedule(name)) => {
                let name = self.known(name);
                touched.units.insert(name.clone());
                self.schedule.insert(name, entry(kv, json(kv).ok()));
            }
            Some(Key::Verdict(name)) => {
                let name = self.known(name);
                touched.units.insert(name.clone());
                self.verdicts.insert(name, entry(kv, json(kv).ok()));
            }
            Some(Key::Machine(id)) => {
                let record = json::<units::MachineRecord>(kv).ok();
                let machine = self.machine(id, touched);
                machine.is_unreadable = record.is_none();
                machine.metadata = record
                    .as_ref()
                    .map(units::MachineRecord::effective_metadata)
                    .unwrap_or_default();
                machine.record = record.map(|record| entry(kv, record));
                touched.machines.insert(id);
            }
            Some(Key::Assign(id, name)) => {
                let name = self.known(name);
                touched.units.insert(name.clone());
                let machine = self.machine(id, touched);
                machine.assignments.insert(name.clone(), entry(kv, json(kv).ok()));
                machine.note_order(id, touched);
                self.find(name, id);
            }
            Some(Key::Seen(id)) => {
                // Unreadable reads as 0, which is no revision: the presence will be taken in again.
                let seen = std::str::from_utf8(&kv.value)
                    .ok()
                    .and_then(|s| Revision::from_str(s).ok());
                self.machine(id, touched).seen = Some(entry(kv, seen.unwrap_or(0)));
                touched.seen.insert(id);
            }
            Some(Key::Presence(id)) => {
                // The key under its lease is the sign of life, whatever its text.
                let presence = json(kv).unwrap_or(units::Presence {
                    boot_id: String::new(),
                    address: String::new(),
                    leaving: false,
                });
                self.machine(id, touched).presence = Some(entry(kv, presence));
                touched.machines.insert(id);
            }
            Some(Key::State(id, name)) => {
                let name = self.known(name);
                touched.units.insert(name.clone());
                let machine = self.machine(id, touched);
                match json(kv) {
                    Ok(state) => {
                        machine.unreadable_states.remove(&name);
                        machine.states.insert(name.clone(), entry(kv, state));
                    }
                    Err(_) => {
                        machine.states.remove(&name);
                        machine.unreadable_states.insert(name.clone());
                    }
                }
                self.find(name, id);
            }
        }
    }

    fn delete(&mut self, key: &str, touched: &mut Touched) {
        match self.keys.parse(key) {
            Some(Key::Cluster) => self.uuid = None,
            Some(Key::Leader | Key::EngineVersion | Key::Recovered(_)) | None => {}
            Some(Key::Doubted(uuid)) => drop(self.doubted.remove(&uuid)),
            Some(Key::Recovering) => {
                self.is_recovering = false;
                touched.all = true;
            }
            Some(Key::Unit(name)) => {
                self.set_unit(name.clone(), 0, None, touched);
                touched.units.insert(name);
            }
            Some(Key::Content(hash)) => self.forget_content(&hash, touched),
            Some(Key::Schedule(name)) => {
                self.schedule.remove(&name);
                touched.units.insert(name);
            }
            Some(Key::Verdict(name)) => {
                self.verdicts.remove(&name);
                touched.units.insert(name);
            }
            Some(Key::Machine(id)) => {
                touched.machines.insert(id);
                self.change_machine(id, touched, |m| {
                    m.record = None;
                    m.is_unreadable = false;
                    m.metadata.clear();
                });
            }
            Some(Key::Assign(id, name)) => {
                self.change_machine(id, touched, |m| {
                    m.assignments.remove(&name);
                });
                if let Some(machine) = self.machines.get(&id) {
                    machine.note_order(id, touched);
                }
                self.find(name.clone(), id);
                touched.units.insert(name);
            }
            Some(Key::Seen(id)) => {
                touched.seen.insert(id);
                self.change_machine(id, touched, |m| m.seen = None);
            }
            Some(Key::Presence(id)) => {
                touched.machines.insert(id);
                self.change_machine(id, touched, |m| m.presence = None);
            }
            Some(Key::State(id, name)) => {
                self.change_machine(id, touched, |m| {
                    m.states.remove(&name);
                    m.unreadable_states.remove(&name);
                });
                self.find(name.clone(), id);
                touched.units.insert(name);
            }
        }
    }

    /// The name as it is held already, if it is: one text for all that is known of a unit.
    fn known(&self, name: UnitName) -> UnitName {
        match self.units.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => name,
        }
    }

    /// Keeps [`Cluster::places`] in step with what is known of the unit on that machine.
    fn find(&mut self, unit: UnitName, id: MachineId) {
        let knows = |m: &Machine| m.assignments.contains_key(&unit) || m.states.contains_key(&unit);
        let is_there = self.machines.get(&id).is_some_and(knows);
        let places = self.places.entry(unit.clone()).or_default();
        match (places.binary_search(&id), is_there) {
            (Err(at), true) => places.insert(at, id),
            (Ok(at), false) => drop(places.remove(at)),
            _ => {}
        }
        if places.is_empty() {
            self.places.remove(&unit);
        }
    }

    fn machine(&mut self, id: MachineId, touched: &mut Touched) -> &mut Machine {
        self.machines.entry(id).or_insert_with(|| {
            touched.machines.insert(id);
            Machine::default()
        })
    }

    fn change_machine(&mut self, id: MachineId, touched: &mut Touched, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.machines.get_mut(&id) {
            change(machine);
            if machine.is_forgotten() {
                self.machines.remove(&id);
                touched.machines.insert(id);
            }
        }
    }

    fn set_unit(
        &mut self,
        name: UnitName,
        generation: Revision,
        record: Option<Result<UnitRecord, String>>,
        touched: &mut Touched,
    ) {
        let before = self
            .units
            .get(&name)
            .and_then(|u| u.record.as_ref().ok())
            .map(|r| r.hash);
        let after = record.as_ref().and_then(|r| r.as_ref().ok()).map(|r| r.hash);
        if before != after {
            touched.contents.extend(before.into_iter().chain(after));
            if let Some(hash) = before
                && let Some(users) = self.users.get_mut(&hash)
            {
                users.remove(&name);
                if users.is_empty() {
                    self.users.remove(&hash);
                }
            }
            if let Some(hash) = after {
                self.users.entry(hash).or_default().insert(name.clone());
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

    fn set_content(&mut self, hash: Hash, kv: &KeyValue, touched: &mut Touched) {
        touched.contents.insert(hash);
        if let Some(content) = self.contents.get_mut(&hash)
            && content.file.is_ok()
        {
            // Put again by a transaction that refers to it: the name is a hash of the text, so the text is the same.
            content.modified = kv.mod_revision;
            return;
        }
        let content = Content {
            modified: kv.mod_revision,
            file: parse(&hash, &kv.value).map(Arc::new),
        };
        self.contents.insert(hash, content);
        self.resolve(&hash, touched);
    }

    fn forget_content(&mut self, hash: &Hash, touched: &mut Touched) {
        touched.contents.insert(*hash);
        if self.contents.remove(hash).is_some() {
            self.resolve(hash, touched);
        }
    }

    /// What those that refer to the content ask for, now that it has come or gone.
    fn resolve(&mut self, hash: &Hash, touched: &mut Touched) {
        for name in self.users.get(hash).cloned().unwrap_or_default() {
            let requirements = self.requirements_of(&name, Some(hash));
            if let Some(unit) = self.units.get_mut(&name) {
                unit.requirements = requirements;
            }
            touched.units.insert(name);
        }
    }

    fn requirements_of(&self, name: &UnitName, hash: Option<&Hash>) -> Result<Arc<Requirements>, String> {
        let hash = hash.ok_or_else(|| "its record cannot be read".to_owned())?;
        let content = self
            .contents
            .get(hash)
            .ok_or_else(|| format!("its content {} is missing", hash.short()))?;
        let file = content.file.as_ref().map_err(Clone::clone)?;
        // The instances of a template mostly ask for the same: then it is held once, and read once if nothing in it can
        // depend on the name.
        let users = self.users.get(hash).into_iter().flatten();
        // Not the unit itself: what is known of it may come from the content it had before.
        let mut others = users.filter(|unit| *unit != name && !unit.is_template());
        let asked = others
            .next()
            .and_then(|unit| self.units.get(unit)?.requirements.as_ref().ok());
        let is_alike = |asked: &&Arc<Requirements>| {
            let has_specifier = file.options().iter().any(|option| option.value.contains('%'));
            !has_specifier && asked.machine_of.is_empty() && !name.is_template()
        };
        if let Some(asked) = asked.filter(is_alike) {
            return Ok(asked.clone());
        }
        let found =
            Requirements::parse(name, file).map_err(|e| format!("its content cannot be used: {e}"))?;
        match asked {
            Some(asked) if **asked == found => Ok(asked.clone()),
            _ => Ok(Arc::new(found)),
        }
    }
}

impl Machine {
    /// An order comes to, or goes from, a machine out of sight: that can make it lost, or end its being lost.
    fn note_order(&self, id: MachineId, touched: &mut Touched) {
        if !self.is_present() {
            touched.machines.insert(id);
        }
    }
}

fn parse(hash: &Hash, value: &[u8]) -> Result<UnitFile, String> {
    let text =
        std::str::from_utf8(value).map_err(|e| format!("content {} is not text: {e}", hash.short()))?;
    let file = UnitFile::parse(text).map_err(|e| format!("content {} cannot be read: {e}", hash.short()))?;
    match file.hash() == *hash {
        true => Ok(file.only(units::requirements::SECTION)),
        false => Err(format!("content {} does not match its hash", hash.short())),
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
