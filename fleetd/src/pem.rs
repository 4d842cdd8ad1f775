//! Certificates and keys in PEM files. Whatever is wrong with one is said with its path.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A PEM file as it was read.
#[derive(Clone)]
pub struct PemFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: Vec<u8>,
}

/// Why a file is of no use. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("cannot read {}: {why}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It holds something else.
    #[error("{} holds no {wanted} in PEM form", .path.display())]
    Without {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
}

impl PemFile {
    /// A file of one certificate or more.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn certificates(path: &Path) -> Result<(Self, Vec<CertificateDer<'static>>), PemError> {
        let file = Self::read(path)?;
        let found = CertificateDer::pem_slice_iter(&file.text).collect::<Result<Vec<_>, _>>();
        match found {
            Ok(found) if !found.is_empty() => Ok((file, found)),
            _ => Err(file.without("certificate")),
        }
    }

    /// A file with a private key.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn key(path: &Path) -> Result<(Self, PrivateKeyDer<'static>), PemError> {
        let file = Self::read(path)?;
        match PrivateKeyDer::from_pem_slice(&file.text) {
            Ok(key) => Ok((file, key)),
            Err(_) => Err(file.without("private key")),
        }
    }

    fn read(path: &Path) -> Result<Self, PemError> {
        let text = std::fs::read(path).map_err(|error| PemError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let path = path.to_owned();
        Ok(Self { path, text })
    }

    fn without(self, wanted: &'static str) -> PemError {
        PemError::Without {
            path: self.path,
            wanted,
        }
    }
}

/// Without the text: it may be a key.
impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PemFile").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pem");
        let shown = path.display().to_string();
        let said = PemFile::certificates(&path).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("cannot read {shown}: No such file or directory (os error 2)")
        );
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let said = PemFile::certificates(&path).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("{shown} holds no certificate in PEM form"),
                "{text}"
            );
            let said = PemFile::key(&path).unwrap_err().to_string();
            assert_eq!(
                said,
                format!("{shown} holds no private key in PEM form"),
                "{text}"
            );
        }
    }
}
