//! Saying that the registry as it is now is the one to follow.

use super::{HOLD, Word};
use crate::registry::keys::Keys;
use crate::registry::trust::{self, Trust};
use crate::registry::{Commit, Precondition, RegistryError, Select, SharedRegistry, Txn, encode};

/// Why a recovery was not declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// There is nothing to decide.
    #[error("this machine believes the registry: there is nothing to recover from")]
    NoDoubt,
    /// The registry is not available.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Declares the registry to be the one to follow, for this machine and all that were in the same cluster. Said again, by
/// whichever machine, it changes nothing.
///
/// # Errors
/// If this machine has no doubt, or the registry is not available.
pub async fn declare(registry: &SharedRegistry, keys: &Keys, trust: &Trust) -> Result<Word, DeclareError> {
    let had = match (trust.doubt(), trust.cluster()) {
        (Some(_), Some(had)) => had,
        _ => return Err(DeclareError::NoDoubt),
    };
    loop {
        let what = [keys.cluster(), keys.recovered(&had)].map(Select::Key);
        let snapshot = registry.read(&what).await?;
        let found = snapshot
            .get(&keys.cluster())
            .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        let said = snapshot
            .get(&keys.recovered(&had))
            .and_then(|kv| serde_json::from_slice::<Word>(&kv.value).ok());
        if let Some(word) = said.filter(|w| found.as_ref() == Some(&w.cluster)) {
            return Ok(word);
        }
        let restored = found.as_ref() == Some(&had);
        let cluster = match &found {
            Some(founded) if !restored => founded.clone(),
            _ => trust::new_uuid().map_err(|e| RegistryError::Refused(format!("no uuid to be had: {e}")))?,
        };
        let word = Word { cluster, restored };
        let hold = registry.grant(HOLD).await?;
        let txn = Txn::new()
            .when(match found {
                Some(uuid) => Precondition::Value(keys.cluster(), uuid.into_bytes()),
                None => Precondition::Absent(keys.cluster()),
            })
            .put(keys.cluster(), word.cluster.clone())
            .put(keys.recovered(&had), encode(&word))
            .delete(keys.doubted(&had))
            .put_leased(keys.recovering(), "", hold.id);
        if let Commit::Applied(revision) = registry.commit(txn).await? {
            tracing::warn!(%had, cluster = %word.cluster, restored, revision, "declared the registry recovered");
            return Ok(word);
        }
        registry.revoke(hold.id).await?;
    }
}
