//! No acknowledged unit or change is lost.

use fleetd::cluster::Cluster;
use fleetd::registry::Change;
use fleetd::registry::keys::{Key, Keys};
use units::{UnitName, UnitRecord};

use super::{Rule, Violation};
use crate::seam::Role;

/// Looks at one change before it is made: units are changed by users alone, none of them takes back what another was
/// told has been done (a run that was counted), and no content goes that a unit refers to. `puts_back`: it comes from a
/// machine that brings back, after a recovery, what the registry had lost.
pub fn check(
    keys: &Keys,
    before: &Cluster,
    writer: Option<Role>,
    puts_back: bool,
    change: &Change,
) -> Option<Violation> {
    let lost = |what: String| Some(Violation::new(Rule::NothingLost, what));
    match (keys.parse(change.key())?, change) {
        (Key::Unit(_), Change::Put(_)) if puts_back => None,
        (Key::Unit(unit), _) if writer != Some(Role::Api) => {
            lost(format!("{unit} was changed by no user but by {writer:?}"))
        }
        (Key::Unit(unit), Change::Put(kv)) => {
            let new: UnitRecord = serde_json::from_slice(&kv.value).ok()?;
            let old = before.units.get(&unit)?.record.as_ref().ok()?;
            (new.run < old.run)
                .then(|| format!("{unit} went back from run {} to {}", old.run, new.run))
                .and_then(lost)
        }
        (Key::Content(hash), Change::Delete { .. }) => {
            let refers = |u: &fleetd::cluster::Unit| u.record.as_ref().is_ok_and(|r| r.hash == hash);
            let user = before.units.iter().find(|(_, u)| refers(u))?.0;
            lost(format!("the content {} of {user} was removed", hash.short()))
        }
        _ => None,
    }
}

/// A change that the API has acknowledged at `revision` is in the registry at that revision, as it was asked for.
pub fn acknowledged(unit: &UnitName, revision: i64, asked: &str, stands: bool) -> Option<Violation> {
    (!stands).then(|| {
        let what = format!("{asked} of {unit} was acknowledged at revision {revision}, and is not there");
        Violation::new(Rule::NothingLost, what)
    })
}
