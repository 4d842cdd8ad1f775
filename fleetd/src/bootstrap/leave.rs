//! `fleetctl leave`: out of the cluster, with no unit lost and etcd in order.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::etcd::members::{Member, Members, MembersError};
use super::etcd::next::is_ours;
use super::etcd::{EtcdError, LOCAL, Servers};
use super::fleet;
use super::leaving::Leaving;
use super::standing::{Standing, standing};
use super::system::{System, SystemError};
use super::talk::{Talk, until};
use super::this::{self, ThisError};
use super::token::Token;

/// What fleet holds on this machine.
const UNITS_HELD: &str = "/run/fleet/units";
/// How long etcd's members may take until they can do without one.
const REMOVED: Duration = Duration::from_secs(120);
/// A moment without a leader, or just after a boot, is no reason to leave without a word.
const ANSWERED: Duration = Duration::from_secs(30);

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
    /// Nobody could be told.
    #[error("{0}: nobody can be told that this machine leaves; --force leaves all the same")]
    Alone(EtcdError),
    /// What is needed cannot be found out.
    #[error(
        "this machine is etcd's only member, and fleetd does not say whether others need it: {0}; --force leaves all the same, which ends the cluster"
    )]
    Unsure(String),
    /// Data of a member that there is not.
    #[error(
        "etcd's members know none that is this machine, though there is data in {0}: nothing was changed; --force removes it"
    )]
    Unknown(String),
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
    let begun = Leaving::read(system)?;
    if standing == Standing::Bare && begun.is_none() {
        return Ok("this machine is in no cluster that fleet set it up for".to_owned());
    }
    let resumed = begun.is_some();
    let mut leaving = match begun {
        Some(begun) => begun,
        None => Leaving::begin(system, &standing)?,
    };
    let mut said = "left the cluster";
    if !leaving.told {
        match out(arguments, &mut leaving, resumed, system, talk).await? {
            Out::Kept => {
                return Ok("this machine was all of its cluster; etcd and its data are kept".to_owned());
            }
            Out::Left { voters: 2 } => {
                said = "left; etcd has 2 members now and stands still if one fails: `fleetctl join`, run again on a gateway, makes it the third";
            }
            Out::Left { .. } => {}
        }
        leaving.told = true;
        leaving.keep(system)?;
    }
    leaving.clean(system)?;
    Ok(said.to_owned())
}

/// How the way out ended.
enum Out {
    /// The cluster goes on without this machine.
    Left {
        /// Members of etcd that it goes on with.
        voters: usize,
    },
    /// Only fleet was stopped.
    Kept,
}

/// Everything that needs the others.
async fn out(
    arguments: &Leave,
    leaving: &mut Leaving,
    resumed: bool,
    system: &dyn System,
    talk: Talk<'_>,
) -> Result<Out, LeaveError> {
    let pause = Duration::from_millis(500);
    let limit = if arguments.force { pause } else { ANSWERED };
    let reached = until(limit, pause, async || leaving.servers.reach().await);
    let list = match talk.wait_for("an answer of etcd", reached).await {
        Ok((_, list)) => list,
        Err(_) if arguments.force => Vec::new(),
        Err(error) => return Err(LeaveError::Alone(error)),
    };
    let is_us = |member: &&Member| is_ours(member, &leaving.name, &leaving.peers, leaving.has_data);
    let ours = list.iter().find(is_us).cloned();
    if ours.is_none() && leaving.has_data && !resumed && !arguments.force {
        return Err(LeaveError::Unknown(leaving.data.join(" ")));
    }
    let voters = list.iter().filter(|m| !m.is_learner).count();
    // One that only follows is never the last.
    let is_last = voters == 1 && ours.as_ref().is_some_and(|m| !m.is_learner);
    if is_last && !arguments.force && !resumed {
        match fleet::machines(Path::new(fleet::SOCKET)).await {
            Err(why) => return Err(LeaveError::Unsure(why)),
            Ok(all) if all.len() > 1 => return Err(LeaveError::Needed(all.len() - 1)),
            Ok(_) if arguments.package_removal => {
                stop_fleet(system, true, talk)?;
                return Ok(Out::Kept);
            }
            Ok(_) => return Err(LeaveError::Last),
        }
    }
    let elsewhere = list.iter().filter(|m| Some(*m) != ours.as_ref() && !m.is_learner);
    let elsewhere: Vec<String> = elsewhere.flat_map(|m| m.clients.clone()).collect();
    if !elsewhere.is_empty() {
        // Ours will not answer any more.
        leaving.servers.members.extend(elsewhere.iter().cloned());
        leaving.servers.members.dedup();
    }
    leaving.keep(system)?;
    stop_fleet(system, arguments.force, talk)?;
    if let Some(ours) = ours.as_ref().filter(|_| !is_last) {
        let others = Servers {
            peers: Vec::new(),
            members: elsewhere,
            files: leaving.servers.files.clone(),
        };
        Box::pin(leave_etcd(&others, ours, &list, talk)).await?;
        if let (Some(Ok(token)), false) = (Token::kept(system)?, arguments.package_removal) {
            talk.say(format!(
                "the cluster's token was kept on this machine alone; keep it, machines join with it: {token}"
            ));
        }
    }
    let goes = ours.as_ref().is_some_and(|m| !m.is_learner);
    Ok(Out::Left {
        voters: voters - usize::from(goes),
    })
}

/// The orderly way out of fleet: its units are stopped here and placed elsewhere.
fn stop_fleet(system: &dyn System, force: bool, talk: Talk<'_>) -> Result<(), LeaveError> {
    let [socket, service] = fleet::UNITS;
    if system
        .run("systemctl", &["is-active", "--quiet", service])?
        .success
    {
        talk.say("leaves: units are stopped here and placed elsewhere, each in its own time");
    }
    // Together, or the next client would start it again. A stop that is under way already is waited for.
    system.must("systemctl", &["stop", socket, service])?;
    let held = system.run("ls", &[UNITS_HELD])?.stdout;
    let held: Vec<&str> = held.lines().collect();
    if !held.is_empty() && !force {
        // It is to run on, and to be told again.
        system.run("systemctl", &["start", "--no-block", socket, service])?;
        return Err(LeaveError::Kept(held.join(" ")));
    }
    system.must("systemctl", &["disable", "--quiet", socket, service])?;
    Ok(())
}

/// Out of etcd, which goes on with the others.
async fn leave_etcd(
    others: &Servers,
    ours: &Member,
    list: &[Member],
    talk: Talk<'_>,
) -> Result<(), LeaveError> {
    // A leader that goes without a word costs the others an election.
    let next = list.iter().find(|m| m.id != ours.id && !m.is_learner);
    let local = [LOCAL.to_owned()];
    if let (Ok((mut here, _)), Some(next)) = (Members::reach(&local, None).await, next)
        && here
            .leader()
            .await
            .is_ok_and(|(leader, own)| leader == own && own == ours.id)
    {
        let _ = here.hand_over(next.id).await;
    }
    let removed = until(REMOVED, Duration::from_millis(500), async || {
        let (mut cluster, list) = others.reach().await?;
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
