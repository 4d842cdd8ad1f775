//! The layout of the registry: which key holds what (design §4).
//!
//! Point reads, narrow watches and rights by prefix follow from it: an agent watches `assign/<its machine>/` alone,
//! and nobody but the engine writes below `schedule/`, `assign/` and `verdict/`.

use units::{Hash, MachineId, UnitName};

/// fleet's own default prefix.
pub const DEFAULT_PREFIX: &str = "/_coreos.com/fleet/";

/// Makes and reads keys below one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

/// A key of the layout, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The uuid of the cluster.
    Cluster,
    /// The leader of the engines.
    Leader,
    /// The highest version of an engine that ever led.
    EngineVersion,
    /// Under which uuid a cluster goes on.
    Recovered(String),
    /// A machine has seen a later revision of the cluster of that uuid than the registry has.
    Doubted(String),
    /// A recovery is under way.
    Recovering,
    /// What is wanted of a unit.
    Unit(UnitName),
    /// The text of units.
    Content(Hash),
    /// Where a unit belongs.
    Schedule(UnitName),
    /// Why a unit has no place.
    Verdict(UnitName),
    /// A machine's record.
    Machine(MachineId),
    /// What a machine must do about a unit.
    Assign(MachineId, UnitName),
    /// The presence of a machine that the engine has taken in.
    Seen(MachineId),
    /// A machine's sign of life.
    Presence(MachineId),
    /// What a machine says of a unit.
    State(MachineId, UnitName),
}

impl Default for Keys {
    fn default() -> Self {
        Self::new(DEFAULT_PREFIX)
    }
}

impl Keys {
    /// A layout below `prefix`; a leading and a trailing slash are added where missing.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: format!("/{}/", prefix.trim_matches('/')),
        }
    }

    /// The prefix of everything.
    pub fn root(&self) -> &str {
        &self.prefix
    }

    /// `cluster`
    pub fn cluster(&self) -> String {
        format!("{}cluster", self.prefix)
    }

    /// `leader`
    pub fn leader(&self) -> String {
        format!("{}leader", self.prefix)
    }

    /// `engine/version`
    pub fn engine_version(&self) -> String {
        format!("{}engine/version", self.prefix)
    }

    /// `recovered/`
    pub fn recovereds(&self) -> String {
        format!("{}recovered/", self.prefix)
    }

    /// `recovered/<uuid>`
    pub fn recovered(&self, uuid: &str) -> String {
        format!("{}recovered/{uuid}", self.prefix)
    }

    /// `doubted/<uuid>`
    pub fn doubted(&self, uuid: &str) -> String {
        format!("{}doubted/{uuid}", self.prefix)
    }

    /// `recovering`
    pub fn recovering(&self) -> String {
        format!("{}recovering", self.prefix)
    }

    /// `units/`
    pub fn units(&self) -> String {
        format!("{}units/", self.prefix)
    }

    /// `units/U`
    pub fn unit(&self, unit: &UnitName) -> String {
        format!("{}units/{unit}", self.prefix)
    }

    /// `content/H`
    pub fn content(&self, hash: &Hash) -> String {
        format!("{}content/{hash}", self.prefix)
    }

    /// `content/`
    pub fn contents(&self) -> String {
        format!("{}content/", self.prefix)
    }

    /// `schedule/`
    pub fn schedules(&self) -> String {
        format!("{}schedule/", self.prefix)
    }

    /// `schedule/U`
    pub fn schedule(&self, unit: &UnitName) -> String {
        format!("{}schedule/{unit}", self.prefix)
    }

    /// `verdict/U`
    pub fn verdict(&self, unit: &UnitName) -> String {
        format!("{}verdict/{unit}", self.prefix)
    }

    /// `machines/`
    pub fn machines(&self) -> String {
        format!("{}machines/", self.prefix)
    }

    /// `machines/M`
    pub fn machine(&self, machine: &MachineId) -> String {
        format!("{}machines/{machine}", self.prefix)
    }

    /// `assign/M/`: all that one agent watches.
    pub fn assigns(&self, machine: &MachineId) -> String {
        format!("{}assign/{machine}/", self.prefix)
    }

    /// `assign/M/unit/U`
    pub fn assign(&self, machine: &MachineId, unit: &UnitName) -> String {
        format!("{}assign/{machine}/unit/{unit}", self.prefix)
    }

    /// `assign/M/seen`
    pub fn seen(&self, machine: &MachineId) -> String {
        format!("{}assign/{machine}/seen", self.prefix)
    }

    /// `agents/`
    pub fn agents(&self) -> String {
        format!("{}agents/", self.prefix)
    }

    /// `agents/M/presence`
    pub fn presence(&self, machine: &MachineId) -> String {
        format!("{}agents/{machine}/presence", self.prefix)
    }

    /// `agents/M/state/U`
    pub fn state(&self, machine: &MachineId, unit: &UnitName) -> String {
        format!("{}agents/{machine}/state/{unit}", self.prefix)
    }

    /// `agents/M/state/`
    pub fn states(&self, machine: &MachineId) -> String {
        format!("{}agents/{machine}/state/", self.prefix)
    }

    /// What a key is; `None` for one that is not of this layout, or whose parts are not valid names or ids.
    pub fn parse(&self, key: &str) -> Option<Key> {
        let parts: Vec<&str> = key.strip_prefix(&self.prefix)?.split('/').collect();
        let unit = |s: &str| UnitName::parse(s).ok();
        let machine = |s: &str| MachineId::parse(s).ok();
        Some(match parts.as_slice() {
            ["cluster"] => Key::Cluster,
            ["leader"] => Key::Leader,
            ["engine", "version"] => Key::EngineVersion,
            ["recovered", uuid] => Key::Recovered((*uuid).to_owned()),
            ["doubted", uuid] => Key::Doubted((*uuid).to_owned()),
            ["recovering"] => Key::Recovering,
            ["units", u] => Key::Unit(unit(u)?),
            ["content", h] => Key::Content(h.parse().ok()?),
            ["schedule", u] => Key::Schedule(unit(u)?),
            ["verdict", u] => Key::Verdict(unit(u)?),
            ["machines", m] => Key::Machine(machine(m)?),
            ["assign", m, "unit", u] => Key::Assign(machine(m)?, unit(u)?),
            ["assign", m, "seen"] => Key::Seen(machine(m)?),
            ["agents", m, "presence"] => Key::Presence(machine(m)?),
            ["agents", m, "state", u] => Key::State(machine(m)?, unit(u)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_back_as_what_it_was_made_from() {
        let keys = Keys::new("fleet");
        let u = UnitName::parse("web@1.service").unwrap();
        let m = MachineId::parse("0123456789abcdef0123456789abcdef").unwrap();
        let h: Hash = "1c6fb6f3684bafb0c173d8b8b957ceff031180c1".parse().unwrap();
        for (text, key) in [
            (keys.cluster(), Key::Cluster),
            (keys.leader(), Key::Leader),
            (keys.engine_version(), Key::EngineVersion),
            (keys.recovered("5d2c"), Key::Recovered("5d2c".to_owned())),
            (keys.doubted("5d2c"), Key::Doubted("5d2c".to_owned())),
            (keys.recovering(), Key::Recovering),
            (keys.unit(&u), Key::Unit(u.clone())),
            (keys.content(&h), Key::Content(h)),
            (keys.schedule(&u), Key::Schedule(u.clone())),
            (keys.verdict(&u), Key::Verdict(u.clone())),
            (keys.machine(&m), Key::Machine(m)),
            (keys.assign(&m, &u), Key::Assign(m, u.clone())),
            (keys.seen(&m), Key::Seen(m)),
            (keys.presence(&m), Key::Presence(m)),
            (keys.state(&m, &u), Key::State(m, u.clone())),
        ] {
            assert!(text.starts_with("/fleet/"), "{text}");
            assert_eq!(keys.parse(&text), Some(key), "{text}");
        }
    }

    #[test]
    fn keys_of_others_are_not_ours() {
        let keys = Keys::default();
        for foreign in [
            "",
            "/",
            "/_coreos.com/fleet/",
            "/_coreos.com/fleet/job/x/object",
            "/other/units/a.service",
            "/_coreos.com/fleet/units/no-dot",
            "/_coreos.com/fleet/assign/short/seen",
            "/_coreos.com/fleet/units/a.service/x",
        ] {
            assert_eq!(keys.parse(foreign), None, "{foreign}");
        }
    }
}
