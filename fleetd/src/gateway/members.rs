//! What a peer of etcd says about the members (`GET /members` on its peer port, 3.4 to 3.6), and what of it is of use.

use serde::{Deserialize, Serialize};

use super::Address;

/// What is known of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Where they speak to each other: who is asked next time.
    pub peers: Vec<Address>,
    /// Where they speak to clients: the targets.
    pub clients: Vec<Address>,
}

/// Why an answer is of no use. One line.
#[derive(Debug, thiserror::Error)]
pub enum NoMembers {
    /// It is something else.
    #[error("it is no list of members: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Nobody in it can be a target.
    #[error("none of its {0} members has an address for clients that can be used from this machine")]
    NoTarget(usize),
}

/// One member, as etcd writes it: what is empty is left out. Fields of later versions are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
    #[serde(default)]
    is_learner: bool,
}

impl Members {
    /// Reads the answer of `peer`. Learners refuse most requests and members that have not started have no addresses,
    /// so neither is a target. An address that means this machine (`http://localhost:2379`, etcd's default) counts only
    /// if the peer is on this machine as well. A peer that nobody vouches for must not lead away from TLS where it is
    /// wanted: with `checked` it can name no plain targets.
    ///
    /// # Errors
    /// If it is no list of members, or has no target: then what was known before is better.
    pub fn read(answer: &[u8], peer: &Address, checked: bool) -> Result<Self, NoMembers> {
        let list: Vec<Member> = serde_json::from_slice(answer)?;
        let usable = |url: &String| {
            let address = url.parse().ok();
            address.filter(|a: &Address| !a.is_local() || peer.is_local())
        };
        let mut members = Self::default();
        for member in &list {
            members.peers.extend(member.peer_urls.iter().filter_map(usable));
            if !member.is_learner {
                let clients = member.client_urls.iter().filter_map(usable);
                members
                    .clients
                    .extend(clients.filter(|a| a.tls() || peer.tls() || !checked));
            }
        }
        members.peers.sort();
        members.peers.dedup();
        members.clients.sort();
        members.clients.dedup();
        if members.clients.is_empty() {
            return Err(NoMembers::NoTarget(list.len()));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's etcd 3.4.23 wrote it, with addresses of machines.
    const ANSWER: &str = r#"[{"id":6304926669660767639,"peerURLs":["http://10.0.0.3:2380"],"isLearner":true},
        {"id":15985099378392235387,"peerURLs":["http://10.0.0.1:2380"],"name":"m1","clientURLs":["http://10.0.0.1:2379","http://127.0.0.1:2379"]},
        {"id":7,"peerURLs":["http://10.0.0.2:2380"]},
        {"id":8,"peerURLs":["http://10.0.0.4:2380"],"name":"m4","clientURLs":["http://10.0.0.4:2379"],"isLearner":true},
        {"id":9,"peerURLs":["http://10.0.0.5:2380"],"name":"m5","clientURLs":["https://10.0.0.5:2379","unix:///x"]}]"#;

    fn read(answer: &str, peer: &str, checked: bool) -> Result<Members, String> {
        Members::read(answer.as_bytes(), &peer.parse().unwrap(), checked).map_err(|e| e.to_string())
    }

    fn texts(addresses: &[Address]) -> Vec<String> {
        addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn learners_unstarted_members_and_loopback_are_no_targets() {
        let members = read(ANSWER, "http://10.0.0.1:2380", false).unwrap();
        assert_eq!(
            texts(&members.clients),
            ["http://10.0.0.1:2379", "https://10.0.0.5:2379"]
        );
        let peers: Vec<String> = (1..=5).map(|n| format!("http://10.0.0.{n}:2380")).collect();
        assert_eq!(texts(&members.peers), peers, "all of them can be asked");
    }

    #[test]
    fn loopback_is_believed_from_loopback_only() {
        let members = read(ANSWER, "http://127.0.0.1:2380", false).unwrap();
        assert_eq!(texts(&members.clients)[1], "http://127.0.0.1:2379");
    }

    #[test]
    fn where_tls_is_wanted_only_a_checked_peer_names_plain_targets() {
        let members = read(ANSWER, "http://10.0.0.1:2380", true).unwrap();
        assert_eq!(texts(&members.clients), ["https://10.0.0.5:2379"]);
        let members = read(ANSWER, "https://10.0.0.1:2380", true).unwrap();
        assert_eq!(members.clients.len(), 2);
    }

    #[test]
    fn an_answer_without_a_target_is_refused_in_one_line() {
        for (answer, said) in [
            (
                "[]",
                "none of its 0 members has an address for clients that can be used from this machine",
            ),
            (
                r#"[{"id":1,"name":"m","peerURLs":["http://localhost:2380"],"clientURLs":["http://localhost:2379"]}]"#,
                "none of its 1 members has an address for clients that can be used from this machine",
            ),
            (
                "hello",
                "it is no list of members: expected value at line 1 column 1",
            ),
            (
                r#"{"header":{}}"#,
                "it is no list of members: invalid type: map, expected a sequence at line 1 column 0",
            ),
        ] {
            assert_eq!(read(answer, "http://10.0.0.1:2380", false).unwrap_err(), said);
        }
    }
}
