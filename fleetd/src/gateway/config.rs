//! `/etc/fleet/gateway.toml`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Address;

/// Where the gateway looks if it is not told.
pub const DEFAULT_FILE: &str = "/etc/fleet/gateway.toml";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where members speak to each other, to ask for the members there are.
    #[serde(default)]
    pub peers: Vec<Address>,
    /// Where members speak to clients, to begin with.
    #[serde(default)]
    pub members: Vec<Address>,
    /// Who vouches for `https://` addresses.
    #[serde(default)]
    pub cafile: Option<PathBuf>,
    /// Our certificate, if they ask for one.
    #[serde(default)]
    pub certfile: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub keyfile: Option<PathBuf>,
    /// Where it answers. The first has to be free; the others are tried.
    #[serde(default = "listen")]
    pub listen: Vec<SocketAddr>,
}

/// etcd's address, and the one it had before 2.0, which fleet looks at too.
fn listen() -> Vec<SocketAddr> {
    [2379, 4001].map(|port| ([127, 0, 0, 1], port).into()).into()
}

/// What is wrong with the file. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It says something that is not allowed.
    #[error("{}{}: {why}", .path.display(), .line.map_or_else(String::new, |n| format!(" line {n}")))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it, if it is one place.
        line: Option<usize>,
        /// What.
        why: String,
    },
}

impl GatewayConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, GatewayConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| GatewayConfigError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file `path`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, GatewayConfigError> {
        let wrong = |line, why: String| GatewayConfigError::Wrong {
            path: path.to_owned(),
            line,
            why,
        };
        let config: Self = toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = |at: std::ops::Range<usize>| text.get(..at.start).unwrap_or(text);
            let line = error.span().map(|at| before(at).matches('\n').count() + 1);
            wrong(line, error.message().replace('\n', ", "))
        })?;
        if config.peers.is_empty() && config.members.is_empty() {
            return Err(wrong(
                None,
                "who are etcd's members? set peers = [\"http://HOST:2380\"] or members = [\"http://HOST:2379\"]"
                    .to_owned(),
            ));
        }
        if config.listen.is_empty() {
            return Err(wrong(
                None,
                "listen is empty: there is nowhere to answer".to_owned(),
            ));
        }
        let mut addresses = config.peers.iter().chain(&config.members);
        let own = |address: &&Address| {
            let ip = address.host().parse::<IpAddr>();
            ip.is_ok_and(|ip| config.listen.contains(&(ip, address.port()).into()))
        };
        if let Some(address) = addresses.find(own) {
            return Err(wrong(
                None,
                format!("{address} is where the gateway itself listens"),
            ));
        }
        let first_tls = config.peers.iter().chain(&config.members).find(|a| a.tls());
        if let (Some(address), None) = (first_tls, &config.cafile) {
            let why = format!("{address} needs cafile: who is etcd's CA? etcd is never spoken to unchecked");
            return Err(wrong(None, why));
        }
        if config.certfile.is_some() != config.keyfile.is_some() {
            let why = "certfile and keyfile belong together: only one is set".to_owned();
            return Err(wrong(None, why));
        }
        if config.certfile.is_some() && config.cafile.is_none() {
            let why = "certfile is set without cafile: who is etcd's CA?".to_owned();
            return Err(wrong(None, why));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GatewayConfig, String> {
        GatewayConfig::parse(text, Path::new("gateway.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn peers_alone_are_enough() {
        let config = parse(r#"peers = ["http://10.0.0.1:2380"]"#).unwrap();
        assert_eq!(config.peers[0].to_string(), "http://10.0.0.1:2380");
        let listen: Vec<String> = config.listen.iter().map(SocketAddr::to_string).collect();
        assert_eq!(listen, ["127.0.0.1:2379", "127.0.0.1:4001"]);
    }

    #[test]
    fn the_shipped_example_is_read_with_and_without_its_comments() {
        let shipped = include_str!("../../dist/examples/gateway.toml");
        assert_eq!(parse(shipped).unwrap().peers.len(), 2);
        let all: String = shipped
            .lines()
            .map(|l| l.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(l))
            .map(|l| format!("{l}\n"))
            .collect();
        let all = parse(&all).unwrap();
        assert!(all.cafile.is_some() && all.certfile.is_some() && all.keyfile.is_some());
        assert_eq!(all.members.len(), 1);
        assert_eq!(all.listen, listen());
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_with_its_place() {
        for (text, expected) in [
            (
                "",
                "gateway.toml: who are etcd's members? set peers = [\"http://HOST:2380\"] or members = [\"http://HOST:2379\"]",
            ),
            (
                "\npeers = [\"10.0.0.1:2380\"]",
                "gateway.toml line 2: \"10.0.0.1:2380\" is no address: expected http://HOST:PORT or https://HOST:PORT",
            ),
            (
                "peer = []",
                "gateway.toml line 1: unknown field `peer`, expected one of `peers`, `members`, `cafile`, `certfile`, `keyfile`, `listen`",
            ),
            (
                "members = [\"https://10.0.0.1:2379\"]",
                "gateway.toml: https://10.0.0.1:2379 needs cafile: who is etcd's CA? etcd is never spoken to unchecked",
            ),
            (
                "peers = [\"http://a:1\"]\ncertfile = \"/x\"",
                "gateway.toml: certfile and keyfile belong together: only one is set",
            ),
            (
                "peers = [\"http://a:1\"]\ncertfile = \"/x\"\nkeyfile = \"/y\"",
                "gateway.toml: certfile is set without cafile: who is etcd's CA?",
            ),
            (
                "members = [\"http://10.0.0.1:2379\", \"http://127.0.0.1:2379\"]",
                "gateway.toml: http://127.0.0.1:2379 is where the gateway itself listens",
            ),
            (
                "peers = [\"http://a:1\"]\nlisten = []",
                "gateway.toml: listen is empty: there is nowhere to answer",
            ),
            (
                "peers = [\"http://a:1\"]\nlisten = [\"here\"]",
                "gateway.toml line 2: invalid socket address syntax",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        let said = parse("peers =").unwrap_err();
        assert!(
            said.starts_with("gateway.toml line 1: ") && !said.contains('\n'),
            "{said}"
        );
        let missing = GatewayConfig::load(Path::new("/nowhere/gateway.toml")).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot read the configuration /nowhere/gateway.toml: No such file or directory (os error 2)"
        );
    }
}
