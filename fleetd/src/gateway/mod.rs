//! The gateway: etcd at 127.0.0.1:2379 on a machine that is no member of it (etcd 2 called it `proxy: on`).
//!
//! `fleetd gateway` (`fleet-gateway.service`) takes TCP connections on loopback and passes each on to a member that works.
//! etcd's own `etcd gateway` is told its endpoints once; this one asks the members who the members are, and remembers it,
//! so that it finds the cluster when all those it was told of have been replaced.
//!
//! It knows nothing of what passes through. To members with `https://` addresses it speaks TLS, and shows them this
//! machine's certificate, while the local side stays plain: whoever runs on this machine has what that certificate opens
//! (docs/security.md).
//!
//! Nothing happens while nobody is connected: members are asked at the start, after a member could not be reached, with a
//! new connection, once a minute at most, and every ten minutes while connections are open.
//!
//! Rooms: [`choice`] decides whom to try and in which order, [`Members`] reads what a peer says; `dial` connects and asks,
//! `relay` passes on, `reach` is what all connections share, [`process`] is the process.

mod address;
pub mod choice;
mod config;
mod dial;
mod members;
mod memory;
pub mod process;
mod reach;
mod relay;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use address::{Address, NoAddress};
pub use config::{DEFAULT_FILE, GatewayConfig, GatewayConfigError};
pub use members::{Members, NoMembers};
pub use memory::{FILE, Memory};
pub use tls::{GatewayTls, GatewayTlsError};

use reach::Reach;
use relay::relay;
use tls::Speaks;

/// Where a client has to have said something by then, it is taken for one that waits for etcd to speak.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Why the gateway cannot run. One line.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] GatewayConfigError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] GatewayTlsError),
    /// Somebody else has the address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The rest.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How patient the gateway is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// With one member: connecting and the TLS handshake.
    pub dial: Duration,
    /// Between two questions who the members are, at least.
    pub between: Duration,
    /// After this long what is known of the members is old, and the next connection has it renewed.
    pub fresh: Duration,
    /// While connections are open it is renewed this often without a new one.
    pub open: Duration,
    /// When one side of a connection has ended, with the other.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(1),
            between: Duration::from_secs(1),
            fresh: Duration::from_secs(60),
            open: Duration::from_secs(600),
            linger: Duration::from_secs(10),
        }
    }
}

/// Asks the peers of a configuration, one after the other, who the members are.
///
/// # Errors
/// If none of them says it: what each of them said, in one line.
pub async fn ask(config: &GatewayConfig) -> Result<Members, String> {
    let tls = GatewayTls::read(config).map_err(|error| error.to_string())?;
    let mut reasons = Vec::new();
    for peer in &config.peers {
        match dial::ask(peer, tls.as_ref(), Patience::default().dial).await {
            Ok(members) => return Ok(members),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(reasons.join("; "))
}

/// A gateway that listens.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<TcpListener>,
    reach: Arc<Reach>,
}

impl Gateway {
    /// Reads certificates and what is remembered, and takes the addresses to listen on.
    ///
    /// # Errors
    /// If certificates are of no use, or the first address is taken. The other addresses are for old times' sake.
    pub async fn open(
        config: GatewayConfig,
        memory: Memory,
        patience: Patience,
    ) -> Result<Self, GatewayError> {
        let tls = GatewayTls::read(&config)?;
        let mut listeners = Vec::new();
        for address in &config.listen {
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                Err(error) if listeners.is_empty() => {
                    let address = *address;
                    return Err(GatewayError::Listen { address, error });
                }
                Err(error) => tracing::warn!(%address, %error, "could not listen on a second address"),
            }
            if !address.ip().is_loopback() {
                tracing::warn!(
                    %address,
                    "passes etcd on in plain text: whoever reaches this address has what this machine may do there"
                );
            }
        }
        let reach = Arc::new(Reach::new(&config, tls, memory, patience));
        Ok(Self { listeners, reach })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }

    /// Passes connections on until `stop`. They end with it.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let reach = self.reach.clone();
        let learner = stop.clone();
        tasks.spawn(async move { learner.run_until_cancelled(reach.learn()).await });
        for listener in self.listeners {
            let (reach, stop, connections) = (self.reach.clone(), stop.clone(), tasks.clone());
            tasks.spawn(async move { accept(&listener, &reach, &stop, &connections).await });
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn accept(listener: &TcpListener, reach: &Arc<Reach>, stop: &CancellationToken, tasks: &TaskTracker) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((local, _)) => {
                let (reach, stop) = (reach.clone(), stop.clone());
                tasks.spawn(async move { stop.run_until_cancelled(pass(local, &reach)).await });
            }
            Err(error) => {
                // Out of descriptors, most likely: some connection has to end first.
                tracing::warn!(%error, "could not take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from its beginning to its end. Without a member it is closed: clients try again on their own.
async fn pass(local: TcpStream, reach: &Reach) {
    let speaks = if reach.has_tls() {
        match tokio::time::timeout(FIRST_WORD, first_word(&local)).await {
            Ok(Ok(Some(speaks))) => speaks,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => Speaks::Http2,
        }
    } else {
        Speaks::Http2
    };
    let Some((member, remote)) = reach.reach(speaks).await else {
        return;
    };
    let _open = reach.open();
    // One that is gone already ends by itself.
    let _ = local.set_nodelay(true);
    let passed = relay(local, remote, reach.linger(), || reach.mute(&member)).await;
    let (sent, received) = (passed.sent, passed.received);
    match passed.end {
        Ok(()) => tracing::debug!(%member, sent, received, "closed a connection"),
        Err(error) => tracing::debug!(%member, sent, received, %error, "lost a connection"),
    }
}

/// What the client speaks, by what it says first: HTTP/2 begins with `PRI * HTTP/2.0`. `None` if it has gone.
async fn first_word(local: &TcpStream) -> io::Result<Option<Speaks>> {
    let mut start = [0; 3];
    loop {
        let read = local.peek(&mut start).await?;
        match start.get(..read) {
            None | Some([]) => return Ok(None),
            Some(b"PRI") => return Ok(Some(Speaks::Http2)),
            Some(said) if !b"PRI".starts_with(said) => return Ok(Some(Speaks::Http1)),
            // A piece of it: what follows is on its way, and waiting for readiness would return at once.
            Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
