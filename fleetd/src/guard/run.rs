//! The guard as a process: waits for the deadline, then sees to it that nothing guarded runs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use units::UnitName;

use super::{Act, BootTime, Directory, SharedClock, plan};
use crate::init::{InitError, SharedInit};

/// How often it looks again while the lease is over. It reads a file of a few bytes in memory and asks systemd; this
/// is not the normal state of a machine, and a start that was on its way when the lease ended has to be caught.
const LOOK: Duration = Duration::from_secs(1);

/// Guards what `directory` says until `stop`.
pub async fn run(directory: Directory, clock: SharedClock, init: SharedInit, stop: CancellationToken) {
    let mut ending = Ending::default();
    loop {
        let now = clock.now();
        let act = match directory.read() {
            Ok(watch) => plan(watch.as_ref(), now),
            Err(error) => {
                // fleetd replaces it whole with the next renewal.
                tracing::error!(%error, "could not read what is to be guarded");
                Act::Rest
            }
        };
        let next = match &act {
            Act::Wait(until) => *until,
            Act::Rest | Act::Stop(_) | Act::Kill(_) => now.saturating_add(LOOK),
        };
        match act {
            Act::Rest | Act::Wait(_) => ending.is_over(),
            Act::Stop(units) => ending.end(&directory, &init, units, false, now).await,
            Act::Kill(units) => ending.end(&directory, &init, units, true, now).await,
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// One time that the machine was without the cluster.
#[derive(Debug, Default)]
struct Ending {
    since: Option<BootTime>,
}

impl Ending {
    fn is_over(&mut self) {
        if self.since.take().is_some() {
            tracing::info!("the machine counts as present again");
        }
    }

    async fn end(
        &mut self,
        directory: &Directory,
        init: &SharedInit,
        units: Vec<UnitName>,
        by_force: bool,
        now: BootTime,
    ) {
        if self.since.is_none() {
            self.since = Some(now);
            tracing::warn!(
                units = units.len(),
                "this machine may count as lost: ends its units with OnDisconnect=stop"
            );
        }
        // Without an answer of systemd every one of them may be up.
        let up = match tokio::time::timeout(LOOK, init.observe(&units)).await {
            Ok(Ok(seen)) => seen
                .into_iter()
                .filter(|(_, s)| !matches!(s.active.as_str(), "inactive" | "failed"))
                .map(|(name, _)| name)
                .collect(),
            _ => units,
        };
        let each = up.iter().map(|unit| one(directory, init, unit, by_force));
        futures_util::future::join_all(each).await;
    }
}

async fn one(directory: &Directory, init: &SharedInit, unit: &UnitName, by_force: bool) {
    if let Err(error) = directory.mark(unit) {
        tracing::warn!(%unit, %error, "could not note that the unit is ended");
    }
    // The job is not waited for: the next look sees what became of it.
    let stopped = answered(init.stop(unit)).await.map(drop);
    match &stopped {
        Ok(()) | Err(InitError::NoSuchUnit(_)) => tracing::warn!(%unit, by_force, "ends the unit"),
        Err(error) => tracing::error!(%unit, %error, "could not have systemd stop the unit"),
    }
    if !by_force {
        return;
    }
    if let Err(error) = answered(init.kill(unit)).await {
        tracing::error!(%unit, %error, "could not kill the unit");
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, InitError>>) -> Result<T, InitError> {
    let silent = || InitError::Unreachable("no answer".to_owned());
    tokio::time::timeout(LOOK, call)
        .await
        .unwrap_or_else(|_| Err(silent()))
}
