//! Which member is tried first. Pure: no clock and no dice, both come from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Address;

/// When dials last failed, each as a span since some moment all of them share.
pub type Failures = BTreeMap<Address, Duration>;

/// How long a member that failed is tried last.
pub const LAST_FOR: Duration = Duration::from_secs(10);

/// The order in which `targets` are tried at `now`.
///
/// First the one that worked last (`current`): a member that works is kept. Then the others, in an order of this
/// machine's own (`seed`), so that the gateways of a cluster spread over its members, and the gone one's connections over
/// those that are left. Last whoever failed within [`LAST_FOR`], the longest-failed first.
pub fn order(
    targets: &[Address],
    current: Option<&Address>,
    failures: &Failures,
    now: Duration,
    seed: u64,
) -> Vec<Address> {
    let failed = |target: &Address| {
        let at = failures.get(target).copied();
        at.filter(|at| now < at.saturating_add(LAST_FOR))
    };
    let mut ordered: Vec<&Address> = targets.iter().collect();
    ordered.sort_by_cached_key(|target| (failed(target), Some(*target) != current, rank(target, seed)));
    ordered.dedup();
    ordered.into_iter().cloned().collect()
}

/// A number for a target that depends on nothing but it and the seed: a member more or less moves nobody else.
fn rank(target: &Address, seed: u64) -> u64 {
    // FNV-1a, and a last stir, since its high bits are the slow ones.
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in target.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> Address {
        format!("http://{name}:2379").parse().unwrap()
    }

    /// With the targets `a b c`.
    fn ordered(current: Option<&str>, failures: &[(&str, u64)], now: u64, seed: u64) -> String {
        let targets: Vec<_> = ["a", "b", "c"].map(at).into();
        let failures = failures
            .iter()
            .map(|(name, at_second)| (at(name), Duration::from_secs(*at_second)))
            .collect();
        let current = current.map(at);
        let order = order(
            &targets,
            current.as_ref(),
            &failures,
            Duration::from_secs(now),
            seed,
        );
        order.iter().map(Address::host).collect()
    }

    #[test]
    fn one_that_works_is_kept_and_one_that_failed_is_tried_last() {
        // What this seed says without any history.
        assert_eq!(ordered(None, &[], 100, 0), "cab");
        for (current, failures, now, expected, why) in [
            (Some("b"), &[][..], 100, "bca", "the one that works comes first"),
            (None, &[("c", 95)], 100, "abc", "a failed one comes last"),
            (Some("c"), &[("c", 95)], 100, "abc", "even if it worked before"),
            (Some("c"), &[("c", 90)], 100, "cab", "but for 10 s only"),
            (
                None,
                &[("c", 95), ("a", 93)],
                100,
                "bac",
                "the longest-failed before the others",
            ),
            (
                Some("b"),
                &[("a", 97), ("b", 98), ("c", 99)],
                100,
                "abc",
                "all failed: all are tried",
            ),
            (
                Some("x"),
                &[],
                100,
                "cab",
                "one that is no member any more is no target",
            ),
        ] {
            assert_eq!(ordered(current, failures, now, 0), expected, "{why}");
        }
    }

    #[test]
    fn machines_begin_with_different_members() {
        let mut firsts = BTreeMap::new();
        for seed in 0..300 {
            let order = ordered(None, &[], 0, seed);
            *firsts.entry(order[..1].to_owned()).or_insert(0) += 1;
        }
        assert!(
            firsts.len() == 3 && firsts.values().all(|n| *n > 60),
            "{firsts:?}"
        );
    }

    #[test]
    fn a_member_less_moves_none_of_the_others() {
        let without: Vec<_> = ["a", "b"].map(at).into();
        for seed in 0..50 {
            let rest = ordered(None, &[], 0, seed).replace('c', "");
            let order = order(&without, None, &Failures::new(), Duration::ZERO, seed);
            assert_eq!(order.iter().map(Address::host).collect::<String>(), rest);
        }
    }

    #[test]
    fn nothing_is_tried_twice() {
        let twice = [at("a"), at("b"), at("a")];
        assert_eq!(order(&twice, None, &Failures::new(), Duration::ZERO, 1).len(), 2);
    }
}
