//! This machine as a member of etcd: one of the founders, or one that the others take in.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::dropin::{self, Environment};
use super::members::{Member, Members, MembersError};
use super::next::{Next, is_ours, next};
use super::run::{answers, installed, run_with};
use super::servers::Servers;
use super::{ANSWERS, Etcd, EtcdError, Formed, GATEWAY, GATEWAY_FILE, LOCAL, PAUSE, UNIT};
use crate::bootstrap::system::{File, System, SystemError};
use crate::bootstrap::talk::{Talk, until};

const CLUSTER: &str = "ETCD_INITIAL_CLUSTER";
const STATE: &str = "ETCD_INITIAL_CLUSTER_STATE";
const TOKEN: &str = "ETCD_INITIAL_CLUSTER_TOKEN";

/// The member that this machine is or is to be.
pub(super) struct Own<'a> {
    etcd: &'a Etcd,
    name: &'a str,
    peers: Vec<String>,
    data: &'a str,
    system: &'a dyn System,
    talk: Talk<'a>,
}

impl<'a> Own<'a> {
    pub(super) fn new(etcd: &'a Etcd, system: &'a dyn System, talk: Talk<'a>) -> Result<Self, EtcdError> {
        let setting = |name: &'static str| {
            let value = etcd.environment.get(name);
            value.map(String::as_str).ok_or(EtcdError::Incomplete(name))
        };
        let peers = setting("ETCD_INITIAL_ADVERTISE_PEER_URLS")?;
        Ok(Self {
            etcd,
            name: setting("ETCD_NAME")?,
            peers: peers.split(',').map(|url| url.trim().to_owned()).collect(),
            data: setting("ETCD_DATA_DIR")?,
            system,
            talk,
        })
    }

    fn has_data(&self) -> Result<bool, SystemError> {
        self.system.is_there(&Path::new(self.data).join("member"))
    }

    fn here(&self) -> Servers {
        Servers::own(&self.etcd.environment)
    }

    /// What the drop-in says at present.
    fn before(&self) -> Result<Environment, SystemError> {
        let found = dropin::read(self.system, UNIT, &self.etcd.drop_in)?;
        Ok(found.unwrap_or_default())
    }

    /// Founds the cluster, together with those of the settings; or comes back as one of its founders.
    pub(super) async fn found(&self) -> Result<Formed, EtcdError> {
        if !self.has_data()? {
            let others = self.others();
            let was_formed = self.before()?.get(STATE).is_some_and(|state| state == "existing");
            // With settings that found a cluster it would be taken for the member it was, with a log that is none.
            if was_formed || self.is_known_to(&others).await {
                if others.peers.is_empty() {
                    return Err(EtcdError::Lost(self.data.to_owned()));
                }
                return self.join(&others, usize::MAX).await;
            }
        }
        let changed = self.start(self.etcd.environment.clone())?;
        let what = "etcd, which needs more than half of its members";
        let (mut here, list) = answers(UNIT, &self.here(), Some(self.name), self.talk, what).await?;
        self.settle_peers(&mut here, &list).await?;
        // It is never to be founded a second time.
        let mut formed = self.kept(self.etcd.environment.clone())?;
        formed.insert(STATE.to_owned(), "existing".to_owned());
        if self.system.write(&self.file(&formed))? {
            self.system.must("systemctl", &["daemon-reload"])?;
        }
        Ok(Formed::Up { changed })
    }

    /// The other founders, by the settings.
    fn others(&self) -> Servers {
        let environment = &self.etcd.environment;
        let all = environment.get(CLUSTER).map_or("", String::as_str);
        let urls = all.split(',').filter_map(|pair| pair.split_once('='));
        let others =
            urls.filter(|(name, url)| *name != self.name && !self.peers.iter().any(|own| own == url));
        Servers::at_peers(others.map(|(_, url)| url.to_owned()).collect()).or_files_of(environment)
    }

    async fn is_known_to(&self, others: &Servers) -> bool {
        if others.peers.is_empty() {
            return false;
        }
        let Ok((_, list)) = others.reach().await else {
            return false;
        };
        // Founders are listed before they have run.
        list.iter()
            .any(|member| is_ours(member, self.name, &self.peers, false) && !member.clients.is_empty())
    }

    /// Has the others take this machine in.
    pub(super) async fn join(&self, servers: &Servers, limit: usize) -> Result<Formed, EtcdError> {
        let servers = servers.or_files_of(&self.etcd.environment);
        let reached = until(ANSWERS, Duration::from_secs(1), async || servers.reach().await);
        let (mut cluster, mut list) = self.talk.wait_for("an answer of the cluster", reached).await?;
        let end = Instant::now() + ANSWERS;
        let mut waits = false;
        loop {
            let has_data = self.has_data()?;
            let refused = match next(&list, self.name, &self.peers, has_data, limit) {
                Next::Full => {
                    // Begun here, and others were quicker: nothing is to say that this machine is a member.
                    self.system.remove(&dropin::path(UNIT, &self.etcd.drop_in))?;
                    return Ok(Formed::Enough);
                }
                Next::Stranger => return Err(EtcdError::Stranger(self.data.to_owned())),
                Next::Replace(id) => {
                    self.talk
                        .say("takes away the member that this machine was before it lost its data");
                    not_now(cluster.remove(id).await)?
                }
                Next::Add => {
                    // So that whoever comes after a run that is cut off now knows what has been begun.
                    let mut begun = self.etcd.environment.clone();
                    begun.remove(CLUSTER);
                    begun.insert(STATE.to_owned(), "existing".to_owned());
                    self.system.write(&self.file(&begun))?;
                    let refused = not_now(cluster.add(&self.peers).await)?;
                    if refused.is_none() {
                        self.talk.say("announced this machine to etcd's members");
                    }
                    refused
                }
                Next::Start { cluster: all, ours } => {
                    return self.start_among(&mut cluster, all, &ours).await;
                }
            };
            if let Some(why) = refused {
                if Instant::now() >= end {
                    return Err(EtcdError::Busy(why, waiting(&list)));
                }
                if !std::mem::replace(&mut waits, true) {
                    self.talk
                        .say("waits until etcd's members can take in another one");
                }
            }
            sleep(Duration::from_millis(500)).await;
            list = cluster.list().await?;
        }
    }

    async fn start_among(
        &self,
        cluster: &mut Members,
        all: String,
        ours: &Member,
    ) -> Result<Formed, EtcdError> {
        if !ours.clients.is_empty() {
            self.settle_peers(cluster, std::slice::from_ref(ours)).await?;
        }
        let mut environment = self.etcd.environment.clone();
        environment.insert(CLUSTER.to_owned(), all);
        environment.insert(STATE.to_owned(), "existing".to_owned());
        let changed = self.start(environment)?;
        if ours.is_learner {
            let promoted = until(ANSWERS, PAUSE, async || match cluster.promote(ours.id).await {
                // By a run before this one.
                Err(MembersError::Refused(text)) if text.contains("can only promote a learner") => Ok(()),
                other => other,
            });
            self.talk
                .wait_for("etcd to catch up with the others", promoted)
                .await?;
            self.talk.say("etcd on this machine has a vote");
        }
        answers(UNIT, &self.here(), Some(self.name), self.talk, "etcd").await?;
        Ok(Formed::Up { changed })
    }

    /// Has etcd run with these settings, and no gateway beside it. Says whether it had to be started.
    fn start(&self, environment: Environment) -> Result<bool, EtcdError> {
        installed(self.system, UNIT, "etcd-server")?;
        // Before the gateway's file goes: one of the two says at any time what this machine is.
        let changed = run_with(self.system, UNIT, &self.file(&self.kept(environment)?), self.talk)?;
        if self.system.is_there(Path::new(GATEWAY_FILE))? {
            self.system.must("systemctl", &["disable", "--now", GATEWAY])?;
            self.system.remove(Path::new(GATEWAY_FILE))?;
            self.talk.say("this machine is no gateway to etcd any more");
        }
        Ok(changed)
    }

    /// What counts at the very first start only stays as it was then. Members have come and gone since; that is no reason
    /// to restart etcd.
    fn kept(&self, mut environment: Environment) -> Result<Environment, SystemError> {
        if self.has_data()? {
            let before = self.before()?;
            for name in [CLUSTER, STATE, TOKEN] {
                if let Some(value) = before.get(name) {
                    environment.insert(name.to_owned(), value.clone());
                }
            }
        }
        Ok(environment)
    }

    fn file(&self, environment: &Environment) -> File {
        let path = dropin::path(UNIT, &self.etcd.drop_in);
        File::plain(path, dropin::render(environment))
    }

    /// Tells the cluster where this member is now, if that is not what it knows: etcd itself tells nobody.
    async fn settle_peers(&self, cluster: &mut Members, list: &[Member]) -> Result<(), EtcdError> {
        let ours = list.iter().find(|m| is_ours(m, self.name, &self.peers, true));
        let Some(ours) = ours.filter(|m| {
            let mut known = m.peers.clone();
            let mut wanted = self.peers.clone();
            known.sort();
            wanted.sort();
            known != wanted
        }) else {
            return Ok(());
        };
        // The member that moved may have led the others: until they have elected, none of them can take it.
        let updated = until(ANSWERS, PAUSE, async || {
            match cluster.update(ours.id, &self.peers).await {
                Err(refused @ MembersError::Refused(_)) => Ok(Err(refused)),
                other => other.map(Ok),
            }
        });
        self.talk
            .wait_for("etcd to take the new address", updated)
            .await??;
        self.talk.say(format!(
            "etcd's members know this machine by {} now",
            self.peers.join(",")
        ));
        Ok(())
    }
}

/// Something that only time stands in the way of is no error: what it is.
fn not_now<T>(result: Result<T, MembersError>) -> Result<Option<String>, MembersError> {
    match result {
        Ok(_) => Ok(None),
        Err(MembersError::NotNow(why)) => Ok(Some(why)),
        Err(error) => Err(error),
    }
}

/// Whom the others wait for, as far as they say: one that follows, or has never run.
fn waiting(list: &[Member]) -> String {
    let late = list.iter().filter(|m| m.is_learner || m.clients.is_empty());
    let late: Vec<String> = late.map(|m| m.peers.join(",")).collect();
    match late.is_empty() {
        true => "one of them does not answer".to_owned(),
        false => format!("they wait for {}", late.join(" and ")),
    }
}

/// Whether etcd on this machine belongs to a cluster of several members, whoever made it.
pub(super) async fn is_among_others() -> bool {
    let local = [LOCAL.to_owned()];
    let reached = Members::reach(&local, None).await;
    reached.is_ok_and(|(_, list)| list.len() > 1)
}
