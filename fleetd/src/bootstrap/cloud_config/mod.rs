//! A CoreOS `#cloud-config`, read and checked as a whole.
//!
//! [`read`] takes the bytes of the file and what is known of the machine. It returns what the file asks for, and
//! everything that is wrong with it at once, by line. What is known and has no effect here is said as well; nothing is
//! dropped in silence.

mod etcd;
mod files;
mod finding;
mod fleet;
mod section;
mod substitute;
mod top;
mod unit;
mod users;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use finding::Finding;
pub use unit::{Unit, Verb};
pub use users::User;

use self::finding::Findings;
use super::etcd::Etcd;
use super::facts::Facts;
use super::system::File;

/// The largest file that is read.
pub const MAX_SIZE: usize = 1024 * 1024;

/// What a cloud-config asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig {
    /// The machine's name.
    pub hostname: Option<String>,
    /// The name is to be in `/etc/hosts`.
    pub manage_etc_hosts: bool,
    /// Users.
    pub users: Vec<User>,
    /// Keys of the user `core`.
    pub core_keys: Vec<String>,
    /// Files.
    pub files: Vec<File>,
    /// `FLEET_…` settings.
    pub fleet: BTreeMap<String, String>,
    /// etcd, if its unit is started.
    pub etcd: Option<Etcd>,
    /// Units, in the file's order.
    pub units: Vec<Unit>,
}

/// A file that has been read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What it asks for, unless something is wrong with it.
    pub config: Option<CloudConfig>,
    /// By line.
    pub findings: Vec<Finding>,
}

/// Reads a file. Never fails: what is wrong is in the findings, and then there is no configuration.
pub fn read(bytes: &[u8], facts: &Facts) -> Reading {
    let findings = Findings::default();
    let config = text(bytes, &findings).and_then(|text| {
        let text = substitute::substitute(text, facts, &findings);
        let root = yaml::read(&text, &findings)?;
        Some(top::read(&root, facts, &findings))
    });
    let findings = findings.sorted();
    let config = config.filter(|_| !findings.iter().any(|f| f.is_error));
    Reading { config, findings }
}

/// The text, if the bytes may be a cloud-config at all.
fn text<'a>(bytes: &'a [u8], findings: &Findings) -> Option<&'a str> {
    let refuse = |line: usize, message: &str| {
        findings.error(line, "", message);
        None
    };
    let line_of = |at: usize| 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
    if bytes.len() > MAX_SIZE {
        return refuse(1, "the file is larger than 1 MiB");
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return refuse(1, "the file is compressed: unpack it with gunzip first");
    }
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return refuse(line_of(at), "there is a NUL byte in this line");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return refuse(line_of(error.valid_up_to()), "this line is not UTF-8"),
    };
    let first = text.lines().next().unwrap_or_default();
    if first.trim_end() == "#cloud-config" {
        return Some(text);
    }
    let lower = first.to_ascii_lowercase();
    if first.starts_with("#!") {
        return refuse(1, "expected #cloud-config, found a script: run it yourself");
    }
    if lower.starts_with("content-type:") || lower.starts_with("mime-version:") {
        return refuse(
            1,
            "expected #cloud-config, found a MIME message: give its cloud-config part alone",
        );
    }
    let found = if first.trim().is_empty() {
        "nothing".to_owned()
    } else {
        finding::quoted(first)
    };
    refuse(
        1,
        &format!("expected #cloud-config in the first line, found {found}"),
    )
}
