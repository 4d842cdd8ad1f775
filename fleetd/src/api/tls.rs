//! The API over TCP with TLS: who has no certificate of our clients' CA does not get as far as a request.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use units::wire::v1::ErrorBody;

use crate::pem::{PemError, PemFile};

/// A client that has not shown its certificate by then is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a refused client is listened to, so that it reads the refusal: closing on what it still sends would reset
/// the connection, and the reason would be lost.
const LINGER: Duration = Duration::from_secs(1);

/// What TCP listeners speak TLS with. A clone is the same one, also after [`ApiTls::replace`].
#[derive(Clone)]
pub struct ApiTls(Arc<RwLock<TlsAcceptor>>);

impl fmt::Debug for ApiTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiTls")
    }
}

/// Why certificates for the API are of no use. One line.
#[derive(Debug, thiserror::Error)]
pub enum ApiTlsError {
    /// One or two of three.
    #[error("api_certfile, api_keyfile and api_cafile belong together: set all of them or none")]
    Part,
    /// A file is not what it should be.
    #[error("{key}: {error}")]
    File {
        /// Of the configuration.
        key: &'static str,
        /// What is wrong.
        error: PemError,
    },
    /// They do not go together.
    #[error("{key}={path} cannot be used: {why}")]
    Unfit {
        /// Of the configuration.
        key: &'static str,
        /// The file.
        path: String,
        /// In rustls' words.
        why: String,
    },
}

impl ApiTls {
    /// From the files that `api_certfile`, `api_keyfile` and `api_cafile` name; `None` if none is set.
    ///
    /// # Errors
    /// Something is missing, or is not what it should be.
    pub fn read(
        certificate: Option<&Path>,
        key: Option<&Path>,
        ca: Option<&Path>,
    ) -> Result<Option<Self>, ApiTlsError> {
        let (certificate, key, ca) = match (certificate, key, ca) {
            (Some(certificate), Some(key), Some(ca)) => (certificate, key, ca),
            (None, None, None) => return Ok(None),
            _ => return Err(ApiTlsError::Part),
        };
        let file = |key| move |error| ApiTlsError::File { key, error };
        let unfit = |key, path: &Path, why: &dyn fmt::Display| ApiTlsError::Unfit {
            key,
            path: path.display().to_string(),
            why: why.to_string(),
        };
        let (_, chain) = PemFile::certificates(certificate).map_err(file("api_certfile"))?;
        let (_, private) = PemFile::key(key).map_err(file("api_keyfile"))?;
        let (_, authorities) = PemFile::certificates(ca).map_err(file("api_cafile"))?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|e| unfit("api_cafile", ca, &e))?;
        }
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| unfit("api_cafile", ca, &e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit("api_certfile", certificate, &e))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, private)
            .map_err(|e| unfit("api_certfile", certificate, &e))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Some(Self(Arc::new(RwLock::new(acceptor)))))
    }

    /// Speaks with these certificates from the next connection on: after a renewal nobody has to be sent away.
    pub fn replace(&self, by: &Self) {
        let acceptor = by.acceptor();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection, once both sides have shown who they are; else why not.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let late = |_| format!("no handshake within {} s", HANDSHAKE.as_secs());
        timeout(HANDSHAKE, self.handshake(stream)).await.map_err(late)?
    }

    async fn handshake(&self, mut stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let mut first = [0];
        let peeked = stream.peek(&mut first).await.map_err(|e| e.to_string())?;
        if peeked == 1 && first[0].is_ascii_uppercase() {
            let _ = stream.write_all(speak_tls().as_bytes()).await;
            linger(stream).await;
            return Err("it speaks plain HTTP".to_owned());
        }
        match self.acceptor().accept(stream).into_fallible().await {
            Ok(secured) => Ok(secured),
            Err((error, stream)) => {
                linger(stream).await;
                Err(error.to_string())
            }
        }
    }
}

async fn linger(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut heard = [0; 1024];
    let until_it_closes = async { while stream.read(&mut heard).await.is_ok_and(|n| n > 0) {} };
    let _ = timeout(LINGER, until_it_closes).await;
}

/// The answer to plain HTTP.
fn speak_tls() -> String {
    let message = "this port speaks TLS: use https://, with a certificate of your own";
    let body = serde_json::to_string(&ErrorBody::new(400, message)).unwrap_or_default();
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Of a certificate that is its own CA: the API's side, and that of a client with the same one.
    fn both() -> (ApiTls, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let [pem, key] = ["pem", "key"].map(|name| directory.path().join(name));
        fs::write(&pem, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (_, chain) = PemFile::certificates(&pem).unwrap();
        let (_, private) = PemFile::key(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(chain[0].clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .unwrap();
        let api = ApiTls::read(Some(&pem), Some(&key), Some(&pem)).unwrap().unwrap();
        (api, TlsConnector::from(Arc::new(client)))
    }

    /// Whether the client gets as far as the API's first byte.
    async fn gets_in(api: &ApiTls, client: &TlsConnector) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = api.accept(stream).await {
                let _ = stream.write_all(b"!").await;
                let _ = stream.shutdown().await;
            }
        };
        let ask = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("a").unwrap();
            let mut stream = client.connect(name, stream).await.ok()?;
            stream.read_u8().await.ok()
        };
        tokio::join!(serve, ask).1.is_some()
    }

    #[tokio::test]
    async fn renewed_certificates_count_from_the_next_connection_on() {
        let ((api, client), (renewed, later)) = (both(), both());
        let listener = api.clone();
        assert!(gets_in(&listener, &client).await);
        assert!(!gets_in(&listener, &later).await);
        api.replace(&renewed);
        assert!(gets_in(&listener, &later).await);
        assert!(!gets_in(&listener, &client).await);
    }
}
