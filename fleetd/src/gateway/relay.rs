//! Bytes between a client and a member, until one side has nothing more to say.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Read and passed on at once.
const PIECE: usize = 8 * 1024;

/// What came of a connection.
#[derive(Debug)]
pub(super) struct Relayed {
    /// Bytes from the client that the member's side took.
    pub(super) sent: u64,
    /// Bytes from the member.
    pub(super) received: u64,
    /// How it ended.
    pub(super) end: io::Result<()>,
}

/// Passes both directions on. When one has ended the other has `linger` left: HTTP/2 knows no half-closed connections, and
/// a client that gave up on a member which hangs would leave one behind with every try.
///
/// If the member was spoken to and has said nothing by then, `mute` is called: at once, for that client tries again at once.
pub(super) async fn relay(
    local: impl AsyncRead + AsyncWrite,
    remote: impl AsyncRead + AsyncWrite,
    linger: Duration,
    mute: impl FnOnce(),
) -> Relayed {
    let (local_read, local_write) = tokio::io::split(local);
    let (remote_read, remote_write) = tokio::io::split(remote);
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let up = copy(local_read, remote_write, &sent);
    let down = copy(remote_read, local_write, &received);
    tokio::pin!(up, down);
    // What the member said is taken first, so that none is called mute whose answer is here.
    let (ended, member_first) = tokio::select! {
        biased;
        ended = &mut down => (ended, true),
        ended = &mut up => (ended, false),
    };
    if sent.load(Relaxed) > 0 && received.load(Relaxed) == 0 {
        mute();
    }
    let end = match (ended, member_first) {
        (Ok(()), true) => timeout(linger, up).await.unwrap_or(Ok(())),
        (Ok(()), false) => timeout(linger, down).await.unwrap_or(Ok(())),
        (error, _) => error,
    };
    let (sent, received) = (sent.load(Relaxed), received.load(Relaxed));
    Relayed { sent, received, end }
}

/// One direction, to its end, which is passed on as well. What was passed on is counted even if it is cut off.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        let Some(said) = piece.get(..read).filter(|said| !said.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(said).await?;
        // TLS may hold back what it was given.
        to.flush().await?;
        count.fetch_add(said.len() as u64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    const LINGER: Duration = Duration::from_secs(10);

    /// The client's end, the member's end, and the relay between them. It also says when the member was called mute.
    fn stage() -> (DuplexStream, DuplexStream, JoinHandle<(Relayed, Option<Instant>)>) {
        let (client, local) = duplex(64);
        let (member, remote) = duplex(64);
        let relaying = tokio::spawn(async move {
            let mut mute = None;
            let relayed = relay(local, remote, LINGER, || mute = Some(Instant::now())).await;
            (relayed, mute)
        });
        (client, member, relaying)
    }

    async fn hear(stream: &mut DuplexStream, text: &str) {
        let mut heard = vec![0; text.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, text.as_bytes());
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_hangs_is_let_go_of_after_its_client() {
        let (mut client, mut member, relaying) = stage();
        client.write_all(b"hello").await.unwrap();
        hear(&mut member, "hello").await;
        let began = Instant::now();
        drop(client);
        let (relayed, mute) = relaying.await.unwrap();
        assert_eq!(began.elapsed(), LINGER);
        assert_eq!(mute, Some(began), "not only then");
        assert_eq!((relayed.sent, relayed.received), (5, 0));
        assert!(relayed.end.is_ok(), "{relayed:?}");
        assert_eq!(member.read(&mut [0]).await.unwrap(), 0, "its side is closed");
        assert!(member.write_all(b"x").await.is_err(), "both ways");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_is_let_go_of_after_its_member() {
        let (mut client, member, relaying) = stage();
        let began = Instant::now();
        drop(member);
        let (_, mute) = relaying.await.unwrap();
        assert_eq!(began.elapsed(), LINGER);
        assert_eq!(mute, None, "nobody spoke to it");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert!(client.write_all(b"x").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_after_the_last_question_is_passed_on() {
        let (mut client, mut member, relaying) = stage();
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        hear(&mut member, "last").await;
        assert_eq!(member.read(&mut [0]).await.unwrap(), 0);
        tokio::time::sleep(LINGER / 2).await;
        member.write_all(b"answer").await.unwrap();
        hear(&mut client, "answer").await;
        drop(member);
        let (relayed, _) = relaying.await.unwrap();
        assert_eq!((relayed.sent, relayed.received), (4, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_ends_without_a_word_is_mute_and_one_that_answered_is_not() {
        for answer in ["", "answer"] {
            let (mut client, mut member, relaying) = stage();
            client.write_all(b"hello").await.unwrap();
            hear(&mut member, "hello").await;
            member.write_all(answer.as_bytes()).await.unwrap();
            drop(member);
            hear(&mut client, answer).await;
            drop(client);
            let (_, mute) = relaying.await.unwrap();
            assert_eq!(mute.is_some(), answer.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn open_connections_have_no_end() {
        let (mut client, mut member, _relaying) = stage();
        for _ in 0..3 {
            tokio::time::sleep(LINGER * 1000).await;
            client.write_all(b"ping").await.unwrap();
            hear(&mut member, "ping").await;
            member.write_all(b"pong").await.unwrap();
            hear(&mut client, "pong").await;
        }
    }
}
