//! When to say what: a change goes out at once, a unit that flaps is heard once a second at most, and ever less
//! often the longer it goes on (design §5, "Publishing").
//!
//! Pure: times are spans of the caller's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{State, UnitName};

/// Between two writes of one unit that systemd alone caused.
const SHORTEST: Duration = Duration::from_secs(1);
/// Where the pauses of a unit that flaps end.
const LONGEST: Duration = Duration::from_secs(10);

/// What was said of each unit and what is to be said next.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    slots: BTreeMap<UnitName, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    published: Option<State>,
    wanted: Option<State>,
    /// When it was last written, and how long to stay silent after that.
    written: Option<Duration>,
    pause: Duration,
    /// It is being written at the moment; what is wanted meanwhile waits.
    is_writing: bool,
    /// A write had no answer: what was published before it or with it, nobody knows.
    is_unknown: bool,
}

impl Slot {
    fn due(&self) -> Option<Duration> {
        if self.is_writing || (self.wanted == self.published && !self.is_unknown) {
            return None;
        }
        if self.is_unknown {
            return Some(Duration::ZERO);
        }
        let answers = match (&self.wanted, &self.published) {
            (Some(wanted), Some(published)) => is_answer(wanted, published),
            _ => true,
        };
        match self.written {
            Some(at) if !answers => Some(at + self.pause),
            _ => Some(Duration::ZERO),
        }
    }
}

/// Whether it says something about an order carried out, and not only what systemd did by itself: such words are as
/// rare as orders, and somebody waits for them.
fn is_answer(wanted: &State, published: &State) -> bool {
    let order = |s: &State| (s.assignment, s.hold, s.generation, s.run, s.started, s.hash);
    order(wanted) != order(published)
}

impl Publisher {
    /// What is said of a unit from now on; `None` takes it back.
    pub(crate) fn want(&mut self, unit: &UnitName, state: Option<State>) {
        if state.is_none() && !self.slots.contains_key(unit) {
            return;
        }
        self.slots.entry(unit.clone()).or_default().wanted = state;
    }

    /// Takes for said what the registry holds already.
    pub(crate) fn assume(&mut self, published: BTreeMap<UnitName, State>) {
        for slot in self.slots.values_mut() {
            slot.published = None;
            slot.is_unknown = false;
        }
        for (unit, state) in published {
            self.slots.entry(unit).or_default().published = Some(state);
        }
    }

    /// Everything to be said, for a registry that holds nothing; it counts as said.
    pub(crate) fn all(&mut self) -> BTreeMap<UnitName, State> {
        self.slots.retain(|_, slot| slot.wanted.is_some());
        for slot in self.slots.values_mut() {
            slot.published.clone_from(&slot.wanted);
            slot.is_writing = false;
            slot.is_unknown = false;
        }
        self.slots
            .iter()
            .filter_map(|(unit, slot)| Some((unit.clone(), slot.wanted.clone()?)))
            .collect()
    }

    /// What to write now, at most `limit` of it.
    pub(crate) fn take(&mut self, now: Duration, limit: usize) -> Vec<(UnitName, Option<State>)> {
        let due = self
            .slots
            .iter_mut()
            .filter(|(_, slot)| slot.due().is_some_and(|at| at <= now));
        due.take(limit)
            .map(|(unit, slot)| {
                slot.is_writing = true;
                (unit.clone(), slot.wanted.clone())
            })
            .collect()
    }

    /// What was said of each unit, and what is still to be said.
    pub(crate) fn dump(&self) -> (BTreeMap<UnitName, State>, BTreeMap<UnitName, Option<State>>) {
        let said = |(unit, slot): (&UnitName, &Slot)| Some((unit.clone(), slot.published.clone()?));
        let unsaid = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.wanted != slot.published || slot.is_unknown);
        let unsaid = unsaid.map(|(unit, slot)| (unit.clone(), slot.wanted.clone()));
        (self.slots.iter().filter_map(said).collect(), unsaid.collect())
    }

    /// When there will be something to write, if nothing changes before.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.slots.values().filter_map(Slot::due).min()
    }

    /// What [`Publisher::take`] handed out was written, at `now`.
    pub(crate) fn written(&mut self, said: Vec<(UnitName, Option<State>)>, now: Duration) {
        for (unit, state) in said {
            let Some(slot) = self.slots.get_mut(&unit) else {
                continue;
            };
            let silence = slot.written.map(|at| now.saturating_sub(at));
            // Changing again right after the last pause is flapping; a quiet while forgives it.
            slot.pause = match silence {
                Some(silence) if silence < slot.pause * 2 => (slot.pause * 2).min(LONGEST),
                _ => SHORTEST,
            };
            slot.is_writing = false;
            slot.is_unknown = false;
            slot.written = Some(now);
            slot.published = state;
            if slot.published.is_none() && slot.wanted.is_none() {
                self.slots.remove(&unit);
            }
        }
    }

    /// What [`Publisher::take`] handed out was not written, or perhaps it was; it, or what is wanted by now, is due again.
    pub(crate) fn failed(&mut self, said: &[(UnitName, Option<State>)]) {
        for (unit, _) in said {
            if let Some(slot) = self.slots.get_mut(unit) {
                slot.is_writing = false;
                slot.is_unknown = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use units::Hold;

    use super::*;

    fn unit() -> UnitName {
        UnitName::parse("a.service").unwrap()
    }

    fn state(active: &str, restarts: u32) -> State {
        State {
            assignment: 3,
            hold: Hold::Held,
            generation: 2,
            run: 0,
            hash: None,
            started: true,
            load: "loaded".into(),
            active: active.into(),
            sub: String::new(),
            result: String::new(),
            restarts,
            since: 0,
            problem: None,
        }
    }

    /// Writes what is due at `now`, in milliseconds; how many that were.
    fn write(publisher: &mut Publisher, now: u64) -> usize {
        let now = Duration::from_millis(now);
        let said = publisher.take(now, 100);
        let n = said.len();
        publisher.written(said, now);
        n
    }

    #[test]
    fn the_first_word_and_every_answer_go_out_at_once() {
        let mut publisher = Publisher::default();
        publisher.want(&unit(), Some(state("active", 0)));
        assert_eq!(write(&mut publisher, 0), 1);
        publisher.want(
            &unit(),
            Some(State {
                started: false,
                ..state("inactive", 0)
            }),
        );
        assert_eq!(write(&mut publisher, 10), 1);
        publisher.want(&unit(), None);
        assert_eq!(write(&mut publisher, 20), 1);
        assert_eq!(publisher.next(), None);
        assert!(publisher.slots.is_empty());
    }

    #[test]
    fn a_unit_that_flaps_for_a_minute_is_heard_less_and_less_often() {
        let mut publisher = Publisher::default();
        let mut writes = Vec::new();
        for tick in 0..600_u64 {
            let active = if tick % 2 == 0 { "active" } else { "activating" };
            publisher.want(&unit(), Some(state(active, u32::try_from(tick).unwrap())));
            if write(&mut publisher, tick * 100) > 0 {
                writes.push(tick * 100);
            }
        }
        let pauses: Vec<u64> = writes.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 10000, 10000, 10000, 10000]);
        // Quiet again, then one change: heard at once.
        let last = writes.last().unwrap() + 10_000;
        write(&mut publisher, last);
        publisher.want(&unit(), Some(state("failed", 600)));
        assert_eq!(write(&mut publisher, last + 60_000), 1);
        assert_eq!(publisher.slots[&unit()].pause, SHORTEST);
    }

    #[test]
    fn the_latest_word_wins_and_a_word_taken_back_in_time_is_not_written() {
        let mut publisher = Publisher::default();
        publisher.want(&unit(), Some(state("active", 0)));
        write(&mut publisher, 0);
        publisher.want(&unit(), Some(state("failed", 0)));
        publisher.want(&unit(), Some(state("active", 0)));
        assert_eq!(publisher.next(), None);
        assert_eq!(write(&mut publisher, 5000), 0);
    }

    #[test]
    fn a_word_taken_back_after_a_write_without_an_answer_is_written_all_the_same() {
        let mut publisher = Publisher::default();
        publisher.want(&unit(), Some(state("active", 0)));
        write(&mut publisher, 0);
        publisher.want(&unit(), Some(state("failed", 0)));
        let said = publisher.take(Duration::from_secs(5), 10);
        publisher.failed(&said);
        publisher.want(&unit(), Some(state("active", 0)));
        assert_eq!(
            write(&mut publisher, 6000),
            1,
            "the registry may hold the other one"
        );
        assert_eq!(publisher.next(), None);
        publisher.want(&unit(), None);
        let said = publisher.take(Duration::from_secs(7), 10);
        publisher.failed(&said);
        assert_eq!(write(&mut publisher, 8000), 1);
        assert!(publisher.slots.is_empty());
    }

    #[test]
    fn a_failed_write_is_due_again() {
        let mut publisher = Publisher::default();
        publisher.want(&unit(), Some(state("active", 0)));
        let said = publisher.take(Duration::ZERO, 10);
        assert_eq!(publisher.take(Duration::ZERO, 10).len(), 0, "under way");
        publisher.failed(&said);
        assert_eq!(write(&mut publisher, 0), 1);
    }
}
