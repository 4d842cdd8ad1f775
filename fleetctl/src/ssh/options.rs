//! What fleetctl's flags say to ssh.

use std::time::Duration;

use super::Destination;

/// How long a connection may take to come about where nobody says anything of it (fleet-reference §4.2).
const TIME_LIMIT: u64 = 10;

/// fleetctl's own flags for ssh; of what is `None` nothing is said to ssh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--ssh-username`. Not `core` by default, as it was in fleet: that would go before the `User` of
    /// `ssh_config(5)`.
    pub user: Option<String>,
    /// `--ssh-timeout`.
    pub timeout: Option<Duration>,
    /// `--known-hosts-file`.
    pub known_hosts: Option<String>,
    /// `--strict-host-key-checking`; `true` asks about keys that are new, as fleet did.
    pub strict: Option<bool>,
}

impl Options {
    /// Arguments of ssh to a destination, which itself is not among them.
    pub(super) fn words(&self, destination: &Destination) -> Vec<String> {
        let mut words = Vec::new();
        let mut pair = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some(user) = destination.user().or(self.user.as_deref()) {
            pair("-l", user.to_owned());
        }
        if let Some(port) = destination.port() {
            pair("-p", port.to_string());
        }
        match (self.strict, &self.known_hosts) {
            // Any key, and nothing stored. Without LogLevel ssh says that it has stored the key in /dev/null.
            (Some(false), _) => [
                "StrictHostKeyChecking=no",
                "UserKnownHostsFile=/dev/null",
                "GlobalKnownHostsFile=/dev/null",
                "LogLevel=ERROR",
            ]
            .into_iter()
            .for_each(|option| pair("-o", option.to_owned())),
            (strict, known_hosts) => {
                if strict == Some(true) {
                    pair("-o", "StrictHostKeyChecking=ask".to_owned());
                }
                if let Some(file) = known_hosts {
                    pair("-o", format!("UserKnownHostsFile={}", file_name(file)));
                }
            }
        }
        if let Some(timeout) = self.timeout {
            // Whole seconds are what ssh takes.
            let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
            pair("-o", format!("ConnectTimeout={seconds}"));
        }
        words
    }

    /// What to add where neither the flags nor the user's configuration set a limit.
    pub(super) fn time_limit(&self, is_configured: bool) -> Vec<String> {
        match self.timeout.is_some() || is_configured {
            true => Vec::new(),
            false => vec!["-o".to_owned(), format!("ConnectTimeout={TIME_LIMIT}")],
        }
    }
}

/// One file name in an option that takes several, and replaces `%` tokens.
fn file_name(file: &str) -> String {
    let file = file.replace('%', "%%");
    match file.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '#')) {
        true => format!("\"{}\"", file.replace('\\', "\\\\").replace('"', "\\\"")),
        false => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_options_of_ssh() {
        let none = Options::default;
        let table: [(Options, &str, &[&str]); 12] = [
            (none(), "host", &[]),
            (none(), "core@host:22", &["-l", "core", "-p", "22"]),
            (
                Options {
                    user: Some("ann".into()),
                    ..none()
                },
                "host",
                &["-l", "ann"],
            ),
            (
                Options {
                    user: Some("ann".into()),
                    ..none()
                },
                "core@host",
                &["-l", "core"],
            ),
            (none(), "[fd00::1]:2222", &["-p", "2222"]),
            (
                Options {
                    timeout: Some(Duration::from_secs(10)),
                    ..none()
                },
                "host",
                &["-o", "ConnectTimeout=10"],
            ),
            (
                Options {
                    timeout: Some(Duration::from_millis(2500)),
                    ..none()
                },
                "host",
                &["-o", "ConnectTimeout=3"],
            ),
            (
                Options {
                    known_hosts: Some("/a/known_hosts".into()),
                    ..none()
                },
                "host",
                &["-o", "UserKnownHostsFile=/a/known_hosts"],
            ),
            (
                Options {
                    known_hosts: Some("/a b/100%\"".into()),
                    ..none()
                },
                "host",
                &["-o", "UserKnownHostsFile=\"/a b/100%%\\\"\""],
            ),
            (
                Options {
                    strict: Some(true),
                    known_hosts: Some("~/k".into()),
                    ..none()
                },
                "host",
                &["-o", "StrictHostKeyChecking=ask", "-o", "UserKnownHostsFile=~/k"],
            ),
            (
                Options {
                    strict: Some(false),
                    known_hosts: Some("~/k".into()),
                    ..none()
                },
                "host",
                &[
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                    "-o",
                    "GlobalKnownHostsFile=/dev/null",
                    "-o",
                    "LogLevel=ERROR",
                ],
            ),
            (
                Options {
                    user: Some("x".into()),
                    timeout: Some(Duration::from_millis(1)),
                    ..none()
                },
                "host:1",
                &["-l", "x", "-p", "1", "-o", "ConnectTimeout=1"],
            ),
        ];
        for (options, destination, words) in table {
            let destination = Destination::parse(destination).unwrap();
            assert_eq!(options.words(&destination), words, "{options:?} {destination}");
        }
    }

    #[test]
    fn the_time_limit_is_ours_where_nobody_sets_one() {
        let given = Options {
            timeout: Some(Duration::from_secs(3)),
            ..Options::default()
        };
        assert_eq!(Options::default().time_limit(false), ["-o", "ConnectTimeout=10"]);
        assert!(Options::default().time_limit(true).is_empty());
        assert!(given.time_limit(false).is_empty());
    }
}
