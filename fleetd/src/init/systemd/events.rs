//! What the signals say, folded into the status of each watched unit.
//!
//! systemd announces a change of a unit with two `PropertiesChanged`, of the interface of its type (`Result`,
//! `MainPID`, …) and then of `Unit` (`ActiveState`, …), each with every property that can change. So the second one
//! completes a status and no call is needed to learn it, not even for a oneshot that PID 1 has already let go.
//! `LoadState` and `FragmentPath` are not among them: a unit that changes is loaded, from the file that is found the
//! way systemd finds it. Asking would be too late for a oneshot, and would wait behind a daemon-reload.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use units::UnitName;
use zbus::Variant;

use super::super::Status;

/// The properties of one interface, as they come.
pub(super) type Changed<'a> = HashMap<&'a str, Variant<'a>>;

#[derive(Debug)]
struct Watched {
    name: UnitName,
    sent: Option<Status>,
    /// From the last signal of the interface of its type.
    of_type: OfType,
    /// Found on disk or from asking.
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
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Send(UnitName, Status),
    /// Something was missing: ask systemd.
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
    ///
    /// `locate` finds the file of a unit, for one whose `FragmentPath` nobody told yet.
    pub(super) fn changed(
        &mut self,
        unit: &str,
        interface: &str,
        changed: &Changed<'_>,
        locate: impl FnOnce(&str) -> Option<PathBuf>,
    ) -> Outcome {
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
        if watched.fragment.is_none() {
            watched.fragment = locate(unit);
        }
        let Some(status) = status(changed, watched) else {
            watched.sent = None;
            return Outcome::Ask;
        };
        if is_between(changed, &status, watched.sent.as_ref()) {
            Outcome::Nothing
        } else {
            watched.say(status)
        }
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

    /// PID 1 read all files again: units may come from others than before.
    pub(super) fn reloaded(&mut self) -> Vec<String> {
        self.watched
            .values_mut()
            .for_each(|watched| watched.fragment = None);
        self.watched.keys().cloned().collect()
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

    /// What was last said of a unit, if a listing says the same. Signals tell the rest as they tell this.
    ///
    /// Not where its file may be another one by now: PID 1 read all files again, or let go of it.
    pub(super) fn known(&self, unit: &str, load: &str, active: &str, sub: &str) -> Option<Status> {
        let watched = self.watched.get(unit)?;
        let is_so = watched.fragment.is_some() && !self.differs(unit, load, active, sub);
        let sent = watched.sent.clone().filter(|_| is_so);
        sent.filter(|sent| sent.fragment == watched.fragment)
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

/// Whether PID 1 told of a unit in the middle of its start: the process is there (or the invocation id, or the result
/// of the last run is gone), but the state is the one from before. What it becomes is told next; passed on, this
/// would read like the end of a oneshot.
fn is_between(changed: &Changed<'_>, status: &Status, sent: Option<&Status>) -> bool {
    let at_rest = matches!(status.active.as_str(), "inactive" | "failed");
    let has_job = changed.get("Job").is_some_and(|job| {
        let Variant::Structure(job) = job else {
            return false;
        };
        !matches!(job.fields().first(), Some(Variant::U32(0)) | None)
    });
    let state_is_old = status.since_us == 0 || sent.is_some_and(|sent| sent.since_us == status.since_us);
    at_rest && has_job && (status.main_pid != 0 || state_is_old)
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

#[cfg(test)]
mod tests {
    use zbus::ObjectPath;

    use super::*;

    const SERVICE: &str = "org.freedesktop.systemd1.Service";
    const UNIT: &str = "org.freedesktop.systemd1.Unit";

    fn service(result: &'static str, pid: u32) -> Changed<'static> {
        HashMap::from([
            ("Result", result.into()),
            ("MainPID", pid.into()),
            ("NRestarts", 0u32.into()),
        ])
    }

    fn unit(active: &'static str, sub: &'static str, job: u32, since: u64) -> Changed<'static> {
        let path = ObjectPath::from_static_str_unchecked("/");
        HashMap::from([
            ("ActiveState", active.into()),
            ("SubState", sub.into()),
            ("Job", (job, path).into()),
            ("StateChangeTimestamp", since.into()),
            ("InvocationID", vec![0xab_u8, 0x01].into()),
        ])
    }

    fn tracker() -> Tracker {
        let mut tracker = Tracker::default();
        tracker.watch(vec![UnitName::parse("a.service").expect("a name")]);
        tracker
    }

    fn tell(tracker: &mut Tracker, of_type: &Changed<'_>, of_unit: &Changed<'_>) -> Option<Status> {
        let locate = |unit: &str| Some(PathBuf::from("/run/systemd/system").join(unit));
        assert_eq!(
            tracker.changed("a.service", SERVICE, of_type, locate),
            Outcome::Nothing
        );
        match tracker.changed("a.service", UNIT, of_unit, locate) {
            Outcome::Send(_, status) => Some(status),
            _ => None,
        }
    }

    #[test]
    fn two_signals_make_a_status() {
        let mut tracker = tracker();
        let status = tell(
            &mut tracker,
            &service("success", 7),
            &unit("active", "running", 1, 5),
        );
        let status = status.expect("a change");
        assert_eq!(
            (status.active.as_str(), status.main_pid, status.since_us),
            ("active", 7, 5)
        );
        assert_eq!(
            (status.invocation.as_str(), status.load.as_str()),
            ("ab01", "loaded")
        );
        assert_eq!(
            status.fragment,
            Some(PathBuf::from("/run/systemd/system/a.service"))
        );
        // The end of the job is told in the same way, and is no change.
        assert_eq!(
            tell(
                &mut tracker,
                &service("success", 7),
                &unit("active", "running", 0, 5)
            ),
            None
        );
    }

    #[test]
    fn the_middle_of_a_start_is_not_passed_on() {
        let mut tracker = tracker();
        assert_eq!(
            tell(
                &mut tracker,
                &service("success", 7),
                &unit("inactive", "dead", 1, 0)
            ),
            None
        );
        assert!(
            tell(
                &mut tracker,
                &service("success", 7),
                &unit("activating", "start", 1, 5)
            )
            .is_some()
        );
        assert!(
            tell(
                &mut tracker,
                &service("exit-code", 0),
                &unit("failed", "failed", 1, 6)
            )
            .is_some()
        );
        assert_eq!(
            tell(
                &mut tracker,
                &service("success", 0),
                &unit("failed", "failed", 2, 6)
            ),
            None
        );
        assert_eq!(
            tell(
                &mut tracker,
                &service("success", 8),
                &unit("failed", "failed", 2, 6)
            ),
            None
        );
    }

    #[test]
    fn the_end_of_a_oneshot_is_passed_on_while_its_job_is_still_there() {
        let mut tracker = tracker();
        assert!(
            tell(
                &mut tracker,
                &service("success", 7),
                &unit("activating", "start", 1, 5)
            )
            .is_some()
        );
        assert!(
            tell(
                &mut tracker,
                &service("success", 0),
                &unit("inactive", "dead", 1, 6)
            )
            .is_some()
        );
    }

    #[test]
    fn an_answer_older_than_a_signal_is_void() {
        let mut tracker = tracker();
        let heard = tracker.heard("a.service");
        assert!(
            tell(
                &mut tracker,
                &service("success", 7),
                &unit("active", "running", 0, 5)
            )
            .is_some()
        );
        assert_eq!(
            tracker.answered("a.service", heard, Status::default()),
            Outcome::Nothing
        );
    }

    #[test]
    fn what_a_listing_confirms_is_known_until_its_file_may_be_another() {
        let mut tracker = tracker();
        let known = |tracker: &Tracker, active, sub| tracker.known("a.service", "loaded", active, sub);
        assert_eq!(known(&tracker, "active", "running"), None);
        let told = tell(
            &mut tracker,
            &service("success", 7),
            &unit("active", "running", 0, 5),
        );
        assert_eq!(known(&tracker, "active", "running"), told);
        assert_eq!(known(&tracker, "inactive", "dead"), None);
        tracker.reloaded();
        assert_eq!(known(&tracker, "active", "running"), None);
        let locate = |unit: &str| Some(PathBuf::from("/run/systemd/system").join(unit));
        tracker.changed("a.service", UNIT, &unit("active", "running", 0, 5), locate);
        assert!(known(&tracker, "active", "running").is_some());
        tracker.let_go("a.service");
        assert_eq!(known(&tracker, "active", "running"), None);
    }

    #[test]
    fn only_those_that_stay_silent_are_looked_at() {
        let mut tracker = tracker();
        assert!(!tracker.taken_in("other.service"));
        assert!(tracker.taken_in("a.service"));
        assert_eq!(tracker.silent(), ["a.service"]);
        assert!(tracker.taken_in("a.service"));
        tracker.let_go("a.service");
        assert_eq!(tracker.silent(), Vec::<String>::new());
    }
}
