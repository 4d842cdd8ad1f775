//! One connection to systemd, from its making to its loss.
//!
//! All signals come over one stream, drained by one task that never waits for anything else: zbus stops reading when
//! a stream is full, and what belongs together (the two signals of a change, the end of a job) stays in order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use zbus::fdo::DBusProxy;
use zbus::message::{Message, Type};
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, MessageStream, ObjectPath};

use super::Shared;
use super::escape::{UNITS, unit_name};
use super::events::{Changed, Outcome};
use super::jobs::Jobs;
use super::proxies::ManagerProxy;
use crate::init::{Event, InitError};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// A call that is not answered by then never will be: even a daemon-reload of thousands of units takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a unit that PID 1 took in may say nothing before it is looked at.
const SILENCE: Duration = Duration::from_secs(1);

/// A connection that is up.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) manager: ManagerProxy<'static>,
    pub(super) jobs: Jobs,
    /// The directories that systemd looks for unit files in.
    pub(super) search: Vec<PathBuf>,
    /// The unique name of PID 1. Any process of the machine may send us signals that look like PID 1's.
    owner: Mutex<String>,
    /// The units that systemd is to be asked for.
    asked: Mutex<BTreeSet<String>>,
    ask: Notify,
    taken_in: Notify,
    new_owner: Notify,
}

/// A session with the tasks that serve it; they end with this. The first ends by itself when the connection does.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) session: Arc<Session>,
    drain: AbortOnDropHandle<()>,
    _others: [AbortOnDropHandle<()>; 3],
}

impl Served {
    pub(super) async fn connect(shared: &Arc<Shared>) -> zbus::Result<Self> {
        let connection = zbus::connection::Builder::system()
            .method_timeout(CALL_TIMEOUT)
            .build()
            .await?;
        let stream = MessageStream::from(&connection);
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let bus = DBusProxy::builder(&connection)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let search = manager
            .unit_path()
            .await?
            .into_iter()
            .map(PathBuf::from)
            .collect();
        let session = Arc::new(Session {
            connection,
            manager,
            jobs: Jobs::default(),
            search,
            owner: Mutex::default(),
            asked: Mutex::default(),
            ask: Notify::new(),
            taken_in: Notify::new(),
            new_owner: Notify::new(),
        });
        // From here on the stream is drained, so signals may come.
        let served = Self {
            drain: spawn(drain(shared.clone(), session.clone(), stream)),
            _others: [
                spawn(answer(shared.clone(), session.clone())),
                spawn(look_at_the_silent(shared.clone(), session.clone())),
                spawn(follow_owner(shared.clone(), session.clone())),
            ],
            session,
        };
        for rule in rules()? {
            bus.add_match_rule(rule).await?;
        }
        let owner = bus.get_name_owner(BusName::try_from(SYSTEMD)?).await?;
        {
            let mut known = lock(&served.session.owner);
            // What the stream said is at least as new.
            if known.is_empty() {
                owner.as_str().clone_into(&mut known);
            }
        }
        served.session.manager.subscribe().await?;
        Ok(served)
    }

    /// Returns when the connection is lost.
    pub(super) async fn lost(&mut self) {
        // A drain that panicked is lost as well.
        let _ = (&mut self.drain).await;
    }
}

impl Session {
    fn ask_for(&self, units: impl IntoIterator<Item = String>) {
        lock(&self.asked).extend(units);
        self.ask.notify_one();
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The signals that are wanted: few of PID 1's own, all changes of all units, and the fate of its bus name.
///
/// One rule for all units and not one each: a rule costs the bus something for every signal of anybody's.
fn rules() -> zbus::Result<Vec<MatchRule<'static>>> {
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    let mut rules = vec![
        signal()
            .sender(BUS)
            .interface(BUS)
            .member("NameOwnerChanged")
            .arg(0, SYSTEMD)
            .build()?,
        signal()
            .sender(SYSTEMD)
            .interface(PROPERTIES)
            .path_namespace(UNITS)
            .build()?,
    ];
    for member in [
        "JobRemoved",
        "UnitNew",
        "UnitRemoved",
        "UnitFilesChanged",
        "Reloading",
    ] {
        rules.push(
            signal()
                .sender(SYSTEMD)
                .interface(MANAGER)
                .member(member)
                .build()?,
        );
    }
    Ok(rules)
}

/// Takes in every signal until the connection is lost.
async fn drain(shared: Arc<Shared>, session: Arc<Session>, mut stream: MessageStream) {
    while let Some(message) = stream.next().await {
        let Ok(message) = message else { continue };
        if message.message_type() == Type::Signal
            && let Err(error) = take_in(&shared, &session, &message)
        {
            tracing::warn!(%error, "signal not understood");
        }
    }
}

fn take_in(shared: &Shared, session: &Session, message: &Message) -> zbus::Result<()> {
    let header = message.header();
    let (Some(sender), Some(interface), Some(member)) =
        (header.sender(), header.interface(), header.member())
    else {
        return Ok(());
    };
    let body = message.body();
    if sender.as_str() == BUS {
        if member.as_str() == "NameOwnerChanged" {
            let (name, _, new): (&str, &str, &str) = body.deserialize()?;
            if name == SYSTEMD {
                new.clone_into(&mut lock(&session.owner));
                if !new.is_empty() {
                    session.new_owner.notify_one();
                }
            }
        }
        return Ok(());
    }
    if sender.as_str() != lock(&session.owner).as_str() {
        return Ok(());
    }
    match (interface.as_str(), member.as_str()) {
        (PROPERTIES, "PropertiesChanged") => {
            let unit = header.path().and_then(|path| unit_name(path.as_str()));
            let Some(unit) = unit.filter(|unit| shared.tracker().is_watched(unit)) else {
                return Ok(());
            };
            let (interface, changed, _): (&str, Changed<'_>, Vec<&str>) = body.deserialize()?;
            let outcome = shared.tracker().changed(&unit, interface, &changed, |unit| {
                super::owner::locate(&session.search, unit)
            });
            match outcome {
                Outcome::Nothing => (),
                Outcome::Send(name, status) => shared.send(Event::Changed(name, status)),
                Outcome::Ask => session.ask_for([unit]),
            }
        }
        (MANAGER, "JobRemoved") => {
            let (_, path, _, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize()?;
            session.jobs.removed(path.as_str(), result);
        }
        (MANAGER, "UnitNew") => {
            let (unit, _): (&str, ObjectPath<'_>) = body.deserialize()?;
            if shared.tracker().taken_in(unit) {
                session.taken_in.notify_one();
            }
        }
        (MANAGER, "UnitRemoved") => {
            let (unit, _): (&str, ObjectPath<'_>) = body.deserialize()?;
            shared.tracker().let_go(unit);
        }
        (MANAGER, "UnitFilesChanged") => shared.files_changed(),
        (MANAGER, "Reloading") => {
            let starts: bool = body.deserialize()?;
            if !starts {
                // PID 1 has read every file again, and says nothing of units whose state is what it was.
                session.ask_for(shared.tracker().reloaded());
                shared.reloaded();
            }
        }
        _ => (),
    }
    Ok(())
}

/// Asks systemd for the units whose signals left something open; many at once are one question.
async fn answer(shared: Arc<Shared>, session: Arc<Session>) {
    loop {
        session.ask.notified().await;
        let units = std::mem::take(&mut *lock(&session.asked));
        if units.is_empty() {
            continue;
        }
        if let Err(error) = shared.look_at(&session, &units).await {
            tracing::debug!(%error, units = units.len(), "units not looked at");
            if !matches!(error, InitError::Unreachable(_)) {
                continue;
            }
            // PID 1 executes itself again, or the connection goes; the latter ends this task.
            tokio::time::sleep(SILENCE).await;
            session.ask_for(units);
        }
    }
}

/// Asks for units that PID 1 took in and said nothing of since ([`super::events::Tracker::taken_in`]).
async fn look_at_the_silent(shared: Arc<Shared>, session: Arc<Session>) {
    loop {
        session.taken_in.notified().await;
        tokio::time::sleep(SILENCE).await;
        let silent = shared.tracker().silent();
        if !silent.is_empty() {
            session.ask_for(silent);
        }
    }
}

/// PID 1 executed itself again and has a new name on the bus, while the connection held.
///
/// It remembers subscribers and jobs, but signals in between may be lost. So whoever waits for a job that is no longer
/// there is told, and everything is to be observed again.
async fn follow_owner(shared: Arc<Shared>, session: Arc<Session>) {
    loop {
        session.new_owner.notified().await;
        tracing::info!("systemd came back to the bus");
        // An error says that it remembers us.
        let _ = session.manager.subscribe().await;
        let waiting = session.jobs.waiting();
        match session.manager.list_jobs().await {
            Ok(jobs) => {
                let gone = waiting
                    .iter()
                    .filter(|path| jobs.iter().all(|job| job.4.as_str() != path.as_str()));
                gone.for_each(|path| session.jobs.cancel(path));
            }
            Err(error) => tracing::warn!(%error, "jobs not listed"),
        }
        shared.resync();
    }
}
