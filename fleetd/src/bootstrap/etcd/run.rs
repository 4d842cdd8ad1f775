//! etcd's unit and the gateway's: run with what is written, and answering.

use std::path::Path;

use super::members::{Member, Members, MembersError};
use super::servers::Servers;
use super::{ANSWERS, EtcdError, GATEWAY, GATEWAY_FILE, PAUSE, UNIT};
use crate::bootstrap::system::{File, System};
use crate::bootstrap::talk::{Talk, until};

/// Makes this machine a gateway. `data` is where etcd would have its data if the machine were a member.
pub(super) async fn become_gateway(
    servers: &Servers,
    data: Option<&String>,
    system: &dyn System,
    talk: Talk<'_>,
) -> Result<bool, EtcdError> {
    installed(system, GATEWAY, "fleet")?;
    if let Some(data) = data
        && system.is_there(&Path::new(data).join("member"))?
    {
        return Err(EtcdError::IsMember(data.clone()));
    }
    // Debian starts one of its own at installation; it would hold the address.
    system.run("systemctl", &["disable", "--quiet", "--now", UNIT])?;
    // What a gateway could not use is better said now.
    servers.gateway()?;
    let text = format!(
        "# Written by fleet: `fleetctl leave` takes it away.\n{}",
        servers.toml()?
    );
    let changed = run_with(system, GATEWAY, &File::plain(GATEWAY_FILE, text), talk)?;
    answers(GATEWAY, &Servers::local(), None, talk, "the gateway to etcd").await?;
    Ok(changed)
}

pub(super) fn installed(
    system: &dyn System,
    unit: &'static str,
    package: &'static str,
) -> Result<(), EtcdError> {
    match system.run("systemctl", &["cat", unit])?.success {
        true => Ok(()),
        false => Err(EtcdError::Missing(unit, package)),
    }
}

/// Has a unit run with these settings. Does not wait for it: etcd may need others.
///
/// It is stopped before its settings are written, so that wherever this is cut off, what runs is never taken for what is
/// written. Says whether it had to be started.
pub(super) fn run_with(
    system: &dyn System,
    unit: &str,
    settings: &File,
    talk: Talk<'_>,
) -> Result<bool, EtcdError> {
    if system.read(&settings.path)?.as_ref() != Some(&settings.content) {
        system.must("systemctl", &["stop", unit])?;
        system.write(settings)?;
    }
    system.must("systemctl", &["daemon-reload"])?;
    system.must("systemctl", &["enable", "--quiet", unit])?;
    let is_down = !system.run("systemctl", &["is-active", "--quiet", unit])?.success;
    if is_down {
        system.must("systemctl", &["start", "--no-block", unit])?;
        talk.say(format!("started {unit}"));
    }
    Ok(is_down)
}

/// Waits until etcd answers on this machine; with a `name`, until it is the member of that name that does, and not
/// somebody else's etcd.
pub(super) async fn answers(
    unit: &'static str,
    here: &Servers,
    name: Option<&str>,
    talk: Talk<'_>,
    what: &str,
) -> Result<(Members, Vec<Member>), EtcdError> {
    let asked = until(ANSWERS, PAUSE, async || {
        let (member, list) = here.reach().await?;
        match name {
            Some(name) if !list.iter().any(|member| member.name == name) => {
                let why = format!("{here}: it knows no member {name}: another etcd?");
                Err(EtcdError::Members(MembersError::Unreachable(why)))
            }
            _ => Ok((member, list)),
        }
    });
    let waited = talk.wait_for(what, asked).await;
    waited.map_err(|error| EtcdError::Silent {
        unit,
        why: error.to_string(),
    })
}
