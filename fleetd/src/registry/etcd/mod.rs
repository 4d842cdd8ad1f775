//! The store in etcd, from 3.4 on, over etcd-client.
//!
//! What it adds to that crate: it speaks to one endpoint at a time and knows the next one (`endpoints`), tells what
//! surely did not happen from what may have (`failure`), takes a watch for what etcd promises and no more (`watch`),
//! and renews leases without waiting longer than asked (`lease`).

mod address;
mod config;
mod endpoints;
mod failure;
mod lease;
mod read;
mod tls;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Backoff, CALL_TIMEOUT, Commit, Lease, LeaseId, Registry, RegistryError, Remaining, Revision, Select,
    Snapshot, Txn, WATCH_BUFFER, Watch, check,
};
pub use config::EtcdConfig;
use endpoints::{Connection, Endpoints};
use failure::Failure;
use lease::Renewals;
use read::Reading;
pub use tls::{EtcdTls, EtcdTlsError};

/// The largest answer taken from etcd. The crate's own limit of 4 MiB is a few thousand units.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What `error` of a call to `url` comes from, in one line that begins with the address.
pub(crate) fn why(url: &str, tls: Option<&EtcdTls>, error: Error) -> String {
    let failure = Failure::new(url, tls, error).suspecting(url, tls);
    let reason = failure.reason(url);
    format!("{url}: {reason}")
}

/// How often a call is tried if nothing speaks against it; more often where there are more endpoints.
const TRIES: usize = 3;

/// The store in etcd. A clone shares the connection.
#[derive(Clone)]
pub struct EtcdRegistry {
    endpoints: Arc<Endpoints>,
    renewals: Arc<Renewals>,
}

impl fmt::Debug for EtcdRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdRegistry")
            .field("endpoint", &self.endpoints.current())
            .finish_non_exhaustive()
    }
}

impl EtcdRegistry {
    /// A client of the cluster at `config`. Speaks to nobody yet: a daemon must come up while etcd is away.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] if there is no usable address, or addresses and certificates do not go together.
    pub fn connect(config: EtcdConfig) -> Result<Self, RegistryError> {
        let (servers, options, tls) = config.check().map_err(RegistryError::Refused)?;
        Ok(Self {
            endpoints: Arc::new(Endpoints::new(servers, options, tls)),
            renewals: Arc::default(),
        })
    }

    /// The address in use, for people.
    pub fn endpoint(&self) -> String {
        self.endpoints.current()
    }

    /// Asks one endpoint after the other until one answers. What may have had an effect is sent again only if `again`
    /// says that this does no harm.
    async fn call<T, F>(
        &self,
        again: Again,
        ask: impl Fn(Arc<Connection>) -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let began = Instant::now();
        let tries = self.endpoints.len().max(TRIES);
        let mut backoff = self.backoff();
        for _ in 1..tries {
            let (failure, all_tried) = match self.ask_once(again, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let may_repeat = match failure {
                Failure::Unreached(_) => true,
                Failure::InDoubt(_) => again == Again::Harmless,
                _ => false,
            };
            if !may_repeat || began.elapsed() >= 2 * CALL_TIMEOUT {
                return Err(failure);
            }
            if all_tried {
                sleep(backoff.pause()).await;
            }
        }
        self.ask_once(again, &ask).await.map_err(|(failure, _)| failure)
    }

    /// One attempt; with a failure, whether every endpoint has failed by now.
    async fn ask_once<T, F>(
        &self,
        again: Again,
        ask: impl Fn(Arc<Connection>) -> F + Send + Sync,
    ) -> Result<T, (Failure, bool)>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        // With a user to authenticate, callers wait here for one another.
        let connection = match timeout(CALL_TIMEOUT, self.endpoints.connection()).await {
            Ok(connection) => connection.map_err(|failure| (failure, true))?,
            Err(_) => return Err((Failure::no_connection(CALL_TIMEOUT), true)),
        };
        let answer = timeout(CALL_TIMEOUT, ask(connection.clone()));
        let failure = tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(Ok(answer)) => {
                    self.endpoints.worked(&connection);
                    return Ok(answer);
                }
                Ok(Err(error)) => connection.failure(error),
                Err(_) => Failure::no_answer(&connection.url, CALL_TIMEOUT),
            },
            // Another call has found the endpoint dead. What may be asked elsewhere need not wait for it; what may
            // not still hopes for the answer.
            () = connection.left.cancelled(), if again == Again::Harmless => {
                Failure::InDoubt(format!("{} was given up for another endpoint", connection.url))
            }
        };
        Err(self.blame(&connection, failure))
    }

    /// Moves on if the endpoint is to blame.
    fn blame(&self, connection: &Arc<Connection>, failure: Failure) -> (Failure, bool) {
        if failure.blames_endpoint() {
            let all_tried = self.endpoints.failed(connection, &failure);
            return (failure, all_tried);
        }
        self.endpoints.worked(connection);
        (failure, false)
    }

    /// Pauses between the rounds of one call; the address of the store is as good a seed as any.
    fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_secs(1), Arc::as_ptr(&self.endpoints) as u64)
    }
}

/// Whether a request that may have had an effect may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// A second time changes nothing that matters.
    Harmless,
    /// The caller has to find out first.
    Never,
}

fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

#[async_trait]
impl Registry for EtcdRegistry {
    async fn read(&self, what: &[Select]) -> Result<Snapshot, RegistryError> {
        check::select(what)?;
        let mut reading = Reading::new(what);
        loop {
            let request = reading.request();
            let ask = |connection: Arc<Connection>| request.clone().send(connection.kv());
            let answer = self.call(Again::Harmless, ask).await.map_err(Failure::of_read)?;
            reading.take(answer);
            if let Some(snapshot) = reading.finished() {
                return Ok(snapshot);
            }
        }
    }

    async fn commit(&self, txn: Txn) -> Result<Commit, RegistryError> {
        check::txn(&txn)?;
        let lease = txn.ops.iter().find_map(super::Op::lease);
        let request = wire::txn(txn);
        let ask = |connection: Arc<Connection>| {
            let request = request.clone();
            async move { connection.kv().txn(request).await }
        };
        match self.call(Again::Never, ask).await {
            Ok(answer) => {
                let revision = wire::revision(answer.header());
                Ok(match answer.succeeded() {
                    true => Commit::Applied(revision),
                    false => Commit::Refused(revision),
                })
            }
            Err(Failure::NoSuchLease) => {
                let refused = || RegistryError::Refused("there is no such lease".to_owned());
                Err(lease.map_or_else(refused, RegistryError::LeaseExpired))
            }
            Err(failure) => Err(failure.of_commit()),
        }
    }

    async fn watch(&self, what: Select, from: Revision) -> Result<Watch, RegistryError> {
        check::select([&what])?;
        let ask = |connection: Arc<Connection>| {
            let what = what.clone();
            async move { Ok((watch::open(&connection, &what, from).await?, connection)) }
        };
        let opened = self.call(Again::Harmless, ask).await;
        let (stream, connection) = opened.map_err(Failure::of_read)?;
        let (out, watch) = Watch::channel(WATCH_BUFFER);
        tokio::spawn(watch::carry(connection, stream, from, out));
        Ok(watch)
    }

    /// A grant whose answer is lost leaves a lease that nobody knows; it ends by itself.
    async fn grant(&self, ttl: Duration) -> Result<Lease, RegistryError> {
        let ask =
            |connection: Arc<Connection>| async move { connection.leases().grant(seconds(ttl), None).await };
        let granted = self.call(Again::Harmless, ask).await.map_err(Failure::of_read)?;
        Ok(Lease {
            id: LeaseId(granted.id()),
            ttl: Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default()),
            revision: wire::revision(granted.header()),
        })
    }

    async fn renew(&self, id: LeaseId, deadline: Duration) -> Result<Lease, RegistryError> {
        let until = Instant::now() + deadline;
        let mut backoff = self.backoff();
        loop {
            let connecting = timeout_at(until, self.endpoints.connection()).await;
            let (failure, all_tried) = match connecting {
                Err(_) => (Failure::no_connection(deadline), true),
                Ok(Err(failure)) => (failure, true),
                Ok(Ok(connection)) => match timeout_at(until, self.renewals.renew(&connection, id)).await {
                    Ok(Ok(lease)) => {
                        self.endpoints.worked(&connection);
                        return Ok(lease);
                    }
                    Ok(Err(error)) => self.blame(&connection, connection.failure(error)),
                    Err(_) => self.blame(&connection, Failure::no_answer(&connection.url, deadline)),
                },
            };
            let pause = if all_tried {
                backoff.pause()
            } else {
                Duration::ZERO
            };
            match failure {
                Failure::NoSuchLease => {
                    self.renewals.forget(id);
                    return Err(RegistryError::LeaseExpired(id));
                }
                failure if !failure.blames_endpoint() || Instant::now() + pause >= until => {
                    return Err(failure.of_read());
                }
                _ => sleep(pause).await,
            }
        }
    }

    async fn remaining(&self, id: LeaseId) -> Result<Remaining, RegistryError> {
        let ask =
            |connection: Arc<Connection>| async move { connection.leases().time_to_live(id.0, None).await };
        let answer = self.call(Again::Harmless, ask).await.map_err(Failure::of_read)?;
        // etcd answers -1 for a lease that is gone.
        match u64::try_from(answer.ttl()) {
            Ok(seconds) => Ok(Remaining {
                left: Duration::from_secs(seconds),
                granted: Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or(seconds)),
            }),
            Err(_) => Err(RegistryError::LeaseExpired(id)),
        }
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), RegistryError> {
        self.renewals.forget(id);
        let ask = |connection: Arc<Connection>| async move { connection.leases().revoke(id.0).await };
        match self.call(Again::Harmless, ask).await {
            Ok(_) | Err(Failure::NoSuchLease) => Ok(()),
            Err(failure) => Err(failure.of_read()),
        }
    }
}
