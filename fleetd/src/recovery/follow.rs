//! Waiting, in doubt, for a person's word.

use super::{Heard, Word};
use crate::registry::keys::{Key, Keys};
use crate::registry::mirror::{Mirror, Update};
use crate::registry::trust::Trust;
use crate::registry::{Backoff, RegistryError, Select, SharedRegistry};

/// Returns once a word ends the doubt: one that leads from the cluster that was joined to the one that is there.
pub(crate) async fn follow(registry: SharedRegistry, keys: Keys, trust: &Trust, backoff: Backoff) -> Heard {
    let words = Select::Prefix(keys.recovereds());
    let mut mirror = Mirror::new(registry.clone(), words.clone(), backoff);
    loop {
        match mirror.next().await {
            Update::Reset(_) | Update::Changed(_) | Update::Reconnected => {}
            Update::Disconnected(_) => continue,
            Update::WentBack { .. } => {
                mirror.accept();
                continue;
            }
        }
        let Some(had) = trust.cluster() else { continue };
        match look(&registry, &keys, had).await {
            Ok(Some(heard)) => return heard,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "could not look for a word about the registry");
                mirror.nudge_relist();
            }
        }
    }
}

async fn look(registry: &SharedRegistry, keys: &Keys, had: String) -> Result<Option<Heard>, RegistryError> {
    let what = [Select::Key(keys.cluster()), Select::Prefix(keys.recovereds())];
    let snapshot = registry.read(&what).await?;
    let cluster = snapshot
        .get(&keys.cluster())
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
    // A machine that slept through one recovery finds the way through the next.
    let mut uuid = had.clone();
    let mut steps = Vec::new();
    while steps.len() <= snapshot.kvs.len() {
        let kv = snapshot
            .kvs
            .iter()
            .find(|kv| keys.parse(&kv.key) == Some(Key::Recovered(uuid.clone())));
        let word = kv.and_then(|kv| Some((kv.mod_revision, serde_json::from_slice::<Word>(&kv.value).ok()?)));
        let Some((declared, word)) = word else {
            return Ok(None);
        };
        uuid.clone_from(&word.cluster);
        steps.push((declared, word.restored));
        if cluster.as_ref() == Some(&uuid) {
            let restored = steps.iter().all(|(_, restored)| *restored);
            return Ok(Some(Heard {
                had,
                word: Word {
                    cluster: uuid,
                    restored,
                },
                declared,
            }));
        }
    }
    Ok(None)
}
