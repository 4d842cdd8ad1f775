//! What becomes of a machine, and what is started and stopped on it.

use std::sync::Arc;
use std::time::Duration;

use fleetd::init::scripted::ScriptedInit;
use units::{Hash, UnitName};

use super::{Machine, WORD_HOLDS, Witness};
use crate::rules::once::{self, Cause};
use crate::rules::stops::{Reading, Started};
use crate::rules::{Rule, Violation};

impl Witness {
    /// The power is on.
    pub fn booted(&self, m: usize, init: Arc<ScriptedInit>) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("boots"));
        if let Some(machine) = seen.machines.get_mut(m) {
            let boot = machine.boot + 1;
            *machine = Machine {
                boot,
                init: Some(init),
                ..Machine::default()
            };
        }
    }

    /// The power is off.
    pub fn powered_off(&self, m: usize) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("loses its power"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.init = None;
            machine.starts.clear();
        }
    }

    /// Another fleetd.
    pub fn process_began(&self, m: usize) {
        let mut seen = self.lock();
        seen.note(format_args!("m{m}"), format_args!("fleetd starts"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.readings.clear();
            machine.is_leaving = false;
            machine.frozen = None;
        }
    }

    /// Its fleetd was stopped by a signal.
    pub fn frozen(&self, m: usize) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("fleetd is frozen"));
        if let Some(machine) = seen.machines.get_mut(m) {
            machine.frozen.get_or_insert(now);
        }
    }

    /// It goes on.
    pub fn thawed(&self, m: usize) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("fleetd goes on"));
        if let Some(machine) = seen.machines.get_mut(m)
            && let Some(since) = machine.frozen.take()
        {
            // To the process no time has passed.
            machine.readings.iter_mut().for_each(|r| r.at += now - since);
        }
    }

    /// A part of fleetd ended by itself.
    pub fn broke(&self, m: usize, why: &str) {
        let violation = Violation::new(
            Rule::NothingBreaks,
            format!("fleetd of m{m} ended by itself: {why}"),
        );
        self.lock().accuse(Some(violation));
    }

    /// systemd has accepted a start; of a unit that was up already it makes no second copy.
    pub fn started(&self, m: usize, unit: &UnitName, cause: Cause, was_up: bool) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        let (generation, run) = cause;
        seen.note(
            format_args!("m{m}"),
            format_args!("starts {unit} (generation {generation}, run {run})"),
        );
        let hash = seen.contents.get(&(unit.clone(), generation)).copied();
        let epoch = seen.epoch;
        let presence = (epoch, seen.presence(m));
        let is_global = seen
            .cluster
            .units
            .get(unit)
            .is_none_or(|u| u.requirements.as_ref().is_ok_and(|r| r.global));
        // What this machine was last told it was told as the one it still is: else it counts as lost itself.
        let was_told = |machine: &Machine| machine.readings.back().is_some_and(|r| r.presence == presence.1);
        // A machine that has a copy and starts it anew (another content, another run, ended by the guard) adds none: if there
        // are two, then because one of the machines was lost and came back with its own. A move goes to one without.
        let has_copy = seen
            .machines
            .get(m)
            .and_then(|machine| machine.starts.get(unit))
            .is_some_and(|s| !s.is_let_go);
        let is_here = !has_copy && presence.1.is_some() && seen.machines.get(m).is_some_and(was_told);
        let mut copy = None;
        for (there, other) in seen
            .machines
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != m && !was_up && !is_global)
        {
            let Some(start) = other.starts.get(unit).filter(|s| s.presence.0 == epoch) else {
                continue;
            };
            let kept = is_here && start.presence.1.is_some() && start.presence.1 == seen.presence(there);
            // By the content of both: what was started as another kind of unit was never told to be guarded, and what is of
            // another kind now need not wait for it.
            let is_guarded = |hash: Option<Hash>| hash.is_some_and(|h| seen.guarded.contains(&h));
            let is_once = is_guarded(hash) && is_guarded(start.last.and_then(|s| s.hash));
            if (is_once || kept) && other.init.as_ref().is_some_and(|init| once::is_up(init, unit)) {
                copy = Some(once::one_copy(unit, m, there, is_once));
            }
        }
        seen.accuse(copy);
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        let start = machine.starts.entry(unit.clone()).or_default();
        let before: Vec<Cause> = start
            .causes
            .iter()
            .filter(|(e, _)| *e == epoch)
            .map(|(_, c)| *c)
            .collect();
        let violation = once::start_once(m, unit, cause, &before);
        start.causes.push((epoch, cause));
        start.last = Some(Started { hash, run });
        start.presence = presence;
        start.is_let_go = false;
        seen.accuse(violation);
    }

    /// fleetd is about to stop a unit, or to take it away.
    pub fn ends(&self, m: usize, unit: &UnitName, how: &str) {
        let mut seen = self.lock();
        let seen = &mut *seen;
        seen.note(format_args!("m{m}"), format_args!("{how} {unit}"));
        let now = seen.now();
        let Some(machine) = seen.machines.get_mut(m) else {
            return;
        };
        let started = machine.starts.get(unit).and_then(|s| s.last);
        let latest = machine.readings.len().saturating_sub(1);
        let holds = |(n, r): &(usize, &Reading)| *n == latest || r.at + WORD_HOLDS >= now;
        let words = || machine.readings.iter().enumerate().filter(holds).map(|(_, r)| r);
        let allowed = machine.is_leaving || words().any(|r| r.ends(unit, started));
        // Let go of: another order for it is another start, whatever it is for.
        let lets_go = machine.is_leaving || words().any(|r| r.releases(unit));
        if let Some(start) = machine
            .starts
            .get_mut(unit)
            .filter(|_| lets_go && how == "unlink")
        {
            start.causes.clear();
            start.is_let_go = true;
        }
        let violation = (!allowed).then(|| {
            let last = machine.readings.back();
            let what = format!("m{m}: {how} {unit}, and the last it was told is {last:?}");
            Violation::new(Rule::NoStopUnasked, what)
        });
        seen.accuse(violation);
    }

    /// The agent of `m` got an answer to a renewal of its presence that was sent then.
    pub fn renewed(&self, m: usize, sent: Duration, ttl: Duration) {
        if let Some(machine) = self.lock().machines.get_mut(m) {
            // Within the 1 % that clocks may be wrong.
            machine.present_until = machine.present_until.max(sent + ttl * 99 / 100);
        }
    }

    /// The guard is about to stop or kill a unit.
    pub fn guard_ends(&self, m: usize, unit: &UnitName) {
        let mut seen = self.lock();
        let now = seen.now();
        seen.note(format_args!("m{m}"), format_args!("the guard ends {unit}"));
        let until = seen
            .machines
            .get(m)
            .map_or(Duration::ZERO, |machine| machine.present_until);
        let violation = (now < until).then(|| {
            let what = format!("the guard of m{m} ends {unit}, and the machine is present until {until:?}");
            Violation::new(Rule::NoStopUnasked, what)
        });
        seen.accuse(violation);
        // That was no end of its own: the unit counts as not started, and starts again where it belongs (design §6).
        if let Some(start) = seen
            .machines
            .get_mut(m)
            .and_then(|machine| machine.starts.get_mut(unit))
        {
            start.causes.clear();
        }
    }
}
