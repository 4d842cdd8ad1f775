//! Jobs of the twin's PID 1, and the steps that units take in them.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::{Start, Stop};
use super::{End, Kind, Model, Running, Timer, has_line};
use crate::init::{InitError, Job, JobResult};

fn job() -> (oneshot::Sender<JobResult>, Job) {
    oneshot::channel()
}

/// What a file that nobody scripted does.
fn default_start(text: &str) -> Start {
    let remains = has_line(text, &["RemainAfterExit=yes", "RemainAfterExit=true"]);
    if has_line(text, &["Type=oneshot"]) && !remains {
        Start::Finish
    } else {
        Start::Run
    }
}

impl Model {
    pub(in crate::init::scripted) fn start(&mut self, unit: &str) -> Result<(Job, Option<Timer>), InitError> {
        let (sender, job) = job();
        let Some(held) = self.load(unit) else {
            return Err(InitError::NoSuchUnit(unit.to_owned()));
        };
        if let Some(running) = held.job.as_mut().filter(|running| running.kind == Kind::Start) {
            running.waiters.push(sender);
            return Ok((job, None));
        }
        let up = matches!(held.status.active.as_str(), "active" | "reloading") && held.job.is_none();
        let default = default_start(&held.text);
        self.cancel(unit);
        if up {
            let _ = sender.send(JobResult::Done);
            return Ok((job, None));
        }
        self.queue(unit, Kind::Start, sender);
        self.note(unit, |status| status.restarts = 0);
        let timer = match self.on_start.get(unit).cloned().unwrap_or(default) {
            Start::Run | Start::Flap(_) => {
                self.spawn(unit);
                self.complete(unit)
            }
            Start::Take(time) => {
                self.spawn(unit);
                self.timer(unit, time, End::Job)
            }
            Start::Hang => {
                self.spawn(unit);
                None
            }
            Start::Finish => {
                self.spawn(unit);
                self.quiet_end(unit, "inactive", "success");
                self.finish(unit, &JobResult::Done);
                None
            }
            Start::Fail(result) => {
                self.spawn(unit);
                self.quiet_end(unit, "failed", &result);
                self.finish(unit, &JobResult::Failed("failed".to_owned()));
                None
            }
        };
        Ok((job, timer))
    }

    pub(in crate::init::scripted) fn stop(&mut self, unit: &str) -> Result<(Job, Option<Timer>), InitError> {
        let (sender, job) = job();
        let Some(held) = self.load(unit) else {
            return Err(InitError::NoSuchUnit(unit.to_owned()));
        };
        if let Some(running) = held.job.as_mut().filter(|running| running.kind == Kind::Stop) {
            running.waiters.push(sender);
            return Ok((job, None));
        }
        let down = matches!(held.status.active.as_str(), "inactive" | "failed");
        self.cancel(unit);
        if down {
            let _ = sender.send(JobResult::Done);
            self.collect(unit);
            return Ok((job, None));
        }
        self.queue(unit, Kind::Stop, sender);
        self.set(unit, "deactivating", "stop-sigterm");
        let timer = match self.on_stop.get(unit).cloned().unwrap_or(Stop::End) {
            Stop::End => self.complete(unit),
            Stop::Take(time) => self.timer(unit, time, End::Job),
            Stop::Hang => None,
            Stop::Fail(result) => {
                self.quiet_end(unit, "failed", &result);
                self.finish(unit, &JobResult::Done);
                None
            }
        };
        Ok((job, timer))
    }

    pub(in crate::init::scripted) fn release(&mut self, unit: &str) -> Option<Timer> {
        self.complete(unit)
    }

    pub(in crate::init::scripted) fn fire(&mut self, timer: &Timer) -> Option<Timer> {
        let held = self.held.get(&timer.unit)?;
        if held.epoch != timer.epoch {
            return None;
        }
        match timer.end {
            End::Job => self.complete(&timer.unit),
            End::Restart => self.restarted(&timer.unit),
        }
    }

    /// The main process is gone. A job that was waiting for it ends with it.
    pub(in crate::init::scripted) fn ended(
        &mut self,
        unit: &str,
        active: &str,
        result: &str,
    ) -> Option<Timer> {
        let held = self.held.get(unit)?;
        if matches!(held.status.active.as_str(), "inactive" | "failed") {
            return None;
        }
        let outcome = match &held.job {
            Some(running) if running.kind == Kind::Start && active == "failed" => {
                JobResult::Failed("failed".to_owned())
            }
            _ => JobResult::Done,
        };
        self.quiet_end(unit, active, result);
        self.finish(unit, &outcome);
        None
    }

    pub(in crate::init::scripted) fn restarted(&mut self, unit: &str) -> Option<Timer> {
        let held = self.held.get(unit)?;
        if held.status.active != "active" {
            return None;
        }
        self.set(unit, "activating", "auto-restart");
        self.note(unit, |status| status.restarts += 1);
        self.spawn(unit);
        self.run(unit)
    }

    pub(in crate::init::scripted) fn cancel_waiters(&mut self) {
        for held in self.held.values_mut() {
            for waiter in held.job.iter_mut().flat_map(|running| running.waiters.drain(..)) {
                let _ = waiter.send(JobResult::Canceled);
            }
        }
    }

    // ---- steps ----

    fn queue(&mut self, unit: &str, kind: Kind, sender: oneshot::Sender<JobResult>) {
        if let Some(held) = self.held.get_mut(unit) {
            held.epoch += 1;
            held.job = Some(Running {
                kind,
                waiters: vec![sender],
            });
        }
    }

    fn cancel(&mut self, unit: &str) {
        if let Some(running) = self.held.get_mut(unit).and_then(|held| held.job.take()) {
            for waiter in running.waiters {
                let _ = waiter.send(JobResult::Canceled);
            }
        }
    }

    fn timer(&self, unit: &str, after: Duration, end: End) -> Option<Timer> {
        let epoch = self.held.get(unit)?.epoch;
        Some(Timer {
            after,
            unit: unit.to_owned(),
            epoch,
            end,
        })
    }

    /// A new process for the unit.
    fn spawn(&mut self, unit: &str) {
        self.counter += 1;
        let (pid, id) = (1000 + self.counter, format!("{:032x}", self.counter));
        let Some(held) = self.held.get_mut(unit) else {
            return;
        };
        let ran = self.ran.entry(unit.to_owned()).or_default();
        ran.0.clone_from(&held.text);
        ran.1 += 1;
        self.journal.insert(unit.to_owned(), self.now_us);
        held.status.main_pid = pid;
        held.status.invocation = id;
        held.status.result = "success".to_owned();
        self.set(unit, "activating", "start");
    }

    /// The good end of the job in hand.
    fn complete(&mut self, unit: &str) -> Option<Timer> {
        let kind = self.held.get(unit)?.job.as_ref()?.kind;
        let timer = match kind {
            Kind::Start => self.run(unit),
            Kind::Stop => {
                self.quiet_end(unit, "inactive", "success");
                None
            }
        };
        self.finish(unit, &JobResult::Done);
        timer
    }

    fn run(&mut self, unit: &str) -> Option<Timer> {
        let text = self
            .held
            .get(unit)
            .map(|held| held.text.clone())
            .unwrap_or_default();
        let oneshot = !self.on_start.contains_key(unit) && has_line(&text, &["Type=oneshot"]);
        if oneshot {
            // The only way here is a oneshot that remains after its exit.
            self.note(unit, |status| status.main_pid = 0);
        }
        self.set(unit, "active", if oneshot { "exited" } else { "running" });
        match self.on_start.get(unit) {
            Some(&Start::Flap(time)) => self.timer(unit, time, End::Restart),
            _ => None,
        }
    }

    fn quiet_end(&mut self, unit: &str, active: &str, result: &str) {
        self.note(unit, |status| {
            status.main_pid = 0;
            status.result = result.to_owned();
        });
        self.set(unit, active, if active == "failed" { "failed" } else { "dead" });
    }

    fn finish(&mut self, unit: &str, result: &JobResult) {
        if let Some(held) = self.held.get_mut(unit) {
            held.epoch += u64::from(held.status.active != "active");
            for waiter in held.job.take().into_iter().flat_map(|running| running.waiters) {
                let _ = waiter.send(result.clone());
            }
        }
        self.collect(unit);
    }
}
