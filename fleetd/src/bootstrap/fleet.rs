//! fleetd on this machine: configured, started, and seen by the cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use units::MachineId;

use super::etcd::dropin;
use super::plan;
use super::system::{File, System, SystemError};
use super::talk::{Talk, until};

/// fleetd's units, in the order in which they are enabled.
pub const UNITS: [&str; 2] = ["fleet.socket", "fleet.service"];

/// Where its API answers.
pub const SOCKET: &str = "/run/fleet.sock";

/// A presence of an earlier boot has to run half out before a machine is let in again; agent_ttl may be a minute or two.
const SEEN: Duration = Duration::from_secs(300);

/// Why fleetd does not run as it should. One line.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Of the machine.
    #[error(transparent)]
    System(#[from] SystemError),
    /// It was started, and the cluster does not see the machine.
    #[error(
        "fleetd was started, but the cluster does not see this machine yet: {0}; see journalctl -u fleet"
    )]
    Unseen(String),
}

/// Writes fleetd's drop-in and has it run with it. What runs on the machine is not touched by a restart.
///
/// # Errors
/// If a file cannot be written, or systemd does not start it.
pub fn run_with(
    system: &dyn System,
    environment: &BTreeMap<String, String>,
    drop_in: &str,
    talk: Talk<'_>,
) -> Result<(), FleetError> {
    let settings = plan::environment(environment);
    let text = format!("# Written by fleet: `fleetctl leave` takes it away.\n{settings}");
    system.write(&File::plain(dropin::path("fleet.service", drop_in), text))?;
    start(system, environment, talk)
}

/// fleetd's settings by an earlier run.
///
/// # Errors
/// If they cannot be read.
pub fn before(system: &dyn System, drop_in: &str) -> Result<dropin::Environment, SystemError> {
    Ok(dropin::read(system, "fleet.service", drop_in)?.unwrap_or_default())
}

/// Enables fleetd and has it run with this environment, whatever it runs with at present.
///
/// # Errors
/// If systemd does not.
pub fn start(
    system: &dyn System,
    environment: &BTreeMap<String, String>,
    talk: Talk<'_>,
) -> Result<(), FleetError> {
    system.must("systemctl", &["daemon-reload"])?;
    system.must("systemctl", &["enable", "--quiet", UNITS[0], UNITS[1]])?;
    system.must("systemctl", &["start", UNITS[0]])?;
    let runs = system
        .run("systemctl", &["is-active", "--quiet", UNITS[1]])?
        .success;
    match (runs, runs && has(system, environment)?) {
        (true, true) => return Ok(()),
        (true, false) => system.must("systemctl", &["restart", UNITS[1]])?,
        (false, _) => system.must("systemctl", &["start", UNITS[1]])?,
    };
    talk.say(format!("started {}", UNITS[1]));
    Ok(())
}

/// Whether the fleetd that runs was started with all of this. A file that is written says nothing about that: the run
/// that wrote it may have been cut off.
fn has(system: &dyn System, environment: &BTreeMap<String, String>) -> Result<bool, SystemError> {
    let pid = system.must("systemctl", &["show", "--property=MainPID", "--value", UNITS[1]])?;
    let path = PathBuf::from(format!("/proc/{}/environ", pid.trim()));
    let Some(found) = system.read(&path)? else {
        return Ok(false);
    };
    let found: Vec<&[u8]> = found.split(|byte| *byte == 0).collect();
    Ok(environment
        .iter()
        .all(|(name, value)| found.contains(&format!("{name}={value}").as_bytes())))
}

/// Waits until the cluster lists this machine.
///
/// # Errors
/// If it does not within five minutes.
pub async fn seen(id: &MachineId, talk: Talk<'_>) -> Result<(), FleetError> {
    let asked = until(SEEN, Duration::from_millis(100), async || {
        let listed = machines(Path::new(SOCKET)).await?;
        match listed.iter().any(|machine| machine == id.as_str()) {
            true => Ok(()),
            false => Err("it is not listed".to_owned()),
        }
    });
    let waited = talk.wait_for("the cluster to see this machine", asked).await;
    waited.map_err(FleetError::Unseen)
}

/// Ids of the machines that the cluster lists.
///
/// # Errors
/// What stood in the way, in a few words.
pub async fn machines(socket: &Path) -> Result<Vec<String>, String> {
    let body = timeout(Duration::from_secs(10), get(socket, "/fleet/v1/machines"));
    let body = body.await.map_err(|_| "no answer".to_owned())??;
    let body: serde_json::Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
    if let Some(message) = body["error"]["message"].as_str() {
        return Err(message.to_owned());
    }
    let machines = body["machines"].as_array().cloned().unwrap_or_default();
    let ids = machines.iter().filter_map(|machine| machine["id"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

async fn get(socket: &Path, path: &str) -> Result<Bytes, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let stream = UnixStream::connect(socket).await.map_err(|e| said(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| said(&e))?;
    tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", "fleet")
        .body(Empty::<Bytes>::new())
        .map_err(|e| said(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| said(&e))?;
    let body = answer.into_body().collect().await.map_err(|e| said(&e))?;
    Ok(body.to_bytes())
}
