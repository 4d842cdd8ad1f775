//! TLS to a fleetd: it is always checked, and shown a certificate of ours.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::cause;

/// Certificates for an `https://` endpoint.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// For messages.
    ca: PathBuf,
    certificate: Option<PathBuf>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

/// Why there can be no TLS, in one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody vouches for the other side.
    #[error("an https:// endpoint needs --ca-file: the CA that signed fleetd's certificate")]
    NoCa,
    /// One without the other.
    #[error("--cert-file and --key-file belong together: only one is given")]
    Half,
    /// A file is not what it should be.
    #[error("{flag} {}: {why}", path.display())]
    File {
        /// What named it.
        flag: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Tls {
    /// From the files of `--ca-file`, `--cert-file` and `--key-file`.
    ///
    /// # Errors
    /// Something is missing, or is not what it should be.
    pub fn read(ca: Option<&Path>, certificate: Option<&Path>, key: Option<&Path>) -> Result<Self, TlsError> {
        let ca = ca.ok_or(TlsError::NoCa)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("--ca-file", ca)? {
            let added = roots.add(authority);
            added.map_err(|error| unfit("--ca-file", ca, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit("--ca-file", ca, &error))?
            .with_root_certificates(roots);
        let config = match (certificate, key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates("--cert-file", certificate)?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable("--key-file", key, "private key", error))?;
                let builder = builder.with_client_auth_cert(chain, private);
                builder.map_err(|error| unfit("--cert-file", certificate, &error))?
            }
            _ => return Err(TlsError::Half),
        };
        Ok(Self {
            config: Arc::new(config),
            ca: ca.to_owned(),
            certificate: certificate.map(Path::to_owned),
        })
    }

    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
    }

    /// What is wrong with whose certificate, if that is what `error` comes from.
    pub(super) fn explain(&self, error: &(dyn Error + 'static)) -> Option<String> {
        use CertificateError as C;
        Some(match cause::<rustls::Error>(error)? {
            rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
                format!(
                    "its certificate is not signed by a CA of --ca-file {}",
                    self.ca.display()
                )
            }
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
                "its certificate has expired: renew the one that api_certfile names there".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
                "its certificate is not for that name: see --endpoint".to_owned()
            }
            rustls::Error::InvalidMessage(_) => "it does not speak TLS: use http://".to_owned(),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                "it asks for a certificate: see --cert-file and --key-file".to_owned()
            }
            rustls::Error::AlertReceived(alert) => match &self.certificate {
                Some(file) => format!("it does not take --cert-file {} ({alert:?})", file.display()),
                None => format!("it refuses ({alert:?}): see --cert-file and --key-file"),
            },
            other => other.to_string(),
        })
    }
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unreadable(flag, path, "certificate", pem::Error::NoItemsFound)),
        Err(error) => Err(unreadable(flag, path, "certificate", error)),
    }
}

fn unreadable(flag: &'static str, path: &Path, wanted: &str, error: pem::Error) -> TlsError {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        _ => format!("holds no {wanted} in PEM form"),
    };
    let path = path.to_owned();
    TlsError::File { flag, path, why }
}

fn unfit(flag: &'static str, path: &Path, error: &rustls::Error) -> TlsError {
    TlsError::File {
        flag,
        path: path.to_owned(),
        why: error.to_string(),
    }
}
