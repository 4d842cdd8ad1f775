//! One connection of a client: HTTP/1, with a limit on how long it may keep us waiting.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::stall::Impatient;
use super::tls::ApiTls;

/// A client that has sent no whole request head for so long, or no further request, is let go.
const IDLE: Duration = Duration::from_secs(60);

/// A client that takes nothing of its answer for so long is let go too. It is enough for a peer that went away, and for
/// a `fleetctl` that was suspended for a moment.
const UNREAD: Duration = Duration::from_secs(60);

/// When fleetd stops: a client that has just connected has so long to say what it wants. hyper would close on it.
const FIRST_WORDS: Duration = Duration::from_millis(50);

/// Then, what is being answered has so long to be finished. Event streams never are; clients open them again.
const LAST_WORDS: Duration = Duration::from_millis(450);

/// The same behind TLS.
pub(super) async fn secured(stream: TcpStream, tls: ApiTls, router: Router, stop: CancellationToken) {
    let peer = stream.peer_addr().map(|a| a.to_string()).unwrap_or_default();
    let given_up = async {
        stop.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = given_up => Err("fleetd stops".to_owned()),
    };
    match accepted {
        Ok(stream) => connection(stream, router, stop).await,
        Err(why) => tracing::info!(peer, why, "refused a client of the API"),
    }
}

/// Answers what comes in on `stream` until the client closes it, breaks off or falls silent, or until `stop`: then what
/// has been asked is answered still, and nothing more.
pub(super) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    stop: CancellationToken,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(
            TokioIo::new(Impatient::new(stream, UNREAD)),
            TowerToHyperService::new(router),
        );
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = stop.cancelled() => match timeout(FIRST_WORDS, served.as_mut()).await {
            Ok(ended) => Some(ended),
            Err(_) => {
                served.as_mut().graceful_shutdown();
                timeout(LAST_WORDS, served).await.ok()
            }
        },
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection to the API broke off");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// What a client gets that asks for `path` and hears of the stop so long after it has connected.
    async fn answered(path: &str, stopped_after: Duration) -> (String, Duration) {
        let router = Router::new()
            .route(
                "/slow",
                get(async || {
                    sleep(Duration::from_millis(200)).await;
                    "done"
                }),
            )
            .route(
                "/endless",
                get(async || {
                    Body::from_stream(futures_util::stream::pending::<Result<String, std::io::Error>>())
                }),
            );
        let stop = CancellationToken::new();
        let (mut client, server) = tokio::io::duplex(4096);
        let served = tokio::spawn(connection(server, router, stop.clone()));
        sleep(stopped_after).await;
        stop.cancel();
        let stopped = Instant::now();
        sleep(Duration::from_millis(10)).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: fleet\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap();
        (answer, stopped.elapsed())
    }

    /// A `fleetctl` that met a restart of fleetd was hung up on in the middle of its request.
    #[tokio::test(start_paused = true)]
    async fn who_has_connected_before_the_stop_is_answered() {
        for stopped_after in [Duration::ZERO, Duration::from_secs(1)] {
            let (answer, took) = answered("/slow", stopped_after).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
                "{answer}"
            );
            assert!(took < FIRST_WORDS + LAST_WORDS, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_end_does_not_hold_up_the_stop() {
        let (answer, took) = answered("/endless", Duration::ZERO).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(took <= FIRST_WORDS + LAST_WORDS, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_an_answer_is_let_go_and_who_takes_it_slowly_is_not() {
        let large = Router::new().route("/large", get(async || "x".repeat(100_000)));
        for (pause, is_whole) in [(UNREAD / 2, true), (UNREAD * 2, false)] {
            let (mut client, server) = tokio::io::duplex(4096);
            tokio::spawn(connection(server, large.clone(), CancellationToken::new()));
            client
                .write_all(b"GET /large HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let (mut read, mut some) = (0, vec![0; 4096]);
            loop {
                sleep(pause).await;
                match client.read(&mut some).await.unwrap() {
                    0 => break,
                    n => read += n,
                }
            }
            assert_eq!(
                read > 100_000,
                is_whole,
                "read {read} bytes with pauses of {pause:?}"
            );
        }
    }
}
