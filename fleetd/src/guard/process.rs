//! The guard as `fleetd guard` runs it: on the kernel's clock and this machine's systemd.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::clock::Kernel;
use super::{Directory, run};
use crate::init::SharedInit;
use crate::init::systemd::Systemd;

/// Where fleetd and the guard speak to each other.
pub const DIRECTORY: &str = "/run/fleet/guard";

/// Guards until told to stop.
///
/// # Errors
/// If the directory cannot be made or signals cannot be waited for.
pub async fn main() -> io::Result<()> {
    let directory = Directory::open(Path::new(DIRECTORY))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let guard = async {
        let init = connect().await;
        tracing::info!("guards units with OnDisconnect=stop");
        // systemd takes the service for started, and fleetd starts the unit, when the guard can do its work.
        sd_notify::notify(&[NotifyState::Ready])?;
        run(directory, Arc::new(Kernel), init, CancellationToken::new()).await;
        io::Result::Ok(())
    };
    tokio::select! {
        ended = guard => ended,
        _ = terminate.recv() => Ok(()),
    }
}

async fn connect() -> SharedInit {
    loop {
        // The directory of unit files matters to who owns a name, which the guard never asks.
        match Systemd::connect("/run/fleet/units", Arc::default()).await {
            Ok(systemd) => return systemd,
            Err(error) => tracing::error!(%error, "could not reach systemd, trying again"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
