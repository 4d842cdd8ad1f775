//! Serves the API of a cluster of three machines that is all in this one process: production agents and engines over
//! the store in memory and the scripted systemd. For trying clients of the API, with nothing to install:
//!
//!     cargo run -p fleetd --example api -- 127.0.0.1:49153       # or the path of a unix socket
//!
//! Says where it listens once it answers, and runs until it is interrupted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetd::agent::local::Local;
use fleetd::agent::{Agent, Identity};
use fleetd::api::{Api, Here, listen};
use fleetd::engine::{Engine, Policy};
use fleetd::guard::{Guard, clock::Kernel};
use fleetd::init::scripted::ScriptedInit;
use fleetd::metrics::{Metered, Metrics};
use fleetd::registry::SharedRegistry;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::trust::Trust;
use fleetd::watchdog::Pulse;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use units::{Capacity, MachineId, parse_metadata};

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "the address is what whoever runs this waits for"
)]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = match address.starts_with('/') {
        true => listen::unix(Path::new(&address))?,
        false => listen::Listener::Tcp(TcpListener::bind(&address).await.with_context(|| address)?, None),
    };
    let address = listener.name();
    let (store, disks) = (MemoryRegistry::new(), tempfile::tempdir()?);
    let stop = CancellationToken::new();
    let mut routers = Vec::new();
    for n in 1..=3 {
        let disk = disks.path().join(n.to_string());
        routers.push(machine(n, &store, &disk, &stop)?);
    }
    let router = routers.swap_remove(0);
    let server = tokio::spawn(listener.serve(router, Pulse::default(), stop.clone()));
    println!("{address}");
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    Ok(server.await?)
}

/// Starts a machine's agent and engine; what its API answers with.
fn machine(
    n: u32,
    store: &MemoryRegistry,
    disk: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<axum::Router> {
    let metrics = Metrics::default();
    let client = Arc::new(store.client(&format!("machine {n}")));
    let registry: SharedRegistry = Arc::new(Metered::new(client, metrics.registry.clone()));
    std::fs::create_dir_all(disk)?;
    let trust = Arc::new(Trust::open(disk)?);
    let init = ScriptedInit::new(disk.join("units"));
    let id = MachineId::parse(&format!("{n:032x}"))?;
    let mut api = Api::new(registry.clone(), Keys::default(), trust.clone());
    api.here = Some(Here {
        machine: id,
        boot_id: format!("boot-{n}"),
    });
    api.metrics = metrics.clone();
    let agent = Agent {
        registry: registry.clone(),
        keys: Keys::default(),
        init: init.clone(),
        trust: trust.clone(),
        identity: Identity {
            id,
            boot_id: format!("boot-{n}"),
            address: format!("10.0.0.{n}"),
            metadata: parse_metadata(&format!("zone=z{n}"))?,
            capacity: Capacity::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disable_engine: false,
        },
        ttl: Duration::from_secs(15),
        standing: api.standing.clone(),
        guard: Arc::new(Guard::open(&disk.join("guard"), Arc::new(Kernel), init)?),
        local: Local::open(&disk.join("units"), &disk.join("records"))?,
        pulse: Pulse::default(),
    };
    let engine = Engine {
        registry,
        keys: Keys::default(),
        machine: id,
        trust,
        policy: Policy::default(),
        metrics: metrics.engine,
        candidacy: Arc::default(),
        pulse: Pulse::default(),
    };
    let told = stop.clone();
    tokio::spawn(async move {
        // Nobody ever asks it to leave; the sender lives as long as it does.
        let (_leave, requests) = mpsc::channel(1);
        agent.run(told, requests).await
    });
    tokio::spawn(engine.run(stop.clone()));
    Ok(api.router())
}
