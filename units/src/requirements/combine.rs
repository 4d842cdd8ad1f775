//! Which requirements contradict each other (fleet-reference §1.5, combination checks).

use super::{RequirementError, Requirements};
use crate::glob::Glob;

/// Finds the first contradiction, in fleet's order; ours come after fleet's.
pub(super) fn check(requirements: &Requirements) -> Result<(), RequirementError> {
    for peer in &requirements.machine_of {
        refuse_match(peer, "conflict", &requirements.conflicts)?;
        refuse_match(peer, "replace", &requirements.replaces)?;
    }

    let machine_id = ("MachineID", requirements.machine_id.is_some());
    let peers = ("Peers", !requirements.machine_of.is_empty());
    let conflicts = ("Conflicts", !requirements.conflicts.is_empty());
    let global = ("Global", requirements.global);
    let replaces = ("Replaces", !requirements.replaces.is_empty());
    let failure_domain = ("FailureDomain", !requirements.failure_domain.is_empty());
    let spread = ("Spread", !requirements.spread.is_empty());
    let contradictions = [
        (machine_id, peers),
        (machine_id, conflicts),
        (machine_id, global),
        (machine_id, replaces),
        (global, peers),
        (global, replaces),
        (conflicts, replaces),
        (machine_id, failure_domain),
        (machine_id, spread),
        (global, failure_domain),
        (global, spread),
    ];
    for ((one, has_one), (other, has_other)) in contradictions {
        if has_one && has_other {
            return Err(RequirementError::Incompatible(one, other));
        }
    }

    match failure_domain.1 && !conflicts.1 {
        true => Err(RequirementError::FailureDomainAlone),
        false => Ok(()),
    }
}

fn refuse_match(peer: &str, relation: &'static str, patterns: &[Glob]) -> Result<(), RequirementError> {
    match patterns.iter().find(|pattern| pattern.matches(peer)) {
        Some(pattern) => Err(RequirementError::Unresolvable {
            peer: peer.to_owned(),
            relation,
            pattern: pattern.to_string(),
        }),
        None => Ok(()),
    }
}
