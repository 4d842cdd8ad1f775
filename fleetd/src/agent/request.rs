//! What a running agent can be asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::sync::oneshot;
use units::{DesiredState, MachineId, Metadata, State, UnitName};

use crate::registry::{LeaseId, Revision};

/// A request to [`Agent::run`](super::Agent::run).
#[derive(Debug)]
pub enum Request {
    /// Leave the cluster. Answered with `true` once every unit here has been stopped and the presence removed, with
    /// `false` at once if the registry did not accept the leave: then every unit is kept.
    Leave(oneshot::Sender<bool>),
    /// This machine says this of itself from now on. No presence begins or ends by it; it reaches the cluster as soon
    /// as the registry can be written.
    Describe(Description),
    /// Show what is held at this moment. Answered whatever becomes of the registry.
    Dump(oneshot::Sender<Dump>),
}

/// What a machine says of itself and may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where others reach it; may be empty.
    pub address: String,
    /// What units can ask for.
    pub metadata: Metadata,
    /// It takes no part in elections.
    pub disable_engine: bool,
}

/// What the agent holds, for people (fleet-reference §3.6, SIGUSR1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Address and metadata, as told to the cluster.
    pub address: String,
    /// See there.
    pub metadata: Metadata,
    /// The presence: its lease, and its create revision; `None` while there is none.
    pub presence: Option<(LeaseId, Revision)>,
    /// Revision of the last word of the registry that is still acted on.
    pub revision: Option<Revision>,
    /// What the registry wants of each unit here, as far as it was last heard.
    pub targets: BTreeMap<UnitName, DesiredState>,
    /// What has been said of each unit.
    pub published: BTreeMap<UnitName, State>,
    /// What is still to be said; `None` takes back what was said.
    pub unpublished: BTreeMap<UnitName, Option<State>>,
    /// Units that systemd is listened to about.
    pub subscribed: BTreeSet<UnitName>,
    /// Units that are worked on.
    pub at_work: BTreeSet<UnitName>,
}

/// A state in the words of fleet 1.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnitState<'a> {
    load_state: &'a str,
    active_state: &'a str,
    sub_state: &'a str,
    #[serde(rename = "MachineID")]
    machine: MachineId,
    unit_hash: String,
    unit_name: &'a UnitName,
}

impl<'a> UnitState<'a> {
    pub(crate) fn new(machine: MachineId, unit: &'a UnitName, state: &'a State) -> Self {
        Self {
            load_state: &state.load,
            active_state: &state.active,
            sub_state: &state.sub,
            machine,
            unit_hash: state.hash.map(|hash| hash.to_string()).unwrap_or_default(),
            unit_name: unit,
        }
    }
}
