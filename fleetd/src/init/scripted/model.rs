//! PID 1's memory of units, and what becomes of them; no clock, no tasks and no locks in here.
//!
//! systemd holds a unit in memory while it is active, failed, has a job or is referred to by another one (an enabled
//! `[Install]` does that), and reads its file when it first needs it. What it holds it does not read again without a
//! daemon-reload; what it has let go it reads afresh.

mod jobs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use units::UnitName;

use super::super::{InitError, JobResult, Owner, Status, no_install_info};
use super::{Start, Stop};

/// Something to be done to a unit later, unless its epoch has passed by then.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) after: Duration,
    unit: String,
    epoch: u64,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Job,
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Stop,
}

#[derive(Debug)]
struct Running {
    kind: Kind,
    waiters: Vec<oneshot::Sender<JobResult>>,
}

#[derive(Debug, Default)]
struct Held {
    status: Status,
    /// The file as it was when it was read.
    text: String,
    job: Option<Running>,
    /// Raised by whatever makes a timer that is still running meaningless.
    epoch: u64,
}

#[derive(Debug)]
pub(super) struct Model {
    directory: PathBuf,
    host: BTreeMap<String, PathBuf>,
    links: BTreeMap<String, PathBuf>,
    enabled: BTreeSet<String>,
    /// What was enabled at the last reload, and so is referred to by another unit.
    wanted: BTreeSet<String>,
    pinned: BTreeSet<String>,
    held: BTreeMap<String, Held>,
    on_start: BTreeMap<String, Start>,
    on_stop: BTreeMap<String, Stop>,
    ran: BTreeMap<String, (String, usize)>,
    /// When each was last started: PID 1 may forget, its journal does not.
    journal: BTreeMap<String, u64>,
    changes: Vec<(String, Status)>,
    now_us: u64,
    last_us: u64,
    counter: u32,
}

/// Where systemd puts the links of unit files that lie elsewhere, and loads them from.
const LINKS: &str = "/run/systemd/system";

/// The last part of a path, as text.
pub(super) fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn has_line(text: &str, wanted: &[&str]) -> bool {
    text.lines()
        .any(|line| wanted.iter().any(|start| line.trim().starts_with(start)))
}

impl Model {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            host: BTreeMap::new(),
            links: BTreeMap::new(),
            enabled: BTreeSet::new(),
            wanted: BTreeSet::new(),
            pinned: BTreeSet::new(),
            held: BTreeMap::new(),
            on_start: BTreeMap::new(),
            on_stop: BTreeMap::new(),
            ran: BTreeMap::new(),
            journal: BTreeMap::new(),
            changes: Vec::new(),
            now_us: 0,
            last_us: 0,
            counter: 0,
        }
    }

    pub(super) fn set_time(&mut self, now_us: u64) {
        self.now_us = now_us;
    }

    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(super) fn last_start(&self, unit: &str) -> Option<u64> {
        self.journal.get(unit).copied()
    }

    pub(super) fn on_start(&mut self, unit: &str, start: Start) {
        self.on_start.insert(unit.to_owned(), start);
    }

    pub(super) fn on_stop(&mut self, unit: &str, stop: Stop) {
        self.on_stop.insert(unit.to_owned(), stop);
    }

    pub(super) fn forget_scripts(&mut self) {
        self.on_start.clear();
        self.on_stop.clear();
    }

    pub(super) fn host_unit(&mut self, name: &str, path: PathBuf) {
        self.host.insert(name.to_owned(), path);
    }

    pub(super) fn remove_host_unit(&mut self, name: &str) {
        self.host.remove(name);
    }

    pub(super) fn ran(&self, unit: &str) -> Option<String> {
        self.ran.get(unit).map(|(text, _)| text.clone())
    }

    pub(super) fn starts(&self, unit: &str) -> usize {
        self.ran.get(unit).map_or(0, |(_, count)| *count)
    }

    pub(super) fn linked(&self) -> Vec<String> {
        self.links.keys().cloned().collect()
    }

    pub(super) fn enabled(&self) -> Vec<String> {
        self.enabled.iter().cloned().collect()
    }

    pub(super) fn take_changes(&mut self) -> Vec<(String, Status)> {
        std::mem::take(&mut self.changes)
    }

    // ---- unit files ----

    pub(super) fn link(&mut self, path: &Path) -> Result<(), InitError> {
        if !path.exists() {
            return Err(InitError::NoSuchUnit(file_name(path).to_owned()));
        }
        self.links.insert(file_name(path).to_owned(), path.to_owned());
        Ok(())
    }

    pub(super) fn enable(&mut self, path: &Path) -> Result<(), InitError> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if !has_line(
            &text,
            &["WantedBy=", "RequiredBy=", "UpheldBy=", "Alias=", "Also="],
        ) {
            return Err(no_install_info(file_name(path)));
        }
        self.link(path)?;
        self.enabled.insert(file_name(path).to_owned());
        Ok(())
    }

    pub(super) fn unlink(&mut self, unit: &str) {
        self.links.remove(unit);
        self.enabled.remove(unit);
    }

    /// The file this name would be loaded from.
    fn file_of(&self, unit: &str) -> Option<&PathBuf> {
        let template = UnitName::parse(unit).ok().and_then(|name| name.template());
        let names = || std::iter::once(unit).chain(template.as_ref().map(UnitName::as_str));
        names()
            .find_map(|name| self.links.get(name))
            .or_else(|| names().find_map(|name| self.host.get(name)))
    }

    /// `FragmentPath` and text.
    fn read(&self, unit: &str) -> Option<(PathBuf, String)> {
        let path = self.file_of(unit)?;
        let linked = self.links.iter().find(|(_, link)| *link == path);
        let fragment = linked.map_or_else(|| path.clone(), |(name, _)| Path::new(LINKS).join(name));
        match std::fs::read_to_string(path) {
            Ok(text) => Some((fragment, text)),
            // The host's units exist by being named; their files need not.
            Err(_) if linked.is_none() => Some((fragment, String::new())),
            Err(_) => None,
        }
    }

    pub(super) fn owner(&self, name: &UnitName) -> Owner {
        let template = name.template();
        let names = std::iter::once(name).chain(&template);
        let mut paths = names.filter_map(|name| self.host.get(name.as_str()));
        match paths.find(|path| !path.starts_with(&self.directory)) {
            Some(path) => Owner::Host(path.clone()),
            None => Owner::Nobody,
        }
    }

    // ---- memory ----

    /// The unit as PID 1 holds it, read from its file if it does not hold it yet.
    fn load(&mut self, unit: &str) -> Option<&mut Held> {
        let known = self
            .held
            .get(unit)
            .is_some_and(|held| held.status.load != "not-found");
        if !known {
            let (path, text) = self.read(unit)?;
            let held = self.held.entry(unit.to_owned()).or_default();
            held.status.load = "loaded".to_owned();
            held.status.fragment = Some(path);
            held.text = text;
        }
        self.held.get_mut(unit)
    }

    /// Lets go of a unit that nothing keeps in memory any more.
    fn collect(&mut self, unit: &str) {
        let kept = self.pinned.contains(unit) || self.wanted.contains(unit);
        let idle = |held: &Held| held.job.is_none() && held.status.active == "inactive";
        if !kept && self.held.get(unit).is_some_and(idle) {
            self.held.remove(unit);
        }
    }

    pub(super) fn pin(&mut self, unit: &str) -> Option<Timer> {
        self.load(unit);
        self.pinned.insert(unit.to_owned());
        None
    }

    pub(super) fn reload(&mut self) {
        self.wanted.clone_from(&self.enabled);
        let names: BTreeSet<String> = self.held.keys().chain(&self.wanted).cloned().collect();
        for unit in names {
            let read = self.read(&unit);
            let held = self.held.entry(unit.clone()).or_default();
            let before = held.status.clone();
            match read {
                Some((path, text)) => {
                    held.status.load = "loaded".to_owned();
                    held.status.fragment = Some(path);
                    held.text = text;
                }
                None => {
                    held.status.load = "not-found".to_owned();
                    held.status.fragment = None;
                }
            }
            if held.status != before {
                self.changes.push((unit.clone(), held.status.clone()));
            }
            self.collect(&unit);
        }
    }

    pub(super) fn reboot(&mut self) {
        self.links.clear();
        self.enabled.clear();
        self.wanted.clear();
        self.pinned.clear();
        self.held.clear();
        self.ran.clear();
        self.changes.clear();
    }

    pub(super) fn status(&self, unit: &str) -> Status {
        match self.held.get(unit) {
            Some(held) if held.status.load != "not-found" || held.status.active != "inactive" => {
                held.status.clone()
            }
            _ => match self.read(unit) {
                Some((path, _)) => Status {
                    load: "loaded".to_owned(),
                    result: result_of_idle(unit),
                    fragment: Some(path),
                    ..Status::default()
                },
                None => Status::default(),
            },
        }
    }

    pub(super) fn reset_failed(&mut self, unit: &str) {
        if self
            .held
            .get(unit)
            .is_some_and(|held| held.status.active == "failed")
        {
            self.set(unit, "inactive", "dead");
            self.note(unit, |status| status.result = result_of_idle(unit));
            self.collect(unit);
        }
    }

    /// Changes what shows, without a change of state of its own.
    fn note(&mut self, unit: &str, change: impl FnOnce(&mut Status)) {
        if let Some(held) = self.held.get_mut(unit) {
            change(&mut held.status);
        }
    }

    fn set(&mut self, unit: &str, active: &str, sub: &str) {
        self.last_us = self.now_us.max(self.last_us + 1);
        let Some(held) = self.held.get_mut(unit) else {
            return;
        };
        active.clone_into(&mut held.status.active);
        sub.clone_into(&mut held.status.sub);
        held.status.since_us = self.last_us;
        self.changes.push((unit.to_owned(), held.status.clone()));
    }
}

/// `Result` of a unit that has not run: those that have one say `success`.
fn result_of_idle(unit: &str) -> String {
    let has_result = !unit.ends_with(".target") && !unit.ends_with(".device");
    if has_result {
        "success".to_owned()
    } else {
        String::new()
    }
}
