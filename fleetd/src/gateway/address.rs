//! `http://host:port` and `https://host:port`, in one form, so that equal ones are equal.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a member of etcd listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    tls: bool,
    host: String,
    port: u16,
}

/// Why a text is no address. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address: expected http://HOST:PORT or https://HOST:PORT")]
pub struct NoAddress(String);

impl Address {
    /// Whether it speaks TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// A name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it means another thing on each machine: loopback, or every address there is.
    pub fn is_local(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => {
                let plain = ip.to_canonical();
                plain.is_loopback() || plain.is_unspecified()
            }
            Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    /// `host:port` as in a `Host:` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let parsed = || {
            let (scheme, rest) = text.trim().split_once("://")?;
            let tls = match scheme {
                "http" => false,
                "https" => true,
                _ => return None,
            };
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            let (host, port) = match authority.strip_prefix('[') {
                Some(v6) => {
                    let (host, port) = v6.split_once("]:")?;
                    host.parse::<std::net::Ipv6Addr>().ok()?;
                    (host, port)
                }
                None => authority.split_once(':')?,
            };
            let odd = |c: char| !(c.is_ascii_alphanumeric() || ".-_:".contains(c));
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty() && !host.contains(odd)).then(|| Self {
                tls,
                host: host.to_ascii_lowercase(),
                port,
            })
        };
        parsed().ok_or_else(|| NoAddress(text.to_owned()))
    }
}

impl TryFrom<String> for Address {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (given, wanted) in [
            ("http://10.0.0.1:2379", "http://10.0.0.1:2379"),
            (" https://Etcd.Example:2379/ ", "https://etcd.example:2379"),
            ("http://[fd00::1]:2380", "http://[fd00::1]:2380"),
        ] {
            let address: Address = given.parse().unwrap();
            assert_eq!(address.to_string(), wanted);
            assert_eq!(wanted.parse::<Address>().unwrap(), address);
        }
    }

    #[test]
    fn anything_else_is_refused_in_one_line() {
        for wrong in [
            "",
            "10.0.0.1:2379",
            "http://10.0.0.1",
            "http://:2379",
            "http://a:0",
            "http://a:70000",
            "http://a:1/path",
            "http://a b:1",
            "http://fd00::1:2380",
            "http://[x]:1",
            "http://u@a:1",
            "unix:///run/etcd",
            "unixs://a:1",
        ] {
            let said = wrong.parse::<Address>().unwrap_err().to_string();
            assert_eq!(
                said,
                format!("{wrong:?} is no address: expected http://HOST:PORT or https://HOST:PORT")
            );
        }
    }

    #[test]
    fn what_means_this_machine_everywhere_is_local() {
        for (address, local) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9:1", true),
            ("http://0.0.0.0:1", true),
            ("http://localhost:1", true),
            ("http://x.localhost:1", true),
            ("https://[::1]:1", true),
            ("https://[::]:1", true),
            ("https://[::ffff:127.0.0.1]:1", true),
            ("http://10.0.0.1:1", false),
            ("http://localhost.example:1", false),
            ("http://[fe80::1]:1", false),
        ] {
            assert_eq!(address.parse::<Address>().unwrap().is_local(), local, "{address}");
        }
    }
}
