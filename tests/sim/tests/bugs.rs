//! Each rule sees: a bug that breaks it, planted at a seam of the healthy product, is found within the default seeds.

use sim::{Bug, Options, many};

/// Looks for the first seed that finds the bug, which has to be found as a breach of its own rule.
#[expect(
    clippy::unwrap_used,
    reason = "the stage of a test: what is not as expected ends it"
)]
fn find(bug: Bug) {
    let options = Options {
        bug: Some(bug),
        ..Options::default()
    };
    let mut found = None;
    let mut others = Vec::new();
    many::run_all(0..2000, 1, &options, |report| {
        if let Some((_, violation)) = report.violation {
            if violation.rule == bug.rule() {
                found = Some((report.seed, violation));
            } else {
                others.push((report.seed, violation));
            }
        }
        found.is_none()
    })
    .unwrap();
    assert!(
        found.is_some(),
        "{bug:?} was not found as such, but as {others:#?}"
    );
}

macro_rules! planted {
    ($($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            find(Bug::$bug);
        })*

        #[test]
        fn every_bug_is_looked_for() {
            assert_eq!([$(Bug::$bug),*], Bug::ALL);
        }
    };
}

planted! {
    a_content_that_is_removed_without_comparing: BlindDiscard,
    a_change_that_does_not_compare_what_it_was_decided_on: BlindChange,
    a_decision_that_does_not_compare_what_it_was_made_on: BlindDecision,
    an_agent_that_takes_itself_for_taken_in: EagerSeen,
    a_fleetd_that_forgets_which_registry_it_believed: Credulous,
    a_leader_that_writes_without_its_fence: NoFence,
    a_stop_that_counts_as_done_when_it_is_accepted: HastyStop,
    a_guard_that_does_nothing: NoGuard,
    a_fleetd_that_forgets_what_it_started: Forgetful,
    an_agent_that_misses_changes: DeafWatch,
    contents_that_are_never_removed: KeptContent,
}
