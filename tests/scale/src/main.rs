//! `cargo scale`: a large cluster in one process, in real time, and what it costs.
//!
//! Production agents, engines and the API's router; the store is a real etcd, or its twin in memory. Only systemd is
//! scripted: [`fleetd::init::scripted`] on every machine.

mod candidate;
mod etcd;
mod field;
mod machine;
mod only_leader;
mod phases;
mod progress;
mod report;
mod run;
mod scratch;
mod store;
mod usage;
mod user;
mod witness;
mod workload;

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::run::{Cluster, Options};

/// Runs a large cluster in one process, in real time, and tells what it costs.
#[derive(Debug, Parser)]
#[command(
    name = "cargo scale",
    bin_name = "cargo scale",
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    hidden: Option<Hidden>,
    /// Machines in the cluster [default: 1000, in memory 5000].
    #[arg(long)]
    machines: Option<usize>,
    /// Units that fill it [default: 50 for each machine, in memory 30].
    #[arg(long)]
    units: Option<usize>,
    /// The store.
    #[arg(long, default_value = "etcd")]
    store: store::Kind,
    /// What stands for a machine.
    #[arg(long, default_value = "active")]
    agents: machine::Kind,
    /// Candidates for the engine.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    engines: u8,
    /// Connections to the store that the agents share; in life each has its own.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Units started one after the other while the cluster is full.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Times that the leader is restarted.
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// Seconds that a machine's lease lives without being renewed [default: 15, in memory 120: that many agents on a few
    /// processors do not come to renew in time].
    #[arg(long)]
    ttl: Option<u64>,
    /// Milliseconds that a machine's systemd takes over a start.
    #[arg(long, default_value_t = 20)]
    start_time: u64,
    /// No two instances of one file may share a machine.
    #[arg(long)]
    anti_affinity: bool,
    /// The etcd to start [default: the host's own; its version is in the title].
    #[arg(long)]
    etcd: Option<PathBuf>,

    /// Where etcd's data lie for the time of the run [default: the temporary directory].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Seconds that anything is waited for.
    #[arg(long, default_value_t = 600)]
    patience: u64,
    /// How the figures are printed.
    #[arg(short, long, default_value = "table")]
    output: Output,
    /// Tells on stderr what the daemons would log.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// Markdown.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Clone, Subcommand)]
enum Hidden {
    /// Is a candidate for the engine and nothing else.
    #[command(hide = true)]
    OnlyLeader(only_leader::Arguments),
}

fn main() -> ExitCode {
    match work(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "scale: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: Arguments) -> Result<()> {
    let level = if arguments.verbose { "info" } else { "off" };
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(level)
        .init();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match &arguments.hidden {
            Some(Hidden::OnlyLeader(leader)) => only_leader::run(leader.clone()).await,
            None => measure(&arguments).await,
        }
    })
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let mut cluster = Cluster::found(options(arguments)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let outcome = tokio::select! {
        outcome = cluster.run() => outcome,
        // What was started here ends with the cluster.
        _ = tokio::signal::ctrl_c() => bail!("was interrupted"),
        _ = terminate.recv() => bail!("was told to stop"),
    };
    let text = match arguments.output {
        Output::Table => cluster.report.markdown(),
        Output::Json => serde_json::to_string_pretty(&cluster.report)? + "\n",
    };
    // Of a run that failed, what it came to.
    stdout().write_all(text.as_bytes())?;
    outcome
}

fn options(arguments: &Arguments) -> Options {
    let (machines, each, ttl) = match arguments.store {
        store::Kind::Etcd => (1000, 50, 15),
        store::Kind::Memory => (5000, 30, 120),
    };
    let machines = arguments.machines.unwrap_or(machines);
    Options {
        machines,
        units: arguments.units.unwrap_or(machines * each),
        store: arguments.store,
        agents: arguments.agents,
        engines: usize::from(arguments.engines),
        connections: arguments.connections,
        changes: arguments.changes,
        restarts: arguments.restarts,
        ttl: Duration::from_secs(arguments.ttl.unwrap_or(ttl)),
        start_time: Duration::from_millis(arguments.start_time),
        anti_affinity: arguments.anti_affinity,
        etcd: arguments.etcd.clone(),
        data: arguments.data.clone().unwrap_or_else(std::env::temp_dir),
        patience: Duration::from_secs(arguments.patience),
    }
}
