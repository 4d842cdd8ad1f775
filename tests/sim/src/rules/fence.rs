//! A write with an old fence never lands.

use fleetd::cluster::Cluster;
use fleetd::registry::Change;
use fleetd::registry::keys::{Key, Keys};
use units::MachineId;

use super::rest::digits;
use super::{Rule, Violation};
use crate::seam::Role;

/// Every key that is the engine's was written by the engine of the machine that held `leader` at that revision.
///
/// `holder` is who held it before this change, `writer` who made it (`None`: a lease that ended). After a recovery no
/// engine decides until every machine has had the time to come in (`fleetd::recovery`): then the agent of a machine that
/// `returns` withdraws orders to itself, and places on itself, of a time gone by.
pub fn check(
    keys: &Keys,
    before: &Cluster,
    holder: Option<&MachineId>,
    writer: Option<(MachineId, Role)>,
    returns: Option<(MachineId, Role)>,
    change: &Change,
) -> Option<Violation> {
    let own = |id: &MachineId| returns.is_some_and(|(m, _)| m == *id);
    let withdraws = matches!(change, Change::Delete { .. })
        && match keys.parse(change.key())? {
            Key::Assign(id, _) | Key::Seen(id) => own(&id),
            Key::Schedule(unit) => before.home(&unit).is_some_and(own),
            _ => false,
        };
    let is_engines = match keys.parse(change.key())? {
        Key::Schedule(_) | Key::Assign(..) | Key::Seen(_) | Key::Verdict(_) => true,
        // Put by the API, removed by the leader.
        Key::Content(_) => matches!(change, Change::Delete { .. }),
        _ => false,
    };
    let is_holders = writer.is_some_and(|(id, role)| role == Role::Engine && holder == Some(&id));
    (is_engines && !is_holders && !withdraws).then(|| {
        let who = writer.map_or_else(
            || "a lease".to_owned(),
            |(id, role)| format!("{} of {}", role, digits(&id)),
        );
        let leads = holder.map_or_else(|| "nobody".to_owned(), digits);
        Violation::new(
            Rule::NoOldFence,
            format!("{who} wrote {}, and {leads} leads", change.key()),
        )
    })
}
