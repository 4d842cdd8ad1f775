//! The members of a running etcd cluster: who they are, and becoming or ceasing to be one.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, MemberAddOptions};
use tokio::time::timeout;

use crate::registry::etcd::{EtcdTls, why};

/// How long one member may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A member as etcd lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// etcd's own id.
    pub id: u64,
    /// Empty until it has been started for the first time.
    pub name: String,
    /// Where the other members reach it.
    pub peers: Vec<String>,
    /// Where clients reach it; empty until it has been started.
    pub clients: Vec<String>,
    /// It follows, and does not vote yet.
    pub is_learner: bool,
}

/// What etcd said no to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
    /// etcd cannot do it now: another machine is just being taken in, or one of the members is not there. Time helps.
    #[error("{0}")]
    NotNow(String),
    /// Everything else.
    #[error("{0}")]
    Refused(String),
}

/// A cluster that is spoken to through one of its members.
pub struct Members {
    url: String,
    tls: Option<EtcdTls>,
    client: Client,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Members {
    /// Speaks to the first of `urls` (client addresses) that knows who the members are, and returns them as well.
    ///
    /// # Errors
    /// If none does: what the last one said.
    pub async fn reach(urls: &[String], tls: Option<&EtcdTls>) -> Result<(Self, Vec<Member>), MembersError> {
        let mut last = MembersError::Unreachable("no address of etcd is known".to_owned());
        for url in urls {
            // The crate's futures are too large to hand on by value.
            match Box::pin(Self::speak(url, tls)).await {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn speak(url: &str, tls: Option<&EtcdTls>) -> Result<(Self, Vec<Member>), MembersError> {
        let tls = tls.filter(|_| url.starts_with("https://"));
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_timeout(ANSWER);
        if let Some(tls) = tls {
            options = options.with_tls(tls.options());
        }
        let connecting = timeout(ANSWER, Client::connect([url], Some(options)));
        let client = match connecting.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(MembersError::Unreachable(why(url, tls, error))),
            Err(_) => return Err(MembersError::Unreachable(format!("{url}: no answer"))),
        };
        let mut members = Self {
            url: url.to_owned(),
            tls: tls.cloned(),
            client,
        };
        let list = members.list().await?;
        Ok((members, list))
    }

    /// Who they are now.
    ///
    /// # Errors
    /// If the member does not say, or has no quorum to say it with.
    pub async fn list(&mut self) -> Result<Vec<Member>, MembersError> {
        let answer = self.client.cluster_client().member_list().await;
        let answer = answer.map_err(|error| match self.refused(error) {
            MembersError::Refused(text) | MembersError::NotNow(text) => MembersError::Unreachable(text),
            other => other,
        })?;
        Ok(answer.members().iter().map(member).collect())
    }

    /// Announces a member that does not vote yet. Returns all members, with the new one.
    ///
    /// # Errors
    /// [`MembersError::NotNow`] while another one is being taken in.
    pub async fn add(&mut self, peers: &[String]) -> Result<Vec<Member>, MembersError> {
        let options = MemberAddOptions::new().with_is_learner();
        let added = self
            .client
            .cluster_client()
            .member_add(peers.to_vec(), Some(options))
            .await;
        let added = added.map_err(|error| self.refused(error))?;
        Ok(added.member_list().iter().map(member).collect())
    }

    /// Gives a member that has caught up its vote.
    ///
    /// # Errors
    /// [`MembersError::NotNow`] while it has not.
    pub async fn promote(&mut self, id: u64) -> Result<(), MembersError> {
        let promoted = self.client.cluster_client().member_promote(id).await;
        promoted.map(|_| ()).map_err(|error| self.refused(error))
    }

    /// Takes a member away.
    ///
    /// # Errors
    /// [`MembersError::NotNow`] while that would cost the quorum.
    pub async fn remove(&mut self, id: u64) -> Result<(), MembersError> {
        let removed = self.client.cluster_client().member_remove(id).await;
        removed.map(|_| ()).map_err(|error| self.refused(error))
    }

    /// Says where a member is reached by the others now.
    ///
    /// # Errors
    /// If etcd does not take it.
    pub async fn update(&mut self, id: u64, peers: &[String]) -> Result<(), MembersError> {
        let updated = self
            .client
            .cluster_client()
            .member_update(id, peers.to_vec())
            .await;
        updated.map(|_| ()).map_err(|error| self.refused(error))
    }

    /// The leader's id, and the id of the member that is spoken to.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn leader(&mut self) -> Result<(u64, u64), MembersError> {
        let status = self.client.maintenance_client().status().await;
        let status = status.map_err(|error| self.refused(error))?;
        let own = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
        Ok((status.leader(), own))
    }

    /// Has the leader, which has to be the member that is spoken to, hand over.
    ///
    /// # Errors
    /// If it does not.
    pub async fn hand_over(&mut self, to: u64) -> Result<(), MembersError> {
        let moved = self.client.maintenance_client().move_leader(to).await;
        moved.map(|_| ()).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: Error) -> MembersError {
        let text = match &error {
            Error::GRpcStatus(status) => status.message().to_owned(),
            _ => String::new(),
        };
        let said = || {
            let text = text.trim_start_matches("etcdserver: ");
            format!("{}: {text}", self.url)
        };
        // etcd's own words (rpctypes/error.go); its codes do not tell these from others.
        if [
            "too many learner",
            "in sync with leader",
            "unhealthy cluster",
            "not enough started members",
            "leader changed",
        ]
        .iter()
        .any(|w| text.contains(w))
        {
            return MembersError::NotNow(said());
        }
        if text.starts_with("etcdserver: ") && !text.contains("no leader") && !text.contains("timed out") {
            return MembersError::Refused(said());
        }
        MembersError::Unreachable(why(&self.url, self.tls.as_ref(), error))
    }
}

fn member(member: &etcd_client::Member) -> Member {
    Member {
        id: member.id(),
        name: member.name().to_owned(),
        peers: member.peer_urls().to_vec(),
        clients: member.client_urls().to_vec(),
        is_learner: member.is_learner(),
    }
}
