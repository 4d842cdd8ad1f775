//! The guard: ends units with `OnDisconnect=stop` when their machine has lost the cluster (design §6).
//!
//! Such a unit is at most once. The engine starts the next copy only a bound after it has missed the machine; the
//! machine has to be done with the old copy by then, even if its fleetd hangs, was killed, or cannot reach anything. So
//! this is a small process of its own (`fleetd guard`, `fleet-guard.service`), there only while such a unit is.
//!
//! With *r* the boot-time clock when the last answered renewal of the presence was sent, *L* its granted TTL and *G* =
//! [`GRACE`], the two sides are:
//!
//! | when | who | what |
//! |---|---|---|
//! | *r* + *L* | guard | has systemd stop the units ([`Act::Stop`]) |
//! | *r* + *L* + *G* - 2 s | guard | kills what is left of them ([`Act::Kill`]), a second before it has to be over |
//! | first sight of the loss + *G* + 2 s + *L*/100 | engine | starts the next copy ([`bound`]) |
//!
//! The loss is seen after *r* + *L*, because etcd counts the TTL from when the renewal reached it. Assumed: clocks drift
//! by less than 1 %, the machine is not paused as a whole, the processes are in the unit's cgroup.
//!
//! fleetd tells the guard by files in one directory: [`Watch`] is fleetd's word (until when, which units), the marks of
//! units that were ended are the guard's. Rooms: [`plan`] decides, `keeper` is fleetd's side, [`run`] the
//! guard's loop, [`process`] its process.

pub mod clock;
mod keeper;
pub mod process;
mod run;
mod watch;

use std::time::Duration;

use units::UnitName;

pub use clock::{BootTime, Clock, SharedClock};
pub use keeper::{Guard, GuardError};
pub use run::run;
pub use watch::{Directory, Watch};

/// How long after the end of its lease a machine may take to be rid of a unit (design §6, "G").
pub const GRACE: Duration = Duration::from_secs(10);

/// The kill comes this long before the grace is over: a second as promised, and one for the kill itself.
const KILL_AHEAD: Duration = Duration::from_secs(2);

/// The service that runs the guard.
pub const SERVICE: &str = "fleet-guard.service";

/// How long after its first sight of the loss the engine waits before it starts the next copy, for a machine whose
/// lease was granted for `ttl`.
pub fn bound(ttl: Duration) -> Duration {
    GRACE + Duration::from_secs(2) + ttl / 100
}

/// What the guard does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing is guarded.
    Rest,
    /// Nothing before this moment.
    Wait(BootTime),
    /// The lease is over: these are to be stopped.
    Stop(Vec<UnitName>),
    /// These must be gone.
    Kill(Vec<UnitName>),
}

/// Decides what to do at `now`. No deadline known is a deadline that is over: nobody knows that the machine is present.
pub fn plan(watch: Option<&Watch>, now: BootTime) -> Act {
    let Some(watch) = watch.filter(|w| !w.units.is_empty()) else {
        return Act::Rest;
    };
    let units = || watch.units.iter().cloned().collect();
    match watch.deadline {
        Some(deadline) if now < deadline => Act::Wait(deadline),
        Some(deadline) if now < deadline + GRACE - KILL_AHEAD => Act::Stop(units()),
        _ => Act::Kill(units()),
    }
}

#[cfg(test)]
mod tests;
