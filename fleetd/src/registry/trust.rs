//! Whether the registry that answers is the one this machine has been following.
//!
//! A store that was wiped, restored from a backup, or is simply another one would, taken at its word, have every unit
//! stopped. So each machine keeps the highest revision it has ever seen and the uuid of the cluster it joined, in
//! `/run/fleet` (design §4, "Authoritative"). Once in doubt it stays in doubt, over restarts of fleetd too, until a person
//! decides: `fleetctl recover` ([`crate::recovery`]), or a reboot, after which nothing runs that could be stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{RegistryError, Revision, SharedRegistry};
use crate::registry::keys::Keys;
use crate::registry::{Commit, Precondition, Select, Txn};

/// Why the registry is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Doubt {
    /// Its history is shorter than what this machine has seen of it.
    #[error(
        "the registry went back from revision {had} to {found}: it was restored from a backup or made anew; \
         every unit is kept as it is and none is started, until a person says `fleetctl recover` (docs/failure.md)"
    )]
    WentBack {
        /// The highest revision seen.
        had: Revision,
        /// What it says now.
        found: Revision,
    },
    /// It holds another cluster, or none.
    #[error(
        "the registry holds {}, this machine joined cluster {had}: it was wiped or is another one; \
         every unit is kept as it is and none is started, until a person says `fleetctl recover` (docs/failure.md)",
        found.as_ref().map_or_else(|| "no cluster".to_owned(), |f| format!("cluster {f}"))
    )]
    OtherCluster {
        /// The uuid that was joined.
        had: String,
        /// The uuid found.
        found: Option<String>,
    },
    /// The answer is to a question from before a recovery; never remembered.
    #[error("the registry was recovered meanwhile")]
    Overtaken,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    #[serde(default)]
    revision: Revision,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    doubt: Option<Doubt>,
}

/// This machine's memory of the registry, shared by its agent and its engine.
#[derive(Debug)]
pub struct Trust {
    file: PathBuf,
    /// How many recoveries this process has seen: answers to questions from before one prove nothing.
    epoch: AtomicU64,
    memory: Mutex<Memory>,
    /// One channel for each who listens: a channel with several receivers wakes them in an order of tokio's own dice,
    /// and a simulated history could not be repeated.
    doubts: Mutex<Vec<watch::Sender<Option<Doubt>>>>,
    joins: watch::Sender<Option<String>>,
}

/// What was known when a question was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The highest revision seen.
    pub revision: Revision,
    /// The cluster that had been joined.
    pub cluster: Option<String>,
    /// Recoveries seen by then.
    pub(crate) epoch: u64,
}

impl Trust {
    /// Reads what an earlier fleetd of this boot remembered in `directory`.
    ///
    /// # Errors
    /// If the file is there and cannot be read. One that holds nonsense counts as a doubt nobody can decide but a
    /// person: it is an error too.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let file = directory.join("registry.json");
        let memory: Memory = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", file.display()))
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(e) => return Err(e),
        };
        let (joins, _) = watch::channel(memory.cluster.clone());
        Ok(Self {
            file,
            epoch: AtomicU64::new(0),
            memory: Mutex::new(memory),
            doubts: Mutex::default(),
            joins,
        })
    }

    /// The doubt there is, and word of any new one.
    pub fn doubts(&self) -> watch::Receiver<Option<Doubt>> {
        let (sender, receiver) = watch::channel(self.doubt());
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.retain(|listener| !listener.is_closed());
        doubts.push(sender);
        receiver
    }

    /// The doubt there is.
    pub fn doubt(&self) -> Option<Doubt> {
        self.lock().doubt.clone()
    }

    /// Takes note of a revision that an answer carried. 0, from an answer that carried none, is ignored.
    ///
    /// # Errors
    /// The doubt, this one or an earlier one.
    pub fn witness(&self, revision: Revision) -> Result<(), Doubt> {
        self.change(|memory| {
            if revision > memory.revision {
                memory.revision = revision;
            }
        })
    }

    /// What is known now: to be taken before a question is sent, for its answer to be judged by.
    pub fn known(&self) -> Known {
        let memory = self.lock();
        Known {
            revision: memory.revision,
            cluster: memory.cluster.clone(),
            epoch: self.epoch.load(Ordering::Relaxed),
        }
    }

    /// Takes note of a linearizable read, sent when `known` was taken: its revision must not lie behind that, and the
    /// cluster's uuid must be the one that had been joined by then.
    ///
    /// Answers are judged by what was known when they were asked for, because they arrive out of order: a read that
    /// was overtaken by a newer one, or by the founding of the cluster, is no step back.
    ///
    /// # Errors
    /// The doubt, this one or an earlier one.
    pub fn believe(&self, known: &Known, revision: Revision, cluster: Option<&str>) -> Result<(), Doubt> {
        if known.epoch != self.epoch.load(Ordering::Relaxed) {
            return Err(self.doubt().unwrap_or(Doubt::Overtaken));
        }
        self.change(|memory| {
            if memory.doubt.is_some() {
                return;
            }
            if revision < known.revision {
                memory.doubt = Some(Doubt::WentBack {
                    had: known.revision,
                    found: revision,
                });
                return;
            }
            match &known.cluster {
                Some(had) if cluster != Some(had) => {
                    let found = cluster.map(str::to_owned);
                    memory.doubt = Some(Doubt::OtherCluster {
                        had: had.clone(),
                        found,
                    });
                    return;
                }
                _ => {}
            }
            if memory.cluster.is_none() {
                memory.cluster = cluster.map(str::to_owned);
            }
            memory.revision = memory.revision.max(revision);
        })
    }

    /// Takes over a doubt that another machine has.
    pub(crate) fn doubt_too(&self, had: Revision, found: Revision) {
        let _ = self.change(|memory| {
            memory.doubt.get_or_insert(Doubt::WentBack { had, found });
        });
    }

    /// Believes again: the registry is the one to follow, as the cluster `uuid`, whatever was known before.
    pub(crate) fn accept(&self, uuid: &str) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        let _ = self.change(|memory| {
            *memory = Memory {
                cluster: Some(uuid.to_owned()),
                ..Memory::default()
            };
        });
    }

    /// Waits until a cluster has been joined.
    pub async fn joined(&self) -> String {
        let mut joined = self.joins.subscribe();
        loop {
            if let Some(uuid) = joined.borrow_and_update().clone() {
                return uuid;
            }
            if joined.changed().await.is_err() {
                // The sender lives in self.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The cluster that was joined.
    pub fn cluster(&self) -> Option<String> {
        self.lock().cluster.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Memory)) -> Result<(), Doubt> {
        let mut memory = self.lock();
        let before = memory.clone();
        change(&mut memory);
        if *memory != before {
            if let Err(error) = self.save(&memory) {
                tracing::error!(file = %self.file.display(), %error, "could not remember the registry's revision");
            }
            if memory.cluster != before.cluster {
                self.joins.send_replace(memory.cluster.clone());
            }
            if memory.doubt != before.doubt {
                match &memory.doubt {
                    Some(doubt) => tracing::error!(%doubt, "stopped believing the registry"),
                    None => tracing::warn!(cluster = memory.cluster, "believes the registry again"),
                }
                let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
                for listener in doubts.iter() {
                    listener.send_replace(memory.doubt.clone());
                }
            }
        }
        memory.doubt.clone().map_or(Ok(()), Err)
    }

    fn save(&self, memory: &Memory) -> io::Result<()> {
        let temporary = self.file.with_extension("new");
        fs::write(&temporary, serde_json::to_vec(memory)?)?;
        fs::rename(&temporary, &self.file)
    }
}

/// Why a cluster could not be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The registry is not to be believed.
    #[error(transparent)]
    Doubt(#[from] Doubt),
    /// It could not be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The uuid of the cluster, which the first fleetd that finds none makes, once.
///
/// # Errors
/// When the registry is not available or not to be believed.
pub async fn join_cluster(
    registry: &SharedRegistry,
    keys: &Keys,
    trust: &Trust,
) -> Result<String, JoinError> {
    loop {
        let known = trust.known();
        let snapshot = registry.read(&[Select::Key(keys.cluster())]).await?;
        let found = snapshot
            .get(&keys.cluster())
            .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        if let Some(uuid) = found {
            trust.believe(&known, snapshot.revision, Some(&uuid))?;
            return Ok(uuid);
        }
        if known.cluster.is_some() {
            trust.believe(&known, snapshot.revision, None)?;
        }
        let uuid = new_uuid().map_err(|e| RegistryError::Refused(format!("no uuid to be had: {e}")))?;
        let txn = Txn::new()
            .when(Precondition::Absent(keys.cluster()))
            .put(keys.cluster(), uuid.clone());
        if let Commit::Applied(revision) = registry.commit(txn).await? {
            tracing::info!(cluster = %uuid, revision, "founded the cluster");
        }
    }
}

/// A random uuid from the kernel.
pub(crate) fn new_uuid() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(revision: Revision, cluster: Option<&str>) -> Known {
        Known {
            revision,
            cluster: cluster.map(str::to_owned),
            ..Known::default()
        }
    }

    #[test]
    fn a_shorter_history_is_not_believed_and_that_is_not_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let trust = Trust::open(directory.path()).unwrap();
        trust.believe(&known(0, None), 40, Some("a")).unwrap();
        let early = trust.known();
        trust.witness(50).unwrap();
        trust
            .believe(&early, 45, Some("a"))
            .expect("an answer overtaken by a newer one is no step back");
        let doubt = trust.believe(&trust.known(), 49, Some("a")).unwrap_err();
        assert_eq!(doubt, Doubt::WentBack { had: 50, found: 49 });

        let again = Trust::open(directory.path()).unwrap();
        assert_eq!(again.doubt(), Some(doubt.clone()));
        assert_eq!(again.believe(&again.known(), 60, Some("a")).unwrap_err(), doubt);
    }

    #[test]
    fn a_wiped_or_foreign_registry_is_not_believed() {
        for found in [None, Some("b")] {
            let directory = tempfile::tempdir().unwrap();
            let trust = Trust::open(directory.path()).unwrap();
            trust.believe(&trust.known(), 40, Some("a")).unwrap();
            let doubt = trust.believe(&trust.known(), 41, found).unwrap_err();
            assert_eq!(
                doubt,
                Doubt::OtherCluster {
                    had: "a".into(),
                    found: found.map(str::to_owned)
                }
            );
        }
    }

    #[test]
    fn a_read_sent_before_the_cluster_was_founded_raises_no_doubt() {
        let directory = tempfile::tempdir().unwrap();
        let trust = Trust::open(directory.path()).unwrap();
        let early = trust.known();
        trust.believe(&trust.known(), 7, Some("a")).unwrap();
        trust.believe(&early, 6, None).unwrap();
        assert_eq!(trust.cluster().as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_machine_that_remembers_nothing_joins_what_it_finds() {
        let directory = tempfile::tempdir().unwrap();
        let trust = Trust::open(directory.path()).unwrap();
        trust.believe(&trust.known(), 7, Some("a")).unwrap();
        assert_eq!(trust.joined().await, "a");
    }

    #[test]
    fn an_answer_from_before_a_recovery_raises_no_new_doubt() {
        let directory = tempfile::tempdir().unwrap();
        let trust = Trust::open(directory.path()).unwrap();
        trust.believe(&trust.known(), 40, Some("a")).unwrap();
        let early = trust.known();
        trust.believe(&trust.known(), 3, None).unwrap_err();
        trust.accept("b");
        assert_eq!(trust.doubt(), None);
        assert_eq!(trust.believe(&early, 4, Some("b")), Err(Doubt::Overtaken));
        assert_eq!(trust.doubt(), None);
        trust.believe(&trust.known(), 4, Some("b")).unwrap();
        assert_eq!(
            Trust::open(directory.path()).unwrap().cluster().as_deref(),
            Some("b")
        );
    }
}
