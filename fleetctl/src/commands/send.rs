//! Changes, sent a few at a time.

use futures_util::{StreamExt, TryStreamExt, stream};
use units::{DesiredState, UnitFile, UnitName};

use crate::api::{Api, ApiError};

/// How many requests are under way at once: fleetd makes one write of those that come together.
const AT_ONCE: usize = 64;

/// The same through ssh, where each is a session, of which sshd takes ten (`MaxSessions`).
const AT_ONCE_THROUGH_SSH: usize = 8;

fn at_once(api: &Api) -> usize {
    match api.is_tunnelled() {
        true => AT_ONCE_THROUGH_SSH,
        false => AT_ONCE,
    }
}

/// A change of one unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Give it this desired state, and this content if there is one.
    Put {
        content: Option<UnitFile>,
        desired: DesiredState,
    },
    /// Have it started once more.
    Run,
    /// Remove it.
    Delete,
}

/// What became of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// The revision it made.
    pub(super) revision: i64,
    /// The run counter it led to, where it led to one.
    pub(super) run: u64,
}

/// A change that was refused.
#[derive(Debug, thiserror::Error)]
#[error("{unit}: {error}")]
pub(super) struct Refused {
    pub(super) unit: UnitName,
    /// Whether the content was part of it.
    pub(super) with_content: bool,
    pub(super) error: ApiError,
}

/// Sends changes; gives what became of each, in their order.
///
/// # Errors
/// The first that was refused; of those behind it some may have been made.
pub(super) async fn send_all<'c>(
    api: &Api,
    changes: impl IntoIterator<Item = (&'c UnitName, &'c Change)>,
) -> Result<Vec<Sent>, Refused> {
    let answers = changes.into_iter().map(|(unit, change)| send(api, unit, change));
    stream::iter(answers).buffered(at_once(api)).try_collect().await
}

/// Sends changes, also those behind one that was refused; gives what became of each, in their order.
pub(super) async fn send_each<'c>(
    api: &Api,
    changes: impl IntoIterator<Item = (&'c UnitName, &'c Change)>,
) -> Vec<Result<Sent, Refused>> {
    let answers = changes.into_iter().map(|(unit, change)| send(api, unit, change));
    stream::iter(answers).buffered(at_once(api)).collect().await
}

async fn send(api: &Api, unit: &UnitName, change: &Change) -> Result<Sent, Refused> {
    try_send(api, unit, change).await.map_err(|error| Refused {
        unit: unit.clone(),
        with_content: matches!(change, Change::Put { content: Some(_), .. }),
        error,
    })
}

async fn try_send(api: &Api, unit: &UnitName, change: &Change) -> Result<Sent, ApiError> {
    let (revision, run) = match change {
        Change::Put { content, desired } => (
            api.put(unit, content.as_ref().map(UnitFile::options), *desired)
                .await?,
            0,
        ),
        Change::Run => {
            let run = api.run(unit).await?;
            (run.revision, run.run)
        }
        // Gone already is as good.
        Change::Delete => (api.delete(unit).await?.unwrap_or_default(), 0),
    };
    Ok(Sent { revision, run })
}
