//! Where the API is served.

use std::fmt;
use std::path::PathBuf;

/// An address of the API, from `--endpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path` or `file:///path`: a socket on this machine.
    Unix(PathBuf),
    /// `http://host:port`.
    Tcp {
        /// A name or an address, without the brackets of IPv6.
        host: String,
        /// 80 unless given.
        port: u16,
    },
    /// `https://host:port`.
    Tls {
        /// As above; the name that its certificate has to be for.
        host: String,
        /// 443 unless given.
        port: u16,
    },
}

/// Text that is no address of the API, in one line that says what is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// `/var/run/fleet.sock`, `host:49153`.
    #[error(
        "URL scheme undefined in --endpoint {0:?}: expected unix:///path/to/socket or http(s)://host:port"
    )]
    NoScheme(String),
    /// `ftp://…`.
    #[error(
        "unsupported URL scheme {scheme:?} in --endpoint: expected unix:///path/to/socket or http(s)://host:port"
    )]
    Scheme {
        /// As given.
        scheme: String,
    },
    /// `unix://var/run/fleet.sock`: the first directory was meant as such, and is read as a host.
    #[error(
        "unable to connect to host {host:?} with scheme {scheme:?}: a path begins with a third slash, {scheme}:///{host}…"
    )]
    Host {
        /// `unix` or `file`.
        scheme: &'static str,
        /// What stands in its place.
        host: String,
    },
    /// `http://`, `http://host:many`, `http://host/path`.
    #[error("invalid address {0:?} in --endpoint: expected http(s)://host:port")]
    Address(String),
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// Says what was expected instead.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(EndpointError::NoScheme(text.to_owned()));
        };
        match scheme {
            "unix" => path("unix", rest),
            "file" => path("file", rest),
            "http" | "https" => {
                let is_tls = scheme == "https";
                let found = address(rest, if is_tls { "443" } else { "80" });
                let (host, port) = found.ok_or_else(|| EndpointError::Address(text.to_owned()))?;
                Ok(match is_tls {
                    true => Self::Tls { host, port },
                    false => Self::Tcp { host, port },
                })
            }
            _ => Err(EndpointError::Scheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

fn path(scheme: &'static str, rest: &str) -> Result<Endpoint, EndpointError> {
    if rest.len() > 1 && rest.starts_with('/') {
        return Ok(Endpoint::Unix(PathBuf::from(rest)));
    }
    let host = rest.split('/').next().unwrap_or_default().to_owned();
    Err(EndpointError::Host { scheme, host })
}

fn address(rest: &str, usual_port: &'static str) -> Option<(String, u16)> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) || authority.chars().any(char::is_whitespace) {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            (
                host,
                after
                    .strip_prefix(':')
                    .or_else(|| after.is_empty().then_some(usual_port))?,
            )
        }
        None => authority.rsplit_once(':').unwrap_or((authority, usual_port)),
    };
    let host_is_bare = authority.starts_with('[') || !host.contains(':');
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty() && host_is_bare).then(|| (host.to_owned(), port))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Tls { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_understood() {
        let tcp = |host: &str, port| Endpoint::Tcp {
            host: host.to_owned(),
            port,
        };
        let table = [
            (
                "unix:///var/run/fleet.sock",
                Endpoint::Unix("/var/run/fleet.sock".into()),
            ),
            ("file:///tmp/a.sock", Endpoint::Unix("/tmp/a.sock".into())),
            ("http://10.0.0.1:49153", tcp("10.0.0.1", 49153)),
            ("http://10.0.0.1:49153/", tcp("10.0.0.1", 49153)),
            ("http://fleet.example", tcp("fleet.example", 80)),
            ("http://[::1]:8080", tcp("::1", 8080)),
            ("http://[::1]", tcp("::1", 80)),
            (
                "https://fleet.example",
                Endpoint::Tls {
                    host: "fleet.example".to_owned(),
                    port: 443,
                },
            ),
        ];
        for (text, endpoint) in table {
            assert_eq!(Endpoint::parse(text), Ok(endpoint.clone()), "{text}");
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_refused() {
        let table = [
            ("", "URL scheme undefined"),
            ("/var/run/fleet.sock", "URL scheme undefined"),
            ("10.0.0.1:49153", "URL scheme undefined"),
            ("ftp://a", "unsupported URL scheme \"ftp\""),
            ("https://", "invalid address"),
            ("https://a/fleet", "invalid address"),
            (
                "unix://var/run/fleet.sock",
                "unable to connect to host \"var\" with scheme \"unix\"",
            ),
            ("file://", "unable to connect to host \"\" with scheme \"file\""),
            ("http://", "invalid address"),
            ("http://a:b", "invalid address"),
            ("http://a:0", "invalid address"),
            ("http://::1", "invalid address"),
            ("http://[::1", "invalid address"),
            ("http://[::1]x", "invalid address"),
            ("http://user@a", "invalid address"),
            ("http://a/fleet", "invalid address"),
        ];
        for (text, message) in table {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
