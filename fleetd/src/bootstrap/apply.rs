//! Does the steps. What is so already is left alone.
//!
//! A unit is restarted because its files have changed. Which ones have is written down before the first is touched and
//! forgotten when all is done: a run that was cut off between the file and the restart is made good by the next.

use std::collections::BTreeSet;

use super::cloud_config::{User, Verb};
use super::etcd::{self, EtcdError, Formed};
use super::step::Step;
use super::system::{File, System, SystemError};
use super::talk::Talk;

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
        self.0.contains(unit) || (verb != Verb::Start && self.0.contains(""))
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

/// Does the steps in order, with a line of talk for each thing done. Says whether anything had to be changed.
///
/// # Errors
/// The first step that could not be done. Running all of them again goes on from there.
pub async fn apply(
    steps: &[Step],
    system: &dyn System,
    talk: &(dyn Fn(&str) + Sync),
) -> Result<bool, ApplyError> {
    let changed = Changed::look(steps, system)?;
    if !changed.0.is_empty() {
        changed.keep(system)?;
    }
    let mut any = !changed.0.is_empty();
    for step in steps {
        if let Step::Etcd(wanted) = step {
            let failed = |error| ApplyError::Etcd {
                step: step.to_string(),
                error,
            };
            let formed = etcd::form(wanted, system, Talk(talk)).await.map_err(failed)?;
            let formed = formed != Formed::Up { changed: false };
            any |= formed;
            if !formed && changed.concerns("etcd.service", Verb::Start) {
                let failed = |error| failed(EtcdError::System(error));
                system
                    .must("systemctl", &["try-restart", "etcd.service"])
                    .map_err(failed)?;
                talk("try-restart etcd.service");
            }
            continue;
        }
        let failed = |error| ApplyError::System {
            step: step.to_string(),
            error,
        };
        if !is_done(step, &changed, system).map_err(failed)? {
            perform(step, &changed, system).map_err(failed)?;
            talk(&step.to_string());
            any = true;
        }
    }
    if !changed.0.is_empty() {
        Changed::default().keep(system)?;
    }
    if !any {
        talk("unchanged");
    }
    Ok(any)
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
        Step::Mask { unit, .. } => enabled(system, unit)?.1.starts_with("masked"),
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
            system.must("systemctl", &[verb.as_str(), unit])?;
        }
        Step::Etcd(_) => {}
    }
    Ok(())
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

/// The home of a user; none where there is no such user.
fn home(system: &dyn System, user: &str) -> Result<Option<String>, SystemError> {
    let ended = system.run("getent", &["passwd", user])?;
    let home = ended.stdout.trim().split(':').nth(5).map(str::to_owned);
    Ok(home.filter(|_| ended.success))
}

fn has_other_password(system: &dyn System, user: &User) -> Result<bool, SystemError> {
    let Some(hash) = &user.passwd else {
        return Ok(false);
    };
    let shadow = text(system, "/etc/shadow")?;
    let mut lines = shadow.lines().map(|line| line.split(':'));
    let is_so = lines.any(|mut fields| fields.next() == Some(&user.name) && fields.next() == Some(hash));
    Ok(!is_so)
}

fn make(system: &dyn System, user: &User, if_there: &[String]) -> Result<(), SystemError> {
    if home(system, &user.name)?.is_some() {
        if let Some(hash) = &user.passwd {
            must_quietly(system, "usermod", &["--password", hash, &user.name], hash)?;
        }
        return Ok(());
    }
    let mut groups = user.groups.clone();
    for group in if_there {
        if !groups.contains(group) && system.run("getent", &["group", group])?.success {
            groups.push(group.clone());
        }
    }
    let groups = groups.join(",");
    let mut arguments: Vec<&str> = Vec::new();
    let options = [
        ("--comment", user.gecos.as_deref()),
        ("--home-dir", user.homedir.as_deref()),
        ("--gid", user.primary_group.as_deref()),
        ("--groups", Some(groups.as_str()).filter(|g| !g.is_empty())),
        // No password fits. Without one the account would count as locked, and some sshds refuse those.
        ("--password", user.passwd.as_deref().or(Some("*"))),
        ("--shell", user.shell.as_deref().or(Some("/bin/bash"))),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            arguments.extend([option, value]);
        }
    }
    let home = if user.no_create_home {
        "--no-create-home"
    } else {
        "--create-home"
    };
    arguments.push(home);
    let flags = [
        ("--no-user-group", user.no_user_group),
        ("--system", user.system),
        ("--no-log-init", user.no_log_init),
    ];
    arguments.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| *flag));
    arguments.push(&user.name);
    let secret = user.passwd.as_deref().unwrap_or_default();
    must_quietly(system, "useradd", &arguments, secret)
}

/// As [`System::must`]; the error does not tell the secret.
fn must_quietly(
    system: &dyn System,
    program: &str,
    arguments: &[&str],
    secret: &str,
) -> Result<(), SystemError> {
    match system.must(program, arguments) {
        Err(SystemError::Failed { command, said }) if !secret.is_empty() => Err(SystemError::Failed {
            command: command.replace(secret, "…"),
            said,
        }),
        other => other.map(drop),
    }
}

/// Keys that a user does not have yet and the file that they belong into; none where there is no such user.
fn missing(
    system: &dyn System,
    user: &str,
    keys: &[String],
) -> Result<Option<(Vec<String>, String)>, SystemError> {
    let Some(home) = home(system, user)? else {
        return Ok(None);
    };
    let path = format!("{home}/.ssh/authorized_keys");
    // As the user: what they have made of their directory must not lead root elsewhere.
    let ended = system.run("runuser", &["-u", user, "--", "cat", &path])?;
    let present = if ended.success {
        ended.stdout
    } else {
        String::new()
    };
    let missing = keys
        .iter()
        .filter(|key| !present.lines().any(|line| line.trim() == *key));
    Ok(Some((missing.cloned().collect(), path)))
}

/// `$1` is the file, what follows are lines for it.
const APPEND: &str = r#"set -e; umask 077; f=$1; shift; mkdir -p "${f%/*}"; if [ -s "$f" ] && [ -n "$(tail -c1 "$f")" ]; then echo >> "$f"; fi; printf '%s\n' "$@" >> "$f""#;

fn let_in(system: &dyn System, user: &str, keys: &[String]) -> Result<(), SystemError> {
    let Some((missing, path)) = missing(system, user, keys)? else {
        return system.must("getent", &["passwd", user]).map(drop);
    };
    let mut arguments = vec!["-u", user, "--", "sh", "-c", APPEND, "sh", &path];
    arguments.extend(missing.iter().map(String::as_str));
    system.must("runuser", &arguments).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::system::ThisMachine;

    #[test]
    fn keys_go_on_lines_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my home/.ssh/authorized_keys");
        let append = |keys: &[&str]| {
            let path = path.to_str().unwrap();
            let arguments = [&["-c", APPEND, "sh", path], keys].concat();
            ThisMachine.must("sh", &arguments).unwrap();
        };
        append(&["ssh-rsa A a", "ssh-rsa B b"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "ssh-rsa A a\nssh-rsa B b\n"
        );
        std::fs::write(&path, "ssh-rsa C c").unwrap();
        append(&["ssh-rsa %s $HOME"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "ssh-rsa C c\nssh-rsa %s $HOME\n"
        );
    }
}
