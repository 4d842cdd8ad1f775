//! The engine's loop: campaign; then, while leading: on change read the mirror, plan, write.
//!
//! Only the leader mirrors the whole cluster. Its writes come back through the mirror like everybody's, and nothing is
//! planned before they have, as long as the mirror is alive: else what was decided would be decided again ([`echo`]).

mod echo;
mod write;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use units::MachineId;

use super::election::{self, Leadership};
use super::{Candidacy, Memory, Plan, Policy, Scheduler};
use crate::cluster::Cluster;
use crate::metrics::{Census, EngineMetrics, LastCensus};
use crate::registry::keys::Keys;
use crate::registry::mirror::{Mirror, Update};
use crate::registry::trust::{Known, Trust};
use crate::registry::{Backoff, Commit, RegistryError, Revision, Select, SharedRegistry};
use crate::watchdog::Pulse;

use self::echo::Echo;

/// A full read now and then, against whatever a watch may have missed (design §1, law 3). Shortened by up to a fifth.
const RELIST: Duration = Duration::from_secs(600);

/// One machine's candidate for the engine.
#[derive(Debug)]
pub struct Engine {
    /// The store.
    pub registry: SharedRegistry,
    /// Its layout.
    pub keys: Keys,
    /// Us.
    pub machine: MachineId,
    /// Whether the store is to be believed.
    pub trust: std::sync::Arc<Trust>,
    /// Whether it may lead, and whether it does.
    pub candidacy: std::sync::Arc<Candidacy>,
    /// Paces.
    pub policy: Policy,
    /// What it counts.
    pub metrics: std::sync::Arc<EngineMetrics>,
    /// Shows that the loop turns.
    pub pulse: Pulse,
}

impl Engine {
    /// Takes part in elections, and leads whenever it wins one, until told to stop; then it hands over at once.
    pub async fn run(self, stop: CancellationToken) {
        let mut doubts = self.trust.doubts();
        // All that is waited for here is waited for in order, so that the same happenings make the same history: the end
        // first, for it holds whatever else there is to do.
        loop {
            // A machine that doubts the registry must not decide by it.
            if doubts.borrow_and_update().is_some() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = self.pulse.beside(doubts.changed()) => continue,
                }
            }
            if !self.candidacy.is_allowed() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.pulse.beside(self.candidacy.until(true)) => continue,
                }
            }
            // The agent joins, or founds, the cluster; before that there is nothing to decide about.
            let cluster = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                cluster = self.pulse.beside(self.trust.joined()) => cluster,
            };
            let leadership = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = doubts.changed() => continue,
                () = self.candidacy.until(false) => continue,
                leadership = self.pulse.beside(election::campaign(&self.registry, &self.keys, &self.machine)) => {
                    leadership
                }
            };
            self.metrics.leads();
            self.candidacy.leads(Some(leadership.fence));
            // What a leader knows of a large cluster takes a while to let go of: that comes after the handing over.
            let mut term = std::pin::pin!(self.lead(&leadership, &cluster));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = leadership.lost() => {}
                _ = doubts.changed() => {}
                () = self.candidacy.until(false) => {}
                () = &mut term => {}
            }
            self.metrics.follows();
            self.candidacy.leads(None);
            leadership.resign().await;
            // What this has woken would wait for the same thread.
            tokio::task::yield_now().await;
        }
    }

    async fn lead(&self, leadership: &Leadership, uuid: &str) {
        let everything = Select::Prefix(self.keys.root().to_owned());
        // The mirror itself notices a store that went back behind what this machine has seen.
        let mut mirror = Mirror::new(self.registry.clone(), everything, Backoff::default())
            .with_seen(self.trust.known().revision);
        let started = Instant::now();
        let mut asked = self.metrics.census.open();
        let mut last_census = LastCensus::default();
        let mut relist = started + jittered(RELIST, leadership.fence);
        let mut leader = Leader {
            engine: self,
            leadership,
            joined: uuid,
            cluster: Cluster::empty(self.keys.clone()),
            scheduler: Scheduler::default(),
            memory: Memory::default(),
            started,
            echo: Echo::default(),
            wake: None,
            heard: None,
            backoff: Backoff::default(),
            is_listed: false,
        };
        loop {
            let next_look = leader.next_look();
            tokio::select! {
                biased;
                () = self.pulse.due() => continue,
                // Before the mirror, which is emptied each time it has anything: it leaves room for what is due.
                () = sleep_until(relist) => {
                    relist = Instant::now() + jittered(RELIST, leader.cluster.revision);
                    mirror.nudge_relist();
                    continue;
                }
                update = mirror.next() => {
                    if !leader.take(update) {
                        return;
                    }
                    // What is ready already is taken in before planning: one pass for all of it.
                    while let Some(update) = futures_util::FutureExt::now_or_never(mirror.next()) {
                        if !leader.take(update) {
                            return;
                        }
                    }
                }
                () = wait_until(next_look) => leader.echo = Echo::default(),
                // Last: whoever asks without pause holds up nothing.
                Some(question) = asked.recv() => {
                    if leader.is_listed {
                        let revision = leader.cluster.revision;
                        let census = last_census.at(revision, || Census::of(&leader.cluster));
                        // Who has asked may have gone.
                        let _ = question.send(census);
                    }
                    continue;
                }
            }
            if leader.is_current() {
                leader.pass().await;
            }
        }
    }
}

/// One term of leadership.
struct Leader<'a> {
    engine: &'a Engine,
    leadership: &'a Leadership,
    /// The uuid of the cluster this machine belongs to.
    joined: &'a str,
    cluster: Cluster,
    scheduler: Scheduler,
    memory: Memory,
    started: Instant,
    echo: Echo,
    wake: Option<Instant>,
    /// When the oldest change arrived that has not been planned for.
    heard: Option<Instant>,
    backoff: Backoff,
    is_listed: bool,
}

impl Leader<'_> {
    /// Takes an update in; `false` ends the term.
    fn take(&mut self, update: Update) -> bool {
        match update {
            Update::Reset(snapshot) => {
                self.heard.get_or_insert_with(Instant::now);
                self.cluster = Cluster::from_snapshot(self.engine.keys.clone(), &snapshot);
                self.scheduler = Scheduler::default();
                self.is_listed = true;
                let uuid = self.cluster.uuid.as_deref();
                let joined = Known {
                    revision: 0,
                    cluster: Some(self.joined.to_owned()),
                    ..self.engine.trust.known()
                };
                if self
                    .engine
                    .trust
                    .believe(&joined, snapshot.revision, uuid)
                    .is_err()
                {
                    return false;
                }
                tracing::info!(
                    revision = snapshot.revision,
                    units = self.cluster.units.len(),
                    machines = self.cluster.machines.len(),
                    "read the whole cluster"
                );
            }
            Update::Changed(batch) => {
                self.heard.get_or_insert_with(Instant::now);
                let touched = self.cluster.apply(&batch);
                self.scheduler.note(touched);
                self.echo.heard(Instant::now());
            }
            Update::Disconnected(error) => tracing::warn!(%error, "lost sight of the cluster"),
            Update::Reconnected => tracing::info!("saw the cluster again"),
            Update::WentBack { had, found } => {
                let known = Known {
                    revision: had,
                    cluster: None,
                    ..self.engine.trust.known()
                };
                let _ = self.engine.trust.believe(&known, found, None);
                return false;
            }
        }
        if let Some(had) = self.cluster.doubted.get(self.joined) {
            self.engine.trust.doubt_too(*had, self.cluster.revision);
            return false;
        }
        true
    }

    fn is_current(&self) -> bool {
        let waits = self.echo.until(self.cluster.revision).is_some();
        self.is_listed && !waits && !self.leadership.is_lost()
    }

    fn next_look(&self) -> Option<Instant> {
        // What time alone decides is planned with the rest.
        self.echo.until(self.cluster.revision).or(self.wake)
    }

    /// Plans, and writes what came out.
    async fn pass(&mut self) {
        self.echo = Echo::default();
        let (began, metrics) = (Instant::now(), &self.engine.metrics);
        let heard = self.heard.take().unwrap_or(began);
        let now = self.started.elapsed();
        let policy = &self.engine.policy;
        if self.scheduler.concerns_machines() || self.memory.watches() {
            self.memory.observe(&self.cluster, now, policy);
        }
        let made = self.scheduler.plan(&self.cluster, &self.memory, now, policy);
        // The product of a debug build checks itself: so every test of a cluster, and the simulator, checks this too.
        debug_assert_eq!(made, super::plan(&self.cluster, &self.memory, now, policy));
        let Plan {
            steps,
            retained,
            wake,
            braked,
        } = made;
        metrics.passes.add_one();
        let considered = u64::try_from(self.scheduler.considered()).unwrap_or(u64::MAX);
        metrics.considered.add(considered);
        metrics.plan_took.observe(began.elapsed());
        self.memory.retain(&retained, now);
        self.wake = wake.map(|at| self.started + at);
        if braked > 0 {
            let lost = self.memory.absent();
            tracing::warn!(
                lost,
                units = braked,
                revision = self.cluster.revision,
                "held back after a mass loss"
            );
        }
        if let Err(failure) = self.write(&steps, heard).await {
            // Not answered yet: the next pass takes so much longer.
            self.heard = Some(heard);
            self.give_up_pass(failure);
        }
        metrics.pass_took.observe(began.elapsed());
    }

    /// What was decided is void; the next pass decides again on what is true by then.
    fn give_up_pass(&mut self, outcome: Result<Commit, RegistryError>) {
        let until = Instant::now() + self.backoff.pause();
        match outcome {
            Ok(Commit::Applied(_)) => {}
            Ok(Commit::Refused(revision)) => {
                tracing::debug!(revision, "a decision was overtaken");
                self.echo.failed(Some(revision), until);
            }
            Err(error) => {
                self.engine.metrics.passes_failed.add_one();
                tracing::warn!(%error, "could not write a decision");
                self.echo.failed(None, until);
            }
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Shorter by up to a fifth, by a number that differs from term to term.
fn jittered(span: Duration, seed: Revision) -> Duration {
    let fifths = u32::try_from(seed.rem_euclid(20)).unwrap_or(0);
    span - span * fifths / 100
}
