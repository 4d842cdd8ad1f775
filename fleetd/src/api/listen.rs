//! Where the API is served: on whatever systemd hands over, as in fleet (fleet-reference §5.6), or on a path or an
//! address that is asked for.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::serve;
use super::tls::ApiTls;
use crate::watchdog::Pulse;

/// After a connection that could not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections of one socket at a time. More wait in the kernel's queue until one of them ends; each socket has its own
/// number, so that clients from afar do not keep away those on the machine itself. Every `fleetctl` that waits, and every
/// console that is open, holds one; fleet.service may have 65536 descriptors.
const CONNECTIONS: usize = 1024;

/// Between two warnings that a socket is full.
const WARN_FULL: Duration = Duration::from_secs(60);

/// Whether a socket is full, and when that was last said.
#[derive(Debug, Default)]
struct Fullness {
    is_said: bool,
    said: Option<Instant>,
}

impl Fullness {
    /// Whether to warn now: once for each time that it fills up, and not more often than every [`WARN_FULL`].
    fn is_news(&mut self, is_full: bool, now: Instant) -> bool {
        let is_early = self.said.is_some_and(|said| now < said + WARN_FULL);
        if !is_full {
            self.is_said = false;
        }
        let is_news = is_full && !self.is_said && !is_early;
        if is_news {
            (self.is_said, self.said) = (true, Some(now));
        }
        is_news
    }
}

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
        self.serve_at_most(CONNECTIONS, router, pulse, stop).await;
    }

    async fn serve_at_most(self, most: usize, router: Router, pulse: Pulse, stop: CancellationToken) {
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
        let room = Arc::new(Semaphore::new(most));
        let mut fullness = Fullness::default();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                () = pulse.due() => continue,
                accepted = self.accept(&room) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    if fullness.is_news(room.available_permits() == 0, Instant::now()) {
                        tracing::warn!(
                            address,
                            connections = most,
                            "no room for further clients of the API"
                        );
                    }
                    let served = self.served(stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
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

    /// Answers one client to the end.
    fn served(
        &self,
        stream: Stream,
        router: Router,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let tls = match self {
            Self::Tcp(_, tls) => tls.clone(),
            Self::Unix(_) => None,
        };
        async move {
            match (stream, tls) {
                (Stream::Unix(stream), _) => serve::connection(stream, router, stop).await,
                (Stream::Tcp(stream), None) => serve::connection(stream, router, stop).await,
                (Stream::Tcp(stream), Some(tls)) => serve::secured(stream, tls, router, stop).await,
            }
        }
    }

    /// The next client, once there is a place for it.
    async fn accept(&self, room: &Arc<Semaphore>) -> io::Result<(Stream, OwnedSemaphorePermit)> {
        let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream = match self {
            Self::Unix(listener) => Stream::Unix(listener.accept().await?.0),
            Self::Tcp(listener, _) => {
                let stream = listener.accept().await?.0;
                // Answers are small, and each is waited for.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }
        };
        Ok((stream, place))
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

#[cfg(test)]
mod tests {
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

    /// Each connection that was accepted at the limit was another line in the journal.
    #[test]
    fn a_socket_that_stays_full_or_fills_up_again_and_again_is_not_warned_of_each_time() {
        let began = Instant::now();
        let mut fullness = Fullness::default();
        for (second, is_full, is_news) in [
            (0, false, false),
            (1, true, true),
            (2, true, false),
            (90, true, false),
            (91, false, false),
            (92, true, true),
            (93, false, false),
            (94, true, false),
            (151, true, false),
            (152, true, true),
            (300, true, false),
        ] {
            let now = began + Duration::from_secs(second);
            assert_eq!(fullness.is_news(is_full, now), is_news, "after {second} s");
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
            let said = String::from_utf8_lossy(&said);
            assert_eq!(said.starts_with("HTTP/1.1 408 "), sent == half, "{said}");
            assert_eq!(said.contains(r#"{"error":{"code":408,"#), sent == half, "{said}");
        }
    }

    #[tokio::test]
    async fn one_client_too_many_waits_until_another_has_gone() {
        let run = tempfile::tempdir().unwrap();
        let trust = Arc::new(Trust::open(run.path()).unwrap());
        let registry = Arc::new(MemoryRegistry::new().client("api"));
        let router = Api::new(registry, Keys::default(), trust).router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Listener::Tcp(listener, None).serve_at_most(2, router, Pulse::default(), stop.clone()));
        // Answered, and so taken; then it is kept open.
        let ask = async |client: &mut TcpStream| {
            client
                .write_all(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
        };
        let client = async || {
            let mut client = TcpStream::connect(address).await.unwrap();
            ask(&mut client).await;
            client
        };
        let answered = async |client: &mut TcpStream| {
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(client.read_u8().await.unwrap());
            }
            assert!(answer.starts_with(b"HTTP/1.1 200"));
        };
        let (mut first, mut second) = (client().await, client().await);
        answered(&mut first).await;
        answered(&mut second).await;
        let mut third = client().await;
        for _ in 0..50 {
            ask(&mut second).await;
            answered(&mut second).await;
        }
        let error = third
            .try_read(&mut [0; 1])
            .expect_err("a third client was answered");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        answered(&mut third).await;
    }
}
