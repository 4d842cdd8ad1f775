//! Everything the registry says about some units, at one revision.

use std::collections::{BTreeMap, BTreeSet};

use units::{
    CopyView, Hash, MachineId, MachineRecord, Requirements, UnitFile, UnitName, UnitRecord, UnitView,
};

use crate::registry::keys::{Key, Keys};
use crate::registry::{KeyValue, RegistryError, Revision, Select, SharedRegistry, Snapshot};

/// Some units at one revision, each `None` if there is no such unit, with the copies that machines still speak of.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) revision: Revision,
    pub(crate) units: BTreeMap<UnitName, Gathering>,
}

/// One unit.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// The unit, if it exists.
    pub(crate) view: Option<UnitView>,
    /// Copies, also of a unit that was destroyed a moment ago.
    pub(crate) copies: Vec<CopyView>,
}

/// Reads `units` by point reads alone: the cost is units times machines, whatever else the cluster holds.
///
/// # Errors
/// When the registry cannot be read.
pub(crate) async fn gather(
    registry: &SharedRegistry,
    keys: &Keys,
    names: &BTreeSet<UnitName>,
) -> Result<Gathered, RegistryError> {
    // Which machines and contents to read is itself read; if that changed meanwhile, once more.
    let mut snapshot = first_look(registry, keys, names).await?;
    loop {
        let machines = machines(keys, &snapshot);
        let hashes = hashes(keys, &snapshot, names);
        let mut what = vec![Select::Prefix(keys.machines())];
        for name in names {
            let own = [keys.unit(name), keys.schedule(name), keys.verdict(name)];
            what.extend(own.map(Select::Key));
            for id in machines.keys() {
                what.push(Select::Key(keys.assign(id, name)));
                what.push(Select::Key(keys.state(id, name)));
            }
        }
        what.extend(hashes.iter().map(|hash| Select::Key(keys.content(hash))));
        let found = registry.read(&what).await?;
        let is_whole = machines.keys().eq(self::machines(keys, &found).keys())
            && hashes == self::hashes(keys, &found, names);
        if is_whole {
            let units = names
                .iter()
                .map(|name| (name.clone(), one(keys, &found, name)))
                .collect();
            return Ok(Gathered {
                revision: found.revision,
                units,
            });
        }
        snapshot = found;
    }
}

async fn first_look(
    registry: &SharedRegistry,
    keys: &Keys,
    names: &BTreeSet<UnitName>,
) -> Result<Snapshot, RegistryError> {
    let mut what = vec![Select::Prefix(keys.machines())];
    what.extend(names.iter().map(|name| Select::Key(keys.unit(name))));
    registry.read(&what).await
}

/// Every machine that has a record.
pub(crate) fn machines(keys: &Keys, snapshot: &Snapshot) -> BTreeMap<MachineId, Option<MachineRecord>> {
    let machine = |kv: &KeyValue| match keys.parse(&kv.key) {
        Some(Key::Machine(id)) => Some((id, serde_json::from_slice(&kv.value).ok())),
        _ => None,
    };
    snapshot.kvs.iter().filter_map(machine).collect()
}

/// Every machine's record and presence, by point reads: what machines say about units is not read along.
///
/// # Errors
/// When the registry cannot be read.
pub(crate) async fn read_machines(registry: &SharedRegistry, keys: &Keys) -> Result<Snapshot, RegistryError> {
    let mut known = registry.read(&[Select::Prefix(keys.machines())]).await?;
    loop {
        let ids = machines(keys, &known);
        let mut what = vec![Select::Prefix(keys.machines())];
        what.extend(ids.keys().map(|id| Select::Key(keys.presence(id))));
        let found = registry.read(&what).await?;
        if ids.keys().eq(machines(keys, &found).keys()) {
            return Ok(found);
        }
        known = found;
    }
}

/// Machines of such a read that show a sign of life, by id.
pub(crate) fn present(keys: &Keys, snapshot: &Snapshot) -> BTreeMap<MachineId, Option<MachineRecord>> {
    let mut all = machines(keys, snapshot);
    all.retain(|id, _| snapshot.get(&keys.presence(id)).is_some());
    all
}

fn hashes(keys: &Keys, snapshot: &Snapshot, names: &BTreeSet<UnitName>) -> BTreeSet<Hash> {
    let record = |name| read::<UnitRecord>(snapshot, &keys.unit(name));
    names
        .iter()
        .filter_map(|name| record(name).map(|r| r.hash))
        .collect()
}

fn read<T: serde::de::DeserializeOwned>(snapshot: &Snapshot, key: &str) -> Option<T> {
    snapshot
        .get(key)
        .and_then(|kv| serde_json::from_slice(&kv.value).ok())
}

/// The text of a content, if it is there and can be read.
pub(crate) fn content(keys: &Keys, snapshot: &Snapshot, hash: &Hash) -> Option<UnitFile> {
    let kv = snapshot.get(&keys.content(hash))?;
    UnitFile::parse(std::str::from_utf8(&kv.value).ok()?).ok()
}

/// Whether a unit of this content is global.
pub(crate) fn is_global(name: &UnitName, file: Option<&UnitFile>) -> bool {
    file.and_then(|f| Requirements::parse(name, f).ok())
        .is_some_and(|asked| asked.global)
}

fn one(keys: &Keys, snapshot: &Snapshot, name: &UnitName) -> Gathering {
    let mut copies = Vec::new();
    for (id, record) in machines(keys, snapshot) {
        let assignment = read(snapshot, &keys.assign(&id, name));
        let state = read(snapshot, &keys.state(&id, name));
        if assignment.is_some() || state.is_some() {
            let address = record.map(|r| r.address).unwrap_or_default();
            copies.push(CopyView {
                machine: id,
                address,
                assignment,
                state,
            });
        }
    }
    let view = snapshot.get(&keys.unit(name)).and_then(|kv| {
        let unit: UnitRecord = serde_json::from_slice(&kv.value).ok()?;
        let file = content(keys, snapshot, &unit.hash);
        Some(UnitView {
            revision: snapshot.revision,
            name: name.clone(),
            generation: kv.mod_revision,
            global: is_global(name, file.as_ref()),
            description: file.as_ref().and_then(|f| f.description().map(str::to_owned)),
            placement: read(snapshot, &keys.schedule(name)),
            verdict: read(snapshot, &keys.verdict(name)),
            copies: copies.clone(),
            unit,
        })
    });
    Gathering { view, copies }
}
