//! What a machine does with what it holds before it believes a recovered registry.

use units::{DesiredState, Hash, MachineId, Placement, Presence, UnitName, UnitRecord};

use super::Heard;
use crate::agent::local::{Record, Started};
use crate::registry::keys::{Key, Keys};
use crate::registry::{
    Commit, KeyValue, MAX_OPS, Precondition, RegistryError, Revision, Select, SharedRegistry, Snapshot, Txn,
    encode,
};

/// A unit that this machine holds.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) unit: UnitName,
    pub(crate) text: String,
    pub(crate) hash: Hash,
    pub(crate) record: Record,
}

/// A copy that the registry knows as it is here: under this generation from now on, so that it counts as started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adopted {
    pub(crate) unit: UnitName,
    pub(crate) generation: Revision,
}

/// What to do about one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// The registry has lost it, or knows an older version.
    Put(UnitRecord),
    /// The registry knows it as it is.
    Adopt(Revision),
    /// The registry knows better: somebody has said something else since.
    Leave,
}

/// Puts back what the registry has lost of what this machine holds, and takes back what the registry still says of this
/// machine from before. Can be done again from the start if it breaks off.
pub(crate) async fn put_back(
    registry: &SharedRegistry,
    keys: &Keys,
    machine: &MachineId,
    boot_id: &str,
    heard: &Heard,
    copies: Vec<Copy>,
) -> Result<Vec<Adopted>, RegistryError> {
    let what = [
        Select::Key(keys.presence(machine)),
        Select::Prefix(keys.assigns(machine)),
        Select::Prefix(keys.schedules()),
    ];
    let before = registry.read(&what).await?;
    let fence = || {
        Txn::new().when(Precondition::Value(
            keys.cluster(),
            heard.word.cluster.clone().into_bytes(),
        ))
    };
    if let Some(kv) = before.get(&keys.presence(machine)) {
        withdraw_presence(registry, kv, boot_id).await?;
    }
    let stale = stale(keys, &before, machine, &copies);
    for part in stale.chunks((MAX_OPS - 1) / 2) {
        let forget = |txn: Txn, (key, revision): &(String, Revision)| {
            txn.when(Precondition::Unchanged(key.clone(), *revision))
                .delete(key.clone())
        };
        // Refused: somebody else has changed one of them since, and knew what he did.
        registry.commit(part.iter().fold(fence(), forget)).await?;
    }
    let mut adopted = Vec::new();
    for copy in copies {
        let key = keys.unit(&copy.unit);
        loop {
            let now = registry.read(&[Select::Key(key.clone())]).await?;
            let found = now.get(&key);
            let fate = match fate(&copy, found, heard) {
                Fate::Put(record) => record,
                Fate::Adopt(generation) => {
                    adopted.push(Adopted {
                        unit: copy.unit,
                        generation,
                    });
                    break;
                }
                Fate::Leave => {
                    tracing::warn!(unit = %copy.unit, "the recovered registry has another version of a unit held here");
                    break;
                }
            };
            let unchanged = match found {
                Some(kv) => Precondition::Unchanged(key.clone(), kv.mod_revision),
                None => Precondition::Absent(key.clone()),
            };
            let txn = fence()
                .when(unchanged)
                .put(keys.content(&copy.hash), copy.text.clone())
                .put(key.clone(), encode(&fate));
            match registry.commit(txn).await? {
                Commit::Applied(generation) => {
                    tracing::warn!(unit = %copy.unit, revision = generation, "put back a unit that the registry had lost");
                    adopted.push(Adopted {
                        unit: copy.unit,
                        generation,
                    });
                    break;
                }
                Commit::Refused(_) => {}
            }
        }
    }
    Ok(adopted)
}

/// The presence of before would be taken up again, with what the engine knew of it then.
async fn withdraw_presence(
    registry: &SharedRegistry,
    kv: &KeyValue,
    boot_id: &str,
) -> Result<(), RegistryError> {
    let ours = serde_json::from_slice::<Presence>(&kv.value).is_ok_and(|p| p.boot_id == boot_id);
    match kv.lease.filter(|_| ours) {
        Some(lease) => registry.revoke(lease).await,
        // Another boot's, or another machine's: joining deals with that.
        None => Ok(()),
    }
}

/// Orders to this machine, and places on it of units that are not here.
fn stale(keys: &Keys, before: &Snapshot, machine: &MachineId, copies: &[Copy]) -> Vec<(String, Revision)> {
    let is_stale = |kv: &KeyValue| match keys.parse(&kv.key) {
        Some(Key::Assign(id, _) | Key::Seen(id)) => id == *machine,
        Some(Key::Schedule(unit)) => {
            let placed = serde_json::from_slice::<Placement>(&kv.value);
            placed.is_ok_and(|p| p.machine == *machine) && copies.iter().all(|c| c.unit != unit)
        }
        _ => false,
    };
    let stale = before.kvs.iter().filter(|kv| is_stale(kv));
    stale.map(|kv| (kv.key.clone(), kv.mod_revision)).collect()
}

fn fate(copy: &Copy, found: Option<&KeyValue>, heard: &Heard) -> Fate {
    let ours = UnitRecord {
        hash: copy.hash,
        desired: match copy.record.started {
            Started::No => DesiredState::Loaded,
            Started::Asked | Started::Yes => DesiredState::Launched,
        },
        run: copy.record.run,
    };
    let Some(kv) = found else { return Fate::Put(ours) };
    let Ok(theirs) = serde_json::from_slice::<UnitRecord>(&kv.value) else {
        return Fate::Leave;
    };
    // What was said since the recovery is said by somebody who sees the registry as it is.
    let is_older =
        heard.word.restored && kv.mod_revision < copy.record.generation && kv.mod_revision < heard.declared;
    if theirs.hash == ours.hash && theirs.run == ours.run {
        Fate::Adopt(kv.mod_revision)
    } else if is_older {
        Fate::Put(ours)
    } else {
        Fate::Leave
    }
}

#[cfg(test)]
mod tests {
    use units::UnitFile;

    use super::super::Word;
    use super::*;

    fn copy(text: &str, generation: i64, run: u64) -> Copy {
        Copy {
            unit: UnitName::parse("a.service").unwrap(),
            text: text.to_owned(),
            hash: UnitFile::parse(text).unwrap().hash(),
            record: Record {
                generation,
                run,
                started: Started::Yes,
                ..Record::default()
            },
        }
    }

    fn found(text: &str, run: u64, mod_revision: Revision) -> KeyValue {
        let record = UnitRecord {
            hash: UnitFile::parse(text).unwrap().hash(),
            desired: DesiredState::Launched,
            run,
        };
        KeyValue {
            key: Keys::default().unit(&UnitName::parse("a.service").unwrap()),
            value: encode(&record),
            create_revision: 1,
            mod_revision,
            lease: None,
        }
    }

    #[test]
    fn what_runs_is_put_back_unless_the_registry_knows_better() {
        let (old, new) = (
            "[Service]\nExecStart=/bin/old\n",
            "[Service]\nExecStart=/bin/new\n",
        );
        let put = |run| {
            Fate::Put(UnitRecord {
                hash: copy(new, 0, 0).hash,
                desired: DesiredState::Launched,
                run,
            })
        };
        for (what, registry, restored, expected) in [
            ("lost", None, true, put(1)),
            ("lost in a wipe", None, false, put(1)),
            ("the same", Some(found(new, 1, 50)), true, Fate::Adopt(50)),
            (
                "put back by another machine",
                Some(found(new, 1, 71)),
                false,
                Fate::Adopt(71),
            ),
            ("an older version", Some(found(old, 1, 50)), true, put(1)),
            ("an older run", Some(found(new, 0, 50)), true, put(1)),
            ("a newer version", Some(found(old, 1, 69)), true, Fate::Leave),
            (
                "changed since the recovery",
                Some(found(old, 1, 71)),
                true,
                Fate::Leave,
            ),
            (
                "revisions of another cluster say nothing",
                Some(found(old, 1, 50)),
                false,
                Fate::Leave,
            ),
        ] {
            let heard = Heard {
                had: "u0".to_owned(),
                word: Word {
                    cluster: "u1".to_owned(),
                    restored,
                },
                declared: 70,
            };
            assert_eq!(
                fate(&copy(new, 60, 1), registry.as_ref(), &heard),
                expected,
                "{what}"
            );
        }
    }
}
