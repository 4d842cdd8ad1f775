//! What the cluster keeps about units and machines: the values in etcd, and the bodies of the v2 API.
//!
//! One vocabulary for both, so that what `etcdctl get` shows, what the API answers and what fleetctl folds are the
//! same words. Unknown fields are ignored and missing ones have defaults: an older fleetd reads what a newer one wrote.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DesiredState, Hash, MachineId, Metadata, OnDisconnect, UnitName};

/// What the owner of a unit wants: `units/U`, written by the API alone.
///
/// Its generation is the revision of its last change and so not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitRecord {
    /// Names the content, kept once under `content/H`.
    pub hash: Hash,
    /// How far it should be brought.
    pub desired: DesiredState,
    /// Counts the starts asked for; raised by `restart`, and by `start` on a unit that failed or finished.
    #[serde(default)]
    pub run: u64,
}

/// Where a unit belongs: `schedule/U`, written by the engine alone. Global units have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The machine that was chosen.
    pub machine: MachineId,
    /// Why this one, in words for people.
    #[serde(default)]
    pub reason: String,
}

/// What a machine must do about a unit: `assign/M/unit/U`, written by the engine alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Revision of the unit record it was made from.
    pub generation: i64,
    /// The unit's run counter.
    #[serde(default)]
    pub run: u64,
    /// The content to run.
    pub hash: Hash,
    /// `loaded` or `launched`.
    pub desired: DesiredState,
    /// Whether to hold the unit or to let go of it.
    pub phase: Phase,
    /// What this content asks for when the machine loses the cluster: what the engine may count on later, when the
    /// machine cannot be asked.
    #[serde(default, skip_serializing_if = "OnDisconnect::is_keep")]
    pub on_disconnect: OnDisconnect,
}

/// The two things an assignment can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Have the unit here, in its desired state.
    Run,
    /// Stop it, remove it, and say so; only then may it run elsewhere.
    Release,
}

/// Why a unit has no place: `verdict/U`, written by the leader while that is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The unit's generation it speaks of.
    pub generation: i64,
    /// Revision of the snapshot it was decided on.
    pub revision: i64,
    /// It ends by itself within moments: something else is under way that has to end first.
    #[serde(default)]
    pub passing: bool,
    /// The whole answer in one line.
    pub summary: String,
    /// How many machines were turned down, by kind of reason.
    #[serde(default)]
    pub counts: BTreeMap<String, usize>,
    /// At most 20 of them with the reason in full, by machine id.
    #[serde(default)]
    pub machines: Vec<Refusal>,
}

/// Why one machine was turned down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The machine.
    pub machine: MachineId,
    /// Its address, empty if it has none.
    #[serde(default)]
    pub address: String,
    /// In words for people.
    pub reason: String,
}

/// A machine as the cluster remembers it, present or not: `machines/M`, written by its agent (the record) and by the
/// API (the overrides).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineRecord {
    /// From `/etc/machine-id`.
    pub id: MachineId,
    /// Where other machines reach it; empty if it has no address.
    #[serde(default)]
    pub address: String,
    /// From its configuration.
    #[serde(default)]
    pub metadata: Metadata,
    /// Set through the API, over the configured metadata; an empty value hides the key.
    #[serde(default)]
    pub overrides: Metadata,
    /// What it could offer.
    #[serde(default)]
    pub capacity: Capacity,
    /// Of its fleetd.
    #[serde(default)]
    pub version: String,
    /// It takes no part in elections; fleet 1.0 called it the capability `DISABLE_ENGINE`.
    #[serde(default)]
    pub disable_engine: bool,
    /// It left in an orderly way: nothing of it is lost, and nothing is expected back.
    #[serde(default)]
    pub left: bool,
    /// Seconds for which the lease of its presence is granted; 0 if not known.
    #[serde(default)]
    pub ttl: u64,
}

impl MachineRecord {
    /// The metadata that units are matched against: configured values, with the overrides laid over them.
    pub fn effective_metadata(&self) -> Metadata {
        let mut metadata = self.metadata.clone();
        for (key, value) in &self.overrides {
            if value.is_empty() {
                metadata.remove(key);
            } else {
                metadata.insert(key.clone(), value.clone());
            }
        }
        metadata
    }
}

/// The size of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Processors.
    #[serde(default)]
    pub cpus: u32,
    /// Bytes of memory.
    #[serde(default)]
    pub memory: u64,
}

/// A machine's sign of life: `agents/M/presence`, under its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Of the running kernel: another one means that nothing of before runs any more.
    pub boot_id: String,
    /// To name the holder in a message about a duplicate machine id.
    #[serde(default)]
    pub address: String,
    /// It is leaving the cluster: nothing new goes there.
    #[serde(default)]
    pub leaving: bool,
}

/// What a machine says of a unit: `agents/M/state/U`, under its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Revision of the assignment it answers; 0 for a copy that no assignment speaks of.
    pub assignment: i64,
    /// Whether the machine has the unit.
    pub hold: Hold,
    /// Generation it was last started for, or, not started, loaded for.
    #[serde(default)]
    pub generation: i64,
    /// Run it was last started for.
    #[serde(default)]
    pub run: u64,
    /// Content it has on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// The start was issued for this generation and run.
    #[serde(default)]
    pub started: bool,
    /// systemd's LoadState.
    #[serde(default)]
    pub load: String,
    /// systemd's ActiveState.
    #[serde(default)]
    pub active: String,
    /// systemd's SubState.
    #[serde(default)]
    pub sub: String,
    /// systemd's Result, where the unit's type has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// How often systemd restarted it since it was started.
    #[serde(default)]
    pub restarts: u32,
    /// Microseconds since the epoch when systemd's state last changed; 0 if never.
    #[serde(default)]
    pub since: u64,
    /// What stands in the way on that machine, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a machine has a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// It is there, or on its way.
    Held,
    /// It is stopped and removed: the answer to `release`.
    Gone,
    /// It will not be taken in: `problem` says why.
    Refused,
}

impl State {
    /// It was started for `(generation, run)` or a later one and has come to its end by itself: failed, or finished.
    pub fn ended(&self) -> bool {
        self.hold == Hold::Held && self.started && matches!(self.active.as_str(), "failed" | "inactive")
    }
}

/// One change, or the state of things, on the v2 event stream (`GET /fleet/v2/events`).
///
/// A value of `None` means the thing is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// A unit was created, changed or destroyed.
    Unit {
        /// Its name.
        name: UnitName,
        /// What is wanted of it.
        unit: Option<UnitRecord>,
        /// Revision of that record.
        generation: i64,
        /// It runs on every fitting machine.
        #[serde(default)]
        global: bool,
    },
    /// The engine gave it a place, or took it back.
    Placement {
        /// The unit.
        name: UnitName,
        /// Where.
        placement: Option<Placement>,
    },
    /// The engine found no place for it, or that is over.
    Verdict {
        /// The unit.
        name: UnitName,
        /// Why not.
        verdict: Option<Verdict>,
    },
    /// A machine said something about it.
    State {
        /// The unit.
        name: UnitName,
        /// Which machine.
        machine: MachineId,
        /// What it said.
        state: Option<State>,
    },
    /// All that was asked for has been sent as it stands at this revision; changes follow.
    Current {
        /// Revision of the snapshot.
        revision: i64,
    },
}

/// Everything the registry says about one unit, at one revision (`GET /fleet/v2/units/N`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitView {
    /// Revision of the whole answer.
    pub revision: i64,
    /// The unit.
    pub name: UnitName,
    /// What is wanted of it.
    pub unit: UnitRecord,
    /// Revision of that record.
    pub generation: i64,
    /// It runs on every fitting machine.
    #[serde(default)]
    pub global: bool,
    /// First `Description=` of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Why it has no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Every machine that has something to do with it, by machine id.
    #[serde(default)]
    pub copies: Vec<CopyView>,
}

/// A unit on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyView {
    /// The machine.
    pub machine: MachineId,
    /// Its address, empty if it has none.
    #[serde(default)]
    pub address: String,
    /// What the engine asks of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Release => "release",
        })
    }
}
