//! Certificates for etcd's cluster, made from its token.
//!
//! The token is the private key of the cluster's CA. Every machine that is given it makes the CA's certificate, the same
//! one each time, and signs one for itself. Nobody has to be asked, and no machine is more important than another. What a
//! machine keeps is its own certificate and key, not the CA's key.
//!
//! They do not run out: a night on which all machines fall silent at once would be worse than what an end date is good
//! for. A machine that must not come back is shut out by a new token for the others.

use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, SerialNumber,
};

use super::system::{File, System, SystemError};
use super::token::Token;

/// The CA's certificate.
pub const CA: &str = "/etc/fleet/pki/ca.crt";
/// This machine's certificate: as a server, as a client and among etcd's members.
pub const CERTIFICATE: &str = "/etc/fleet/pki/machine.crt";
/// The key to it. Root and etcd may read it.
pub const KEY: &str = "/etc/fleet/pki/machine.key";
/// All of them.
pub const DIRECTORY: &str = "/etc/fleet/pki";

/// For whom the certificate is: not worth a parser of certificates. Written last, so that without it nothing is whole.
const WHOM: &str = "/etc/fleet/pki/machine.for";

/// What stands before a seed in the PKCS #8 form of an Ed25519 key (RFC 8410, 7).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making one failed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Writing one failed.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// A machine's certificate and what belongs to it, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The CA's certificate.
    pub ca: String,
    /// The machine's.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Without the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn ca(token: &Token) -> Result<(CertificateParams, KeyPair), rcgen::Error> {
    let der = [&ED25519_PKCS8[..], token.seed()].concat();
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "fleet cluster CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(1_u64));
    Ok((params, key))
}

/// A new certificate for a machine with these names and addresses.
///
/// # Errors
/// If a name is none that a certificate can carry.
pub fn issue(token: &Token, names: &[String], addresses: &[IpAddr]) -> Result<Identity, PkiError> {
    let (ca_params, ca_key) = ca(token)?;
    let ca = ca_params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca_params, ca_key);
    let mut params = CertificateParams::new(names.to_vec())?;
    let addresses = addresses.iter().copied().map(SanType::IpAddress);
    params.subject_alt_names.extend(addresses);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = names.first().map_or("machine", String::as_str);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok(Identity {
        ca,
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

/// Whether the certificates that are here, if any, were made from this token.
///
/// # Errors
/// If they cannot be read.
pub fn belongs(system: &dyn System, token: &Token) -> Result<bool, PkiError> {
    let (params, key) = ca(token)?;
    let ca = params.self_signed(&key)?.pem();
    let found = system.read(Path::new(CA))?;
    Ok(found.is_none_or(|found| found == ca.as_bytes()))
}

fn whom(names: &[String], addresses: &[IpAddr]) -> String {
    format!("{} {addresses:?}\n", names.join(" "))
}

/// Whether there are certificates for these names and addresses, of whatever token.
///
/// # Errors
/// If they cannot be read.
pub fn are_for(system: &dyn System, names: &[String], addresses: &[IpAddr]) -> Result<bool, PkiError> {
    let found = system.read(Path::new(WHOM))?;
    Ok(found.is_some_and(|found| found == whom(names, addresses).as_bytes()))
}

/// Makes and writes this machine's certificates, unless the ones that are there belong to this token and these names.
///
/// # Errors
/// If they cannot be made or written.
pub fn settle(
    system: &dyn System,
    token: &Token,
    names: &[String],
    addresses: &[IpAddr],
) -> Result<bool, PkiError> {
    let (params, key) = ca(token)?;
    let ca = params.self_signed(&key)?.pem();
    let whom = whom(names, addresses);
    let whom_file = Path::new(WHOM);
    let is = |path: &Path, wanted: &str| -> Result<bool, SystemError> {
        Ok(system.read(path)?.is_some_and(|found| found == wanted.as_bytes()))
    };
    let there = [CERTIFICATE, KEY].iter().try_fold(true, |all, path| {
        Ok::<_, SystemError>(all && system.read(Path::new(path))?.is_some())
    })?;
    if there && is(Path::new(CA), &ca)? && is(whom_file, &whom)? {
        return Ok(false);
    }
    let identity = issue(token, names, addresses)?;
    let group = "root:etcd";
    // The mark goes first and comes back last, so that a run that is cut off in between is begun again.
    system.remove(whom_file)?;
    system.write(&File::plain(CA, identity.ca))?;
    system.write(&File {
        mode: 0o640,
        owner: group.to_owned(),
        ..File::plain(KEY, identity.key)
    })?;
    system.write(&File::plain(CERTIFICATE, identity.certificate))?;
    system.write(&File::plain(whom_file, whom))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_makes_one_ca() {
        let token = Token::parse(&"ab".repeat(32)).unwrap();
        let issue = |token: &Token| issue(token, &["m1".into()], &["10.0.0.1".parse().unwrap()]).unwrap();
        let (one, two) = (issue(&token), issue(&token));
        assert_eq!(one.ca, two.ca, "the same on every machine");
        assert_ne!(one.key, two.key, "a machine's key is its own");
        let other = issue(&Token::parse(&"cd".repeat(32)).unwrap());
        assert_ne!(one.ca, other.ca);
    }
}
