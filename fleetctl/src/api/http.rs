//! HTTP/1 over a unix or TCP socket, here or behind a tunnel.
//!
//! A request takes a connection that is idle or opens one, and gives it back when its answer has been read: a command
//! that asks one thing after the other uses one connection, and one that asks several at once uses as many.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, WARNING};
use hyper::http::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use units::wire::v1::ErrorBody;

use super::error::cause;
use super::{ApiError, Endpoint, Tls};
use crate::printer::Printer;
use crate::ssh::{SshError, Tunnel};

type Connection = SendRequest<Full<Bytes>>;

/// What HTTP is spoken over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Speaks HTTP to one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    tls: Option<Tls>,
    /// Where the endpoint is reached from.
    pub(super) tunnel: Option<Rc<Tunnel>>,
    timeout: Duration,
    printer: Printer,
    idle: RefCell<Vec<Connection>>,
    has_warned: Cell<bool>,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `X-Fleet-Revision`.
    pub(super) revision: Option<i64>,
    pub(super) body: Bytes,
}

/// What to ask.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// JSON; nothing is sent as such if it is empty.
    pub(super) body: Vec<u8>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            body: Vec::new(),
        }
    }
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, tls: Option<Tls>, timeout: Duration, printer: Printer) -> Self {
        Self {
            endpoint,
            tls,
            tunnel: None,
            timeout,
            printer,
            idle: RefCell::default(),
            has_warned: Cell::default(),
        }
    }

    /// Asks, and reads the whole answer.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, ApiError> {
        self.open_tunnel().await?;
        self.in_time(async {
            let (connection, response) = self.exchange(ask).await?;
            let answer = self.read(response).await?;
            self.idle.borrow_mut().push(connection);
            Ok(answer)
        })
        .await
    }

    /// Asks for a stream: gives it once it begins, with the connection that carries it.
    ///
    /// # Errors
    /// Beside those of [`ask`](Self::ask), every answer that is not a stream.
    pub(super) async fn open(&self, ask: Ask<'_>) -> Result<(Connection, Incoming), ApiError> {
        self.open_tunnel().await?;
        self.in_time(async {
            let (connection, response) = self.exchange(ask).await?;
            if response.status() == StatusCode::OK {
                return Ok((connection, response.into_body()));
            }
            let answer = self.read(response).await?;
            Err(self.refusal(&answer))
        })
        .await
    }

    /// The error that an answer is.
    pub(super) fn refusal(&self, answer: &Answer) -> ApiError {
        let body = serde_json::from_slice::<ErrorBody>(&answer.body).unwrap_or_default();
        ApiError::Status {
            endpoint: self.endpoint.clone(),
            status: answer.status.as_u16(),
            message: body.error.message,
        }
    }

    /// The error of a connection that ended in the middle.
    pub(super) fn broken(&self, error: &hyper::Error) -> ApiError {
        // What the other side thinks of our certificate it may say as late as here.
        if let Some(reason) = self.tls.as_ref().and_then(|tls| tls.explain(error)) {
            return self.untrusted(reason);
        }
        if let Some(failed) = cause::<SshError>(error) {
            return failed.clone().into();
        }
        ApiError::Broken {
            endpoint: self.endpoint.clone(),
            reason: error.to_string(),
        }
    }

    fn untrusted(&self, reason: String) -> ApiError {
        ApiError::Untrusted {
            endpoint: self.endpoint.clone(),
            reason,
        }
    }

    /// Not in the time of a request: a person may have to type a password for it.
    async fn open_tunnel(&self) -> Result<(), ApiError> {
        match &self.tunnel {
            Some(tunnel) => Ok(tunnel.open().await?),
            None => Ok(()),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let late = |_| ApiError::Timeout {
            endpoint: self.endpoint.clone(),
            after: self.timeout,
        };
        timeout(self.timeout, work).await.map_err(late)?
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<(Connection, Response<Incoming>), ApiError> {
        let host = match &self.endpoint {
            Endpoint::Unix(_) => "fleet".to_owned(),
            tcp @ Endpoint::Tcp { .. } => tcp.to_string().replacen("http://", "", 1),
            tls @ Endpoint::Tls { .. } => tls.to_string().replacen("https://", "", 1),
        };
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(ask.path)
            .header(HOST, host);
        if !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::from(ask.body))
            .map_err(|error| ApiError::Answer {
                endpoint: self.endpoint.clone(),
                reason: error.to_string(),
            })?;

        let begin = Instant::now();
        // A TLS handshake is large, and most commands do none.
        let mut connection = Box::pin(self.connection()).await?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))?;
        self.printer.debug(format_args!(
            "{} {}: {} after {:.1} ms",
            ask.method,
            ask.path,
            response.status(),
            begin.elapsed().as_secs_f64() * 1e3
        ));
        self.heed(&response);
        Ok((connection, response))
    }

    /// Passes on, once, what fleetd says about itself beside the answer. A refusal gives the reason itself.
    fn heed(&self, response: &Response<Incoming>) {
        let warning = response
            .headers()
            .get(WARNING)
            .and_then(|value| value.to_str().ok());
        let Some(warning) = warning.filter(|_| response.status().is_success()) else {
            return;
        };
        if !self.has_warned.replace(true) {
            let text = warning.trim_start_matches("199 fleet ").trim_matches('"');
            self.printer.warning(format_args!("{}: {text}", self.endpoint));
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, ApiError> {
        let revision = response.headers().get("x-fleet-revision");
        Ok(Answer {
            status: response.status(),
            revision: revision.and_then(|value| value.to_str().ok()?.parse().ok()),
            body: response
                .into_body()
                .collect()
                .await
                .map_err(|error| self.broken(&error))?
                .to_bytes(),
        })
    }

    async fn connection(&self) -> Result<Connection, ApiError> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            let Some(mut connection) = idle else { break };
            // Closed by the other side meanwhile: the next one, or a new one.
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let stream = self.dial().await?;
        let Endpoint::Tls { host, .. } = &self.endpoint else {
            return self.greet(stream).await;
        };
        let Some(tls) = &self.tls else {
            return Err(self.untrusted("https:// needs --ca-file".to_owned()));
        };
        match tls.connect(host, stream).await {
            Ok(stream) => self.greet(stream).await,
            Err(error) => Err(match (tls.explain(&error), cause::<SshError>(&error)) {
                (Some(reason), _) => self.untrusted(reason),
                (None, Some(failed)) => failed.clone().into(),
                (None, None) => self.unreachable(error),
            }),
        }
    }

    /// A connection to where the endpoint is.
    async fn dial(&self) -> Result<Box<dyn Stream>, ApiError> {
        Ok(match (&self.tunnel, &self.endpoint) {
            (Some(tunnel), Endpoint::Unix(path)) => Box::new(tunnel.to_socket(path).await?),
            (Some(tunnel), Endpoint::Tcp { host, port } | Endpoint::Tls { host, port }) => {
                Box::new(tunnel.to_port(host, *port).await?)
            }
            (None, Endpoint::Unix(path)) => {
                let stream = UnixStream::connect(path).await;
                Box::new(stream.map_err(|error| self.unreachable(error))?)
            }
            (None, Endpoint::Tcp { host, port } | Endpoint::Tls { host, port }) => {
                let stream = reach(host, *port).await;
                Box::new(stream.map_err(|error| self.unreachable(error))?)
            }
        })
    }

    fn unreachable(&self, error: io::Error) -> ApiError {
        ApiError::Connect {
            endpoint: self.endpoint.clone(),
            error,
        }
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Connection, ApiError> {
        let (connection, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        // Its errors reach whoever waits for an answer on this connection.
        tokio::spawn(driver);
        Ok(connection)
    }
}

async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Requests are small and each waits for its answer.
    stream.set_nodelay(true)?;
    Ok(stream)
}
