//! What will happen to a cluster, from its seed: all of it is decided before anything runs.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::dice::Dice;
use crate::work::{self, Change, NAMES};

/// A machine of the cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its metadata, `key=value`.
    pub metadata: Vec<String>,
    /// How fast its clock runs against the store's, in parts per thousand.
    pub rate: u32,
}

/// To whom something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// This machine.
    Machine(usize),
    /// Whichever leads at the time.
    Leader,
}

/// What a unit is to do on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whim {
    /// Its start takes this long.
    SlowStart(Duration),
    /// Its start hangs.
    HangingStart,
    /// Its start fails.
    FailingStart,
    /// It is restarted by systemd, every so often.
    Flapping(Duration),
    /// Its stop takes this long.
    SlowStop(Duration),
    /// Its stop hangs.
    HangingStop,
    /// Its process dies now.
    Crash,
    /// Its process ends now, and well.
    Finish,
    /// A person stops it now.
    PersonStops,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A user asks the API of a machine for a change.
    Ask(usize, Change),
    /// fleetd dies.
    Crash(Who),
    /// fleetd is started, if it does not run.
    Start(usize),
    /// `systemctl restart fleet`, with this metadata from then on.
    Restart(Who, Option<Vec<String>>),
    /// `systemctl stop fleet`.
    Leave(usize),
    /// The power is cut.
    PowerOff(Who),
    /// The machine boots, if it is off.
    Boot(usize),
    /// SIGSTOP.
    Freeze(Who),
    /// SIGCONT, to all that are stopped.
    Thaw,
    /// The way to etcd is cut.
    Cut(Who),
    /// Nothing gets to etcd and back.
    Hang(Who),
    /// No answer of etcd gets back.
    Deafen(Who),
    /// All ways to etcd are well again.
    Mend,
    /// The way to etcd takes so long, and so long back.
    Slow(Who, Duration, Duration),
    /// Watches fall behind: each of their batches takes so long, one after the other.
    Lag(Who, Duration),
    /// The next commit's answer is lost.
    LoseAnswer(Who),
    /// The next decision of this machine's engine arrives this late.
    LateDecision(Who, Duration),
    /// Open watches break.
    DropWatches(Who),
    /// etcd forgets its history, and every watch breaks.
    Compact,
    /// Somebody ends the lease of a machine's presence.
    Expire(usize),
    /// Leases end this late from now on.
    LateLeases(Duration),
    /// etcd is down, all of it.
    EtcdDown,
    /// It is back, and every lease starts its term again.
    EtcdUp,
    /// A backup of etcd is taken.
    Backup,
    /// etcd's data is gone, or goes back to the backup; after a while a person decides on every machine to believe it.
    Lose {
        /// Back to the backup, if there is one.
        restore: bool,
        /// A machine whose fleetd is restarted in between.
        restart: usize,
    },
    /// The connection of fleetd to systemd breaks.
    BusDown(usize),
    /// It is back.
    BusUp(usize),
    /// A unit behaves in some way on a machine.
    Whim(usize, &'static str, Whim),
    /// A daemon-reload takes this long.
    SlowReload(usize, Duration),
    /// The host itself gets a unit of this name.
    HostUnit(usize, &'static str),
}

/// How large and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Machines, at least and at most.
    pub machines: RangeInclusive<usize>,
}

impl Default for Scale {
    fn default() -> Self {
        Self { machines: 3..=7 }
    }
}

/// Above this many machines a script is short.
const MANY: usize = 50;

/// The whole of it.
#[derive(Debug, Clone)]
pub struct Script {
    /// The machines.
    pub members: Vec<Member>,
    /// What happens, and when, counted from the first moment.
    pub acts: Vec<(Duration, Act)>,
    /// When the last of it is over.
    pub end: Duration,
}

/// What a seed comes to.
pub fn write(seed: u64, scale: &Scale) -> Script {
    let mut dice = Dice::new(seed);
    let machines = dice.between(*scale.machines.start() as u64, *scale.machines.end() as u64) as usize;
    let members = (0..machines).map(|_| member(&mut dice)).collect();
    let mut writer = Writer {
        machines,
        acts: Vec::new(),
        now: Duration::ZERO,
        end: Duration::ZERO,
        dice,
    };
    writer.beginning();
    let steps = if machines > MANY {
        8
    } else {
        writer.dice.between(10, 24)
    };
    for _ in 0..steps {
        writer.step();
    }
    let mut acts = writer.acts;
    // Stable: what was thought of first happens first.
    acts.sort_by_key(|(at, _)| *at);
    Script {
        members,
        acts,
        end: writer.end + Duration::from_secs(1),
    }
}

fn metadata(dice: &mut Dice) -> Vec<String> {
    let mut metadata = vec![format!("zone={}", dice.pick(&["a", "b", "c"]))];
    if dice.chance(60) {
        metadata.push(format!("disk={}", dice.pick(&["ssd", "hdd"])));
    }
    metadata
}

fn member(dice: &mut Dice) -> Member {
    Member {
        metadata: metadata(dice),
        // Within the 1 % that the design assumes.
        rate: 991 + dice.below(19) as u32,
    }
}

struct Writer {
    machines: usize,
    acts: Vec<(Duration, Act)>,
    now: Duration,
    end: Duration,
    dice: Dice,
}

impl Writer {
    fn at(&mut self, at: Duration, act: Act) {
        self.end = self.end.max(at);
        self.acts.push((at, act));
    }

    fn now(&mut self, act: Act) {
        self.at(self.now, act);
    }

    fn machine(&mut self) -> usize {
        self.dice.below(self.machines)
    }

    fn who(&mut self) -> Who {
        if self.dice.chance(35) {
            Who::Leader
        } else {
            Who::Machine(self.machine())
        }
    }

    fn beginning(&mut self) {
        for m in 0..self.machines {
            let late = self.dice.chance(10);
            let at = if late {
                self.dice.millis(1, 9000)
            } else {
                Duration::ZERO
            };
            self.at(at, Act::Boot(m));
        }
        self.now = Duration::from_secs(3);
        for _ in 0..self.dice.between(3, 8) {
            let (m, name) = (self.machine(), *self.dice.pick(&NAMES));
            let change = work::launch(name, self.machines, &mut self.dice);
            self.now(Act::Ask(m, change));
        }
        self.now = Duration::from_secs(5);
    }

    fn ask(&mut self) {
        for _ in 0..self.dice.between(1, 3) {
            let m = self.machine();
            let change = work::change(self.machines, &mut self.dice);
            let apart = self.dice.millis(0, 40);
            self.at(self.now + apart, Act::Ask(m, change));
        }
    }

    fn step(&mut self) {
        // Often right after one another, at times far enough apart for everything to have come to rest.
        self.now += match self.dice.below(10) {
            0..4 => self.dice.millis(0, 300),
            4..8 => self.dice.millis(300, 6000),
            _ => self.dice.millis(6000, 25_000),
        };
        if self.dice.chance(45) {
            self.ask();
        }
        self.fault();
    }

    fn fault(&mut self) {
        let (who, m) = (self.who(), self.machine());
        let name = *self.dice.pick(&NAMES);
        let short = self.dice.millis(50, 4000);
        let long = self.dice.millis(4000, 40_000);
        let any = if self.dice.chance(50) { short } else { long };
        let later = self.now + any;
        match self.dice.below(100) {
            0..7 => {
                self.now(Act::Crash(who));
                // Whoever it was: all that do not run are started.
                (0..self.machines).for_each(|m| self.at(later, Act::Start(m)));
            }
            7..13 => {
                let metadata = self.dice.chance(40).then(|| metadata(&mut self.dice));
                self.now(Act::Restart(who, metadata));
            }
            13..18 => {
                self.now(Act::Leave(m));
                self.at(later + short, Act::Start(m));
            }
            18..26 => {
                self.now(Act::PowerOff(who));
                (0..self.machines).for_each(|m| self.at(later, Act::Boot(m)));
            }
            26..32 => {
                self.now(Act::Freeze(who));
                self.at(later, Act::Thaw);
            }
            32..45 => {
                for _ in 0..self.dice.between(1, 2) {
                    let who = self.who();
                    let act = match self.dice.below(3) {
                        0 => Act::Cut(who),
                        1 => Act::Hang(who),
                        _ => Act::Deafen(who),
                    };
                    self.now(act);
                }
                self.at(later, Act::Mend);
            }
            45..49 => {
                let (there, back) = (self.dice.millis(0, 900), self.dice.millis(0, 900));
                self.now(Act::Slow(who, there, back));
                self.at(self.now + long, Act::Mend);
            }
            49..51 => {
                let each = self.dice.millis(10, 900);
                self.now(Act::Lag(who, each));
                self.at(self.now + long, Act::Mend);
            }
            51..54 => self.now(Act::LoseAnswer(who)),
            54..60 => {
                // A leader that others take for dead: what it sent last is still on its way.
                let late = self.dice.millis(3000, 12_000);
                self.now(Act::LateDecision(Who::Leader, late));
                let m = self.machine();
                if self.dice.chance(50) {
                    self.now(Act::Expire(m));
                } else {
                    self.ask();
                }
                let soon = self.dice.millis(1, 400);
                self.at(self.now + soon, Act::Hang(Who::Leader));
                self.at(self.now + long, Act::Mend);
            }
            60..64 => self.now(Act::DropWatches(who)),
            64..68 => {
                let soon = self.dice.millis(0, 3000);
                self.now(Act::Compact);
                self.at(self.now + soon, Act::DropWatches(who));
            }
            68..71 => self.now(Act::Expire(m)),
            71..74 => {
                let late = self.dice.millis(100, 3000);
                self.now(Act::LateLeases(late));
            }
            74..78 => {
                self.now(Act::EtcdDown);
                self.at(later, Act::EtcdUp);
            }
            78..80 => self.now(Act::Backup),
            80..82 if self.machines <= MANY => {
                let restore = self.dice.chance(60);
                // Alone: what a person does about it takes its time, and begins with a cluster that is whole.
                self.now = self.now.max(self.end) + Duration::from_secs(1);
                self.now(Act::Lose { restore, restart: m });
                self.now += Duration::from_secs(1);
            }
            80..84 => {
                self.now(Act::BusDown(m));
                self.at(later, Act::BusUp(m));
            }
            84..97 => {
                for _ in 0..self.dice.between(1, 3) {
                    let (m, name) = (self.machine(), *self.dice.pick(&NAMES));
                    let whim = self.whim();
                    self.now(Act::Whim(m, name, whim));
                }
                self.ask();
            }
            97..99 => {
                let time = self.dice.millis(50, 2500);
                self.now(Act::SlowReload(m, time));
            }
            _ => self.now(Act::HostUnit(m, name)),
        }
    }

    fn whim(&mut self) -> Whim {
        let time = self.dice.millis(100, 20_000);
        match self.dice.below(10) {
            0 => Whim::SlowStart(time),
            1 => Whim::HangingStart,
            2 => Whim::FailingStart,
            3 => Whim::Flapping(time / 10),
            4 | 5 => Whim::SlowStop(time),
            6 => Whim::HangingStop,
            7 => Whim::Crash,
            8 => Whim::Finish,
            _ => Whim::PersonStops,
        }
    }
}
