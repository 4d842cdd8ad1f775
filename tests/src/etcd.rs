//! What the cluster's store says about itself.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::machine::Output;
use crate::wait::{Seen, seen, wait_until};

/// How one member sees the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The machine it runs on.
    pub machine: usize,
    /// Whether it holds itself for the leader.
    pub leads: bool,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// In which term.
    pub term: u64,
    /// At which revision its keys are.
    pub revision: u64,
    /// How many bytes its database takes on disk.
    pub size: u64,
    /// How many of them hold something.
    pub in_use: u64,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Status")]
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    #[serde(default)]
    leader: u64,
    #[serde(default, rename = "raftTerm")]
    term: u64,
    #[serde(default, rename = "dbSize")]
    size: u64,
    #[serde(default, rename = "dbSizeInUse")]
    in_use: u64,
}

#[derive(Deserialize)]
struct Header {
    member_id: u64,
    #[serde(default)]
    revision: u64,
}

impl Cluster {
    /// etcdctl on a machine, speaking to 127.0.0.1 there, however it ends.
    pub fn etcdctl(&self, number: usize, arguments: &[&str]) -> Result<Output> {
        self.exec(
            number,
            &[&["etcdctl", "--command-timeout=2s"], arguments].concat(),
        )
    }

    /// Asks the member on a machine how it sees the cluster. Asked inside, so that it also works for one cut off.
    pub fn etcd_view(&self, number: usize) -> Result<View> {
        let answer = self
            .etcdctl(number, &["endpoint", "status", "--write-out=json"])?
            .ok()?;
        let endpoints: Vec<Endpoint> = serde_json::from_str(&answer).context("cannot understand etcdctl")?;
        let Endpoint { status } = endpoints
            .into_iter()
            .next()
            .context("etcdctl speaks of no endpoint")?;
        Ok(View {
            machine: number,
            leads: status.leader == status.header.member_id,
            has_leader: status.leader != 0,
            term: status.term,
            revision: status.header.revision,
            size: status.size,
            in_use: status.in_use,
        })
    }

    /// Which machine holds etcd's leader. One that was cut off may hold itself for it for a while: the highest term
    /// is right. Waits through an election.
    pub fn etcd_leader(&self) -> Result<usize> {
        wait_until("an etcd leader", Duration::from_secs(15), || {
            let views: Vec<View> = self
                .members()
                .filter_map(|number| self.etcd_view(number).ok())
                .collect();
            let leader = views
                .iter()
                .filter(|view| view.leads)
                .max_by_key(|view| view.term);
            Ok(leader.map_or_else(
                || Seen::NotYet(format!("{views:?}")),
                |view| Seen::Yes(view.machine),
            ))
        })
    }

    /// Has the member on this machine lead etcd.
    pub fn move_etcd_leader(&self, number: usize) -> Result<()> {
        let leader = self.etcd_leader()?;
        if leader == number {
            return Ok(());
        }
        let answer = self
            .etcdctl(number, &["endpoint", "status", "--write-out=json"])?
            .ok()?;
        let endpoints: Vec<Endpoint> = serde_json::from_str(&answer).context("cannot understand etcdctl")?;
        let member = endpoints
            .first()
            .context("etcdctl speaks of no endpoint")?
            .status
            .header
            .member_id;
        self.etcdctl(leader, &["move-leader", &format!("{member:x}")])?
            .ok()?;
        wait_until("etcd to have moved its leader", Duration::from_secs(15), || {
            let leader = self.etcd_leader()?;
            seen(leader == number, || format!("machine {leader} leads"))
        })
    }

    /// The name of the unit through which etcd answers on a machine.
    pub fn etcd_unit(&self, number: usize) -> &'static str {
        if self.members().contains(&number) {
            "etcd.service"
        } else {
            "etcd-gateway.service"
        }
    }
}
