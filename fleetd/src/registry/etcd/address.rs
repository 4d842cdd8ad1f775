//! etcd's addresses: `http://host:port` or `https://host:port`.

use std::net::IpAddr;

/// Brings an address into one form, so that equal ones are equal: `http://` if no scheme is given, no final slash.
/// The error says what is wrong with it.
pub(super) fn normalize(url: &str) -> Result<String, String> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    if !matches!(scheme, "http" | "https") {
        return Err(format!("{url:?} is neither http:// nor https://"));
    }
    let url = format!("{scheme}://{}", rest.trim_end_matches('/'));
    if host(&url).is_empty() || url.contains(char::is_whitespace) {
        return Err(format!("{url:?} is no address"));
    }
    Ok(url)
}

/// The part before `://`.
pub(super) fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// Whether it is an address of this machine that no other machine could mean.
pub(super) fn is_loopback(url: &str) -> bool {
    let host = host(url);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Without the port, and without the brackets of an IPv6 address.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_one_form() {
        for (given, wanted) in [
            ("127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("http://etcd.example:2379/", "http://etcd.example:2379"),
            (" https://[::1]:2379 ", "https://[::1]:2379"),
        ] {
            assert_eq!(normalize(given).as_deref(), Ok(wanted));
        }
        for wrong in ["", "http://", "unix:///run/etcd", "http://a b:1"] {
            assert!(normalize(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_known_in_all_its_forms() {
        for local in [
            "http://127.0.0.1:1",
            "http://localhost",
            "https://[::1]:2379",
            "http://127.9.9.9:1",
        ] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in [
            "http://10.0.0.1:1",
            "http://localhost.example:1",
            "http://[fe80::1]:1",
        ] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }
}
