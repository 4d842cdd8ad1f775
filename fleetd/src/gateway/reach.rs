//! What all connections share: the members that are known, which one works, and the search for it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::choice::{self, Failures};
use super::dial::{self, Link};
use super::tls::Speaks;
use super::{Address, GatewayConfig, GatewayTls, Members, Memory, Patience};

#[derive(Debug)]
pub(super) struct Reach {
    /// As a person said it: asked, and tried as long as no peer has answered.
    told: Members,
    tls: Option<GatewayTls>,
    memory: Memory,
    patience: Patience,
    /// Makes this machine differ from the others.
    seed: u64,
    /// What times are counted from.
    began: Instant,
    state: Mutex<State>,
    /// Rung when somebody should ask for the members.
    bell: Notify,
    /// How often that was done.
    rounds: watch::Sender<u64>,
    /// Connections that are passed on.
    open: watch::Sender<usize>,
}

/// A connection that is passed on, until it is dropped.
#[derive(Debug)]
pub(super) struct Open<'a>(&'a Reach);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
struct State {
    known: Members,
    /// The member that worked last.
    current: Option<Address>,
    failures: Failures,
    /// No member could be reached, and that was said.
    outage: bool,
    /// The last question for the members was answered.
    learned: bool,
    /// It was not, and that was said.
    unlearned: bool,
    /// When the members were last asked for.
    asked: Option<Duration>,
}

impl Reach {
    pub(super) fn new(
        config: &GatewayConfig,
        tls: Option<GatewayTls>,
        memory: Memory,
        patience: Patience,
    ) -> Self {
        let told = Members {
            peers: config.peers.clone(),
            clients: config.members.clone(),
        };
        let known = memory.read().unwrap_or_else(|error| {
            let file = memory.path().display();
            tracing::warn!(%file, %error, "could not read what was known of etcd's members");
            None
        });
        Self {
            state: Mutex::new(State {
                known: known.unwrap_or_else(|| told.clone()),
                ..State::default()
            }),
            told,
            tls,
            memory,
            patience,
            seed: RandomState::new().build_hasher().finish(),
            began: Instant::now(),
            bell: Notify::new(),
            rounds: watch::Sender::new(0),
            open: watch::Sender::new(0),
        }
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn linger(&self) -> Duration {
        self.patience.linger
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to a member that works; none if there is no such member, which is said once.
    pub(super) async fn reach(&self, speaks: Speaks) -> Option<(Address, Box<dyn Link>)> {
        let mut rounds = self.rounds.subscribe();
        if self.is_old() {
            self.bell.notify_one();
        }
        let mut tried = BTreeSet::new();
        let mut reasons = Vec::new();
        for more in [true, false] {
            for target in self.targets(&tried) {
                match dial::dial(&target, self.tls.as_ref(), speaks, self.patience.dial).await {
                    Ok(link) => {
                        // By HTTP/1 over TLS nobody has said yet that our certificate is taken.
                        if speaks == Speaks::Http2 || !target.tls() {
                            self.works(&target);
                        }
                        return Some((target, link));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "could not reach a member of etcd");
                        self.failed(&target);
                        reasons.push(error.to_string());
                    }
                }
                tried.insert(target);
            }
            // There may be members that are not known yet.
            self.bell.notify_one();
            let learned = timeout(self.patience.dial * 2, rounds.changed());
            if !more || self.told.peers.is_empty() || !matches!(learned.await, Ok(Ok(()))) {
                break;
            }
        }
        self.none_works(&reasons);
        None
    }

    fn targets(&self, tried: &BTreeSet<Address>) -> Vec<Address> {
        let state = self.state();
        let mut known = state.known.clients.clone();
        if !state.learned {
            known.extend_from_slice(&self.told.clients);
        }
        let mut targets = choice::order(
            &known,
            state.current.as_ref(),
            &state.failures,
            self.began.elapsed(),
            self.seed,
        );
        targets.retain(|target| !tried.contains(target));
        targets
    }

    fn works(&self, target: &Address) {
        let mut state = self.state();
        state.failures.remove(target);
        let over = std::mem::take(&mut state.outage);
        if over || state.current.as_ref() != Some(target) {
            state.current = Some(target.clone());
            tracing::info!(member = %target, after_an_outage = over, "reached etcd");
        }
    }

    fn failed(&self, target: &Address) {
        let now = self.began.elapsed();
        let mut state = self.state();
        // What is over is forgotten, so this does not grow.
        state
            .failures
            .retain(|_, at| now < at.saturating_add(choice::LAST_FOR));
        state.failures.insert(target.clone(), now);
        drop(state);
        self.bell.notify_one();
    }

    /// A member has said nothing on a whole connection, though it was spoken to: it takes connections, and hangs. Whoever
    /// asks next is to find another one first, however late that is.
    pub(super) fn mute(&self, target: &Address) {
        self.failed(target);
        let next = self.targets(&BTreeSet::new()).into_iter().next();
        let mut state = self.state();
        if state.current.as_ref() != Some(target) || next.as_ref() == Some(target) {
            return;
        }
        let other = next.as_ref().map(ToString::to_string).unwrap_or_default();
        state.current = next;
        drop(state);
        tracing::info!(member = %target, other, "heard nothing from a member of etcd, tries another one first");
    }

    fn none_works(&self, reasons: &[String]) {
        if std::mem::replace(&mut self.state().outage, true) {
            return;
        }
        let why = if reasons.is_empty() {
            "no member is known".to_owned()
        } else {
            reasons.join("; ")
        };
        tracing::error!(why, "could not reach any member of etcd, and closed a connection");
    }

    /// Counts a connection for as long as it is held.
    pub(super) fn open(&self) -> Open<'_> {
        self.open.send_modify(|open| *open += 1);
        Open(self)
    }

    /// Whether what is known of the members should be renewed.
    fn is_old(&self) -> bool {
        let fresh = self.spread(self.patience.fresh);
        let asked = self.state().asked;
        asked.is_some_and(|asked| self.began.elapsed() > asked + fresh)
    }

    /// Returns when what is known is old although nobody came anew: clients hold a connection for months, and meanwhile
    /// all members may be replaced, one after the other. No clock runs while no connection is open.
    async fn long_open(&self) {
        let mut open = self.open.subscribe();
        loop {
            // Its sender is ours: there is no error.
            let _ = open.wait_for(|open| *open > 0).await;
            tokio::select! {
                _ = open.wait_for(|open| *open == 0) => {}
                () = sleep(self.spread(self.patience.open)) => return,
            }
        }
    }

    /// Up to a sixth more, so that machines differ.
    fn spread(&self, span: Duration) -> Duration {
        span + span.mul_f64(self.dice() / 6.0)
    }

    /// This machine's number from 0 to 1.
    fn dice(&self) -> f64 {
        f64::from((self.seed >> 40) as u32 & 0xffff) / 65536.0
    }

    /// Asks who the members are: now, whenever the bell rings, and from time to time while connections are open.
    pub(super) async fn learn(self: Arc<Self>) {
        if self.told.peers.is_empty() {
            return;
        }
        loop {
            self.ask_around().await;
            self.state().asked = Some(self.began.elapsed());
            self.rounds.send_modify(|round| *round += 1);
            let between = self.patience.between;
            sleep(between + between.mul_f64(self.dice())).await;
            tokio::select! {
                () = self.bell.notified() => {}
                () = self.long_open() => {}
            }
        }
    }

    async fn ask_around(&self) {
        let mut reasons = Vec::new();
        for peer in self.peers() {
            match dial::ask(&peer, self.tls.as_ref(), self.patience.dial).await {
                Ok(members) => return self.learned(&peer, members).await,
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let mut state = self.state();
        state.learned = false;
        let said = std::mem::replace(&mut state.unlearned, true);
        drop(state);
        if !said {
            let why = reasons.join("; ");
            tracing::warn!(
                why,
                "could not learn who etcd's members are, goes on with those it knows"
            );
        }
    }

    /// Those that were told last, then those of the configuration.
    fn peers(&self) -> Vec<Address> {
        let mut peers = self.state().known.peers.clone();
        for told in &self.told.peers {
            if !peers.contains(told) {
                peers.push(told.clone());
            }
        }
        peers
    }

    async fn learned(&self, peer: &Address, members: Members) {
        {
            let mut state = self.state();
            let again = std::mem::take(&mut state.unlearned);
            state.learned = true;
            if state.known == members {
                if again {
                    tracing::info!(%peer, "learned etcd's members again, they are the same");
                }
                return;
            }
            state.known = members.clone();
        }
        let clients: Vec<String> = members.clients.iter().map(Address::to_string).collect();
        tracing::info!(%peer, members = clients.join(","), "learned etcd's members");
        let memory = self.memory.clone();
        let written = tokio::task::spawn_blocking(move || memory.write(&members)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(file = %self.memory.path().display(), %error, "could not remember etcd's members");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_runs_while_a_connection_is_open_and_only_then() {
        let config = GatewayConfig::parse(r#"peers = ["http://10.0.0.1:2380"]"#, Path::new("x")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(directory.path().join("gateway.json"), &config);
        let reach = Reach::new(&config, None, memory, Patience::default());
        let (minute, year) = (Duration::from_secs(60), Duration::from_secs(365 * 86_400));
        assert!(timeout(year, reach.long_open()).await.is_err(), "none was open");

        let short = async {
            loop {
                let one = reach.open();
                sleep(minute).await;
                drop(one);
                sleep(minute).await;
            }
        };
        let began = Instant::now();
        tokio::select! {
            () = reach.long_open() => panic!("those that are short renew by themselves"),
            () = short => {}
            () = sleep(100 * minute) => {}
        }
        assert_eq!(began.elapsed(), 100 * minute);

        let (_one, other) = (reach.open(), reach.open());
        let began = Instant::now();
        let close = async {
            sleep(minute).await;
            drop(other);
        };
        tokio::join!(reach.long_open(), close);
        let took = began.elapsed();
        assert!(took >= 10 * minute && took < 12 * minute, "{took:?}");
    }
}
