//! Requests of one kind: a few under way, the others in a queue.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

/// Requests under way before others wait. More than one: one that hangs must not hold up all others.
const UNDER_WAY: usize = 4;

/// A kind of request.
#[async_trait]
pub(super) trait Kind: Send + Sync + 'static {
    type Question: Send + 'static;
    type Answer: Send + 'static;

    /// How many of those that wait, from the first on, can go as one.
    fn fitting<'q>(waiting: impl Iterator<Item = &'q Self::Question>) -> usize;

    /// Sends them; an answer for each, in order.
    async fn send(&self, asked: Vec<Self::Question>) -> Vec<Self::Answer>;
}

pub(super) struct Lane<K: Kind> {
    kind: K,
    queue: Mutex<Queue<K>>,
}

struct Queue<K: Kind> {
    under_way: usize,
    waiting: VecDeque<Waiting<K>>,
}

/// A question, and where its answer goes.
type Waiting<K> = (<K as Kind>::Question, oneshot::Sender<<K as Kind>::Answer>);

impl<K: Kind> Lane<K> {
    pub(super) fn new(kind: K) -> Arc<Self> {
        let queue = Queue {
            under_way: 0,
            waiting: VecDeque::new(),
        };
        Arc::new(Self {
            kind,
            queue: Mutex::new(queue),
        })
    }

    /// The answer to a question; `None` if the process ends before.
    pub(super) async fn ask(self: &Arc<Self>, question: K::Question) -> Option<K::Answer> {
        let (answer, answered) = oneshot::channel();
        let has_room = {
            let mut queue = self.queue();
            queue.waiting.push_back((question, answer));
            let has_room = queue.under_way < UNDER_WAY;
            queue.under_way += usize::from(has_room);
            has_room
        };
        if has_room {
            // Beside whoever asks: he may go away, and others' questions may be among those that are sent.
            let lane = self.clone();
            tokio::spawn(async move { lane.serve().await });
        }
        answered.await.ok()
    }

    /// Sends what waits until nothing does.
    async fn serve(&self) {
        while let Some(taken) = self.next() {
            let (asked, answers): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
            let said = self.kind.send(asked).await;
            for (answer, to) in said.into_iter().zip(answers) {
                // Who has asked may have gone.
                let _ = to.send(answer);
            }
        }
    }

    fn next(&self) -> Option<Vec<Waiting<K>>> {
        let mut queue = self.queue();
        queue.waiting.retain(|(_, to)| !to.is_closed());
        if queue.waiting.is_empty() {
            queue.under_way -= 1;
            return None;
        }
        let fitting = K::fitting(queue.waiting.iter().map(|(question, _)| question));
        // One that is too large by itself goes too: the store says so.
        let count = fitting.clamp(1, queue.waiting.len());
        Some(queue.waiting.drain(..count).collect())
    }

    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kind> fmt::Debug for Lane<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue();
        f.debug_struct("Lane")
            .field("under_way", &queue.under_way)
            .field("waiting", &queue.waiting.len())
            .finish_non_exhaustive()
    }
}
