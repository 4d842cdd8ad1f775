//! The process that a fleetd runs in: it can be frozen (SIGSTOP) and killed.
//!
//! tokio cannot hold single tasks, so a freeze is made of two parts: the loops of agent and engine are not polled, and
//! whatever runs beside them gets no further than its next call to the registry or to systemd. A commit that was begun
//! before the freeze is carried out after it, whether or not anybody still waits for its answer: it lay in a buffer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use fleetd::registry::RegistryError;

/// Whether a process runs.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_frozen: bool,
    is_dead: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.lock().is_frozen = true;
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        let mut state = self.lock();
        state.is_frozen = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.lock().is_dead = true;
        self.thaw();
    }

    /// Whether it is stopped at the moment.
    pub fn is_frozen(&self) -> bool {
        self.lock().is_frozen
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.is_frozen {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the process runs.
    ///
    /// # Errors
    /// If it never will again.
    pub async fn pass(&self) -> Result<(), RegistryError> {
        poll_fn(|cx| self.poll(cx)).await;
        match self.lock().is_dead {
            true => Err(RegistryError::Unavailable("the process is dead".to_owned())),
            false => Ok(()),
        }
    }

    /// Does some work as a part of the process.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(()) => work.as_mut().poll(cx),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
