//! This machine's sign of life: a lease, and the keys that live with it (design §6, "Presence").

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use units::{Capacity, MachineId, MachineRecord, Metadata, Presence, State, UnitName};

use crate::guard::Guard;
use crate::registry::keys::{Key, Keys};
use crate::registry::trust::{self, JoinError, Trust};
use crate::registry::{
    Backoff, Commit, KeyValue, LeaseId, MAX_OPS, Precondition, RegistryError, Remaining, Revision, Select,
    SharedRegistry, Txn, encode,
};

/// The record may be changed by the API between reading and writing it; an override is not to be lost to that.
const LEAVE_TRIES: usize = 3;

fn unchanged(key: &str, known: Option<&KeyValue>) -> Precondition {
    match known {
        Some(kv) => Precondition::Unchanged(key.to_owned(), kv.mod_revision),
        None => Precondition::Absent(key.to_owned()),
    }
}

/// Who this machine is and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// From `/etc/machine-id`.
    pub id: MachineId,
    /// From `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Where others reach it; may be empty.
    pub address: String,
    /// From the configuration.
    pub metadata: Metadata,
    /// What it could offer.
    pub capacity: Capacity,
    /// Of this fleetd.
    pub version: String,
    /// It takes no part in elections.
    pub disable_engine: bool,
}

/// A presence that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) lease: LeaseId,
    pub(crate) ttl: Duration,
    /// When the last answered renewal was sent.
    pub(crate) asked: Instant,
    /// Create revision of the presence: which incarnation of this machine the engine speaks to.
    pub(crate) created: Revision,
    /// What the registry holds of this machine's words, if it was there all along.
    pub(crate) resumed: Option<BTreeMap<UnitName, State>>,
}

/// Why a presence could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AbsenceError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(
        "machine id {id} is in use: the machine at {theirs} renews it, this one is at {ours}; give one of the two \
         another /etc/machine-id (systemd-machine-id-setup) and restart fleetd"
    )]
    Duplicate {
        id: MachineId,
        theirs: String,
        ours: String,
    },
    #[error("the registry changed meanwhile")]
    Overtaken,
}

/// What joining works with.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) registry: SharedRegistry,
    pub(crate) keys: Keys,
    pub(crate) trust: std::sync::Arc<Trust>,
    pub(crate) identity: Identity,
    pub(crate) ttl: Duration,
    pub(crate) guard: std::sync::Arc<Guard>,
}

impl Door {
    /// Makes this machine present, with all it has to say about units, or finds that it has been all along.
    pub(crate) async fn join(&self, words: BTreeMap<UnitName, State>) -> Result<Joined, AbsenceError> {
        let uuid = trust::join_cluster(&self.registry, &self.keys, &self.trust).await?;
        let id = &self.identity.id;
        let presence_key = self.keys.presence(id);
        let snapshot = self
            .registry
            .read(&[
                Select::Key(presence_key.clone()),
                Select::Key(self.keys.machine(id)),
            ])
            .await?;
        let record = snapshot.get(&self.keys.machine(id));
        // Written only once it is known whose id this is: a clone's words would move the units off the first machine.
        if let Some(kv) = snapshot.get(&presence_key) {
            let holder: Option<Presence> = serde_json::from_slice(&kv.value).ok();
            match kv.lease {
                Some(lease)
                    if holder
                        .as_ref()
                        .is_some_and(|h| h.boot_id == self.identity.boot_id) =>
                {
                    if let Some(joined) = self.resume(kv, lease).await? {
                        self.record(record).await?;
                        return Ok(joined);
                    }
                }
                Some(lease) => self.outwait(lease, holder.as_ref()).await?,
                // Without a lease it would outlive any machine: somebody wrote it by hand.
                None => {
                    let key = presence_key.clone();
                    let txn = Txn::new()
                        .when(Precondition::Unchanged(key.clone(), kv.mod_revision))
                        .delete(key);
                    self.registry.commit(txn).await?;
                }
            }
        }
        self.record(record).await?;
        self.enter(&uuid, words).await
    }

    /// The same machine in the same boot: a restart of fleetd. Nothing is written.
    async fn resume(&self, kv: &KeyValue, lease: LeaseId) -> Result<Option<Joined>, AbsenceError> {
        let (asked, sent) = (Instant::now(), self.guard.now());
        let renewed = match self.registry.renew(lease, self.ttl / 6).await {
            Ok(renewed) => renewed,
            Err(RegistryError::LeaseExpired(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.guard.renewed(sent, renewed.ttl);
        let prefix = self.keys.states(&self.identity.id);
        let said = self.registry.read(&[Select::Prefix(prefix)]).await?;
        let word = |kv: &KeyValue| match self.keys.parse(&kv.key) {
            Some(Key::State(_, unit)) => Some((unit, serde_json::from_slice(&kv.value).ok()?)),
            _ => None,
        };
        let resumed = said.kvs.iter().filter_map(word).collect();
        tracing::info!(lease = %lease, presence = kv.create_revision, "resumed the presence of before the restart");
        let presence = Presence {
            leaving: false,
            ..self.presence()
        };
        if kv.value != encode(&presence) {
            // A leave that did not come to its end, or another address.
            let key = kv.key.clone();
            let fence = Precondition::Unchanged(key.clone(), kv.mod_revision);
            self.registry
                .commit(Txn::new().when(fence).put_leased(key, encode(&presence), lease))
                .await?;
        }
        let (ttl, created) = (renewed.ttl, kv.create_revision);
        Ok(Some(Joined {
            lease,
            ttl,
            asked,
            created,
            resumed: Some(resumed),
        }))
    }

    /// Another boot holds the presence: this machine before it was rebooted, whose lease only runs out; or another
    /// machine with the same id, which renews it. The second look is when half of the TTL must be gone.
    async fn outwait(&self, lease: LeaseId, holder: Option<&Presence>) -> Result<(), AbsenceError> {
        let Remaining { left, granted } = match self.registry.remaining(lease).await {
            Err(RegistryError::LeaseExpired(_)) => return Ok(()),
            other => other?,
        };
        // Of what the holder was granted: its TTL need not be ours.
        let half = granted / 2;
        if left > half {
            tracing::info!(?left, "waits for the lease of an earlier boot to run down");
            sleep(left - half + Duration::from_millis(500)).await;
            let later = match self.registry.remaining(lease).await {
                Err(RegistryError::LeaseExpired(_)) => return Ok(()),
                other => other?,
            };
            if later.left > half {
                let theirs = holder.map_or_else(String::new, |h| h.address.clone());
                let ours = self.identity.address.clone();
                return Err(AbsenceError::Duplicate {
                    id: self.identity.id,
                    theirs,
                    ours,
                });
            }
        }
        tracing::info!(%lease, "ended the presence of an earlier boot");
        Ok(self.registry.revoke(lease).await?)
    }

    /// A new presence. The words come first: whoever sees the presence sees everything the machine brings along.
    async fn enter(&self, uuid: &str, words: BTreeMap<UnitName, State>) -> Result<Joined, AbsenceError> {
        let (asked, sent) = (Instant::now(), self.guard.now());
        let granted = self.registry.grant(self.ttl).await?;
        let id = &self.identity.id;
        let key = self.keys.presence(id);
        let guard = || {
            Txn::new()
                .when(Precondition::Absent(key.clone()))
                .when(Precondition::Value(self.keys.cluster(), uuid.as_bytes().to_vec()))
        };
        let words: Vec<(UnitName, State)> = words.into_iter().collect();
        for part in words.chunks(MAX_OPS - 2) {
            let put = |txn: Txn, (unit, state): &(UnitName, State)| {
                txn.put_leased(self.keys.state(id, unit), encode(state), granted.id)
            };
            self.applied(part.iter().fold(guard(), put)).await?;
        }
        let created = self
            .applied(guard().put_leased(key.clone(), encode(&self.presence()), granted.id))
            .await?;
        self.guard.renewed(sent, granted.ttl);
        tracing::info!(lease = %granted.id, presence = created, units = words.len(), "joined the cluster");
        Ok(Joined {
            lease: granted.id,
            ttl: granted.ttl,
            asked,
            created,
            resumed: None,
        })
    }

    async fn applied(&self, txn: Txn) -> Result<Revision, AbsenceError> {
        match self.registry.commit(txn).await? {
            Commit::Applied(revision) => Ok(revision),
            Commit::Refused(_) => Err(AbsenceError::Overtaken),
        }
    }

    fn presence(&self) -> Presence {
        let Identity { boot_id, address, .. } = self.identity.clone();
        Presence {
            boot_id,
            address,
            leaving: false,
        }
    }

    /// Tells the cluster what this machine says of itself by now. The presence stays the one it is: a fleetd that reloads
    /// its configuration has not been away.
    pub(crate) async fn describe(&self, joined: &Joined) -> Result<(), AbsenceError> {
        let id = &self.identity.id;
        let (presence_key, machine_key) = (self.keys.presence(id), self.keys.machine(id));
        let what = [presence_key.clone(), machine_key.clone()].map(Select::Key);
        let snapshot = self.registry.read(&what).await?;
        let held = snapshot
            .get(&presence_key)
            .filter(|kv| kv.create_revision == joined.created)
            .ok_or(AbsenceError::Overtaken)?;
        let fence = Precondition::Created(presence_key.clone(), joined.created);
        let mut txn = self.rewritten(Txn::new().when(fence), snapshot.get(&machine_key));
        // A leave that was announced meanwhile is not taken back: the units are on their way out.
        let leaving = serde_json::from_slice(&held.value).is_ok_and(|p: Presence| p.leaving);
        let presence = encode(&Presence {
            leaving,
            ..self.presence()
        });
        if held.value != presence {
            txn = txn
                .when(Precondition::Unchanged(presence_key.clone(), held.mod_revision))
                .put_leased(presence_key, presence, joined.lease);
        }
        if txn.ops.is_empty() {
            return Ok(());
        }
        let revision = self.applied(txn).await?;
        tracing::info!(
            machine = %id,
            address = self.identity.address,
            metadata = ?self.identity.metadata,
            revision,
            "told the cluster what this machine says of itself"
        );
        Ok(())
    }

    /// Writes this machine's record where it says something else than before.
    async fn record(&self, known: Option<&KeyValue>) -> Result<(), AbsenceError> {
        let txn = self.rewritten(Txn::new(), known);
        if !txn.ops.is_empty() {
            self.applied(txn).await?;
        }
        Ok(())
    }

    /// With this machine's record, where that says something else than before. The overrides are the API's.
    fn rewritten(&self, txn: Txn, known: Option<&KeyValue>) -> Txn {
        let before = known.and_then(|kv| serde_json::from_slice::<MachineRecord>(&kv.value).ok());
        let overrides = before.as_ref().map(|r| r.overrides.clone());
        let record = self.machine_record(overrides.unwrap_or_default(), false);
        if before.as_ref() == Some(&record) {
            return txn;
        }
        let key = self.keys.machine(&self.identity.id);
        txn.when(unchanged(&key, known)).put(key, encode(&record))
    }

    fn machine_record(&self, overrides: Metadata, left: bool) -> MachineRecord {
        let Identity {
            id,
            address,
            metadata,
            capacity,
            version,
            disable_engine,
            ..
        } = self.identity.clone();
        MachineRecord {
            id,
            address,
            metadata,
            overrides,
            capacity,
            version,
            disable_engine,
            left,
            ttl: self.ttl.as_secs(),
        }
    }

    /// This machine's record, without overrides, for a registry that has none: nothing is expected of it before it joins.
    pub(crate) fn absent_record(&self) -> MachineRecord {
        self.machine_record(Metadata::new(), true)
    }

    /// Announces that this machine is leaving: nothing new goes there, and what it has is placed elsewhere.
    pub(crate) async fn announce_leave(&self, joined: &Joined) -> Result<(), AbsenceError> {
        let key = self.keys.presence(&self.identity.id);
        let presence = Presence {
            leaving: true,
            ..self.presence()
        };
        let fence = Precondition::Created(key.clone(), joined.created);
        self.applied(
            Txn::new()
                .when(fence)
                .put_leased(key, encode(&presence), joined.lease),
        )
        .await?;
        Ok(())
    }

    /// Ends the presence, once nothing runs here any more.
    pub(crate) async fn leave(&self, joined: &Joined) -> Result<(), AbsenceError> {
        let key = self.keys.machine(&self.identity.id);
        for _ in 0..LEAVE_TRIES {
            let snapshot = self.registry.read(&[Select::Key(key.clone())]).await?;
            let known = snapshot.get(&key);
            let before = known.and_then(|kv| serde_json::from_slice::<MachineRecord>(&kv.value).ok());
            let record = self.machine_record(before.map(|r| r.overrides).unwrap_or_default(), true);
            let txn = Txn::new()
                .when(Precondition::Created(
                    self.keys.presence(&self.identity.id),
                    joined.created,
                ))
                .when(unchanged(&key, known))
                .put(key.clone(), encode(&record))
                .delete(self.keys.presence(&self.identity.id));
            if let Commit::Applied(_) = self.registry.commit(txn).await? {
                return Ok(self.registry.revoke(joined.lease).await?);
            }
        }
        Err(AbsenceError::Overtaken)
    }

    /// Renews the lease every third of its TTL; returns when it is lost. Each try has a sixth of the TTL to be
    /// answered; a miss is followed by the next at once, at another endpoint (design §4, "Endpoints").
    pub(crate) async fn keep(&self, joined: &Joined) {
        let mut asked = joined.asked;
        let mut backoff = Backoff::new(self.ttl / 15, joined.created.unsigned_abs());
        loop {
            sleep_until(asked + joined.ttl / 3).await;
            let (sent, sent_at) = (Instant::now(), self.guard.now());
            match self.registry.renew(joined.lease, joined.ttl / 6).await {
                Ok(renewed) => {
                    asked = sent;
                    self.guard.renewed(sent_at, renewed.ttl);
                    backoff.reset();
                    // A doubt that this raises is heard through the trust itself.
                    let _ = self.trust.witness(renewed.revision);
                }
                Err(RegistryError::LeaseExpired(_)) => {
                    tracing::warn!(lease = %joined.lease, "lost the presence: its lease expired");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "could not renew the presence, trying again");
                    sleep(backoff.pause()).await;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
