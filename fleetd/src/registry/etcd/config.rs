//! Where etcd is, and what is needed to be let in.

use std::fmt;
use std::time::Duration;

use etcd_client::ConnectOptions;

use super::{EtcdTls, address};

/// Where etcd is and who we are.
#[derive(Clone, Default)]
pub struct EtcdConfig {
    /// Addresses to begin with: `http://host:port`, `https://host:port`, or `host:port` for the former.
    pub servers: Vec<String>,
    /// User and password, if etcd asks for them.
    pub user: Option<(String, String)>,
    /// For `https://` addresses.
    pub tls: Option<EtcdTls>,
}

/// Without the secrets.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("servers", &self.servers)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}

impl EtcdConfig {
    /// The addresses in one form, and the options to connect with, those of TLS apart; or what does not go together.
    pub(super) fn check(self) -> Result<(Vec<String>, ConnectOptions, Option<EtcdTls>), String> {
        let servers = self.servers.iter().map(|url| address::normalize(url));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let refuse = |why: &str| Err(why.to_owned());
        let is_secure = |url: &String| address::scheme(url) == "https";
        if servers.is_empty() {
            return refuse("no address of etcd is given");
        }
        if self.tls.is_none() && servers.iter().any(is_secure) {
            return refuse("an https:// address of etcd needs its CA: set etcd_cafile");
        }
        // A member, or a gateway, on this machine may answer in the clear where nobody else hears it.
        let may_be = |url: &String| is_secure(url) || address::is_loopback(url);
        if self.tls.is_some() && !servers.iter().all(may_be) {
            return refuse(
                "with certificates every address of etcd must be https://, but for this machine's own",
            );
        }
        // Without keep-alive a frozen member hangs every call on it silently; pinged more often than every 5 s, etcd
        // drops the connection. No overall timeout: it would end the watches.
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
            .with_require_leader(true);
        if let Some((name, password)) = self.user {
            options = options.with_user(name, password).with_auto_token_refresh(true);
        }
        Ok((servers, options, self.tls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates() -> EtcdTls {
        let key = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), key.cert.pem()).unwrap();
        EtcdTls::read(Some(file.path()), None, None).unwrap().unwrap()
    }

    fn check(servers: &[&str], tls: bool) -> Result<Vec<String>, String> {
        let config = EtcdConfig {
            servers: servers.iter().map(|s| (*s).to_owned()).collect(),
            user: Some(("root".to_owned(), "secret".to_owned())),
            tls: tls.then(certificates),
        };
        assert!(!format!("{config:?}").contains("secret"));
        config.check().map(|(servers, ..)| servers)
    }

    #[test]
    fn addresses_and_certificates_must_go_together() {
        assert_eq!(
            check(&["a:1", "http://b:1/"], false),
            Ok(vec!["http://a:1".to_owned(), "http://b:1".to_owned()])
        );
        assert!(check(&["https://a:1"], true).is_ok());
        assert!(check(&["http://127.0.0.1:1", "https://a:1"], true).is_ok());
        for (servers, tls) in [
            (&[][..], false),
            (&["https://a:1"], false),
            (&["https://a:1", "http://b:1"], true),
        ] {
            assert!(check(servers, tls).is_err(), "{servers:?}");
        }
    }
}
