//! What the scripts of the fake are written in.

use units::{DesiredState, Event, Hold, MachineId, Placement, Refusal, State, UnitFile, UnitName, UnitRecord, Verdict};

use super::fake::{Part, Reply};

pub(crate) const WEB: &str = "[Unit]\nDescription=A web server\n\n[Service]\nExecStart=/bin/sleep 100\n";
pub(crate) const OTHER: &str = "[Service]\nExecStart=/bin/sleep 200\n";

/// `GET /fleet/v2/machines`.
pub(crate) const MACHINES: &str = r#"{"revision":9,"machines":[
    {"record":{"id":"1234abcd000000000000000000000000","address":"10.0.0.1"},"present":true,"metadata":{}},
    {"record":{"id":"beef0002000000000000000000000000","address":""},"present":false,"metadata":{}}]}"#;

/// The machine `1234abcd.../10.0.0.1`.
pub(crate) const M1: &str = "1234abcd000000000000000000000000";
/// A machine without an address.
pub(crate) const M2: &str = "beef0002000000000000000000000000";

pub(crate) use DesiredState::{Inactive, Loaded, Launched};

fn name(unit: &str) -> UnitName {
    UnitName::parse(unit).unwrap()
}

pub(crate) fn id(machine: &str) -> MachineId {
    MachineId::parse(machine).unwrap()
}

pub(crate) fn record(text: &str, desired: DesiredState) -> UnitRecord {
    UnitRecord {
        hash: UnitFile::parse(text).unwrap().hash(),
        desired,
        run: 0,
    }
}

fn unit_event(revision: i64, unit: &str, record: Option<UnitRecord>, global: bool) -> Part {
    let event = Event::Unit {
        name: name(unit),
        unit: record,
        generation: revision,
        global,
    };
    Part::Event(revision, event)
}

/// The unit has this record since that revision.
pub(crate) fn unit(revision: i64, unit: &str, record: UnitRecord) -> Part {
    unit_event(revision, unit, Some(record), false)
}

/// As [`unit`], for one that runs everywhere.
pub(crate) fn global(revision: i64, unit: &str, record: UnitRecord) -> Part {
    unit_event(revision, unit, Some(record), true)
}

/// The unit is gone since that revision.
pub(crate) fn destroyed(revision: i64, unit: &str) -> Part {
    unit_event(revision, unit, None, false)
}

pub(crate) fn placed(revision: i64, unit: &str, machine: &str) -> Part {
    let placement = Placement {
        machine: id(machine),
        reason: "it has the fewest units".to_owned(),
    };
    let event = Event::Placement {
        name: name(unit),
        placement: Some(placement),
    };
    Part::Event(revision, event)
}

pub(crate) fn unplaced(revision: i64, unit: &str) -> Part {
    let event = Event::Placement {
        name: name(unit),
        placement: None,
    };
    Part::Event(revision, event)
}

pub(crate) fn refusals(generation: i64) -> Verdict {
    let refusal = |machine, address: &str, reason: &str| Refusal {
        machine: id(machine),
        address: address.to_owned(),
        reason: reason.to_owned(),
    };
    Verdict {
        generation,
        revision: generation + 1,
        passing: false,
        summary: "none of 23 machines can hold it: 23 metadata does not match".to_owned(),
        counts: [("metadata does not match".to_owned(), 23)].into(),
        machines: vec![
            refusal(M1, "10.0.0.1", "has zone=b, MachineMetadata= asks for zone=a"),
            refusal(M2, "", "has no metadata zone, MachineMetadata= asks for zone=a"),
        ],
    }
}

pub(crate) fn verdict(revision: i64, unit: &str, verdict: Option<Verdict>) -> Part {
    let event = Event::Verdict {
        name: name(unit),
        verdict,
    };
    Part::Event(revision, event)
}

/// What a machine says of a unit it was given at `generation`; `systemd` is `active/sub` or `active/sub/result`.
pub(crate) fn held(generation: i64, started: bool, systemd: &str) -> State {
    let mut words = systemd.split('/').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    State {
        assignment: generation + 1,
        hold: Hold::Held,
        generation,
        run: 0,
        hash: None,
        started,
        load: "loaded".to_owned(),
        active: word(),
        sub: word(),
        result: word(),
        restarts: 0,
        since: 0,
        problem: None,
    }
}

pub(crate) fn state(revision: i64, unit: &str, machine: &str, state: State) -> Part {
    state_event(revision, unit, machine, Some(state))
}

pub(crate) fn stateless(revision: i64, unit: &str, machine: &str) -> Part {
    state_event(revision, unit, machine, None)
}

fn state_event(revision: i64, unit: &str, machine: &str, state: Option<State>) -> Part {
    let event = Event::State {
        name: name(unit),
        machine: id(machine),
        state,
    };
    Part::Event(revision, event)
}

pub(crate) fn current(revision: i64) -> Part {
    Part::Event(revision, Event::Current { revision })
}

/// The answer to `POST …/runs`.
pub(crate) fn ran(run: u64, revision: i64) -> Reply {
    Reply::Json(201, Some(revision), format!("{{\"run\":{run}}}"))
}

/// The content of a unit, as `GET /fleet/v1/units/N` has it.
pub(crate) fn content(name: &str, text: &str) -> String {
    let unit = units::wire::v1::Unit {
        name: name.to_owned(),
        options: UnitFile::parse(text).unwrap().into_options(),
        ..units::wire::v1::Unit::default()
    };
    serde_json::to_string(&unit).unwrap()
}
