//! The init system of this machine: a small trait, systemd over D-Bus behind it, and a scripted twin.
//!
//! fleet writes unit files into a directory of its own, links them (`linked-runtime`), and asks systemd to start and
//! stop them. It never polls: what systemd does with a unit arrives as [`Event`]s.

pub mod contract;
pub mod scripted;
pub mod systemd;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use units::UnitName;

/// A handle that every room shares.
pub type SharedInit = Arc<dyn Init>;

/// What systemd says of one unit. `Default` is what it says of a name it has never heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `LoadState`: `loaded`, `not-found`, `bad-setting`, `error`, `masked`.
    pub load: String,
    /// `ActiveState`: `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// `SubState`, whose values depend on the type of unit.
    pub sub: String,
    /// `Result` of a unit that has one (`success`, `exit-code`, `signal`, `timeout`, …); empty otherwise.
    pub result: String,
    /// `NRestarts`: how often systemd itself restarted it since it was last started; 0 where there is no such count.
    pub restarts: u32,
    /// `MainPID`, 0 if none.
    pub main_pid: u32,
    /// `StateChangeTimestamp` in microseconds since the epoch; 0 if it never changed.
    pub since_us: u64,
    /// `InvocationID` in hex; empty if the unit never ran in this boot (or PID 1 has forgotten it).
    pub invocation: String,
    /// `FragmentPath`: the file PID 1 loaded it from, if it did.
    pub fragment: Option<PathBuf>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            load: "not-found".to_owned(),
            active: "inactive".to_owned(),
            sub: "dead".to_owned(),
            result: String::new(),
            restarts: 0,
            main_pid: 0,
            since_us: 0,
            invocation: String::new(),
            fragment: None,
        }
    }
}

/// How a job that we asked for came out; systemd's `result` of `JobRemoved` (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// `done`; also `skipped` (the unit was in the wanted state, or a condition did not hold).
    Done,
    /// `canceled`: another job took its place.
    Canceled,
    /// `timeout`, `failed`, `dependency`, … in systemd's own word.
    Failed(String),
}

/// A job that systemd has accepted. The job runs on whether or not anyone awaits it.
pub type Job = tokio::sync::oneshot::Receiver<JobResult>;

/// What happened in the init system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This unit is now thus. Sent for watched names only; several changes in a row may arrive as one.
    Changed(UnitName, Status),
    /// Everything may have changed unseen (the connection was lost and is back): observe again.
    Resync,
    /// Unit files on this machine were added or removed (`UnitFilesChanged`): names may have become free or taken.
    FilesChanged,
}

/// Where a unit's name comes from on this machine, apart from the files fleet itself wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nothing but fleet uses it.
    Nobody,
    /// The host has it: the path of the unit file (or of the template, or the link) that claims the name.
    Host(PathBuf),
}

/// The job that systemd is running for fleetd's own service, if any; tells a leave from a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnJob {
    /// A `stop` job: somebody stops the service, or the machine shuts down.
    Stop,
    /// A `restart` or another job that ends with the service running.
    Other,
    /// No job at all: a signal from a person, a crash of the manager's bookkeeping, no service.
    None,
}

/// Why the init system could not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// systemd knows no such unit.
    #[error("systemd knows no unit {0}")]
    NoSuchUnit(String),
    /// systemd said no, in its own words.
    #[error("{message}")]
    Refused {
        /// The D-Bus error name, e.g. `org.freedesktop.systemd1.BadUnitSetting`.
        name: String,
        /// systemd's message.
        message: String,
    },
    /// There is no connection to systemd at the moment; it is being made again.
    #[error("systemd is not reachable over D-Bus: {0}")]
    Unreachable(String),
}

/// What [`Init::enable`] says of a file without an installable `[Install]`: systemd itself takes it without a word.
fn no_install_info(unit: &str) -> InitError {
    InitError::Refused {
        name: "fleet.NoInstallInfo".to_owned(),
        message: format!("unit {unit} has no [Install] section that could be enabled"),
    }
}

/// The init system. All methods may be called concurrently; the implementation bounds the calls in flight (32).
#[async_trait]
pub trait Init: fmt::Debug + Send + Sync + 'static {
    /// Has systemd know the unit file at `path` (absolute, in fleet's directory) until the next boot.
    async fn link(&self, path: &Path) -> Result<(), InitError>;

    /// Enables the linked unit's `[Install]` until the next boot.
    ///
    /// # Errors
    /// Also when the file carries no installable `[Install]`.
    async fn enable(&self, path: &Path) -> Result<(), InitError>;

    /// Takes back [`Init::enable`] and [`Init::link`]: removes the runtime links of this name.
    async fn unlink(&self, name: &UnitName) -> Result<(), InitError>;

    /// `daemon-reload`. Costs 90 to 350 ms of PID 1: callers coalesce.
    async fn reload(&self) -> Result<(), InitError>;

    /// Queues a start job (mode `replace`).
    async fn start(&self, name: &UnitName) -> Result<Job, InitError>;

    /// Queues a stop job (mode `replace`).
    ///
    /// # Errors
    /// [`InitError::NoSuchUnit`] when there is nothing to stop; callers take it as done.
    async fn stop(&self, name: &UnitName) -> Result<Job, InitError>;

    /// Ends every process of the unit with SIGKILL, by the kernel alone if systemd does not answer. Not an error if there
    /// are none. With `Restart=` systemd starts the unit again, unless a stop was queued before.
    async fn kill(&self, name: &UnitName) -> Result<(), InitError>;

    /// Makes systemd forget a failure, so that it can forget the unit. Not an error if it does not know the unit.
    async fn reset_failed(&self, name: &UnitName) -> Result<(), InitError>;

    /// What systemd says of each name now; names it never heard of come with the default status.
    async fn observe(&self, names: &[UnitName]) -> Result<Vec<(UnitName, Status)>, InitError>;

    /// Who, apart from fleet's own directory, claims this name: a unit file, an alias, a template that would
    /// give this instance, or a loaded unit without a file (transient, generated).
    async fn owner(&self, name: &UnitName) -> Result<Owner, InitError>;

    /// Replaces the set of names whose changes are reported.
    fn watch(&self, names: Vec<UnitName>);

    /// The event stream; one per init system, the first caller gets it.
    fn events(&self) -> Option<mpsc::UnboundedReceiver<Event>>;

    /// The time that systemd goes by, in microseconds since the epoch.
    fn now_us(&self) -> u64;

    /// When a start of each of `names` was last begun, if it was since `since_us`; whether or not systemd still knows of it: a unit that has
    /// ended and that nothing refers to is forgotten.
    async fn started_since(
        &self,
        names: &[UnitName],
        since_us: u64,
    ) -> Result<BTreeMap<UnitName, u64>, InitError>;

    /// The job that concerns our own service.
    async fn own_job(&self) -> Result<OwnJob, InitError>;
}
