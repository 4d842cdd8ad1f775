//! A candidate for the engine: the production one, with what it counts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use fleetd::engine::{Candidacy, Engine, Policy};
use fleetd::metrics::{Metered, Metrics};
use fleetd::registry::SharedRegistry;
use fleetd::registry::keys::Keys;
use fleetd::registry::trust::{Trust, join_cluster};
use fleetd::watchdog::Pulse;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::MachineId;

use crate::etcd::sample;

/// A candidate that runs.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// What it counts.
    pub metrics: Metrics,
    candidacy: Arc<Candidacy>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a leader has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// Passes it made.
    pub passes: f64,
    /// Seconds that went into plans, without their writing.
    pub planning: f64,
    /// Transactions it sent.
    pub commits: f64,
    /// Seconds that it waited for them.
    pub committing: f64,
}

impl Candidate {
    /// Has machine `id` take part, with `directory` for what it remembers of the store.
    ///
    /// # Errors
    /// If the directory cannot be made, or the store does not answer.
    pub(crate) async fn start(
        registry: SharedRegistry,
        keys: &Keys,
        id: MachineId,
        directory: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let metrics = Metrics::default();
        let registry: SharedRegistry = Arc::new(Metered::new(registry, metrics.registry.clone()));
        let trust = Arc::new(Trust::open(directory)?);
        // In a fleetd its agent does that.
        join_cluster(&registry, keys, &trust)
            .await
            .context("cannot join the cluster")?;
        let candidacy = Arc::<Candidacy>::default();
        let engine = Engine {
            registry,
            keys: keys.clone(),
            machine: id,
            trust,
            candidacy: candidacy.clone(),
            policy: Policy::default(),
            metrics: metrics.engine.clone(),
            pulse: Pulse::default(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(engine.run(stop.clone()));
        Ok(Self {
            metrics,
            candidacy,
            stop,
            task,
        })
    }

    /// Whether it leads.
    pub(crate) fn leads(&self) -> bool {
        self.candidacy.term().is_some()
    }

    /// Resolves once it leads; at once if it does.
    pub(crate) async fn elected(&self) {
        self.candidacy.elected().await;
    }

    /// Units that it has given a place, and been told that they are written.
    pub(crate) fn scheduled(&self) -> u64 {
        self.metrics.engine.scheduled.get()
    }

    /// Passes that it has made.
    pub(crate) fn passes(&self) -> u64 {
        self.metrics.engine.passes.get()
    }

    /// Begins to stop, as on SIGTERM: a leader hands over.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }

    /// What it has done so far. Has a leader count its cluster: not while it is timed.
    pub(crate) async fn work(&self) -> Work {
        let text = self.metrics.scrape().await;
        let value = |name: &str| sample(&text, name).unwrap_or(0.0);
        Work {
            passes: value("fleet_engine_reconcile_count_total"),
            planning: value("fleet_engine_plan_duration_seconds_sum"),
            commits: value(r#"fleet_registry_operation_count_total{type="set"}"#),
            committing: value(r#"fleet_registry_operation_duration_second_sum{ops="set"}"#),
        }
    }
}

impl std::ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passes: self.passes + other.passes,
            planning: self.planning + other.planning,
            commits: self.commits + other.commits,
            committing: self.committing + other.committing,
        }
    }
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            passes: self.passes - before.passes,
            planning: self.planning - before.planning,
            commits: self.commits - before.commits,
            committing: self.committing - before.committing,
        }
    }
}
