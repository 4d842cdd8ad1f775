//! Where the API is served: on whatever systemd hands over, as in fleet (fleet-reference §5.6), or on a path or an
//! address that is asked for.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::serve;
use super::tls::ApiTls;
use crate::watchdog::Pulse;

/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port. Without TLS whoever reaches it has the whole cluster.
    Tcp(TcpListener, Option<ApiTls>),
}

/// The sockets that systemd has opened for us; none if there are none.
///
/// # Errors
/// If what was handed over is no listening unix or TCP socket.
pub fn from_systemd(tls: Option<&ApiTls>) -> io::Result<Vec<Listener>> {
    sd_notify::listen_fds()?.map(|fd| adopt(fd, tls)).collect()
}

#[expect(
    unsafe_code,
    reason = "a descriptor that systemd passes has no owner until somebody takes it"
)]
fn adopt(fd: RawFd, tls: Option<&ApiTls>) -> io::Result<Listener> {
    // SAFETY: sd_notify::listen_fds checked that systemd passed this descriptor to this very process, and it is called
    // once, before anything else could have taken it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let address: SockaddrStorage = getsockname(std::os::fd::AsRawFd::as_raw_fd(&fd))?;
    if address.family() == Some(AddressFamily::Unix) {
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(UnixListener::from_std(listener)?))
    } else {
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(TcpListener::from_std(listener)?, tls.cloned()))
    }
}

/// A unix socket of our own (mode 0660), in place of one that an earlier fleetd may have left.
///
/// # Errors
/// If it cannot be made there.
pub fn unix(path: &Path) -> io::Result<Listener> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(named(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(named)?;
    Ok(Listener::Unix(listener))
}

impl Listener {
    /// Where it listens, for the log.
    pub fn name(&self) -> String {
        match self {
            Self::Unix(l) => {
                let address = l.local_addr().ok();
                address
                    .and_then(|a| a.as_pathname().map(PathBuf::from))
                    .unwrap_or_default()
                    .display()
                    .to_string()
            }
            Self::Tcp(l, _) => l.local_addr().map(|a| a.to_string()).unwrap_or_default(),
        }
    }

    /// Answers requests until `stop`; who has connected by then is answered still, the others are the next fleetd's.
    pub async fn serve(self, router: Router, pulse: Pulse, stop: CancellationToken) {
        let address = self.name();
        if self.is_open() {
            tracing::warn!(
                address,
                "serves the API in plain text: whoever reaches this address has the whole cluster (see api_certfile)"
            );
        } else {
            tracing::info!(address, "serves the API");
        }
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                () = pulse.due() => continue,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(Stream::Unix(stream)) => {
                    connections.spawn(serve::connection(stream, router.clone(), stop.clone()));
                }
                Ok(Stream::Tcp(stream)) => match &self {
                    Self::Tcp(_, Some(tls)) => {
                        connections.spawn(serve::secured(stream, tls.clone(), router.clone(), stop.clone()));
                    }
                    _ => {
                        connections.spawn(serve::connection(stream, router.clone(), stop.clone()));
                    }
                },
                Err(error) => {
                    // Most of all: no descriptors left. Whoever has some gives them back.
                    tracing::warn!(%error, address, "could not take a connection to the API");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }

    /// Whether other machines can reach it and need to show nothing.
    fn is_open(&self) -> bool {
        match self {
            Self::Tcp(listener, None) => listener.local_addr().is_ok_and(|a| !a.ip().is_loopback()),
            Self::Tcp(_, Some(_)) | Self::Unix(_) => false,
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(listener) => Stream::Unix(listener.accept().await?.0),
            Self::Tcp(listener, _) => {
                let stream = listener.accept().await?.0;
                // Answers are small, and each is waited for.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }
        })
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::api::Api;
    use crate::registry::keys::Keys;
    use crate::registry::memory::MemoryRegistry;
    use crate::registry::trust::Trust;

    /// Of a certificate that is its own CA.
    fn tls() -> Option<ApiTls> {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let [pem, key] = ["pem", "key"].map(|name| directory.path().join(name));
        fs::write(&pem, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        ApiTls::read(Some(&pem), Some(&key), Some(&pem)).unwrap()
    }

    #[tokio::test]
    async fn what_is_warned_about_is_plain_tcp_beyond_this_machine() {
        let bind = async |address: &str| TcpListener::bind(address).await.unwrap();
        for (listener, open) in [
            (Listener::Tcp(bind("0.0.0.0:0").await, None), true),
            (Listener::Tcp(bind("0.0.0.0:0").await, tls()), false),
            (Listener::Tcp(bind("127.0.0.1:0").await, None), false),
        ] {
            assert_eq!(listener.is_open(), open, "{listener:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_or_half_is_let_go() {
        let half = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        for (tls, sent) in [
            (None, ""),
            (None, "GET /fle"),
            (None, half),
            (tls(), ""),
            (tls(), "\x16"),
        ] {
            let run = tempfile::tempdir().unwrap();
            let trust = Arc::new(Trust::open(run.path()).unwrap());
            let registry = Arc::new(MemoryRegistry::new().client("api"));
            let router = Api::new(registry, Keys::default(), trust).router();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let listener = Listener::Tcp(listener, tls);
            tokio::spawn(listener.serve(router, Pulse::default(), CancellationToken::new()));
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            let closed = tokio::time::timeout(Duration::from_secs(120), client.read_to_end(&mut said)).await;
            assert!(closed.is_ok(), "it is still connected after {sent:?}");
        }
    }
}
