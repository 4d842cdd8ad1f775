//! What the API had laid over a machine's metadata: a unit that was placed by it would be stopped without it.

use units::{MachineRecord, Metadata};

use super::Heard;
use crate::agent::local::Overrides;
use crate::registry::keys::Keys;
use crate::registry::{Commit, KeyValue, Precondition, RegistryError, Select, SharedRegistry, Txn, encode};

/// Puts back the overrides that this machine remembers into its record, where the registry has lost them. `absent` is
/// the record to put where there is none. Can be done again from the start if it breaks off.
pub(crate) async fn put_back_overrides(
    registry: &SharedRegistry,
    keys: &Keys,
    heard: &Heard,
    remembered: &Overrides,
    absent: &MachineRecord,
) -> Result<(), RegistryError> {
    let key = keys.machine(&absent.id);
    loop {
        let now = registry
            .read(&[key.clone(), keys.cluster()].map(Select::Key))
            .await?;
        let is_there = |kv: &KeyValue| kv.value == heard.word.cluster.as_bytes();
        if !now.get(&keys.cluster()).is_some_and(is_there) {
            let message = format!("the registry is no longer cluster {}", heard.word.cluster);
            return Err(RegistryError::Refused(message));
        }
        let found = now.get(&key);
        // What cannot be read would be written anew when the machine joins.
        let record = found.and_then(|kv| serde_json::from_slice::<MachineRecord>(&kv.value).ok());
        let known = found.zip(record.as_ref());
        let overrides = outcome(
            remembered,
            known.map(|(kv, record)| (kv, &record.overrides)),
            heard,
        );
        let mut record = record.unwrap_or_else(|| absent.clone());
        if record.overrides == overrides {
            return Ok(());
        }
        record.overrides = overrides;
        let unchanged = match found {
            Some(kv) => Precondition::Unchanged(key.clone(), kv.mod_revision),
            None => Precondition::Absent(key.clone()),
        };
        let fence = Precondition::Value(keys.cluster(), heard.word.cluster.clone().into_bytes());
        let txn = Txn::new()
            .when(fence)
            .when(unchanged)
            .put(key.clone(), encode(&record));
        if let Commit::Applied(revision) = registry.commit(txn).await? {
            tracing::warn!(
                machine = %absent.id,
                overrides = ?record.overrides,
                revision,
                "put back metadata that the registry had lost"
            );
            return Ok(());
        }
    }
}

/// The overrides that hold from now on. A restored record that is older than the one remembered is replaced: a key may
/// have been dropped since. Any other was changed by somebody who saw the registry as it is, perhaps for one key of
/// several, so it is only completed.
fn outcome(remembered: &Overrides, found: Option<(&KeyValue, &Metadata)>, heard: &Heard) -> Metadata {
    let mut overrides = remembered.metadata.clone();
    if let Some((kv, theirs)) = found {
        let is_older =
            heard.word.restored && kv.mod_revision < remembered.revision && kv.mod_revision < heard.declared;
        if !is_older {
            overrides.extend(theirs.clone());
        }
    }
    overrides
}

#[cfg(test)]
mod tests {
    use super::super::Word;
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_recovered_registry_has_the_overrides_that_were_there_and_those_set_since() {
        let remembered = Overrides {
            revision: 60,
            metadata: metadata(&[("zone", "a"), ("rack", "")]),
        };
        let ours = &[("zone", "a"), ("rack", "")][..];
        for (what, found, restored, expected) in [
            ("no record", None, false, ours),
            ("no record in an old backup", None, true, ours),
            ("a record without them", Some((5, &[][..])), false, ours),
            ("from before they were set", Some((50, &[][..])), true, ours),
            (
                "from before one was changed",
                Some((50, &[("zone", "b")][..])),
                true,
                ours,
            ),
            (
                "from before one was dropped",
                Some((50, &[("disk", "ssd")][..])),
                true,
                ours,
            ),
            ("the very record", Some((60, ours)), true, ours),
            (
                "one set since the recovery",
                Some((71, &[("zone", "c")][..])),
                true,
                &[("zone", "c"), ("rack", "")][..],
            ),
            (
                "one set in another cluster",
                Some((5, &[("disk", "ssd")][..])),
                false,
                &[("zone", "a"), ("rack", ""), ("disk", "ssd")][..],
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
            let found = found.map(|(mod_revision, theirs)| {
                let kv = KeyValue {
                    key: "machines/m".to_owned(),
                    value: Vec::new(),
                    create_revision: 1,
                    mod_revision,
                    lease: None,
                };
                (kv, metadata(theirs))
            });
            let found = found.as_ref().map(|(kv, theirs)| (kv, theirs));
            assert_eq!(outcome(&remembered, found, &heard), metadata(expected), "{what}");
        }
    }
}
