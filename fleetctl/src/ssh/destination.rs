//! Where ssh goes.

use std::fmt;

/// `[USER@]HOST[:PORT]`, where `HOST` may be anything that `ssh_config(5)` knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    user: Option<String>,
    /// Without the brackets of IPv6.
    host: String,
    port: Option<u16>,
}

/// Text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST, HOST:PORT, USER@HOST:PORT or [IPV6]:PORT")]
pub struct DestinationError;

impl Destination {
    /// Reads a destination. Text with more than one colon and without brackets is an IPv6 address without a port.
    ///
    /// # Errors
    /// It is none, or could be taken for an option of ssh.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(DestinationError)?;
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or(DestinationError)?)),
                }
            }
            None => match rest.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (rest, None),
            },
        };
        let is_word = |word: &str| {
            let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']');
            !word.is_empty() && !word.starts_with('-') && !word.contains(is_odd)
        };
        let port = port.map(str::parse).transpose().map_err(|_| DestinationError)?;
        if !is_word(host) || !user.is_none_or(is_word) || port == Some(0) {
            return Err(DestinationError);
        }
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        })
    }

    /// The same, on that port.
    #[must_use]
    pub fn with_port(self, port: Option<u16>) -> Self {
        Self { port, ..self }
    }

    /// The user, if one is named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host as ssh wants it: without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_are_understood() {
        let table: [(&str, Option<&str>, &str, Option<u16>); 11] = [
            ("bastion", None, "bastion", None),
            ("bastion:2222", None, "bastion", Some(2222)),
            ("core@10.0.0.1", Some("core"), "10.0.0.1", None),
            ("core@10.0.0.1:22", Some("core"), "10.0.0.1", Some(22)),
            ("me@example.org@bastion", None, "", None),
            ("fd00::1", None, "fd00::1", None),
            ("[fd00::1]", None, "fd00::1", None),
            ("[fd00::1]:2222", None, "fd00::1", Some(2222)),
            ("core@[fd00::1]:2222", Some("core"), "fd00::1", Some(2222)),
            ("core@fe80::1%eth0", Some("core"), "fe80::1%eth0", None),
            ("[10.0.0.1]:22", None, "10.0.0.1", Some(22)),
        ];
        for (text, user, host, port) in table {
            let parsed = Destination::parse(text);
            if host.is_empty() {
                assert_eq!(parsed, Err(DestinationError), "{text}");
                continue;
            }
            let destination = parsed.unwrap();
            let parts = (destination.user(), destination.host(), destination.port());
            assert_eq!(parts, (user, host, port), "{text}");
            assert_eq!(
                Destination::parse(&destination.to_string()),
                Ok(destination),
                "{text}"
            );
        }
    }

    #[test]
    fn destinations_that_are_refused() {
        let table = [
            "",
            ":22",
            "@host",
            "host:",
            "host:x",
            "host:0",
            "host:65536",
            "-oProxyCommand=x",
            "-l@host",
            "a b",
            "host\n",
            "[fd00::1",
            "[fd00::1]22",
            "[]:22",
            "host/path",
            "user@-host",
            "[[::1]]",
        ];
        for text in table {
            assert_eq!(Destination::parse(text), Err(DestinationError), "{text:?}");
        }
    }
}
