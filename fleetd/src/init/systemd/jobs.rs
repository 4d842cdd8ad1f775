//! Jobs that somebody waits for, by object path.
//!
//! systemd answers `StartUnit` with the path of a job and announces its end with `JobRemoved`, which may be handled
//! before the answer is. So results are kept while any call is on its way that might turn out to mean them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::{Job, JobResult};

#[derive(Debug, Default)]
pub(super) struct Jobs {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Two calls may be given the same job: systemd merges a start with the start that is queued.
    waiting: HashMap<String, Vec<oneshot::Sender<JobResult>>>,
    early: HashMap<String, JobResult>,
    calls: usize,
    /// The connection is lost: no end will be told any more, also not of a job whose call is answered just now.
    lost: bool,
}

/// A call on its way that will name a job; made before it is sent.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    jobs: &'a Jobs,
}

impl Jobs {
    pub(super) fn expect(&self) -> Pending<'_> {
        self.lock().calls += 1;
        Pending { jobs: self }
    }

    pub(super) fn removed(&self, path: &str, result: &str) {
        let result = match result {
            "done" | "skipped" => JobResult::Done,
            "canceled" => JobResult::Canceled,
            other => JobResult::Failed(other.to_owned()),
        };
        let mut inner = self.lock();
        match inner.waiting.remove(path) {
            Some(waiters) => waiters.into_iter().for_each(|waiter| {
                // Whoever asked may have gone.
                let _ = waiter.send(result.clone());
            }),
            None if inner.calls > 0 => {
                inner.early.insert(path.to_owned(), result);
            }
            None => (),
        }
    }

    /// The jobs somebody waits for.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// The end of this one was missed.
    pub(super) fn cancel(&self, path: &str) {
        for waiter in self.lock().waiting.remove(path).into_iter().flatten() {
            let _ = waiter.send(JobResult::Canceled);
        }
    }

    /// The connection is lost and no end will ever be told: they come out as canceled, and the callers observe.
    pub(super) fn cancel_all(&self) {
        let mut inner = self.lock();
        inner.lost = true;
        for waiter in inner.waiting.drain().flat_map(|(_, waiters)| waiters) {
            let _ = waiter.send(JobResult::Canceled);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    /// The call was answered with this path.
    pub(super) fn named(self, path: &str) -> Job {
        let (sender, job) = oneshot::channel();
        let mut inner = self.jobs.lock();
        let early = inner.early.get(path).cloned();
        match early.or_else(|| inner.lost.then_some(JobResult::Canceled)) {
            Some(result) => {
                let _ = sender.send(result);
            }
            None => inner.waiting.entry(path.to_owned()).or_default().push(sender),
        }
        job
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut inner = self.jobs.lock();
        inner.calls -= 1;
        if inner.calls == 0 {
            inner.early.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_result_that_overtakes_the_answer_is_kept() {
        let jobs = Jobs::default();
        let (first, second) = (jobs.expect(), jobs.expect());
        jobs.removed("/job/1", "done");
        assert_eq!(first.named("/job/1").await, Ok(JobResult::Done));
        assert_eq!(second.named("/job/1").await, Ok(JobResult::Done));
        assert!(jobs.lock().early.is_empty());
    }

    #[tokio::test]
    async fn everybody_who_was_given_the_job_hears_of_its_end() {
        let jobs = Jobs::default();
        let (first, second) = (jobs.expect().named("/job/1"), jobs.expect().named("/job/1"));
        jobs.removed("/job/1", "timeout");
        assert_eq!(first.await, Ok(JobResult::Failed("timeout".to_owned())));
        assert_eq!(second.await, Ok(JobResult::Failed("timeout".to_owned())));
    }

    #[tokio::test]
    async fn what_nobody_asked_for_is_not_kept() {
        let jobs = Jobs::default();
        jobs.removed("/job/1", "done");
        let mut job = jobs.expect().named("/job/1");
        assert!(job.try_recv().is_err());
        let late = jobs.expect();
        jobs.cancel_all();
        assert_eq!(job.await, Ok(JobResult::Canceled));
        assert_eq!(late.named("/job/2").await, Ok(JobResult::Canceled));
    }
}
