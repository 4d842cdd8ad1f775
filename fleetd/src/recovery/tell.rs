//! Telling the others of a doubt that not every machine can have.

use crate::registry::keys::Keys;
use crate::registry::trust::{Doubt, Trust};
use crate::registry::{Backoff, Precondition, RegistryError, SharedRegistry, Txn};

/// Says in a registry that went back that it did, if it still is the cluster that this machine joined. A machine hears
/// of others' changes only now and then, so after a restore from a young snapshot some have seen nothing that is gone.
pub(crate) async fn tell(registry: &SharedRegistry, keys: &Keys, trust: &Trust, mut backoff: Backoff) {
    let (Some(Doubt::WentBack { had, .. }), Some(uuid)) = (trust.doubt(), trust.cluster()) else {
        return;
    };
    loop {
        let key = keys.doubted(&uuid);
        let txn = Txn::new()
            .when(Precondition::Value(keys.cluster(), uuid.clone().into_bytes()))
            .when(Precondition::Absent(key.clone()))
            .put(key, had.to_string());
        match registry.commit(txn).await {
            Err(RegistryError::Unavailable(_) | RegistryError::Unknown(_)) => {
                tokio::time::sleep(backoff.pause()).await;
            }
            _ => return,
        }
    }
}
