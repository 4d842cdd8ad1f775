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
    undo(arguments, system, talk).await
}

async fn undo(arguments: &Leave, system: &dyn System, talk: Talk<'_>) -> Result<String, LeaveError> {
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
    if leaving.fleet_alone {
        said = "left the cluster; the cloud-config's settings for fleet are removed, and etcd, which it did not set up, is as it was";
    }
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
    if leaving.fleet_alone {
        // fleetd knows where its etcd is, and leaves as it stops.
        leaving.keep(system)?;
        stop_fleet(system, arguments.force, talk)?;
        return Ok(Out::Left { voters: 0 });
    }
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
    }
    // Also where a run before this one was cut off, or nobody answers: with what is here the token goes.
    if !is_last && !arguments.package_removal {
        show_token(system, talk)?;
    }
    let goes = ours.as_ref().is_some_and(|m| !m.is_learner);
    Ok(Out::Left {
        voters: voters - usize::from(goes),
    })
}

/// A last time: nobody else keeps it, and it is removed with the rest.
fn show_token(system: &dyn System, talk: Talk<'_>) -> Result<(), SystemError> {
    if let Some(Ok(token)) = Token::kept(system)? {
        talk.say(format!(
            "the cluster's token was kept on this machine alone; keep it, machines join with it: {token}"
        ));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::bootstrap::system::memory::Memory;

    const DROP_IN: &str = "/etc/systemd/system/fleet.service.d/20-cloudinit.conf";

    /// What came of it, and what was said on the way.
    fn left(system: &Memory, force: bool) -> (Result<String, String>, Vec<String>) {
        let said = Mutex::new(Vec::new());
        let talk = |line: &str| said.lock().unwrap().push(line.to_owned());
        let arguments = Leave {
            force,
            package_removal: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let came = runtime.block_on(undo(&arguments, system, Talk(&talk)));
        (came.map_err(|e| e.to_string()), said.into_inner().unwrap())
    }

    /// By a cloud-config with `coreos.fleet` and no etcd; etcd is there all the same, by somebody else.
    fn fleet_alone() -> Memory {
        let system = Memory::new("core-01");
        system.put(
            DROP_IN,
            "[Service]\nEnvironment=\"FLEET_ETCD_SERVERS=http://10.0.0.1:2379\"\n",
        );
        system.put("/etc/fleet/etcd-password.env", "FLEET_ETCD_PASSWORD=\"a\"\n");
        system.put("/etc/fleet/fleet.conf", "");
        system.put("/etc/systemd/system/etcd.service.d/10-of-a-person.conf", "");
        system.put("/etc/fleet/pki/ca.pem", "of a person");
        system.put("/var/lib/etcd/fleet/member/wal/0.wal", "");
        for unit in ["etcd.service", "fleet.service", "fleet.socket"] {
            system.set_active(unit, true);
        }
        system
    }

    #[test]
    fn a_machine_with_fleet_alone_leaves_and_its_etcd_is_left_alone() {
        let system = fleet_alone();
        let (came, said) = left(&system, false);
        assert_eq!(
            came.unwrap(),
            "left the cluster; the cloud-config's settings for fleet are removed, and etcd, which it did not set up, is as it was"
        );
        assert_eq!(
            said,
            ["leaves: units are stopped here and placed elsewhere, each in its own time"]
        );
        insta::assert_snapshot!(system.changes().join("\n"), @r#"
        write /etc/fleet/leaving.toml
        systemctl stop fleet.socket fleet.service
        systemctl disable --quiet fleet.socket fleet.service
        write /etc/fleet/leaving.toml
        remove /etc/systemd/system/fleet.service.d/20-cloudinit.conf
        rmdir --ignore-fail-on-non-empty /etc/systemd/system/fleet.service.d
        remove /etc/fleet/etcd-password.env
        systemctl daemon-reload
        remove /etc/fleet/leaving.toml
        "#);
        assert_eq!(
            left(&system, false).0.unwrap(),
            "this machine is in no cluster that fleet set it up for"
        );
    }

    #[test]
    fn a_machine_with_fleet_alone_stays_while_its_units_run_on() {
        let system = fleet_alone();
        system.put("/run/fleet/units/a.service", "");
        let (came, _) = left(&system, false);
        assert_eq!(
            came.unwrap_err(),
            "the registry did not let fleetd leave; still here: a.service; --force leaves them running and goes on"
        );
        assert!(system.text(DROP_IN).is_some());
        assert!(left(&system, true).0.is_ok());
        assert!(system.text(DROP_IN).is_none());
    }

    /// Of an `init`, whose leave was begun; its etcd does not answer.
    fn founder() -> (Memory, Token) {
        let system = Memory::new("m1");
        system.put(
            "/etc/systemd/system/etcd.service.d/20-fleet.conf",
            "[Service]\nEnvironment=\"ETCD_NAME=m1\"\nEnvironment=\"FLEET_SETUP=init\"\n",
        );
        let token = Token::random().unwrap();
        token.keep(&system).unwrap();
        let leaving = Leaving {
            servers: Servers {
                members: vec!["http://127.0.0.1:1".to_owned()],
                ..Servers::default()
            },
            ..Leaving::default()
        };
        leaving.keep(&system).unwrap();
        (system, token)
    }

    #[test]
    fn the_token_that_nobody_else_keeps_is_shown_before_it_is_gone() {
        let (system, token) = founder();
        let (came, said) = left(&system, true);
        assert_eq!(came.unwrap(), "left the cluster");
        assert_eq!(
            said,
            [format!(
                "the cluster's token was kept on this machine alone; keep it, machines join with it: {token}"
            )]
        );
        assert_eq!(Token::kept(&system).unwrap(), None);
        // Where join ran there is none, and no word about one.
        let (system, _) = founder();
        system.remove(Path::new("/etc/fleet/token")).unwrap();
        assert_eq!(left(&system, true).1, [""; 0]);
    }
}
