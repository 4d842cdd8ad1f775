//! Does the steps. What is so already is left alone.
//!
//! A unit is restarted because its files have changed. Which ones have is written down before the first is touched and
//! forgotten when all is done: a run that was cut off between the file and the restart is made good by the next.

mod directory;
mod users;

use std::collections::BTreeSet;

use super::cloud_config::Verb;
use super::etcd::{self, EtcdError, Formed};
use super::step::Step;
use super::system::{File, System, SystemError};
use super::talk::Talk;
use users::{has_other_password, home, let_in, make, missing};

/// Units whose files have changed and that have not been told; an empty line for files of no unit.
const UNFINISHED: &str = "/run/fleet/bootstrap.unfinished";

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The machine did not do as it was told.
    #[error("cannot {step}: {error}")]
    System {
        /// The step, in words.
        step: String,
        /// Why.
        error: SystemError,
    },
    /// etcd could not be formed.
    #[error("cannot {step}: {error}")]
    Etcd {
        /// The step, in words.
        step: String,
        /// Why.
        error: EtcdError,
    },
    /// What has to outlive this run cannot be kept.
    #[error(transparent)]
    Unfinished(#[from] SystemError),
}

/// What has changed, for the commands that come after.
#[derive(Debug, Default, Clone)]
pub struct Changed(BTreeSet<String>);

impl Changed {
    /// What the steps would change, and what an earlier run changed without coming to its end.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn look(steps: &[Step], system: &dyn System) -> Result<Self, SystemError> {
        let left = system.read(UNFINISHED.as_ref())?.unwrap_or_default();
        let left = String::from_utf8_lossy(&left);
        let mut changed: BTreeSet<String> = left.lines().map(str::to_owned).collect();
        for step in steps {
            if let Step::File { file, unit } = step
                && !system.holds(file)?
            {
                changed.insert(unit.clone().unwrap_or_default());
            }
        }
        Ok(Self(changed))
    }

    fn units(&self) -> bool {
        self.0.iter().any(|unit| !unit.is_empty())
    }

    /// Whether a unit has to be told: for `start` of its own files only, otherwise of any file, for it may read them.
    fn concerns(&self, unit: &str, verb: Verb) -> bool {
        // A file of a template is one of each of its instances.
        let template = unit
            .split_once('@')
            .and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
        let own = self.0.contains(unit) || template.is_some_and(|template| self.0.contains(&template));
        own || (verb != Verb::Start && self.0.contains(""))
    }

    fn keep(&self, system: &dyn System) -> Result<(), SystemError> {
        let text: String = self.0.iter().map(|unit| format!("{unit}\n")).collect();
        if text.is_empty() {
            system.remove(UNFINISHED.as_ref())?;
        } else {
            system.write(&File::plain(UNFINISHED, text))?;
        }
        Ok(())
    }
}

/// Does the steps in order, with a line of talk for each thing done. Says whether anything had to be changed. What fails
/// with one unit does not keep the others waiting; only fleetd, which is nothing without etcd.
///
/// # Errors
/// All that could not be done. Running all of them again goes on from there.
pub async fn apply(
    steps: &[Step],
    system: &dyn System,
    talk: &(dyn Fn(&str) + Sync),
) -> Result<bool, Vec<ApplyError>> {
    let kept = |error| vec![ApplyError::Unfinished(error)];
    let changed = Changed::look(steps, system).map_err(kept)?;
    if !changed.0.is_empty() {
        changed.keep(system).map_err(kept)?;
    }
    let mut any = !changed.0.is_empty();
    let mut failures = Vec::new();
    let mut has_etcd = true;
    let mut has_directories = true;
    for step in steps {
        if !has_directories && matches!(step, Step::Etcd(_)) {
            // It would be waited for in vain.
            talk(&format!("left out, for want of a directory: {step}"));
            has_etcd = false;
            continue;
        }
        if !has_etcd && matches!(step, Step::Command { unit, .. } if unit == "fleet.service") {
            talk(&format!("left out, for want of etcd: {step}"));
            continue;
        }
        match one(step, &changed, system, talk).await {
            Ok(did) => any |= did,
            Err(error) => {
                failures.push(error);
                if !is_of_one_unit(step) {
                    return Err(failures);
                }
                has_etcd &= !matches!(step, Step::Etcd(_));
                has_directories &= !matches!(step, Step::Directory { .. });
            }
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    if !changed.0.is_empty() {
        Changed::default().keep(system).map_err(kept)?;
    }
    if !any {
        talk("unchanged");
    }
    Ok(any)
}

/// Whether no later step needs this one, but for what etcd and fleetd need.
fn is_of_one_unit(step: &Step) -> bool {
    matches!(
        step,
        Step::Mask { .. }
            | Step::Directory { .. }
            | Step::Enable { .. }
            | Step::Command { .. }
            | Step::Etcd(_)
    )
}

/// Does one step, unless it is done. Says whether there was something to do.
async fn one(
    step: &Step,
    changed: &Changed,
    system: &dyn System,
    talk: &(dyn Fn(&str) + Sync),
) -> Result<bool, ApplyError> {
    if let Step::Etcd(wanted) = step {
        let failed = |error| ApplyError::Etcd {
            step: step.to_string(),
            error,
        };
        let formed = etcd::form(wanted, system, Talk(talk)).await.map_err(failed)?;
        let formed = formed != Formed::Up { changed: false };
        if !formed && changed.concerns("etcd.service", Verb::Start) {
            let failed = |error| failed(EtcdError::System(error));
            system
                .must("systemctl", &["try-restart", "etcd.service"])
                .map_err(failed)?;
            talk("try-restart etcd.service");
        }
        return Ok(formed);
    }
    let failed = |error| ApplyError::System {
        step: step.to_string(),
        error,
    };
    let is_done = is_done(step, changed, system).map_err(failed)?;
    if !is_done {
        perform(step, changed, system).map_err(failed)?;
        talk(&step.to_string());
    }
    Ok(!is_done)
}

/// Whether a step has nothing to do. Of etcd only [`etcd::form`] can say: no.
///
/// # Errors
/// If the machine cannot be asked.
pub fn is_done(step: &Step, changed: &Changed, system: &dyn System) -> Result<bool, SystemError> {
    Ok(match step {
        Step::Hostname(name) => {
            let is_so = |path: &str| {
                let text = system.read(path.as_ref())?.unwrap_or_default();
                Ok::<_, SystemError>(String::from_utf8_lossy(&text).trim() == name)
            };
            is_so("/proc/sys/kernel/hostname")? && is_so("/etc/hostname")?
        }
        Step::Hosts(name) => {
            let hosts = text(system, "/etc/hosts")?;
            let mut lines = hosts.lines().map(|l| l.split('#').next().unwrap_or_default());
            lines.any(|line| {
                let mut words = line.split_whitespace();
                let is_loopback = words.next().is_some_and(|a| a.starts_with("127.") || a == "::1");
                is_loopback && words.any(|word| word == name)
            })
        }
        Step::User { user, .. } => home(system, &user.name)?.is_some() && !has_other_password(system, user)?,
        Step::Keys { user, keys } => {
            missing(system, user, keys)?.is_some_and(|(missing, _)| missing.is_empty())
        }
        Step::File { file, .. } => system.holds(file)?,
        // One that ends with the next boot is not one for ever.
        Step::Mask { unit, runtime } => {
            let word = enabled(system, unit)?.1;
            word == "masked" || (*runtime && word == "masked-runtime")
        }
        Step::Reload => !changed.units(),
        Step::Enable { unit, runtime } => {
            let (is_enabled, word) = enabled(system, unit)?;
            is_enabled && (*runtime || word != "enabled-runtime")
        }
        Step::Command { unit, verb } => {
            let is_active = system.run("systemctl", &["is-active", "--quiet", unit])?.success;
            let concerns = changed.concerns(unit, *verb);
            match verb {
                Verb::Start | Verb::Restart | Verb::ReloadOrRestart => is_active && !concerns,
                Verb::Stop => !is_active,
                Verb::Reload | Verb::TryRestart | Verb::ReloadOrTryRestart => !is_active || !concerns,
            }
        }
        Step::Directory { path, .. } => directory::is_done(system, path)?,
        Step::Etcd(_) => false,
    })
}

fn perform(step: &Step, changed: &Changed, system: &dyn System) -> Result<(), SystemError> {
    match step {
        Step::Hostname(name) => drop(system.must("hostnamectl", &["set-hostname", name])?),
        Step::Hosts(name) => {
            let mut hosts = text(system, "/etc/hosts")?;
            if !hosts.is_empty() && !hosts.ends_with('\n') {
                hosts.push('\n');
            }
            hosts.push_str(&format!("127.0.0.1 {name}\n"));
            system.write(&File::plain("/etc/hosts", hosts))?;
        }
        Step::User { user, if_there } => make(system, user, if_there)?,
        Step::Keys { user, keys } => let_in(system, user, keys)?,
        Step::File { file, .. } => drop(system.write(file)?),
        Step::Mask { unit, runtime } => {
            drop(system.must("systemctl", &with_runtime("mask", unit, *runtime))?)
        }
        Step::Reload => drop(system.must("systemctl", &["daemon-reload"])?),
        Step::Enable { unit, runtime } => {
            system.must("systemctl", &with_runtime("enable", unit, *runtime))?;
        }
        Step::Command { unit, verb } => {
            // One that runs is started anew if its files are others than it was started with.
            let verb = match verb {
                Verb::Start if changed.concerns(unit, Verb::Start) => Verb::Restart,
                other => *other,
            };
            command(system, unit, verb)?;
        }
        Step::Directory { path, give } => directory::make(system, path, *give)?,
        Step::Etcd(_) => {}
    }
    Ok(())
}

fn command(system: &dyn System, unit: &str, verb: Verb) -> Result<(), SystemError> {
    let restarts = !matches!(verb, Verb::Start | Verb::Stop | Verb::Reload);
    if let Some(name) = unit.strip_suffix(".socket").filter(|_| restarts) {
        let service = format!("{name}.service");
        if system
            .run("systemctl", &["is-active", "--quiet", &service])?
            .success
        {
            // systemd opens no socket while the service behind it runs, not even if one call restarts both.
            if unit == "fleet.socket" {
                // A stop of fleetd is its leave. A restart of it starts its socket first, by its Wants=.
                system.must("systemctl", &["stop", unit])?;
                return system.must("systemctl", &["restart", &service]).map(drop);
            }
            system.must("systemctl", &["stop", unit, &service])?;
            return system.must("systemctl", &["start", unit, &service]).map(drop);
        }
    }
    system.must("systemctl", &[verb.as_str(), unit]).map(drop)
}

fn with_runtime<'a>(verb: &'a str, unit: &'a str, runtime: bool) -> Vec<&'a str> {
    if runtime {
        vec![verb, "--runtime", unit]
    } else {
        vec![verb, unit]
    }
}

fn text(system: &dyn System, path: &str) -> Result<String, SystemError> {
    let bytes = system.read(path.as_ref())?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `systemctl is-enabled` says yes, and its word.
fn enabled(system: &dyn System, unit: &str) -> Result<(bool, String), SystemError> {
    let ended = system.run("systemctl", &["is-enabled", unit])?;
    Ok((ended.success, ended.stdout.trim().to_owned()))
}
