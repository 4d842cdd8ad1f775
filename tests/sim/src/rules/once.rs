//! A unit is started once for each generation, run and boot; and no unit is on two machines because of a move.

use fleetd::init::scripted::ScriptedInit;
use units::UnitName;

use super::{Rule, Violation};

/// What a start was issued for.
pub type Cause = (i64, u64);

/// A start for what it was started for already in this boot, without having been let go of in between.
pub fn start_once(machine: usize, unit: &UnitName, cause: Cause, before: &[Cause]) -> Option<Violation> {
    before.contains(&cause).then(|| {
        let (generation, run) = cause;
        let what = format!("m{machine} started {unit} a second time for generation {generation}, run {run}");
        Violation::new(Rule::StartOnce, what)
    })
}

/// Whether something of the unit still runs there.
pub fn is_up(init: &ScriptedInit, unit: &UnitName) -> bool {
    !matches!(init.status(unit.as_str()).active.as_str(), "inactive" | "failed")
}

/// A start here while the unit is up there: of a unit with `OnDisconnect=stop`, or though neither machine was lost in
/// between.
pub fn one_copy(unit: &UnitName, here: usize, there: usize, is_once: bool) -> Violation {
    let (rule, why) = match is_once {
        true => (Rule::AtMostOnce, "it is at most once"),
        false => (Rule::OneCopy, "neither machine was lost"),
    };
    Violation::new(
        rule,
        format!("m{here} started {unit} while it still ran on m{there}, and {why}"),
    )
}
