//! Questions to systemd that change nothing.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use futures_util::future::join_all;
use units::{UnitName, UnitType};
use zbus::proxy::CacheProperties;
use zbus::{ObjectPath, OwnedVariant};

use super::Shared;
use super::events::{Outcome, invocation};
use super::owner::{claimant, ours};
use super::proxies::{Listed, PropertiesProxy};
use super::session::Session;
use crate::init::{Event, InitError, OwnJob, Owner, Status};

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const JOB: &str = "org.freedesktop.systemd1.Job";

/// The interface of a unit's type, and what a status takes from it; types without a result have none.
fn of_type(unit: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match unit.rsplit_once('.')?.1 {
        "service" => (
            "org.freedesktop.systemd1.Service",
            &["Result", "NRestarts", "MainPID"],
        ),
        "socket" => ("org.freedesktop.systemd1.Socket", &["Result"]),
        "mount" => ("org.freedesktop.systemd1.Mount", &["Result"]),
        "automount" => ("org.freedesktop.systemd1.Automount", &["Result"]),
        "swap" => ("org.freedesktop.systemd1.Swap", &["Result"]),
        "timer" => ("org.freedesktop.systemd1.Timer", &["Result"]),
        "path" => ("org.freedesktop.systemd1.Path", &["Result"]),
        "scope" => ("org.freedesktop.systemd1.Scope", &["Result"]),
        _ => return None,
    })
}

/// Properties by name, as far as they could be read.
#[derive(Default)]
struct Read(HashMap<&'static str, OwnedVariant>);

impl Read {
    fn words(&self, property: &str) -> String {
        let value = self
            .0
            .get(property)
            .and_then(|value| <&str>::try_from(value).ok());
        value.unwrap_or_default().to_owned()
    }

    fn small(&self, property: &str) -> u32 {
        self.0
            .get(property)
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or_default()
    }

    fn large(&self, property: &str) -> u64 {
        self.0
            .get(property)
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or_default()
    }
}

/// How often a unit that moves while it is looked at is looked at again.
const LOOKS: usize = 5;

impl Shared {
    /// What systemd says of the names; those that it does not hold it loads for a moment.
    ///
    /// An answer is put together from several: where a signal spoke of a unit meanwhile it may mix before and after, and
    /// is asked for again.
    pub(super) async fn observe(
        &self,
        session: &Session,
        names: &[UnitName],
    ) -> Result<Vec<(UnitName, Status)>, InitError> {
        let mut found = Vec::new();
        let mut asked = names.to_vec();
        for look in 1..=LOOKS {
            let heard: Vec<u64> = asked
                .iter()
                .map(|name| self.tracker().heard(name.as_str()))
                .collect();
            let statuses = self.observe_once(session, &asked).await?;
            let mut moved = Vec::new();
            for ((name, status), heard) in statuses.into_iter().zip(heard) {
                // One that never comes to rest: the next signal corrects what is said of it now.
                if self.tracker().heard(name.as_str()) == heard || look == LOOKS {
                    found.push((name, status));
                } else {
                    moved.push(name);
                }
            }
            if moved.is_empty() {
                break;
            }
            asked = moved;
        }
        Ok(found)
    }

    async fn observe_once(
        &self,
        session: &Session,
        names: &[UnitName],
    ) -> Result<Vec<(UnitName, Status)>, InitError> {
        let texts: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let listed = self.list(session, &texts).await?;
        let statuses = names.iter().zip(listed).map(async |(name, listed)| {
            let status = match &listed {
                Some(listed) => self.complete(session, listed).await?,
                None => Status::default(),
            };
            Ok((name.clone(), status))
        });
        join_all(statuses).await.into_iter().collect()
    }

    /// One row for each name, in order; `None` for names that systemd does not take, templates among them.
    async fn list(&self, session: &Session, names: &[&str]) -> Result<Vec<Option<Listed>>, InitError> {
        let asked: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !name.contains("@."))
            .collect();
        let mut rows = Vec::new();
        if !asked.is_empty() {
            match self.call("", session.manager.list_units_by_names(&asked)).await {
                // systemd answers in the order of the question, and with the canonical name where it was an alias.
                Ok(listed) if listed.len() == asked.len() => rows.extend(listed.into_iter().map(Some)),
                Err(error @ InitError::Unreachable(_)) => return Err(error),
                // One bad name spoils the whole question.
                Ok(_) | Err(_) => {
                    let one = |name| async move {
                        match self
                            .call(name, session.manager.list_units_by_names(&[name]))
                            .await
                        {
                            Ok(listed) => Ok(listed.into_iter().next()),
                            Err(error @ InitError::Unreachable(_)) => Err(error),
                            Err(_) => Ok(None),
                        }
                    };
                    for row in join_all(asked.iter().copied().map(one)).await {
                        rows.push(row?);
                    }
                }
            }
        }
        let mut rows = rows.into_iter();
        let row = |name: &&str| {
            if name.contains("@.") {
                None
            } else {
                rows.next().flatten()
            }
        };
        Ok(names.iter().map(row).collect())
    }

    /// What a row of a listing leaves out.
    async fn complete(&self, session: &Session, listed: &Listed) -> Result<Status, InitError> {
        let (unit, _, load, active, sub, _, path, ..) = listed;
        if load == "not-found" && active == "inactive" {
            return Ok(Status::default());
        }
        // A unit that was just started has told everything already.
        if let Some(known) = self.tracker().known(unit, load, active, sub) {
            return Ok(known);
        }
        let of_unit = ["StateChangeTimestamp", "InvocationID", "FragmentPath"];
        let (interface, properties) = of_type(unit).unwrap_or((UNIT, &[]));
        let wanted = properties
            .iter()
            .map(|property| (interface, *property))
            .chain(of_unit.iter().map(|property| (UNIT, *property)));
        let read = self.read(session, unit, path, wanted).await?;
        let fragment = read.words("FragmentPath");
        Ok(Status {
            load: load.clone(),
            active: active.clone(),
            sub: sub.clone(),
            result: read.words("Result"),
            restarts: read.small("NRestarts"),
            main_pid: read.small("MainPID"),
            since_us: read.large("StateChangeTimestamp"),
            invocation: read
                .0
                .get("InvocationID")
                .map(|value| invocation(value))
                .unwrap_or_default(),
            fragment: (!fragment.is_empty()).then(|| PathBuf::from(fragment)),
        })
    }

    /// Single properties, all at once: `GetAll` has PID 1 read the accounts of the unit's cgroup too.
    async fn read(
        &self,
        session: &Session,
        about: &str,
        path: &ObjectPath<'_>,
        wanted: impl Iterator<Item = (&'static str, &'static str)>,
    ) -> Result<Read, InitError> {
        let properties = PropertiesProxy::builder(&session.connection)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(|error| super::init_error(about, &error))?;
        let reads = wanted.map(async |(interface, property)| {
            let value = self.call(about, properties.get(interface, property)).await;
            (property, value)
        });
        let mut read = Read::default();
        for (property, value) in join_all(reads).await {
            match value {
                Ok(value) => {
                    read.0.insert(property, value);
                }
                Err(error @ InitError::Unreachable(_)) => return Err(error),
                // An older systemd may lack one.
                Err(error) => tracing::debug!(unit = about, property, %error, "property not read"),
            }
        }
        Ok(read)
    }

    /// Looks at units of which signals left something open.
    pub(super) async fn look_at(&self, session: &Session, units: &BTreeSet<String>) -> Result<(), InitError> {
        let heard: Vec<u64> = units.iter().map(|unit| self.tracker().heard(unit)).collect();
        // Not by names: that would load what PID 1 has let go of, which it announces, which leads here again.
        let rows = self.call("", session.manager.list_units()).await?;
        let rows: HashMap<&str, &Listed> = rows.iter().map(|row| (row.0.as_str(), row)).collect();
        let looks = units.iter().zip(heard).map(async |(unit, heard)| {
            let status = match rows.get(unit.as_str()) {
                Some((_, _, load, active, sub, ..)) if !self.tracker().differs(unit, load, active, sub) => {
                    return Ok(());
                }
                Some(row) => self.complete(session, row).await?,
                None if self.tracker().was_held(unit) => {
                    match self
                        .list(session, &[unit.as_str()])
                        .await?
                        .into_iter()
                        .next()
                        .flatten()
                    {
                        Some(row) => self.complete(session, &row).await?,
                        None => Status::default(),
                    }
                }
                None => return Ok(()),
            };
            let outcome = self.tracker().answered(unit, heard, status);
            if let Outcome::Send(name, status) = outcome {
                self.send(Event::Changed(name, status));
            }
            Ok(())
        });
        join_all(looks).await.into_iter().collect()
    }

    /// See [`super::owner`]: the file system first, then what PID 1 holds without a file.
    pub(super) async fn owner(&self, session: &Session, name: &UnitName) -> Result<Owner, InitError> {
        let search = session.search.clone();
        let (directory, wanted) = (self.directory.clone(), name.clone());
        let found = tokio::task::spawn_blocking(move || claimant(&search, &directory, &wanted)).await;
        if let Ok(Some(path)) = found {
            return Ok(Owner::Host(path));
        }
        if name.is_template() {
            return Ok(Owner::Nobody);
        }
        let path = match self
            .call(name.as_str(), session.manager.get_unit(name.as_str()))
            .await
        {
            Ok(path) => path,
            Err(error @ InitError::Unreachable(_)) => return Err(error),
            // Not in memory, or no name that systemd takes.
            Err(_) => return Ok(Owner::Nobody),
        };
        let read = async |properties: &[&'static str]| {
            let wanted = properties.iter().map(|property| (UNIT, *property));
            self.read(session, name.as_str(), &path, wanted).await
        };
        // Alone: PID 1 holds nearly every new name like that for a moment, since it was observed.
        if read(&["LoadState"]).await?.words("LoadState") == "not-found" {
            return Ok(Owner::Nobody);
        }
        let read = read(&["ActiveState", "FragmentPath", "SourcePath"]).await?;
        let fragment = PathBuf::from(read.words("FragmentPath"));
        // systemd loads a slice from nothing at all as soon as somebody asks about the name. One that is up holds what
        // the host runs in it.
        let is_mere_name = name.unit_type() == UnitType::Slice && read.words("ActiveState") == "inactive";
        if fragment.as_os_str().is_empty() && is_mere_name {
            return Ok(Owner::Nobody);
        }
        Ok(if fragment.as_os_str().is_empty() {
            let source = read.words("SourcePath");
            Owner::Host(PathBuf::from(if source.is_empty() {
                path.as_str()
            } else {
                &source
            }))
        } else if ours(&fragment, &self.directory) {
            Owner::Nobody
        } else {
            Owner::Host(fragment)
        })
    }

    /// The job of the service that this process belongs to.
    pub(super) async fn own_job(&self, session: &Session) -> Result<OwnJob, InitError> {
        // 0 is the caller, as the bus knows it.
        let unit = match self.call("", session.manager.get_unit_by_pid(0)).await {
            Ok(path) => path,
            Err(error @ InitError::Unreachable(_)) => return Err(error),
            Err(_) => return Ok(OwnJob::None),
        };
        let read = self
            .read(session, "", &unit, std::iter::once((UNIT, "Job")))
            .await?;
        let Some(Ok((id, path))) = read
            .0
            .get("Job")
            .map(|job| <(u32, ObjectPath<'_>)>::try_from(&**job))
        else {
            return Ok(OwnJob::None);
        };
        if id == 0 {
            return Ok(OwnJob::None);
        }
        let read = self
            .read(session, "", &path, std::iter::once((JOB, "JobType")))
            .await?;
        Ok(match read.words("JobType").as_str() {
            "stop" => OwnJob::Stop,
            // It ended between the two questions.
            "" => OwnJob::None,
            _ => OwnJob::Other,
        })
    }
}
