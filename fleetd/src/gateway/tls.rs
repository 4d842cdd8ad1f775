//! TLS to members, and what is said when one side does not take the other's certificate.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Address, GatewayConfig};
use crate::pem::{PemError, PemFile};

/// What the one behind the gateway speaks. Inside TLS it has to be agreed on before anything is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// gRPC, so nearly everybody.
    Http2,
    /// The gateway itself when it asks for members; `curl http://127.0.0.1:2379/health`.
    Http1,
}

/// Certificates for `https://` addresses.
#[derive(Clone)]
pub struct GatewayTls {
    ca: PathBuf,
    certificate: Option<PathBuf>,
    http2: TlsConnector,
    http1: TlsConnector,
}

/// Why certificates are of no use. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayTlsError {
    /// A file is not what it should be.
    #[error("{key}: {error}")]
    File {
        /// Of the configuration.
        key: &'static str,
        /// What is wrong.
        error: PemError,
    },
    /// They do not go together.
    #[error("{key}={} cannot be used: {why}", .path.display())]
    Unfit {
        /// Of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// In rustls' words.
        why: String,
    },
}

impl GatewayTls {
    /// From the files that the configuration names; `None` if it names none.
    ///
    /// # Errors
    /// One is not what it should be.
    pub fn read(config: &GatewayConfig) -> Result<Option<Self>, GatewayTlsError> {
        let file = |key| move |error| GatewayTlsError::File { key, error };
        let Some(ca) = &config.cafile else { return Ok(None) };
        let unfit = |key, path: &PathBuf, error: rustls::Error| GatewayTlsError::Unfit {
            key,
            path: path.clone(),
            why: error.to_string(),
        };
        let mut roots = RootCertStore::empty();
        for root in PemFile::certificates(ca).map_err(file("cafile"))?.1 {
            roots.add(root).map_err(|e| unfit("cafile", ca, e))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit("cafile", ca, e))?
            .with_root_certificates(roots);
        let mut http2 = match (&config.certfile, &config.keyfile) {
            (Some(certificate), Some(key)) => {
                let chain = PemFile::certificates(certificate).map_err(file("certfile"))?.1;
                let key = PemFile::key(key).map_err(file("keyfile"))?.1;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| unfit("certfile", certificate, e))?
            }
            _ => builder.with_no_client_auth(),
        };
        let mut http1 = http2.clone();
        http2.alpn_protocols = vec![b"h2".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            ca: ca.clone(),
            certificate: config.certfile.clone(),
            http2: TlsConnector::from(Arc::new(http2)),
            http1: TlsConnector::from(Arc::new(http1)),
        }))
    }

    pub(super) async fn connect(
        &self,
        tcp: TcpStream,
        address: &Address,
        speaks: Speaks,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match address.host().parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(address.host().to_owned()).map_err(io::Error::other)?,
        };
        let connector = match speaks {
            Speaks::Http2 => &self.http2,
            Speaks::Http1 => &self.http1,
        };
        connector.connect(name, tcp).await
    }

    /// What is wrong with whose certificate, if that is what `error` comes from.
    pub(super) fn explain(&self, address: &Address, error: &io::Error) -> Option<String> {
        use CertificateError as C;
        let inner = error.get_ref()?;
        let error = inner
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.source()?.downcast_ref())?;
        Some(match error {
            // The signature is bad where a CA was made anew under its old name.
            rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
                let ca = self.ca.display();
                format!("its certificate is not signed by a CA of {ca} (cafile)")
            }
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
                "its certificate has expired: renew the one that etcd's --cert-file names".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
                format!(
                    "its certificate is not for {}: add that name to it",
                    address.host()
                )
            }
            rustls::Error::AlertReceived(alert) => match &self.certificate {
                None => format!("it asks for a client certificate: set certfile and keyfile ({alert:?})"),
                Some(file) => {
                    let file = file.display();
                    format!("it does not take the client certificate {file} (certfile): {alert:?}")
                }
            },
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS: then its address has to say http://".to_owned()
            }
            other => other.to_string(),
        })
    }
}

impl fmt::Debug for GatewayTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayTls")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}
