//! Who leads: one key under a short lease, taken by transaction (design §4, "Leadership").
//!
//! etcd's own Campaign is not used: it queues on the server, and cannot be cancelled or given a deadline without
//! losing the place. Here a candidate that finds the key taken watches that one key and does nothing else.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use units::MachineId;

use super::version::{Admission, VERSION, admission};
use crate::registry::keys::Keys;
use crate::registry::{
    Backoff, Change, Commit, LeaseId, Precondition, RegistryError, Revision, Select, SharedRegistry,
};

/// How long a leader that fell silent blocks the next one.
pub const LEADER_TTL: Duration = Duration::from_secs(5);

/// Leadership, as long as [`Leadership::lost`] is silent.
#[derive(Debug)]
pub struct Leadership {
    registry: SharedRegistry,
    lease: LeaseId,
    /// Create revision of the leader key: what every write of this leader is compared with.
    pub fence: Revision,
    lost: CancellationToken,
    renewal: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Resolves once leadership is over or in doubt. In doubt is before the lease can have expired: a leader stops
    /// before the next one can start.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Whether it is over or in doubt.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Hands over at once. To be the last thing that is done with it.
    pub async fn resign(&self) {
        self.renewal.abort();
        match self.registry.revoke(self.lease).await {
            Ok(()) => tracing::info!(fence = self.fence, "resigned as leader"),
            Err(error) => tracing::warn!(%error, "could not resign as leader, the lease will run out"),
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Waits until this machine leads. Cancel safe but for a lease that may be left to run out.
///
/// A machine whose engine is older than one that has led never does: see [`super::version`].
pub async fn campaign(registry: &SharedRegistry, keys: &Keys, machine: &MachineId) -> Leadership {
    campaign_as(VERSION, registry, keys, machine).await
}

/// As [`campaign`], as an engine of that version.
pub(super) async fn campaign_as(
    version: u32,
    registry: &SharedRegistry,
    keys: &Keys,
    machine: &MachineId,
) -> Leadership {
    let mut backoff = Backoff::default();
    loop {
        match attempt(version, registry, keys, machine).await {
            Ok(Some(leadership)) => return leadership,
            // The key was free a moment ago, or still is: look again at once.
            Ok(None) => backoff.reset(),
            Err(error) => {
                tracing::debug!(%error, "could not take part in the election");
                sleep(backoff.pause()).await;
            }
        }
    }
}

/// One try: takes the key if it is free, else waits until it is. `None` says: try again.
///
/// The next try begins with a read. Going on with what was read before the wait would be a round trip less for the one
/// that wins, and a lease granted and revoked for each of the others, of which a large cluster has a thousand.
async fn attempt(
    version: u32,
    registry: &SharedRegistry,
    keys: &Keys,
    machine: &MachineId,
) -> Result<Option<Leadership>, RegistryError> {
    let key = keys.leader();
    let version_key = keys.engine_version();
    let what = [key.clone(), version_key.clone()].map(Select::Key);
    let snapshot = registry.read(&what).await?;
    if snapshot.get(&key).is_some() {
        let mut watch = registry
            .watch(Select::Key(key.clone()), snapshot.revision + 1)
            .await?;
        loop {
            let batch = watch.next().await?;
            if batch.changes.iter().any(|c| matches!(c, Change::Delete { .. })) {
                return Ok(None);
            }
        }
    }
    let admitted = match admission(keys, snapshot.get(&version_key), version) {
        Admission::Admitted(txn) => txn,
        Admission::Outdated(led) => {
            tracing::warn!(
                version,
                led,
                "will not lead: a newer engine has led this cluster; upgrade fleetd on this machine"
            );
            let mut watch = registry
                .watch(Select::Key(version_key), snapshot.revision + 1)
                .await?;
            watch.next().await?;
            return Ok(None);
        }
    };

    let asked = Instant::now();
    let lease = registry.grant(LEADER_TTL).await?;
    let value = machine.as_str().as_bytes().to_vec();
    let txn = admitted
        .when(Precondition::Absent(key.clone()))
        .put_leased(key.clone(), value, lease.id);
    let outcome = registry.commit(txn).await;
    let mine = match outcome {
        // The key was absent at that revision, so it is the one that created it.
        Ok(Commit::Applied(revision)) => Some(revision),
        // Without an answer, only the key itself can say whose it is.
        Err(RegistryError::Unknown(_)) => {
            let found = registry.read(&[Select::Key(key.clone())]).await?;
            found
                .get(&key)
                .filter(|kv| kv.lease == Some(lease.id))
                .map(|kv| kv.create_revision)
        }
        Ok(Commit::Refused(_)) => None,
        Err(error) => {
            let _ = registry.revoke(lease.id).await;
            return Err(error);
        }
    };
    let Some(fence) = mine else {
        let _ = registry.revoke(lease.id).await;
        return Ok(None);
    };
    let lost = CancellationToken::new();
    let keep = keep(registry.clone(), lease.id, asked, lease.ttl, lost.clone());
    let renewal = tokio::spawn(keep);
    tracing::info!(fence, lease = %lease.id, "became the leader");
    Ok(Some(Leadership {
        registry: registry.clone(),
        lease: lease.id,
        fence,
        lost,
        renewal,
    }))
}

/// Renews until that is in doubt: a sixth of the TTL before the lease can run out at the earliest, counted from when
/// the last answered renewal was sent.
async fn keep(
    registry: SharedRegistry,
    lease: LeaseId,
    mut asked: Instant,
    mut ttl: Duration,
    lost: CancellationToken,
) {
    let _on_every_way_out = lost.clone().drop_guard();
    loop {
        sleep_until(asked + ttl / 3).await;
        let doubtful = asked + ttl - ttl / 6;
        loop {
            let sent = Instant::now();
            match timeout_at(doubtful, registry.renew(lease, ttl / 6)).await {
                Ok(Ok(renewed)) => {
                    asked = sent;
                    ttl = renewed.ttl;
                    break;
                }
                Ok(Err(RegistryError::LeaseExpired(_))) => {
                    tracing::warn!(%lease, "lost leadership: the lease expired");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "could not renew the leader's lease, trying again");
                    if Instant::now() >= doubtful {
                        tracing::warn!(%error, "gave up leadership: the lease could not be renewed in time");
                        return;
                    }
                    // An endpoint that fails at once must not make this a busy loop.
                    sleep(ttl / 60).await;
                }
                Err(_) => {
                    tracing::warn!("gave up leadership: the lease could not be renewed in time");
                    return;
                }
            }
        }
    }
}
