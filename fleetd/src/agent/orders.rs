//! What the registry tells this machine, and how far that word carries (design §4, "Authoritative").

use std::collections::BTreeMap;

use units::{Assignment, MachineId, MachineRecord, Phase, UnitName};

use super::local::Overrides;
use super::plan::{Order, Plan, Step};
use crate::registry::keys::{Key, Keys};
use crate::registry::trust::Trust;
use crate::registry::{RegistryError, Revision, Select, SharedRegistry};

/// One linearizable read of everything that concerns this machine, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) revision: Revision,
    /// With the revision of each; `None` is an assignment that cannot be read.
    pub(crate) assignments: BTreeMap<UnitName, (Option<Assignment>, Revision)>,
    /// Create revision of the presence that stands in the registry.
    pub(crate) presence: Option<Revision>,
    /// What the API has laid over this machine's metadata; `None` if its record is not there or cannot be read.
    overrides: Option<Overrides>,
    /// The presence that the engine has taken in.
    seen: Option<Revision>,
    /// The registry is the one this machine joined, and has not gone back.
    is_believed: bool,
}

impl Reading {
    /// Whether these orders are for this machine: the presence in the registry is the one it holds (`incarnation`). A
    /// machine that has no presence may be a clone of the one that has, and reads that one's orders.
    fn is_ours(&self, incarnation: Option<Revision>) -> bool {
        self.is_believed && incarnation.is_some() && self.presence == incarnation
    }

    /// The overrides to remember for a recovery. Whatever was placed here by an override was placed after it was set,
    /// so they are read with the very orders that follow from them, and nothing has to watch the record.
    pub(crate) fn overrides(&self, incarnation: Option<Revision>) -> Option<&Overrides> {
        self.overrides.as_ref().filter(|_| self.is_ours(incarnation))
    }

    /// Whether a unit may be stopped or let go of by this word: the engine must have taken in the very presence that
    /// this machine holds (`incarnation`), else it decided without knowing what the machine brought along.
    pub(crate) fn may_stop(&self, incarnation: Option<Revision>) -> bool {
        self.is_ours(incarnation) && self.seen == incarnation
    }
}

/// Reads what this machine is to do.
pub(crate) async fn read(
    registry: &SharedRegistry,
    keys: &Keys,
    trust: &Trust,
    id: &MachineId,
) -> Result<Reading, RegistryError> {
    let known = trust.known();
    let what = [keys.cluster(), keys.presence(id), keys.machine(id)].map(Select::Key);
    let what = [what.as_slice(), &[Select::Prefix(keys.assigns(id))]].concat();
    let snapshot = registry.read(&what).await?;
    let uuid = snapshot
        .get(&keys.cluster())
        .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
    let is_believed = match known.cluster {
        // Not joined yet: joining compares.
        None => false,
        Some(_) => trust.believe(&known, snapshot.revision, uuid.as_deref()).is_ok(),
    };
    let mut reading = Reading {
        revision: snapshot.revision,
        assignments: BTreeMap::new(),
        presence: snapshot.get(&keys.presence(id)).map(|kv| kv.create_revision),
        overrides: None,
        seen: None,
        is_believed,
    };
    for kv in &snapshot.kvs {
        match keys.parse(&kv.key) {
            Some(Key::Assign(_, unit)) => {
                let assignment = serde_json::from_slice(&kv.value).ok();
                reading.assignments.insert(unit, (assignment, kv.mod_revision));
            }
            Some(Key::Seen(_)) => {
                reading.seen = std::str::from_utf8(&kv.value)
                    .ok()
                    .and_then(|text| text.parse().ok());
            }
            Some(Key::Machine(_)) => {
                let record = serde_json::from_slice::<MachineRecord>(&kv.value).ok();
                reading.overrides = record.map(|record| Overrides {
                    revision: kv.mod_revision,
                    metadata: record.overrides,
                });
            }
            _ => {}
        }
    }
    Ok(reading)
}

/// The order that a reading amounts to for one unit.
pub(crate) fn order(
    reading: &Reading,
    incarnation: Option<Revision>,
    assigned: Option<&(Option<Assignment>, Revision)>,
) -> Order {
    if !reading.is_ours(incarnation) {
        return Order::Keep;
    }
    match assigned {
        Some((None, _)) => Order::Keep,
        Some((Some(assignment), _)) if assignment.phase == Phase::Run => Order::Run(assignment.clone()),
        Some((Some(_), _)) | None if reading.may_stop(incarnation) => Order::Release,
        Some((Some(_), _)) | None => Order::Keep,
    }
}

/// Whether a plan stops, replaces or removes anything.
pub(crate) fn ends_something(plan: &Plan) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(step, Step::Stop | Step::Disable | Step::Remove))
}

/// The steps in short, for the log.
pub(crate) fn words(plan: &Plan) -> String {
    let word = |step: &Step| match step {
        Step::Fetch(_) => "fetch",
        Step::Claim => "claim",
        Step::Disable => "disable",
        Step::Stop => "stop",
        Step::Write { .. } => "write",
        Step::Link => "link",
        Step::Reload => "reload",
        Step::Installed => "installed",
        Step::Enable => "enable",
        Step::Guard => "guard",
        Step::Start { .. } => "start",
        Step::Note { .. } => "note",
        Step::ResetFailed => "reset-failed",
        Step::Remove => "remove",
    };
    let words: Vec<&str> = plan.steps.iter().map(word).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use units::{DesiredState, UnitFile};

    use super::*;

    fn reading(presence: Option<Revision>, seen: Option<Revision>) -> Reading {
        Reading {
            revision: 9,
            assignments: BTreeMap::new(),
            presence,
            overrides: None,
            seen,
            is_believed: true,
        }
    }

    fn assignment(phase: Phase) -> Assignment {
        let hash = UnitFile::default().hash();
        Assignment {
            generation: 1,
            run: 0,
            hash,
            desired: DesiredState::Launched,
            phase,
            on_disconnect: units::OnDisconnect::Keep,
        }
    }

    #[test]
    fn only_a_presence_that_the_engine_has_taken_in_can_be_told_to_stop() {
        let release = (Some(assignment(Phase::Release)), 5);
        for (presence, seen, ours, expected) in [
            (Some(4), Some(4), Some(4), Order::Release),
            (Some(4), Some(3), Some(4), Order::Keep),
            (Some(4), None, Some(4), Order::Keep),
            (None, Some(4), Some(4), Order::Keep),
            (Some(4), Some(4), Some(3), Order::Keep),
            (Some(4), Some(4), None, Order::Keep),
        ] {
            let reading = reading(presence, seen);
            assert_eq!(
                order(&reading, ours, Some(&release)),
                expected,
                "{presence:?} {seen:?} {ours:?}"
            );
            assert_eq!(
                order(&reading, ours, None),
                expected,
                "{presence:?} {seen:?} {ours:?}"
            );
        }
    }

    /// A clone that was refused used to start what the first machine was told to run.
    #[test]
    fn the_orders_of_a_presence_that_is_not_ours_start_nothing() {
        let run = (Some(assignment(Phase::Run)), 5);
        for (presence, ours) in [(Some(4), None), (Some(4), Some(3)), (None, Some(4)), (None, None)] {
            let reading = reading(presence, Some(4));
            assert_eq!(
                order(&reading, ours, Some(&run)),
                Order::Keep,
                "{presence:?} {ours:?}"
            );
        }
        let order = order(&reading(Some(4), None), Some(4), Some(&run));
        assert!(matches!(order, Order::Run(_)), "{order:?}");
    }

    #[test]
    fn what_cannot_be_read_or_believed_changes_nothing() {
        let good = reading(Some(4), Some(4));
        assert_eq!(order(&good, Some(4), Some(&(None, 5))), Order::Keep);
        let doubtful = Reading {
            is_believed: false,
            ..good
        };
        for assigned in [
            None,
            Some((Some(assignment(Phase::Run)), 5)),
            Some((Some(assignment(Phase::Release)), 5)),
        ] {
            assert_eq!(order(&doubtful, Some(4), assigned.as_ref()), Order::Keep);
        }
    }
}
