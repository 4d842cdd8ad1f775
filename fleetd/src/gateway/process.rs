//! The gateway as `fleetd gateway` runs it.

use std::path::Path;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{DEFAULT_FILE, FILE, Gateway, GatewayConfig, GatewayError, Memory, Patience};

/// Passes connections on until told to stop. Without a `file` the configuration is [`DEFAULT_FILE`].
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn main(file: Option<&Path>) -> Result<(), GatewayError> {
    let config = GatewayConfig::load(file.unwrap_or_else(|| Path::new(DEFAULT_FILE)))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let memory = Memory::new(FILE, &config);
    let gateway = Gateway::open(config, memory, Patience::default()).await?;
    let addresses: Vec<String> = gateway.addresses().iter().map(ToString::to_string).collect();
    tracing::info!(addresses = addresses.join(","), "listened for clients of etcd");
    sd_notify::notify(&[NotifyState::Ready])?;
    let stop = CancellationToken::new();
    tokio::select! {
        () = gateway.run(stop.clone()) => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
