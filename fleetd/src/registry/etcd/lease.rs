//! Renewing leases: one exchange each, on a stream that is kept for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Error, LeaseKeepAliveStream, LeaseKeeper};

use super::super::{Lease, LeaseId};
use super::endpoints::Connection;
use super::wire;

/// The streams over which leases were last renewed.
///
/// A stream is taken out while it is used and put back only after it has answered: one whose caller gave up could
/// still carry the answer to an earlier question.
#[derive(Default)]
pub(super) struct Renewals {
    kept: Mutex<HashMap<LeaseId, Kept>>,
}

struct Kept {
    connection: Arc<Connection>,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Renewals {
    /// Renews `id` through `connection`. A kept stream that turns out to be broken is replaced by a new one before the
    /// endpoint is blamed.
    pub(super) async fn renew(&self, connection: &Arc<Connection>, id: LeaseId) -> Result<Lease, Error> {
        if let Some(kept) = self.take(id)
            && Arc::ptr_eq(&kept.connection, connection)
            && let Ok(lease) = self.exchange(kept, id).await
        {
            return Ok(lease);
        }
        // This asks once by itself, to see whether the lease is there, but keeps the answer to itself.
        let (keeper, answers) = connection.leases().keep_alive(id.0).await?;
        let kept = Kept {
            connection: connection.clone(),
            keeper,
            answers,
        };
        self.exchange(kept, id).await
    }

    /// Forgets the stream of a lease that is gone.
    pub(super) fn forget(&self, id: LeaseId) {
        self.take(id);
    }

    async fn exchange(&self, mut kept: Kept, id: LeaseId) -> Result<Lease, Error> {
        kept.keeper.keep_alive().await?;
        let answer = kept.answers.message().await?;
        let answer = answer.ok_or_else(|| Error::WatchError("the stream ended".to_owned()))?;
        // etcd says so for ever, and does not call it an error.
        let Some(seconds) = u64::try_from(answer.ttl()).ok().filter(|seconds| *seconds > 0) else {
            return Err(Error::LeaseKeepAliveError("lease not found".to_owned()));
        };
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, kept);
        Ok(Lease {
            id,
            ttl: Duration::from_secs(seconds),
            revision: wire::revision(answer.header()),
        })
    }

    fn take(&self, id: LeaseId) -> Option<Kept> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }
}
