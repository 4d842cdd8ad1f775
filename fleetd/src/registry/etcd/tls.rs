//! Certificates for etcd, and what is said when one side does not take the other's.

use std::error::Error;
use std::io;
use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::{AlertDescription, CertificateError};

use super::address;
use crate::pem::{PemError, PemFile};

/// Certificates for `https://` addresses of etcd.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// Who may vouch for etcd.
    ca: PemFile,
    /// Our certificate and its key, if etcd asks for one.
    identity: Option<(PemFile, PemFile)>,
}

/// Why certificates for etcd are of no use. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EtcdTlsError {
    /// A file is not what it should be.
    #[error("{key}: {error}")]
    File {
        /// Of the configuration.
        key: &'static str,
        /// What is wrong.
        error: PemError,
    },
    /// There is something to show to etcd, and nothing to check etcd with.
    #[error("etcd_certfile is set without etcd_cafile: who is etcd's CA? etcd is never spoken to unchecked")]
    NoCa,
    /// One without the other.
    #[error("etcd_certfile and etcd_keyfile belong together: only one is set")]
    Half,
}

impl EtcdTls {
    /// From the files that `etcd_cafile`, `etcd_certfile` and `etcd_keyfile` name; `None` if none is set.
    ///
    /// # Errors
    /// Something is missing, or is not what it should be.
    pub fn read(
        ca: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Option<Self>, EtcdTlsError> {
        let file = |key| move |error| EtcdTlsError::File { key, error };
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((
                PemFile::certificates(certificate)
                    .map_err(file("etcd_certfile"))?
                    .0,
                PemFile::key(key).map_err(file("etcd_keyfile"))?.0,
            )),
            (None, None) => None,
            _ => return Err(EtcdTlsError::Half),
        };
        match (ca, identity) {
            (Some(ca), identity) => {
                let (ca, _) = PemFile::certificates(ca).map_err(file("etcd_cafile"))?;
                Ok(Some(Self { ca, identity }))
            }
            (None, Some(_)) => Err(EtcdTlsError::NoCa),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn options(&self) -> TlsOptions {
        let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&self.ca.text));
        match &self.identity {
            Some((certificate, key)) => options.identity(Identity::from_pem(&certificate.text, &key.text)),
            None => options,
        }
    }

    /// What is wrong with whose certificate, if that is what `error` of a call to `url` comes from.
    pub(super) fn explain(&self, url: &str, error: &(dyn Error + 'static)) -> Option<String> {
        use CertificateError as C;
        Some(match tls_error(error)? {
            // The signature is bad where a CA was made anew under its old name.
            rustls::Error::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
                let ca = self.ca.path.display();
                format!("its certificate is not signed by a CA of {ca} (etcd_cafile)")
            }
            rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
                "its certificate has expired: renew the one that etcd's --cert-file names".to_owned()
            }
            rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
                let host = address::host(url);
                format!(
                    "its certificate is not for {host}: add that name to it, or name etcd differently in etcd_servers"
                )
            }
            rustls::Error::AlertReceived(alert) if is_about_certificates(*alert) => match &self.identity {
                None => "it asks for a client certificate: set etcd_certfile and etcd_keyfile".to_owned(),
                Some((certificate, _)) => {
                    let file = certificate.path.display();
                    format!("it does not take the client certificate {file} (etcd_certfile): {alert:?}")
                }
            },
            other => other.to_string(),
        })
    }
}

/// What to look at when the connection to `url` is closed without a reason.
pub(super) fn suspicion(url: &str, tls: Option<&EtcdTls>) -> String {
    match tls.map(|tls| &tls.identity) {
        None if address::scheme(url) == "https" => "is it etcd?".to_owned(),
        None => "does it speak TLS? then etcd_servers has to say https://".to_owned(),
        Some(None) => "it may ask for a client certificate: set etcd_certfile and etcd_keyfile".to_owned(),
        Some(Some((certificate, _))) => {
            let file = certificate.path.display();
            format!("it may not take the client certificate {file} (etcd_certfile)")
        }
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::CertificateRequired
            | A::UnknownCA
            | A::AccessDenied
    )
}

/// The TLS error that is somewhere in `error`. An `io::Error` does not call what it wraps its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
