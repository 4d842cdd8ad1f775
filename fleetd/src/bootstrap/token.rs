//! The token of a cluster: what a machine needs to know to be let in.
//!
//! It is the private key of the cluster's CA (see [`super::pki`]), so it needs no server that hands out certificates: who
//! knows it makes one. To be kept like a root password; a machine keeps it only if a person asked for it to be shown there.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use super::system::{File, System, SystemError};

/// Where the machine that founded the cluster keeps it.
pub const FILE: &str = "/etc/fleet/token";

/// 32 random bytes, written as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Why a token is none. Never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the right form.
    #[error(
        "this is no token of a cluster: it has {0} characters, and should be 64 hexadecimal digits, as `fleetctl init` showed them"
    )]
    Malformed(usize),
    /// The kernel gave no random bytes.
    #[error("cannot make a token: /dev/urandom: {0}")]
    NoRandom(String),
}

impl Token {
    /// A new one, from the kernel's random numbers.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub fn random() -> Result<Self, TokenError> {
        let mut bytes = [0; 32];
        let read = || -> io::Result<()> { std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes) };
        let mut read = read;
        read().map_err(|error| TokenError::NoRandom(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// As [`Token`] is displayed. Blanks around it do not matter.
    ///
    /// # Errors
    /// If it is not of that form.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let malformed = || TokenError::Malformed(text.chars().count());
        if text.len() != 64 || !text.is_ascii() {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).ok_or_else(malformed)?;
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }

    /// The one that this machine keeps, if any.
    ///
    /// # Errors
    /// If the file cannot be read. A malformed one is an error of its own.
    pub fn kept(system: &dyn System) -> Result<Option<Result<Self, TokenError>>, SystemError> {
        let content = system.read(Path::new(FILE))?;
        Ok(content.map(|content| Self::parse(&String::from_utf8_lossy(&content))))
    }

    /// Keeps it on this machine, for root only.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, system: &dyn System) -> Result<(), SystemError> {
        system.write(&File {
            mode: 0o600,
            ..File::plain(FILE, format!("{self}\n"))
        })?;
        Ok(())
    }

    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_is_read() {
        let token = Token::random().unwrap();
        assert_eq!(Token::parse(&format!(" {token}\n")), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(&token.to_string()));
        assert_ne!(token, Token::random().unwrap());
    }

    #[test]
    fn anything_else_is_refused() {
        let digits = "0123456789abcdef".repeat(4);
        for wrong in [
            "",
            "abc",
            &digits[1..],
            &format!("{digits}0"),
            &format!("g{}", &digits[1..]),
            &format!("+{}", &digits[1..]),
            &"ä".repeat(32),
        ] {
            assert!(Token::parse(wrong).is_err(), "{wrong}");
        }
    }
}
