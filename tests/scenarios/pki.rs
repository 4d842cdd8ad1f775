//! Certificates that live as long as a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

/// A CA with a directory for its files.
pub(crate) struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) ca: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let ca = write(directory.path(), "ca.pem", &certificate.pem())?;
        Ok(Self {
            ca,
            issuer: Issuer::new(params, key),
            directory,
        })
    }

    /// A certificate for `names`, for servers and for clients.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Result<Pair> {
        self.sign(file, names, 2100)
    }

    /// One that is no longer good.
    pub(crate) fn issue_expired(&self, file: &str, names: &[&str]) -> Result<Pair> {
        self.sign(file, names, 2001)
    }

    fn sign(&self, file: &str, names: &[&str], until: i32) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, file);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: write(self.directory.path(), &format!("{file}.pem"), &certificate.pem())?,
            key: write(
                self.directory.path(),
                &format!("{file}.key"),
                &key.serialize_pem(),
            )?,
        })
    }
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
