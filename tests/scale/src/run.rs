//! The whole run: a cluster that is filled, changed and hurt, phase by phase.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use fleetd::api::Api;
use fleetd::registry::SharedRegistry;
use fleetd::registry::keys::Keys;
use fleetd::registry::trust::{Trust, join_cluster};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::candidate::{Candidate, Work};
use crate::field::Field;
use crate::machine::{self, Machine, Site, id_of};
use crate::phases;
use crate::progress::Progress;
use crate::report::{Mark, Report};
use crate::scratch::Scratch;
use crate::store::{self, Store};
use crate::witness::Witness;
use crate::workload::Workload;

/// History that a store in memory keeps, in revisions: etcd compacts its own, by the hour.
const KEPT: i64 = 10_000;

/// A silence that is longer than any pass of a leader, and than it waits for its own last write.
const QUIET: Duration = Duration::from_secs(6);

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How many machines.
    pub machines: usize,
    /// How many units fill the cluster.
    pub units: usize,
    /// The store.
    pub store: store::Kind,
    /// What stands for a machine.
    pub agents: machine::Kind,
    /// Candidates for the engine.
    pub engines: usize,
    /// Connections to the store that the agents share.
    pub connections: usize,
    /// Units started one after the other while the cluster is full.
    pub changes: usize,
    /// Times that the leader is restarted.
    pub restarts: usize,
    /// How long an agent's lease lives without being renewed.
    pub ttl: Duration,
    /// How long a start takes each machine's systemd.
    pub start_time: Duration,
    /// No two instances of one file on a machine.
    pub anti_affinity: bool,
    /// The etcd to start, if not the host's own.
    pub etcd: Option<PathBuf>,
    /// Where etcd's data lie.
    pub data: PathBuf,
    /// How long anything is waited for.
    pub patience: Duration,
}

/// The cluster under test.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What is run.
    pub options: Options,
    /// The layout of the store.
    pub keys: Keys,
    /// Who sees everything.
    pub witness: Witness,
    /// Machines that are on.
    pub machines: Vec<Machine>,
    /// Candidates for the engine; they live on the first machines.
    pub candidates: Vec<Candidate>,
    /// A fleetd's API.
    pub api: Router,
    /// What the tool itself writes with.
    pub registry: SharedRegistry,
    /// The units.
    pub workload: Workload,
    /// How many of them there are.
    pub submitted: usize,
    /// Tells a person.
    pub progress: Progress,
    /// What came out so far.
    pub report: Report,
    /// Connections of the agents.
    pub pool: Vec<SharedRegistry>,
    /// What all machines have in common.
    pub site: Site,
    /// The store; after all that speaks to it, which goes first.
    pub store: Store,
    tidying: Option<JoinHandle<()>>,
    run: Scratch,
    _field: Field,
}

impl Cluster {
    /// A store, candidates and an API; no machine yet.
    ///
    /// # Errors
    /// If the store does not come up.
    pub(crate) async fn found(options: Options) -> Result<Self> {
        let progress = Progress::begin()?;
        let run = machine::run_directory()?;
        let store = Store::start(&options)?;
        let keys = Keys::default();
        let tidying = match &store {
            Store::Etcd(_) => None,
            Store::Memory(memory) => {
                let memory = memory.clone();
                Some(tokio::spawn(async move {
                    loop {
                        sleep(Duration::from_secs(1)).await;
                        let _ = memory.compact(memory.revision() - KEPT);
                    }
                }))
            }
        };
        let registry = store.connect("tool")?;
        let witness = Witness::start(store.connect("witness")?, keys.clone());
        let here = run.path().join("api");
        std::fs::create_dir_all(&here)?;
        let trust = Arc::new(Trust::open(&here)?);
        let through = store.connect("api")?;
        join_cluster(&through, &keys, &trust).await?;
        let api = Api::new(through, keys.clone(), trust).router();
        let connections = options.connections.clamp(1, options.machines.max(1));
        let field = Field::new()?;
        let pool: Result<_> = {
            // What a connection does it does where it was made.
            let handle = field.handle();
            let _there = handle.enter();
            let connect = |n| store.connect(&format!("agents{n}"));
            (0..connections).map(connect).collect()
        };
        let site = Site {
            keys: keys.clone(),
            directory: run.path().to_owned(),
            kind: options.agents,
            ttl: options.ttl,
            start_time: options.start_time,
            field: field.handle(),
        };
        let mut cluster = Self {
            keys,
            witness,
            machines: Vec::new(),
            candidates: Vec::new(),
            api,
            registry,
            workload: Workload::new(options.machines, options.anti_affinity),
            submitted: 0,
            progress,
            report: Report::new(title(&options, &store)?),
            pool: pool?,
            site,
            store,
            tidying,
            run,
            _field: field,
            options,
        };
        for n in 0..cluster.options.engines {
            let candidate = cluster.candidate(n).await?;
            cluster.candidates.push(candidate);
        }
        Ok(cluster)
    }

    /// Another candidate, on machine `n`.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(crate) async fn candidate(&self, n: usize) -> Result<Candidate> {
        let registry = self.store.connect(&format!("engine{n}"))?;
        let directory = self.run.path().join(format!("engine{n}"));
        Candidate::start(registry, &self.keys, id_of(n)?, &directory).await
    }

    /// A directory that goes with the cluster.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.run.path().join(name)
    }

    /// What all candidates have done so far.
    pub(crate) async fn work(&self) -> Work {
        let mut sum = Work::default();
        for candidate in &self.candidates {
            sum = sum + candidate.work().await;
        }
        sum
    }

    /// Units that have been given a place so far.
    pub(crate) fn scheduled(&self) -> u64 {
        self.candidates.iter().map(Candidate::scheduled).sum()
    }

    /// Waits until nothing is written and the leader makes no more passes: it may be at work long after the last word of
    /// an agent. The time at which that was so.
    pub(crate) async fn rest(&self) -> Instant {
        let busy = || {
            let passes: u64 = self.candidates.iter().map(Candidate::passes).sum();
            (passes, self.witness.tally().revision)
        };
        let (mut before, mut since) = (busy(), Instant::now());
        while since.elapsed() < QUIET {
            sleep(Duration::from_millis(20)).await;
            let now = busy();
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        since
    }

    /// Makes one phase after the other. What came out is in the report, also when one fails.
    ///
    /// # Errors
    /// If a phase does not come to its end.
    pub(crate) async fn run(&mut self) -> Result<()> {
        for (name, phase) in phases::ALL {
            let mark = Mark::now(&self.store).await?;
            self.progress.tell(&format!("{name} …"));
            phase(self).await?;
            self.report.over(name, mark, &self.store).await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(tidying) = &self.tidying {
            tidying.abort();
        }
    }
}

fn title(options: &Options, store: &Store) -> Result<String> {
    let Options {
        machines,
        units,
        engines,
        connections,
        ..
    } = options;
    let store = match store {
        Store::Etcd(etcd) => format!("etcd {}", etcd.version()?),
        Store::Memory(_) => "the store in memory".to_owned(),
    };
    let agents = match options.agents {
        machine::Kind::Active => "agents",
        machine::Kind::Passive => "presences without agents",
    };
    let kind = if options.anti_affinity {
        "units with anti-affinity"
    } else {
        "units"
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "{machines} machines ({agents}, {connections} connections), {units} {kind}, {engines} engines, {store}, {cores} cores"
    ))
}
