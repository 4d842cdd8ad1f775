//! What a machine that is to be a member of a running cluster has to do next. Pure.

use super::members::Member;

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Announce it, as a learner.
    Add,
    /// There are as many members as there should be.
    Full,
    /// Its disk was lost: the member that the cluster knows cannot come back. Take it away, then announce it anew.
    Replace(u64),
    /// Start its etcd and see to it that it answers.
    Start {
        /// `ETCD_INITIAL_CLUSTER`, for its very first start.
        cluster: String,
        /// As the cluster knows it. A learner is to be given a vote once it has caught up.
        ours: Member,
    },
    /// It holds the data of a cluster that it is no member of.
    Stranger,
}

/// From what the cluster knows (`members`) and what is here: our `peers`, our `name` and whether etcd has written
/// anything. `limit` is how many members there may be.
pub fn next(members: &[Member], name: &str, peers: &[String], has_data: bool, limit: usize) -> Next {
    let ours = members
        .iter()
        .find(|member| is_ours(member, name, peers, has_data));
    match ours {
        None if has_data => Next::Stranger,
        None if members.len() >= limit => Next::Full,
        None => Next::Add,
        // One that has run tells where its clients find it; a founder has a name before it has ever run.
        Some(ours) if !ours.clients.is_empty() && !has_data => Next::Replace(ours.id),
        Some(ours) => Next::Start {
            cluster: initial_cluster(members, ours.id, name),
            ours: ours.clone(),
        },
    }
}

/// Whether a member is this machine: by its peer URLs; where there is data, also by its name, for its address may have
/// changed since. Without data a name says nothing: a cloned machine has the same.
pub fn is_ours(member: &Member, name: &str, peers: &[String], has_data: bool) -> bool {
    member.peers.iter().any(|url| peers.contains(url)) || (has_data && member.name == name)
}

/// `NAME=URL` for every URL of every member. Names of others do not matter; a member that has never run has none.
fn initial_cluster(members: &[Member], own: u64, name: &str) -> String {
    let of = |member: &Member| {
        let called = match (member.id == own, member.name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{:x}", member.id),
            (false, false) => member.name.clone(),
        };
        let urls = member.peers.iter().map(|url| format!("{called}={url}"));
        urls.collect::<Vec<_>>()
    };
    members.iter().flat_map(of).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, host: &str, is_learner: bool) -> Member {
        Member {
            id,
            name: name.to_owned(),
            peers: vec![format!("https://{host}:2380")],
            clients: Vec::new(),
            is_learner,
        }
    }

    /// After its first start.
    fn ran(member: Member) -> Member {
        Member {
            clients: vec!["https://x:2379".to_owned()],
            ..member
        }
    }

    #[test]
    fn wherever_it_was_cut_off_it_goes_on() {
        let peers = ["https://b:2380".to_owned()];
        let first = ran(member(1, "m1", "a", false));
        let with = |own: &Member| vec![first.clone(), own.clone()];
        let learner = member(2, "", "b", true);
        let follower = ran(member(2, "m2", "b", true));
        let voter = ran(member(2, "m2", "b", false));
        let founder = member(2, "m2", "b", false);
        let moved = ran(member(2, "m2", "old", false));
        let start = |ours: &Member| Next::Start {
            cluster: format!("m1=https://a:2380,m2={}", ours.peers[0]),
            ours: ours.clone(),
        };
        for (what, members, has_data, wanted) in [
            ("nothing done yet", vec![first.clone()], false, Next::Add),
            ("announced", with(&learner), false, start(&learner)),
            ("etcd has begun to write", with(&learner), true, start(&learner)),
            ("started", with(&follower), true, start(&follower)),
            ("all done", with(&voter), true, start(&voter)),
            (
                "a founder that has never run",
                with(&founder),
                false,
                start(&founder),
            ),
            ("its address has changed", with(&moved), true, start(&moved)),
            ("a clone of another member", with(&moved), false, Next::Add),
            ("disk lost", with(&voter), false, Next::Replace(2)),
            ("taken away, data kept", vec![first.clone()], true, Next::Stranger),
            (
                "enough of them",
                vec![
                    first.clone(),
                    member(2, "m2", "c", false),
                    member(3, "m3", "d", true),
                ],
                false,
                Next::Full,
            ),
        ] {
            assert_eq!(next(&members, "m2", &peers, has_data, 3), wanted, "{what}");
        }
    }

    #[test]
    fn a_member_without_a_name_is_called_by_its_id() {
        let members = [member(0xab, "", "a", true), member(2, "", "b", true)];
        assert_eq!(
            initial_cluster(&members, 2, "m2"),
            "ab=https://a:2380,m2=https://b:2380"
        );
    }
}
