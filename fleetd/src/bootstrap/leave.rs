//! `fleetctl leave`: out of the cluster, with no unit lost and etcd in order.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::etcd::dropin::{self, Environment};
use super::etcd::members::{Member, MembersError};
use super::etcd::{EtcdError, GATEWAY, GATEWAY_FILE, LOCAL, Servers, TlsFiles, UNIT};
use super::fleet::{self, FleetError};
use super::settings::{DATA, DROP_IN};
use super::standing::{CLOUD_DROP_IN, Standing, standing};
use super::system::{System, SystemError};
use super::talk::{Talk, until};
use super::this::{self, ThisError};
use super::{pki, token};

/// What fleet holds on this machine.
const UNITS_HELD: &str = "/run/fleet/units";
/// How long etcd's members may take until they can do without one.
const REMOVED: Duration = Duration::from_secs(120);

/// Leave the cluster: what runs here is stopped and placed elsewhere, etcd does without this machine
///
/// Undoes `init`, `join` and a cloud-config. Run again, it goes on where it was cut off.
///
/// Exit codes: 0 done, 1 not done, 2 wrong usage.
#[derive(Debug, Args)]
pub struct Leave {
    /// Also where units would be lost: as the last of etcd's members, or while etcd does not answer
    #[arg(long)]
    force: bool,
    /// For the package's removal: a machine that is all of its cluster keeps etcd's data
    #[arg(long, hide = true)]
    package_removal: bool,
}

/// Why the machine is still in the cluster. One line each.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// Of the machine.
    #[error(transparent)]
    This(#[from] ThisError),
    /// Of its files and programs.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Of etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// Of fleetd.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Nobody could be told.
    #[error("{0}: nobody can be told that this machine leaves; --force leaves all the same")]
    Alone(EtcdError),
    /// The others need it.
    #[error(
        "this machine is etcd's only member, and {0} other machines need it: run `fleetctl join` on one of them again to make it a member, or --force to end the cluster"
    )]
    Needed(usize),
    /// All would be gone.
    #[error(
        "this machine is all of its cluster: its units would be stopped and forgotten; --force does that"
    )]
    Last,
    /// fleetd stopped, and its units did not.
    #[error(
        "the registry did not let fleetd leave; still here: {0}; --force leaves them running and goes on"
    )]
    Kept(String),
}

/// Leaves. Returns what to say about it.
///
/// # Errors
/// If it did not come to that; run again, it goes on.
pub async fn leave(arguments: &Leave, system: &dyn System, talk: Talk<'_>) -> Result<String, LeaveError> {
    this::root()?;
    let standing = standing(system)?;
    if standing == Standing::Bare {
        return Ok("this machine is in no cluster that fleet set it up for".to_owned());
    }
    let (servers, own) = way(system, &standing)?;
    let reached = match servers.reach().await {
        Ok(reached) => Some(reached),
        Err(_) if arguments.force => None,
        Err(error) => return Err(LeaveError::Alone(error)),
    };
    let list = reached.as_ref().map(|(_, list)| list.clone()).unwrap_or_default();
    let ours = list
        .iter()
        .find(|member| member.peers.iter().any(|p| own.contains(p)));
    let is_last = ours.is_some() && list.iter().filter(|m| !m.is_learner).count() == 1;
    if is_last && !arguments.force {
        let machines = fleet::machines(Path::new(fleet::SOCKET))
            .await
            .unwrap_or_default();
        match machines.len() {
            0 | 1 if arguments.package_removal => {
                stop_fleet(system, true, talk)?;
                return Ok("this machine was all of its cluster; etcd and its data are kept".to_owned());
            }
            0 | 1 => return Err(LeaveError::Last),
            all => return Err(LeaveError::Needed(all - 1)),
        }
    }
    stop_fleet(system, arguments.force, talk)?;
    if let Some(ours) = ours.filter(|_| !is_last) {
        Box::pin(leave_etcd(&servers, ours, &list, talk)).await?;
    }
    let votes = list.iter().filter(|m| !m.is_learner && Some(*m) != ours).count();
    clean(system, &standing)?;
    Ok(match (ours, votes) {
        (Some(_), 2) => {
            "left; etcd has 2 members now and stands still if one fails: `fleetctl join`, run again on a gateway, makes it the third".to_owned()
        }
        _ => "left the cluster".to_owned(),
    })
}

/// How the cluster is reached from here, and what its members know this one by.
fn way(system: &dyn System, standing: &Standing) -> Result<(Servers, Vec<String>), SystemError> {
    let environment = match standing {
        Standing::Founder(environment)
        | Standing::Member(environment)
        | Standing::CloudConfig(environment) => environment,
        Standing::Bare | Standing::Gateway => &Environment::new(),
    };
    let setting = |name: &str| environment.get(name).cloned();
    let list = |name: &str| -> Vec<String> {
        let value = setting(name).unwrap_or_default();
        value
            .split(',')
            .filter(|url| !url.is_empty())
            .map(str::to_owned)
            .collect()
    };
    // Where the others' peers are, their clients are let in at the port that is etcd's own.
    let client = |peer: &String| {
        let (scheme, rest) = peer.split_once("://")?;
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        Some(format!("{scheme}://{host}:2379"))
    };
    let others: Vec<String> = list("ETCD_INITIAL_CLUSTER")
        .iter()
        .filter_map(|pair| pair.split_once('=').map(|(_, url)| url.to_owned()))
        .collect();
    let mut members = vec![LOCAL.to_owned()];
    members.extend(others.iter().filter_map(client));
    let is_ours = system.is_there(Path::new(pki::KEY))?;
    let file = |path: &str| path.to_owned();
    let files = is_ours.then(|| TlsFiles {
        cafile: file(pki::CA),
        certfile: file(pki::CERTIFICATE),
        keyfile: file(pki::KEY),
    });
    let given = setting("ETCD_TRUSTED_CA_FILE").zip(setting("ETCD_CERT_FILE"));
    let given = given.zip(setting("ETCD_KEY_FILE"));
    let given = given.map(|((cafile, certfile), keyfile)| TlsFiles {
        cafile,
        certfile,
        keyfile,
    });
    let servers = Servers {
        peers: others,
        members,
        files: files.or(given),
    };
    Ok((servers, list("ETCD_INITIAL_ADVERTISE_PEER_URLS")))
}

/// The orderly way out of fleet: its units are stopped here and placed elsewhere.
fn stop_fleet(system: &dyn System, force: bool, talk: Talk<'_>) -> Result<(), LeaveError> {
    let [socket, service] = fleet::UNITS;
    if system
        .run("systemctl", &["is-active", "--quiet", service])?
        .success
    {
        talk.say("leaves: units are stopped here and placed elsewhere, each in its own time");
        system.must("systemctl", &["stop", service])?;
    }
    let held = system.run("ls", &[UNITS_HELD])?.stdout;
    let held: Vec<&str> = held.lines().collect();
    if !held.is_empty() && !force {
        // It is to run on, and to be told again.
        system.run("systemctl", &["start", "--no-block", service])?;
        return Err(LeaveError::Kept(held.join(" ")));
    }
    system.must("systemctl", &["disable", "--quiet", "--now", socket])?;
    system.must("systemctl", &["disable", "--quiet", service])?;
    Ok(())
}

/// Out of etcd, which goes on with the others.
async fn leave_etcd(
    servers: &Servers,
    ours: &Member,
    list: &[Member],
    talk: Talk<'_>,
) -> Result<(), LeaveError> {
    let others: Vec<&Member> = list.iter().filter(|m| m.id != ours.id && !m.is_learner).collect();
    let urls = others.iter().flat_map(|m| m.clients.clone()).collect();
    let elsewhere = Servers {
        peers: Vec::new(),
        members: urls,
        files: servers.files.clone(),
    };
    // A leader that goes without a word costs the others an election.
    let local = Servers {
        peers: Vec::new(),
        members: vec![LOCAL.to_owned()],
        files: None,
    };
    if let (Ok((mut here, _)), Some(next)) = (local.reach().await, others.first())
        && here
            .leader()
            .await
            .is_ok_and(|(leader, own)| leader == own && own == ours.id)
    {
        let _ = here.hand_over(next.id).await;
    }
    let removed = until(REMOVED, Duration::from_millis(500), async || {
        let (mut cluster, list) = elsewhere.reach().await?;
        match list.iter().any(|member| member.id == ours.id) {
            false => Ok(()),
            true => cluster.remove(ours.id).await.map_err(EtcdError::Members),
        }
    });
    match talk
        .wait_for("etcd's other members to do without this one", removed)
        .await
    {
        Err(EtcdError::Members(MembersError::Refused(text))) if text.contains("member not found") => {}
        other => other?,
    }
    talk.say("etcd goes on without this machine");
    Ok(())
}

/// Everything that `init`, `join` and a cloud-config made for the cluster.
fn clean(system: &dyn System, standing: &Standing) -> Result<(), SystemError> {
    let data = match standing {
        Standing::Founder(environment)
        | Standing::Member(environment)
        | Standing::CloudConfig(environment) => environment.get("ETCD_DATA_DIR").map(String::as_str),
        Standing::Bare | Standing::Gateway => None,
    };
    for unit in [UNIT, GATEWAY] {
        // One that is not installed is as good as stopped.
        system.run("systemctl", &["disable", "--quiet", "--now", unit])?;
    }
    // etcd's own directory alone: whatever stands in the settings, nothing beside it is removed.
    if let Some(data) = data {
        system.remove(&Path::new(data).join("member"))?;
    }
    system.remove(Path::new(DATA))?;
    for path in [pki::DIRECTORY, token::FILE, GATEWAY_FILE, "/var/lib/fleet"] {
        system.remove(Path::new(path))?;
    }
    // These last: as long as they are there, a run that was cut off knows what is left to do.
    for drop_in in [DROP_IN, CLOUD_DROP_IN] {
        system.remove(&dropin::path("fleet.service", drop_in))?;
        system.remove(&dropin::path(UNIT, drop_in))?;
    }
    // Their directories too, unless a person has drop-ins of their own there.
    for unit in ["fleet.service", UNIT] {
        let path = dropin::path(unit, DROP_IN);
        let directory = path.parent().unwrap_or(&path).display().to_string();
        system.run("rmdir", &["--ignore-fail-on-non-empty", &directory])?;
    }
    system.must("systemctl", &["daemon-reload"])?;
    Ok(())
}
