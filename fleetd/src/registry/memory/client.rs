//! One client of the twin, with its faults.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::super::{
    Batch, CALL_TIMEOUT, Commit, Lease, LeaseId, Op, Registry, RegistryError, Remaining, Revision, Select,
    Snapshot, Txn, WATCH_BUFFER, Watch,
};
use super::link::{Direction, Link, Way, Weather};
use super::store::Store;
use super::watchers::News;
use super::{Counters, Shared};

/// A client of a [`super::MemoryRegistry`] with a name and faults of its own.
///
/// Handles with the same name share their faults and counters, so a test can hold one and the code under test another.
#[derive(Debug, Clone)]
pub struct MemoryClient {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
}

/// Faults.
impl MemoryClient {
    /// Cuts the client off: calls fail at once with [`RegistryError::Unavailable`], open watches end, and a commit
    /// under way ends in [`RegistryError::Unknown`].
    pub fn cut(&self) {
        self.link.change(|w| w.way = Way::Cut);
    }

    /// Freezes the way to the store: nothing gets through and nothing is said. Calls give up after the time the real
    /// client gives them (a commit then in [`RegistryError::Unknown`], not applied), renewals after their own
    /// deadline, open watches after 9 s. What is still waiting when [`MemoryClient::mend`] comes goes through.
    pub fn hang(&self) {
        self.link.change(|w| w.way = Way::Hung);
    }

    /// Loses every answer: requests get through and are carried out, nothing comes back. To the caller it looks like
    /// [`MemoryClient::hang`], with other consequences.
    pub fn deafen(&self) {
        self.link.change(|w| w.way = Way::Deaf);
    }

    /// Ends [`MemoryClient::cut`], [`MemoryClient::hang`] and [`MemoryClient::deafen`].
    pub fn mend(&self) {
        self.link.change(|w| w.way = Way::Open);
    }

    /// Makes each request take `there` to the store, and each answer or watched change take `back`.
    pub fn delay(&self, there: Duration, back: Duration) {
        self.link.change(|w| (w.there, w.back) = (there, back));
    }

    /// Makes watches fall behind: each hands over one batch in `each`; answers are not slowed down. What leads
    /// a large cluster on a busy machine sees its own writes so.
    pub fn lag(&self, each: Duration) {
        self.link.change(|w| w.lag = each);
    }

    /// The next commit is made as usual, but its answer is lost: [`RegistryError::Unknown`].
    pub fn lose_next_answer(&self) {
        self.link.lose_next_answer();
    }

    /// The next commit ends at once in [`RegistryError::Unknown`], and reaches the store only `after` that, where its
    /// preconditions then decide: a request that lay in the queue of a member that was slow.
    pub fn late_commit(&self, after: Duration) {
        self.link.set_late_commit(after);
    }

    /// Breaks the watches that are open; new ones may be opened at once.
    pub fn drop_watches(&self) {
        self.link.change(|w| w.breaks += 1);
    }

    /// What this client has asked of the store so far.
    pub fn counters(&self) -> Counters {
        self.link.counters()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.link.name
    }
}

/// Why a call got no answer.
struct Lost(String);

impl MemoryClient {
    /// Crosses to the store, asks, and crosses back, all within `limit`.
    async fn call<T: Send>(
        &self,
        limit: Duration,
        ask: impl FnOnce(&mut Store) -> T + Send,
    ) -> Result<T, Lost> {
        let round_trip = async {
            self.link.cross(Instant::now(), Direction::There).await?;
            let answer = self.shared.with(ask);
            self.link.cross(Instant::now(), Direction::Back).await?;
            Ok(answer)
        };
        match timeout(limit, round_trip).await {
            Ok(answer) => answer.map_err(Lost),
            Err(_) => Err(Lost(format!("no answer within {limit:?}"))),
        }
    }
}

/// Bytes of the value that a change sets.
fn size(op: &Op) -> usize {
    match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    }
}

fn unavailable(Lost(why): Lost) -> RegistryError {
    RegistryError::Unavailable(why)
}

#[async_trait]
impl Registry for MemoryClient {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        self.link.count(|c| c.reads += 1);
        let read = self.call(CALL_TIMEOUT, |store| store.read(what)).await;
        let snapshot = read.map_err(unavailable)??;
        self.link.count(|c| c.keys += snapshot.kvs.len() as u64);
        Ok(snapshot)
    }

    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError> {
        let changes = txn.ops.len() as u64;
        let bytes: usize = txn.ops.iter().map(size).sum();
        self.link.count(|c| {
            c.commits += 1;
            c.changes += changes;
            c.bytes += bytes as u64;
        });
        if self.link.weather().way == Way::Cut {
            return Err(RegistryError::Unavailable("connection refused".to_owned()));
        }
        if let Some(after) = self.link.take_late_commit() {
            let (shared, link) = (self.shared.clone(), self.link.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // Whoever wanted to know has stopped waiting.
                let _ = shared.with(|store| store.commit(txn, &link.name, Instant::now()));
            });
            return Err(RegistryError::Unknown("the request was slow".to_owned()));
        }
        let answer = self
            .call(CALL_TIMEOUT, |store| {
                store.commit(txn, &self.link.name, Instant::now())
            })
            .await;
        let answer = answer.map_err(|Lost(why)| RegistryError::Unknown(why))?;
        match self.link.is_answer_lost() {
            true => Err(RegistryError::Unknown("the answer was lost".to_owned())),
            false => answer,
        }
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        self.link.count(|c| c.watches += 1);
        let opened = self.link.weather();
        let (to, inbox) = mpsc::unbounded_channel();
        let shared = Arc::downgrade(&self.shared);
        // Registered where the number is given out, so that a caller who stops waiting for the answer leaves no trace.
        let register = |store: &mut Store| {
            let id = store.watch(what, from, Instant::now(), to)?;
            Ok(Registration { shared, id })
        };
        let registration = self.call(CALL_TIMEOUT, register).await.map_err(unavailable)??;
        let (out, watch) = Watch::channel(WATCH_BUFFER);
        let link = self.link.clone();
        tokio::spawn(async move {
            if let Err(why) = forward(&link, opened, inbox, &out).await {
                // Fails only if nobody holds the watch any more.
                let _ = out.send(Err(why)).await;
            }
            drop(registration);
        });
        Ok(watch)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        self.link.count(|c| c.grants += 1);
        let grant = self.call(CALL_TIMEOUT, |store| store.grant(ttl, Instant::now()));
        let lease = grant.await.map_err(unavailable)?;
        self.shared.arm(lease.id);
        Ok(lease)
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        self.link.count(|c| c.renewals += 1);
        let renew = self.call(deadline, |store| store.renew(id, Instant::now()));
        renew.await.map_err(unavailable)?
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        self.link.count(|c| c.others += 1);
        let remaining = self.call(CALL_TIMEOUT, |store| store.remaining(id, Instant::now()));
        remaining.await.map_err(unavailable)?
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.link.count(|c| c.others += 1);
        let revoke = self.call(CALL_TIMEOUT, |store| store.revoke(id, Instant::now()));
        revoke.await.map_err(unavailable)?;
        Ok(())
    }
}

/// Keeps the store's list of watchers true, however the watch ends.
struct Registration {
    shared: Weak<Shared>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|store| store.watchers.remove(self.id));
        }
    }
}

/// Carries news from the store to the holder of the watch until one of them is gone or the link breaks; the error is
/// the watch's last word. The store never waits for a slow holder: its news pile up here.
async fn forward(
    link: &Link,
    opened: Weather,
    mut inbox: mpsc::UnboundedReceiver<News>,
    out: &mpsc::Sender<Result<Batch, RegistryError>>,
) -> Result<(), RegistryError> {
    let deliver = async {
        while let Some((sent, news)) = inbox.recv().await {
            link.cross(sent, Direction::Back)
                .await
                .map_err(RegistryError::Unavailable)?;
            let lag = link.weather().lag;
            if !lag.is_zero() {
                tokio::time::sleep(lag).await;
            }
            let batch = news?;
            link.count(|c| c.told += batch.changes.len() as u64);
            if out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        Err(RegistryError::Unavailable("the store was restarted".to_owned()))
    };
    tokio::select! {
        biased;
        () = out.closed() => Ok(()),
        why = link.broken(opened) => Err(RegistryError::Unavailable(why)),
        end = deliver => end,
    }
}
