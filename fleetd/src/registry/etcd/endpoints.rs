//! Which of etcd's members is spoken to.
//!
//! One at a time: a client of etcd-client that knows several spreads its calls over all of them and never takes a dead
//! one out. The addresses in the configuration are where to begin; the members' own follow once one of them has
//! answered. An address of this machine comes before all others.
//!
//! There is no probing. When the endpoint in use fails, the others are tried in order of preference, each once until
//! one works; so a member on this machine that was given up is returned to when the one after it fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::{Client, ConnectOptions, KvClient, LeaseClient, WatchClient};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::CALL_TIMEOUT;
use super::failure::Failure;
use super::{EtcdTls, MAX_MESSAGE_BYTES, address};

/// A client of one endpoint.
pub(super) struct Connection {
    pub(super) url: String,
    client: Client,
    tls: Option<Arc<EtcdTls>>,
    /// Whether anything has been answered through it.
    worked: AtomicBool,
    /// Cancelled when the endpoint is given up for another: streams that are still open there end too, instead of
    /// waiting for HTTP/2's keep-alive to find out after 9 s.
    pub(super) left: CancellationToken,
}

impl Connection {
    pub(super) fn kv(&self) -> KvClient {
        self.client
            .kv_client()
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(super) fn watches(&self) -> WatchClient {
        self.client
            .watch_client()
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// What `error` of a call through it means.
    pub(super) fn failure(&self, error: etcd_client::Error) -> Failure {
        let failure = Failure::new(&self.url, self.tls.as_deref(), error);
        if self.worked.load(Ordering::Relaxed) {
            return failure;
        }
        failure.suspecting(&self.url, self.tls.as_deref())
    }

    pub(super) fn leases(&self) -> LeaseClient {
        self.client.lease_client()
    }
}

/// The known endpoints and the one in use.
pub(super) struct Endpoints {
    options: ConnectOptions,
    tls: Option<Arc<EtcdTls>>,
    seeds: Vec<String>,
    state: Mutex<State>,
    /// Held while connecting, so that calls that begin together share one connection.
    connecting: tokio::sync::Mutex<()>,
}

struct State {
    /// Local ones, then seeds, then learned ones; never empty.
    order: Vec<String>,
    current: String,
    connection: Option<Arc<Connection>>,
    /// Those that failed since one last worked.
    tried: BTreeSet<String>,
    /// The last one that worked, for the log.
    reached: Option<String>,
    /// An outage has been logged and not yet ended.
    lost: bool,
}

impl Endpoints {
    /// `seeds` must not be empty.
    pub(super) fn new(seeds: Vec<String>, options: ConnectOptions, tls: Option<EtcdTls>) -> Self {
        let order = in_order(&seeds, &[]);
        Self {
            options,
            tls: tls.map(Arc::new),
            state: Mutex::new(State {
                current: order.first().cloned().unwrap_or_default(),
                order,
                connection: None,
                tried: BTreeSet::new(),
                reached: None,
                lost: false,
            }),
            seeds,
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.state().order.len()
    }

    /// The address in use.
    pub(super) fn current(&self) -> String {
        self.state().current.clone()
    }

    /// The connection in use, or a new one.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        if let Some(connection) = self.state().connection.clone() {
            return Ok(connection);
        }
        let _one_at_a_time = self.connecting.lock().await;
        let url = {
            let state = self.state();
            if let Some(connection) = state.connection.clone() {
                return Ok(connection);
            }
            state.current.clone()
        };
        // Speaks to etcd only if there is a user to authenticate.
        let tls = self.tls.as_ref().filter(|_| address::scheme(&url) == "https");
        let options = match tls {
            Some(tls) => self.options.clone().with_tls(tls.options()),
            None => self.options.clone(),
        };
        let connecting = timeout(CALL_TIMEOUT, Client::connect([&url], Some(options)));
        let failure = match connecting.await {
            Ok(Ok(client)) => {
                let connection = Arc::new(Connection {
                    url,
                    client,
                    tls: tls.cloned(),
                    worked: AtomicBool::new(false),
                    left: CancellationToken::new(),
                });
                self.state().connection = Some(connection.clone());
                return Ok(connection);
            }
            Ok(Err(error)) => {
                let tls = tls.map(|tls| &**tls);
                Failure::new(&url, tls, error).suspecting(&url, tls)
            }
            Err(_) => Failure::no_answer(&url, CALL_TIMEOUT),
        };
        if failure.blames_endpoint() {
            self.give_up(&mut self.state(), &url, &failure);
        }
        // What was asked for has not been sent, whatever the authentication came to.
        Err(match failure {
            Failure::InDoubt(text) => Failure::Unreached(text),
            other => other,
        })
    }

    /// Something was answered through `connection`. A late answer from an endpoint that was given up says nothing about
    /// the one in use.
    pub(super) fn worked(self: &Arc<Self>, connection: &Arc<Connection>) {
        let first = !connection.worked.swap(true, Ordering::Relaxed);
        let mut state = self.state();
        let in_use = state
            .connection
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, connection));
        if !in_use || (!first && !state.lost && state.tried.is_empty()) {
            return;
        }
        state.tried.clear();
        let endpoint = connection.url.as_str();
        let again = std::mem::replace(&mut state.lost, false);
        match state.reached.as_deref() {
            None => tracing::info!(endpoint, "connected to etcd"),
            Some(before) if before != endpoint => {
                tracing::info!(endpoint, before, "moved to another etcd endpoint");
            }
            Some(_) if again => tracing::info!(endpoint, "connected to etcd again"),
            Some(_) => {}
        }
        state.reached = Some(endpoint.to_owned());
        drop(state);
        if first {
            tokio::spawn(self.clone().learn(connection.clone()));
        }
    }

    /// A call through `connection` failed in a way that blames the endpoint. `true` if all endpoints have been tried
    /// now since one last worked: time for a pause.
    pub(super) fn failed(&self, connection: &Arc<Connection>, failure: &Failure) -> bool {
        let mut state = self.state();
        match &state.connection {
            Some(current) if Arc::ptr_eq(current, connection) => {
                self.give_up(&mut state, &connection.url, failure)
            }
            // Another call has moved on from it already.
            _ => false,
        }
    }

    fn give_up(&self, state: &mut State, url: &str, failure: &Failure) -> bool {
        if !std::mem::replace(&mut state.lost, true) {
            tracing::warn!(endpoint = url, error = failure.reason(url), "lost etcd");
        }
        state.tried.insert(url.to_owned());
        let untried = state
            .order
            .iter()
            .find(|other| !state.tried.contains(*other))
            .cloned();
        let all_tried = untried.is_none();
        if all_tried {
            state.tried.clear();
        }
        let next = untried.or_else(|| state.order.first().cloned());
        // With nowhere else to go the connection stays: it finds its way back by itself, and giving it up would end
        // streams that may only be slow.
        if let Some(next) = next.filter(|next| next != url) {
            state.current = next;
            if let Some(connection) = state.connection.take() {
                connection.left.cancel();
            }
        }
        all_tried
    }

    /// Asks for the members' addresses. Once per connection; an answer that does not come is none.
    async fn learn(self: Arc<Self>, connection: Arc<Connection>) {
        let mut cluster = connection.client.cluster_client();
        let Ok(Ok(members)) = timeout(CALL_TIMEOUT, cluster.member_list()).await else {
            return;
        };
        let urls = members.members().iter().flat_map(|member| member.client_urls());
        let learned: Vec<String> = urls
            .filter_map(|url| address::normalize(url).ok())
            .filter(|url| self.may_speak_to(url))
            // "localhost" in another member's list is that member's own machine, not this one.
            .filter(|url| !address::is_loopback(url) || address::is_loopback(&connection.url))
            .collect();
        let mut state = self.state();
        let order = in_order(&self.seeds, &learned);
        if state.order != order {
            tracing::debug!(endpoints = ?order, "learned etcd's members");
            state.order = order;
        }
    }

    /// With certificates nothing is said in the clear that another machine could hear; without, TLS is not possible.
    fn may_speak_to(&self, url: &str) -> bool {
        match self.tls {
            Some(_) => address::scheme(url) == "https" || address::is_loopback(url),
            None => address::scheme(url) == "http",
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses of this machine first, then as given, without repetitions.
fn in_order(seeds: &[String], learned: &[String]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for url in seeds.iter().chain(learned) {
        if !order.contains(url) {
            order.push(url.clone());
        }
    }
    order.sort_by_key(|url| !address::is_loopback(url));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(seeds: &[&str]) -> Arc<Endpoints> {
        let seeds = seeds.iter().map(|s| (*s).to_owned()).collect();
        Arc::new(Endpoints::new(seeds, ConnectOptions::new(), None))
    }

    async fn fail(endpoints: &Arc<Endpoints>) -> bool {
        let connection = endpoints.connection().await.unwrap();
        endpoints.failed(&connection, &Failure::Unreached("refused".to_owned()))
    }

    async fn work(endpoints: &Arc<Endpoints>) {
        let connection = endpoints.connection().await.unwrap();
        connection.worked.store(true, Ordering::Relaxed);
        endpoints.worked(&connection);
    }

    #[tokio::test]
    async fn each_is_tried_once_and_the_local_one_returned_to() {
        let endpoints = endpoints(&["http://a:1", "http://b:1", "http://127.0.0.1:1"]);
        assert_eq!(endpoints.current(), "http://127.0.0.1:1");
        assert!(!fail(&endpoints).await);
        assert_eq!(endpoints.current(), "http://a:1");
        work(&endpoints).await;
        assert!(!fail(&endpoints).await);
        assert_eq!(endpoints.current(), "http://127.0.0.1:1", "it may be back");
        assert!(!fail(&endpoints).await);
        assert_eq!(endpoints.current(), "http://b:1");
        assert!(fail(&endpoints).await, "all have failed since one worked");
        assert_eq!(endpoints.current(), "http://127.0.0.1:1");
    }

    #[tokio::test]
    async fn calls_that_fail_together_move_on_once() {
        let endpoints = endpoints(&["http://a:1", "http://b:1", "http://c:1"]);
        let connection = endpoints.connection().await.unwrap();
        for _ in 0..3 {
            endpoints.failed(&connection, &Failure::InDoubt("slow".to_owned()));
        }
        assert_eq!(endpoints.current(), "http://b:1");
        assert!(connection.left.is_cancelled());
    }

    #[tokio::test]
    async fn the_only_one_is_kept() {
        let endpoints = endpoints(&["http://a:1"]);
        let connection = endpoints.connection().await.unwrap();
        assert!(fail(&endpoints).await);
        assert!(!connection.left.is_cancelled());
        assert!(Arc::ptr_eq(&connection, &endpoints.connection().await.unwrap()));
    }
}
