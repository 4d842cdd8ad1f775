//! A connection to one member, or the reason why there is none; and the question which members there are.

use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::members::NoMembers;
use super::tls::Speaks;
use super::{Address, GatewayTls, Members};

/// A member that is gone without a word is noticed when what was sent to it is not received for this long.
const UNHEARD: Duration = Duration::from_secs(5);

/// How long a member's first word is waited for. One that has none is as good.
const FIRST_WORD: Duration = Duration::from_millis(250);

/// An answer of a peer is read up to here. A member takes some 300 bytes.
const ANSWER: usize = 1024 * 1024;

/// Bytes in both directions, with or without TLS.
pub(super) trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// Why there is no connection. One line.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0} does not answer within {1:?}")]
    Silent(Address, Duration),
    #[error("{0}: {1}")]
    Refused(Address, String),
    #[error("{0} cannot be checked: cafile is not set")]
    NoCa(Address),
}

/// Why a peer could not say who the members are. One line.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0} does not answer within {1:?}")]
    Silent(Address, Duration),
    #[error("{0}: {1}")]
    Http(Address, String),
    #[error("{0}: {1}")]
    Useless(Address, NoMembers),
}

/// Connects, with the TLS handshake where there is one.
pub(super) async fn dial(
    address: &Address,
    tls: Option<&GatewayTls>,
    speaks: Speaks,
    patience: Duration,
) -> Result<Box<dyn Link>, DialError> {
    let connected = timeout(patience, async {
        let refused = |error: io::Error| DialError::Refused(address.clone(), error.to_string());
        let tcp = TcpStream::connect((address.host(), address.port()))
            .await
            .map_err(refused)?;
        tune(&tcp).map_err(refused)?;
        if !address.tls() {
            return Ok::<Box<dyn Link>, DialError>(Box::new(tcp));
        }
        let tls = tls.ok_or_else(|| DialError::NoCa(address.clone()))?;
        let no_tls = |error: io::Error| {
            let why = tls.explain(address, &error);
            DialError::Refused(address.clone(), why.unwrap_or_else(|| format!("no TLS: {error}")))
        };
        let stream = tls.connect(tcp, address, speaks).await.map_err(no_tls)?;
        let mut stream = BufReader::new(stream);
        if speaks == Speaks::Http2 {
            taken(&mut stream).await.map_err(no_tls)?;
        }
        Ok(Box::new(stream))
    });
    let silent = |_| Err(DialError::Silent(address.clone(), patience));
    connected.await.unwrap_or_else(silent)
}

/// Whether the member takes our certificate. By TLS 1.3 the handshake is over before it looks at it; but it speaks first
/// in HTTP/2, and what it says is either its settings or the refusal.
async fn taken(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    match timeout(FIRST_WORD, stream.fill_buf()).await {
        Ok(Ok([])) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

/// Without this a connection to a machine that lost its power hangs for a quarter of an hour.
fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let millis = u32::try_from(UNHEARD.as_millis()).unwrap_or(u32::MAX);
    setsockopt(tcp, sockopt::TcpUserTimeout, &millis)?;
    setsockopt(tcp, sockopt::KeepAlive, &true)?;
    setsockopt(tcp, sockopt::TcpKeepIdle, &15)?;
    setsockopt(tcp, sockopt::TcpKeepInterval, &5)?;
    Ok(())
}

/// `GET /members` on the port where members speak to each other.
pub(super) async fn ask(
    peer: &Address,
    tls: Option<&GatewayTls>,
    patience: Duration,
) -> Result<Members, AskError> {
    let link = dial(peer, tls, Speaks::Http1, patience).await?;
    let answered = timeout(patience, async {
        let broken = |error: &dyn std::error::Error| AskError::Http(peer.clone(), error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(link))
            .await
            .map_err(|e| broken(&e))?;
        let request = Request::get("/members")
            .header("Host", peer.authority())
            .body(Body::empty())
            .map_err(|e| broken(&e))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
            if !answer.status().is_success() {
                let why = format!(
                    "it answers {} to GET /members: is it etcd's peer port?",
                    answer.status()
                );
                return Err(AskError::Http(peer.clone(), why));
            }
            let body = to_bytes(Body::new(answer.into_body()), ANSWER).await;
            let body = body.map_err(|e| broken(&e))?;
            Members::read(&body, peer, tls.is_some()).map_err(|e| AskError::Useless(peer.clone(), e))
        };
        // The connection ends when there is nothing more to send, and so with the answer.
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(broken(&error)),
            },
        }
    });
    let silent = |_| Err(AskError::Silent(peer.clone(), patience));
    answered.await.unwrap_or_else(silent)
}
