//! Addresses of etcd: `http://10.0.0.1:2379`.

use super::super::finding::quoted;
use super::super::section::Field;

/// Scheme, host and port of an address that has been checked.
pub(super) fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
    (scheme, host, port)
}

/// Checks one; a `/` at its end is taken off.
pub(super) fn check(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let wrong = || {
        format!(
            "{} is no address: expected one such as http://10.0.0.1:2380",
            quoted(text)
        )
    };
    let (scheme, host, port) = parts(url);
    let is_host = |c: char| {
        c.is_ascii_alphanumeric() || "-._".contains(c) || (host.starts_with('[') && "[]:".contains(c))
    };
    if !matches!(scheme, "http" | "https") || host.is_empty() || !host.chars().all(is_host) {
        return Err(wrong());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(url.to_owned()),
        _ => Err(format!("{} has no port: write it out", quoted(text))),
    }
}

/// A comma-separated list of them.
pub(super) fn list(field: &Field<'_>, text: &str) -> Option<Vec<String>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    match items.map(check).collect::<Result<Vec<_>, _>>() {
        Ok(urls) if urls.is_empty() => field.wrong("addresses, separated by commas"),
        Ok(urls) => Some(urls),
        Err(why) => {
            field.error(why);
            None
        }
    }
}

/// As [`list`], for sockets to listen on: etcd takes no names there.
pub(super) fn listening(field: &Field<'_>, text: &str) -> Option<Vec<String>> {
    let urls = list(field, text)?;
    let is_address = |host: &str| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
    };
    if let Some(named) = urls.iter().find(|url| !is_address(parts(url).1)) {
        field.error(format!(
            "{} has a name: etcd listens on IP addresses only, 0.0.0.0 for all",
            quoted(named)
        ));
        return None;
    }
    Some(urls)
}

/// `name=url,name=url`.
pub(super) fn cluster(field: &Field<'_>, text: &str) -> Option<Vec<(String, String)>> {
    let mut members = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((name, url)) = item.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
            field.error(format!(
                "{} is no member: expected NAME=http://ADDRESS:2380",
                quoted(item)
            ));
            return None;
        };
        match check(url.trim()) {
            Ok(url) => members.push((name.trim().to_owned(), url)),
            Err(why) => {
                field.error(why);
                return None;
            }
        }
    }
    if members.is_empty() {
        return field.wrong("NAME=http://ADDRESS:2380, separated by commas");
    }
    Some(members)
}
