//! One watch: opening it, and carrying what it hears to its holder.

use std::sync::Arc;

use etcd_client::{EventType, WatchResponse, WatchStream};
use tokio::sync::mpsc;

use super::super::{Batch, Change, RegistryError, Revision, Select};
use super::endpoints::Connection;
use super::failure::Failure;
use super::wire;

type Out = mpsc::Sender<Result<Batch, RegistryError>>;

/// Opens a watch and waits until etcd has accepted it.
///
/// A watch that has to replay history is opened one revision early, and that revision dropped: etcd keeps no trace of
/// a key deleted at the very revision it has compacted to (etcd#18089, in 3.4.23 too), so a watch from there would be
/// accepted and would silently miss the delete. One from the revision before is refused. Opening every watch early
/// would do as well, but etcd takes up to 100 ms to get a watch that looks back going.
pub(super) async fn open(
    connection: &Connection,
    what: &Select,
    from: Revision,
) -> Result<WatchStream, etcd_client::Error> {
    let (stream, now) = subscribe(connection, what, from).await?;
    if from > 1 && now >= from {
        return Ok(subscribe(connection, what, from - 1).await?.0);
    }
    Ok(stream)
}

/// A stream whose watch has been accepted, and the revision at which it was.
async fn subscribe(
    connection: &Connection,
    what: &Select,
    from: Revision,
) -> Result<(WatchStream, Revision), etcd_client::Error> {
    let (key, options) = wire::watch(what, from);
    let mut stream = connection.watches().watch(key, Some(options)).await?;
    // What would be refused for history that is gone is accepted first and cancelled afterwards.
    match stream.message().await? {
        Some(first) if first.created() && !first.canceled() => {
            let now = wire::revision(first.header());
            Ok((stream, now))
        }
        Some(first) => Err(etcd_client::Error::InvalidArgs(first.cancel_reason().to_owned())),
        None => Err(etcd_client::Error::WatchError("the stream ended".to_owned())),
    }
}

/// Carries batches to the holder until either side is gone; the last thing sent is why.
pub(super) async fn carry(connection: Arc<Connection>, stream: WatchStream, from: Revision, out: Out) {
    tokio::select! {
        biased;
        () = out.closed() => {}
        error = read(&connection, stream, from, &out) => {
            // Fails only if nobody holds the watch any more.
            let _ = out.send(Err(error)).await;
        }
    }
}

/// Waits for the holder when it is slow: etcd then keeps for us what is not taken from the stream. History that is too
/// large to be taken is as good as gone.
async fn read(connection: &Connection, mut stream: WatchStream, from: Revision, out: &Out) -> RegistryError {
    let url = &connection.url;
    let mut next = from;
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = connection.left.cancelled() => {
                return RegistryError::Unavailable(format!("{url} was given up for another endpoint"));
            }
        };
        let response = match message {
            Ok(Some(response)) => response,
            Ok(None) => return RegistryError::Unavailable(format!("{url}: the watch ended")),
            Err(error) => {
                return match connection.failure(error) {
                    // Up to 1,000 revisions come in one message. Fragments would make them smaller, but etcd takes a
                    // time that grows with the square of their size: 8 s for what can be read afresh in one.
                    Failure::TooLarge(_) => RegistryError::Compacted(next),
                    other => other.of_read(),
                };
            }
        };
        if response.canceled() {
            return canceled(url, &response);
        }
        for batch in batches(&response, next) {
            next = batch.revision + 1;
            if out.send(Ok(batch)).await.is_err() {
                return RegistryError::Unavailable("nobody listens".to_owned());
            }
        }
    }
}

fn canceled(url: &str, response: &WatchResponse) -> RegistryError {
    let reason = response.cancel_reason();
    match response.compact_revision() {
        0 if reason.contains("permission denied") => RegistryError::Refused(format!("{url}: {reason}")),
        0 => RegistryError::Unavailable(format!("{url}: the watch was cancelled: {reason}")),
        compacted => RegistryError::Compacted(compacted),
    }
}

/// The changes in one message from revision `from` on, by revision. etcd never spreads a revision over messages unless
/// asked to (fragments).
fn batches(response: &WatchResponse, from: Revision) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for event in response.events() {
        let Some(kv) = event.kv() else { continue };
        let revision = kv.mod_revision();
        if revision < from {
            continue;
        }
        let Some(change) = change(event.event_type(), kv) else {
            continue;
        };
        match batches.last_mut() {
            Some(batch) if batch.revision == revision => batch.changes.push(change),
            _ => batches.push(Batch {
                revision,
                changes: vec![change],
            }),
        }
    }
    batches
}

fn change(kind: EventType, kv: &etcd_client::KeyValue) -> Option<Change> {
    match kind {
        EventType::Put => wire::key_value(kv.clone()).map(Change::Put),
        EventType::Delete => {
            let key = kv.key_str().ok()?.to_owned();
            Some(Change::Delete { key })
        }
    }
}
