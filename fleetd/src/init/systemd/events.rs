//! What the signals say, folded into the status of each watched unit.
//!
//! systemd announces a change of a unit with two `PropertiesChanged`, of the interface of its type (`Result`,
//! `MainPID`, …) and then of `Unit` (`ActiveState`, …), each with every property that can change. So the second one
//! completes a status and no call is needed to learn it, not even for a oneshot that PID 1 has already let go.
//! `LoadState` and `FragmentPath` are not among them: a unit that changes is loaded, and the path is asked for when
//! nobody knows it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use units::UnitName;
use zbus::Variant;

use super::super::Status;

/// Where systemd puts the runtime link of a unit file that lies elsewhere.
pub(super) const LINKS: &str = "/run/systemd/system";

/// The properties of one interface, as they come.
pub(super) type Changed<'a> = HashMap<&'a str, Variant<'a>>;

#[derive(Debug)]
struct Watched {
    name: UnitName,
    sent: Option<Status>,
    /// From the last signal of the interface of its type.
    of_type: OfType,
    /// Known from a link of our own or from asking.
    fragment: Option<PathBuf>,
    /// PID 1 took it in and has not said anything of it since.
    new: bool,
    /// Counts the signals, so that an answer older than one of them is told apart.
    heard: u64,
}

/// What only the interface of the unit's type tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OfType {
    pub(super) result: String,
    pub(super) restarts: u32,
    pub(super) main_pid: u32,
}

/// The watched names and what was last said of each.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    watched: HashMap<String, Watched>,
    linked: BTreeSet<String>,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Send(UnitName, Status),
    /// Something is missing: ask systemd.
    Ask,
}

impl Tracker {
    pub(super) fn watch(&mut self, names: Vec<UnitName>) {
        let mut before = std::mem::take(&mut self.watched);
        self.watched = names
            .into_iter()
            .map(|name| {
                let key = name.as_str().to_owned();
                let fresh = || Watched {
                    name: name.clone(),
                    sent: None,
                    of_type: OfType::default(),
                    fragment: None,
                    new: false,
                    heard: 0,
                };
                let entry = before.remove(&key).unwrap_or_else(fresh);
                (key, entry)
            })
            .collect();
    }

    pub(super) fn is_watched(&self, unit: &str) -> bool {
        self.watched.contains_key(unit)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.watched.keys().cloned().collect()
    }

    /// fleet linked the file of this unit: PID 1 will load it through that link.
    pub(super) fn linked(&mut self, unit: &str) {
        self.linked.insert(unit.to_owned());
    }

    /// PID 1 says where it loaded the unit from; if through a link like ours, it will do so again.
    pub(super) fn loaded_from(&mut self, unit: &str, fragment: Option<&Path>) {
        if fragment.is_some_and(|path| path == Path::new(LINKS).join(unit)) {
            self.linked(unit);
        }
    }

    pub(super) fn unlinked(&mut self, unit: &str) {
        self.linked.remove(unit);
    }

    /// Signals may have been missed: whatever comes next is news.
    pub(super) fn forget(&mut self) {
        for watched in self.watched.values_mut() {
            watched.sent = None;
            watched.fragment = None;
            watched.of_type = OfType::default();
            watched.new = false;
        }
    }

    /// `PropertiesChanged` of a unit.
    pub(super) fn changed(&mut self, unit: &str, interface: &str, changed: &Changed<'_>) -> Outcome {
        let Some(watched) = self.watched.get_mut(unit) else {
            return Outcome::Nothing;
        };
        if interface != "org.freedesktop.systemd1.Unit" {
            if let Some(of_type) = of_type(changed) {
                watched.of_type = of_type;
            }
            return Outcome::Nothing;
        }
        watched.new = false;
        watched.heard += 1;
        if watched.fragment.is_none() && self.linked.contains(unit) {
            watched.fragment = Some(PathBuf::from(LINKS).join(unit));
        }
        if watched.fragment.is_none() {
            return Outcome::Ask;
        }
        let Some(status) = status(changed, watched) else {
            return Outcome::Ask;
        };
        watched.say(status)
    }

    /// `UnitNew`: PID 1 has taken the unit in, perhaps only because somebody asked for it.
    ///
    /// When PID 1 is busy, a change that follows at once may be folded into this signal, which carries no state. If
    /// nothing follows, the unit is asked for a little later. Answers whether that is to be arranged.
    pub(super) fn taken_in(&mut self, unit: &str) -> bool {
        self.watched
            .get_mut(unit)
            .map(|watched| watched.new = true)
            .is_some()
    }

    /// `UnitRemoved`: PID 1 has let it go, and said all there was to say before.
    pub(super) fn let_go(&mut self, unit: &str) {
        if let Some(watched) = self.watched.get_mut(unit) {
            watched.new = false;
            watched.fragment = None;
        }
    }

    /// Those that were taken in and of which nothing was said since.
    pub(super) fn silent(&mut self) -> Vec<String> {
        let mut silent = Vec::new();
        for (unit, watched) in &mut self.watched {
            if std::mem::take(&mut watched.new) {
                silent.push(unit.clone());
            }
        }
        silent
    }

    /// Whether a listing says something else than was last said.
    pub(super) fn differs(&self, unit: &str, load: &str, active: &str, sub: &str) -> bool {
        let Some(watched) = self.watched.get(unit) else {
            return false;
        };
        watched
            .sent
            .as_ref()
            .is_none_or(|sent| sent.load != load || sent.active != active || sent.sub != sub)
    }

    /// Whether the last word on a unit was that it is up or failed; PID 1 does not let go of such a one.
    pub(super) fn was_held(&self, unit: &str) -> bool {
        let sent = self.watched.get(unit).and_then(|watched| watched.sent.as_ref());
        sent.is_some_and(|sent| sent.active != "inactive")
    }

    /// How many signals of this unit were taken in; to be noted before it is asked for.
    pub(super) fn heard(&self, unit: &str) -> u64 {
        self.watched.get(unit).map_or(0, |watched| watched.heard)
    }

    /// The answer to [`Outcome::Ask`]. It is void if a signal came after the question: that one is newer.
    pub(super) fn answered(&mut self, unit: &str, heard: u64, status: Status) -> Outcome {
        let Some(watched) = self
            .watched
            .get_mut(unit)
            .filter(|watched| watched.heard == heard)
        else {
            return Outcome::Nothing;
        };
        watched.fragment.clone_from(&status.fragment);
        watched.say(status)
    }
}

impl Watched {
    fn say(&mut self, status: Status) -> Outcome {
        if self.sent.as_ref() == Some(&status) {
            return Outcome::Nothing;
        }
        self.sent = Some(status.clone());
        Outcome::Send(self.name.clone(), status)
    }
}

fn text(value: Option<&Variant<'_>>) -> Option<String> {
    value
        .and_then(|value| <&str>::try_from(value).ok())
        .map(str::to_owned)
}

fn number(value: Option<&Variant<'_>>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

/// `None` of an interface without these, such as `Cgroup`'s.
fn of_type(changed: &Changed<'_>) -> Option<OfType> {
    let result = text(changed.get("Result"))?;
    Some(OfType {
        result,
        restarts: number(changed.get("NRestarts")).unwrap_or_default(),
        main_pid: number(changed.get("MainPID")).unwrap_or_default(),
    })
}

fn status(changed: &Changed<'_>, watched: &Watched) -> Option<Status> {
    Some(Status {
        load: "loaded".to_owned(),
        active: text(changed.get("ActiveState"))?,
        sub: text(changed.get("SubState"))?,
        result: watched.of_type.result.clone(),
        restarts: watched.of_type.restarts,
        main_pid: watched.of_type.main_pid,
        since_us: changed
            .get("StateChangeTimestamp")
            .and_then(|value| u64::try_from(value).ok())?,
        invocation: changed.get("InvocationID").map(invocation).unwrap_or_default(),
        fragment: watched.fragment.clone(),
    })
}

/// An invocation id in hex; empty if there is none.
pub(super) fn invocation(value: &Variant<'_>) -> String {
    let Variant::Array(bytes) = value else {
        return String::new();
    };
    bytes.iter().fold(String::new(), |mut text, byte| {
        if let Variant::U8(byte) = byte {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    })
}
