//! What the mirror has still to show before the next plan is made.
//!
//! A plan on a picture that lacks what was written is refused, all of it: each decision compares what it was made on. So
//! nothing here is needed to be right, only not to decide the same over and over.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::Revision;

/// How long the mirror may show nothing new while a write of ours is still to come, before planning again without it.
///
/// A watch shows every write, if late: after a plan of tens of thousands etcd has to catch up with itself, for nobody has
/// read the watch meanwhile. So this is only for a watch that is dead and has not been noticed, and has to be longer than
/// any pause of one that lives.
const PATIENCE: Duration = Duration::from_secs(5);

/// Revisions that are waited for, each until a moment at most.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Our last write. The mirror shows it for certain.
    own: Option<(Revision, Instant)>,
    /// Where the store was when it refused a write. The mirror may never show that, for others may write to the store.
    refused: Option<(Revision, Instant)>,
}

impl Echo {
    /// Our writing has come to this revision.
    pub(super) fn wrote(&mut self, revision: Revision, now: Instant) {
        let last = self.own.map_or(revision, |(last, _)| last.max(revision));
        self.own = Some((last, now + PATIENCE));
    }

    /// A write was refused at this revision, or nobody knows what became of it: not again before `until`.
    pub(super) fn failed(&mut self, refused_at: Option<Revision>, until: Instant) {
        self.refused = Some((refused_at.unwrap_or(Revision::MAX), until));
    }

    /// The mirror has shown something: it is on its way to what we wrote.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some((_, until)) = &mut self.own {
            *until = now + PATIENCE;
        }
    }

    /// When the waiting is over even if the mirror shows nothing more; `None` if nothing is waited for, now that it has
    /// come to this revision.
    pub(super) fn until(&self, shown: Revision) -> Option<Instant> {
        let waits = [self.own, self.refused].into_iter().flatten();
        let open = waits.filter(|(revision, _)| *revision > shown);
        open.map(|(_, until)| until).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_we_wrote_is_waited_for_as_long_as_the_mirror_is_on_its_way() {
        let (start, mut echo) = (Instant::now(), Echo::default());
        assert_eq!(echo.until(0), None);
        echo.wrote(7, start);
        // Answers may come in any order.
        echo.wrote(5, start + SECOND);
        assert_eq!(echo.until(6), Some(start + SECOND + PATIENCE));
        echo.heard(start + 3 * SECOND);
        assert_eq!(echo.until(6), Some(start + 3 * SECOND + PATIENCE));
        assert_eq!(echo.until(7), None);
    }

    #[test]
    fn a_refusal_is_waited_for_no_longer_than_said_for_its_revision_may_be_somebody_elses() {
        let (start, mut echo) = (Instant::now(), Echo::default());
        echo.failed(Some(9), start + SECOND);
        echo.heard(start + SECOND / 2);
        assert_eq!(echo.until(8), Some(start + SECOND));
        assert_eq!(echo.until(9), None);
    }

    #[test]
    fn a_failure_ends_no_waiting_for_what_was_written_before_it() {
        let (start, mut echo) = (Instant::now(), Echo::default());
        echo.wrote(7, start);
        echo.failed(None, start + SECOND);
        assert_eq!(echo.until(6), Some(start + PATIENCE));
        // What became of the failed one no revision tells.
        assert_eq!(echo.until(7), Some(start + SECOND));
    }
}
