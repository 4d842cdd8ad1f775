//! fleetd as a process: everything put together, and how it ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::local::Local;
use crate::agent::{Agent, Identity, Request};
use crate::api::tls::{ApiTls, ApiTlsError};
use crate::api::{Api, Here, listen};
use crate::config::{Config, ConfigError};
use crate::dump::Dumper;
use crate::engine::{Candidacy, Engine, Policy};
use crate::guard::clock::Kernel;
use crate::guard::{self, Guard};
use crate::host::{self, HostError};
use crate::init::systemd::Systemd;
use crate::init::{OwnJob, SharedInit};
use crate::log;
use crate::metrics::{Metered, Metrics};
use crate::registry::etcd::{EtcdConfig, EtcdRegistry, EtcdTls, EtcdTlsError};
use crate::registry::keys::Keys;
use crate::registry::trust::Trust;
use crate::registry::{RegistryError, SharedRegistry};
use crate::reload::{self, Reloader, Source};
use crate::watchdog::Watchdog;

/// What fleetd remembers of this boot.
const RUN: &str = "/run/fleet";

/// Requests that an agent which is slow to answer may be behind with.
const REQUESTS: usize = 16;

/// systemd is asked about our own job this long when we are told to stop; without an answer every unit is kept.
const JOB_ANSWERED: Duration = Duration::from_secs(5);

/// Why fleetd could not start. One line each.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine does not say who it is.
    #[error(transparent)]
    Host(#[from] HostError),
    /// etcd's address or certificates cannot be used at all; an etcd that is away is no such error.
    #[error("etcd cannot be used: {0}")]
    Registry(#[from] RegistryError),
    /// What is configured for TLS to etcd is of no use.
    #[error(transparent)]
    EtcdTls(#[from] EtcdTlsError),
    /// What is configured for TLS on the API's TCP sockets is of no use.
    #[error(transparent)]
    ApiTls(#[from] ApiTlsError),
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A part of fleetd ended although nobody told it to. systemd starts all of it again; every unit is kept.
    #[error("the {part} ended by a fault of its own: {why}")]
    Ended {
        /// Which one.
        part: &'static str,
        /// What is known of it.
        why: String,
    },
}

/// Runs until told to stop.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run(config: Config, source: Source, level: log::Level) -> Result<(), DaemonError> {
    // From here on neither of them ends fleetd; one that comes early is done when there is something to do it to.
    let mut hangups = signal(SignalKind::hangup())?;
    let mut dumps = signal(SignalKind::user_defined1())?;
    // Sockets first: whoever connects from now on is answered, if only by a 503.
    let tls = reload::tls(&config)?;
    let listeners = listeners(&config, tls.as_ref())?;
    let identity = identity(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        machine = %identity.id,
        address = identity.address,
        version = identity.version,
        etcd = config.etcd_servers.join(","),
        "starting"
    );
    let run = Path::new(RUN);
    std::fs::create_dir_all(run)?;
    let trust = Arc::new(Trust::open(run)?);
    if let Some(doubt) = trust.doubt() {
        tracing::error!(%doubt, "does not believe the registry");
    }
    let local = Local::open(&config.units_directory, &run.join("records"))?;
    let metrics = Metrics::default();
    let etcd = Arc::new(EtcdRegistry::connect(etcd(&config)?)?);
    let registry: SharedRegistry = Arc::new(Metered::new(etcd, metrics.registry.clone()));
    let keys = Keys::new(&config.etcd_key_prefix);

    let stop = CancellationToken::new();
    let mut api = Api::new(registry.clone(), keys.clone(), trust.clone());
    api.page_size.store(config.token_limit, Ordering::Relaxed);
    api.here = Some(Here {
        machine: identity.id,
        boot_id: identity.boot_id.clone(),
    });
    api.metrics = metrics.clone();
    let (page_size, standing) = (api.page_size.clone(), api.standing.clone());
    let watchdog = Watchdog::start()?;
    api.health = watchdog.health();
    let router = api.router();
    let serve = |listener: listen::Listener| {
        let pulse = watchdog.pulse(format!("the API at {}", listener.name()));
        tokio::spawn(listener.serve(router.clone(), pulse, stop.clone()))
    };
    let servers: Vec<_> = listeners.into_iter().map(serve).collect();
    let pulse = watchdog.pulse("main");
    sd_notify::notify(&[NotifyState::Ready])?;

    let init = pulse.beside(init(&config, &metrics, &stop)).await;
    let Some(init) = init else { return Ok(()) };
    let (requests, inbox) = mpsc::channel::<Request>(REQUESTS);
    let candidacy = Arc::new(Candidacy::new(!config.disable_engine));
    let engine = Engine {
        registry: registry.clone(),
        keys: keys.clone(),
        machine: identity.id,
        trust: trust.clone(),
        candidacy: candidacy.clone(),
        policy: Policy {
            brake_hold: config.agent_ttl,
            ..Policy::default()
        },
        metrics: metrics.engine.clone(),
        pulse: watchdog.pulse("engine"),
    };
    let mut engine = tokio::spawn(engine.run(stop.clone()));
    let dumper = Dumper {
        machine: identity.id,
        agent: requests.clone(),
        standing: standing.clone(),
        trust: trust.clone(),
        candidacy: candidacy.clone(),
    };
    let ttl = config.agent_ttl;
    let mut reloader = Reloader {
        source,
        address: identity.address.clone(),
        config,
        level,
        page_size,
        candidacy,
        agent: requests.clone(),
        tls,
    };
    let guard = Guard::open(
        Path::new(guard::process::DIRECTORY),
        Arc::new(Kernel),
        init.clone(),
    )?;
    let agent = Agent {
        registry,
        keys,
        init: init.clone(),
        trust,
        identity,
        ttl,
        local,
        standing,
        guard: Arc::new(guard),
        pulse: watchdog.pulse("agent"),
    };
    let mut agent = tokio::spawn(agent.run(stop.clone(), inbox));

    let until_told = async {
        let mut told = Box::pin(told_to_stop());
        loop {
            tokio::select! {
                told = &mut told => return Ok(told?),
                result = &mut agent => return Err(ended("agent", result)),
                result = &mut engine => return Err(ended("engine", result.map(Ok))),
                Some(()) = hangups.recv() => reloader.reload(),
                Some(()) = dumps.recv() => {
                    tokio::spawn(dumper.clone().dump(reloader.config.shown()));
                }
            }
        }
    };
    pulse.beside(until_told).await?;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    if is_leave(&init).await {
        pulse.beside(depart(&requests)).await?;
    }
    watchdog.stand_down();
    stop.cancel();
    let _ = engine.await;
    match agent.await {
        Ok(ended) => ended?,
        Err(error) => tracing::error!(%error, "the agent ended by a fault of its own"),
    }
    for server in servers {
        let _ = server.await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What it means that a part that runs until it is told to stop has ended before.
fn ended(part: &'static str, result: Result<io::Result<()>, tokio::task::JoinError>) -> DaemonError {
    let why = match result {
        Ok(Ok(())) => "without a reason".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    DaemonError::Ended { part, why }
}

fn listeners(config: &Config, tls: Option<&ApiTls>) -> Result<Vec<listen::Listener>, DaemonError> {
    let mut listeners = listen::from_systemd(tls)?;
    if listeners.is_empty() {
        match &config.api_socket {
            Some(path) => listeners.push(listen::unix(path)?),
            None => tracing::warn!("serves no API: systemd handed over no socket (is fleet.socket enabled?)"),
        }
    }
    Ok(listeners)
}

fn identity(config: &Config) -> Result<Identity, DaemonError> {
    let said = reload::description(config);
    Ok(Identity {
        id: host::machine_id()?,
        boot_id: host::boot_id()?,
        address: said.address,
        metadata: said.metadata,
        capacity: host::capacity(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        disable_engine: said.disable_engine,
    })
}

fn etcd(config: &Config) -> Result<EtcdConfig, EtcdTlsError> {
    let user = (!config.etcd_username.is_empty())
        .then(|| (config.etcd_username.clone(), config.etcd_password.clone()));
    Ok(EtcdConfig {
        servers: config.etcd_servers.clone(),
        user,
        tls: EtcdTls::read(
            config.etcd_cafile.as_deref(),
            config.etcd_certfile.as_deref(),
            config.etcd_keyfile.as_deref(),
        )?,
    })
}

/// systemd, as soon as it answers; `None` if we are told to stop before.
async fn init(config: &Config, metrics: &Metrics, stop: &CancellationToken) -> Option<SharedInit> {
    let mut told = Box::pin(told_to_stop());
    loop {
        match Systemd::connect(&config.units_directory, metrics.init.clone()).await {
            Ok(systemd) => return Some(systemd),
            Err(error) => tracing::warn!(%error, "could not reach systemd, trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = &mut told => {
                stop.cancel();
                return None;
            }
        }
    }
}

async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("was told to stop"),
        _ = interrupt.recv() => tracing::info!("was interrupted"),
    }
    Ok(())
}

/// Whether this is the end of the machine's membership and not only of this process: a person, or the shutdown of the
/// host, stops the service. A restart, a crash, a bare signal are not (design §6, "fleetd stops").
async fn is_leave(init: &SharedInit) -> bool {
    match tokio::time::timeout(JOB_ANSWERED, init.own_job()).await {
        Ok(Ok(OwnJob::Stop)) => true,
        Ok(Ok(job)) => {
            tracing::info!(?job, "stops without leaving the cluster; every unit is kept");
            false
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not ask systemd why it is to stop; every unit is kept");
            false
        }
        Err(_) => {
            tracing::warn!("systemd did not say why it is to stop; every unit is kept");
            false
        }
    }
}

/// Leaves, unless told to stop a second time.
async fn depart(agent: &mpsc::Sender<Request>) -> io::Result<()> {
    let (request, left) = oneshot::channel();
    if agent.send(Request::Leave(request)).await.is_err() {
        return Ok(());
    }
    tokio::select! {
        left = left => if let Ok(true) = left { tracing::info!("left the cluster") },
        told = told_to_stop() => {
            told?;
            tracing::warn!("gave up leaving the cluster; what still runs is kept");
        }
    }
    Ok(())
}

/// The `FLEET_*` variables of this process.
pub fn environment() -> BTreeMap<String, OsString> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("FLEET_"))
        .collect()
}
