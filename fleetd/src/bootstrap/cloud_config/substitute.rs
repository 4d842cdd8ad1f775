//! `$private_ipv4` and its like, replaced in the whole text before it is read, as coreos-cloudinit did.

use super::finding::Findings;
use crate::bootstrap::facts::Facts;

const VARIABLES: [&str; 4] = ["$private_ipv4", "$public_ipv4", "$private_ipv6", "$public_ipv6"];

/// Replaces them. `\$private_ipv4` stays as it is, without the backslash. Lines stay lines.
pub(super) fn substitute(text: &str, facts: &Facts, findings: &Findings) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let mut said: Vec<&str> = Vec::new();
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // What stands in a comment may stay unknown.
        let is_comment = line.trim_start().starts_with('#');
        let mut rest = line;
        while let Some(at) = rest.find('$') {
            let (before, after) = rest.split_at(at);
            let Some(variable) = VARIABLES.iter().find(|v| after.starts_with(*v)) else {
                out.push_str(before);
                out.push('$');
                rest = &after[1..];
                continue;
            };
            rest = &after[variable.len()..];
            if let Some(before) = before.strip_suffix('\\') {
                out.push_str(before);
                out.push_str(variable);
                continue;
            }
            out.push_str(before);
            match value(variable, facts) {
                Some((value, doubt)) => {
                    let doubt = doubt.filter(|_| !is_comment && !said.contains(variable));
                    if let Some(message) = doubt {
                        said.push(variable);
                        findings.notice(index + 1, *variable, message);
                    }
                    out.push_str(&value);
                }
                None => {
                    if !is_comment {
                        let message = format!("not known for this machine: {}", remedy(variable));
                        findings.error(index + 1, *variable, message);
                    }
                    // The file is refused, and nothing else is to be found wrong on account of it.
                    out.push_str(if variable.ends_with('6') {
                        "2001:db8::1"
                    } else {
                        "192.0.2.1"
                    });
                }
            }
        }
        out.push_str(rest);
    }
    out
}

fn remedy(variable: &str) -> String {
    let name = variable.trim_start_matches('$');
    let line = format!("set COREOS_{} in /etc/environment", name.to_ascii_uppercase());
    if name.ends_with('6') {
        return line;
    }
    format!("give --{}, or {line}", name.replace('_', "-"))
}

/// What it stands for, and what is to be said of it if that is only a stand-in.
fn value(variable: &str, facts: &Facts) -> Option<(String, Option<String>)> {
    let six = |key: &str| {
        let given: std::net::Ipv6Addr = facts.environment.get(key)?.parse().ok()?;
        Some((given.to_string(), None))
    };
    match variable {
        "$private_ipv4" => Some((facts.private_ipv4()?.to_string(), facts.private_doubt())),
        "$public_ipv4" => {
            let (address, is_stand_in) = facts.public_ipv4()?;
            let doubt = is_stand_in.then(|| {
                format!(
                    "this machine has no public address: the private one, {address}, is taken (--public-ipv4 gives another)"
                )
            });
            Some((address.to_string(), doubt))
        }
        "$private_ipv6" => six("COREOS_PRIVATE_IPV6"),
        _ => six("COREOS_PUBLIC_IPV6"),
    }
}
