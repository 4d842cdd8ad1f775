//! Where the API is served: on whatever systemd hands over, as in fleet (fleet-reference §5.6), or on a path or an
//! address that is asked for.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

/// A socket that is listened on.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP port. Plain: whoever reaches it has the whole cluster.
    Tcp(TcpListener),
}

/// The sockets that systemd has opened for us; none if there are none.
///
/// # Errors
/// If what was handed over is no listening unix or TCP socket.
pub fn from_systemd() -> io::Result<Vec<Listener>> {
    sd_notify::listen_fds()?.map(adopt).collect()
}

#[expect(
    unsafe_code,
    reason = "a descriptor that systemd passes has no owner until somebody takes it"
)]
fn adopt(fd: RawFd) -> io::Result<Listener> {
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
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "serves the API in plain text: whoever reaches this address has the whole cluster");
        }
        Ok(Listener::Tcp(TcpListener::from_std(listener)?))
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
            Self::Tcp(l) => l.local_addr().map(|a| a.to_string()).unwrap_or_default(),
        }
    }

    /// Answers requests until `stop`; what is being answered then is finished, but for event streams.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let name = self.name();
        tracing::info!(address = %name, "serves the API");
        let result = match self {
            Self::Unix(listener) => {
                let served = axum::serve(listener, router);
                tokio::select! { r = served => r, () = stop.cancelled() => Ok(()) }
            }
            Self::Tcp(listener) => {
                let served = axum::serve(listener, router);
                tokio::select! { r = served => r, () = stop.cancelled() => Ok(()) }
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, address = %name, "stopped serving the API");
        }
    }
}
