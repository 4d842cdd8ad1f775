//! The drop-in that carries etcd's settings, written and read back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::bootstrap::system::{System, SystemError};

/// `ETCD_…` or `FLEET_…` settings.
pub type Environment = BTreeMap<String, String>;

/// Where a unit's drop-in lies.
pub fn path(unit: &str, drop_in: &str) -> PathBuf {
    Path::new("/etc/systemd/system")
        .join(format!("{unit}.d"))
        .join(drop_in)
}

/// For etcd.service. What the package's own settings say does not count any more, and etcd is never given up: a founder
/// waits for the others as long as they take.
pub fn render(environment: &Environment) -> String {
    let mut text = String::from(
        "# Written by fleet: `fleetctl leave` takes it away.\n\
         [Unit]\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         EnvironmentFile=\n\
         Restart=always\n\
         RestartSec=1\n\
         TimeoutStartSec=infinity\n",
    );
    for (name, value) in environment {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", assignment(name, value));
    }
    text
}

/// `Environment="NAME=value"`, whatever the value (systemd.exec(5)).
pub fn assignment(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("Environment=\"{name}={value}\"")
}

/// What [`assignment`] wrote.
pub fn parse(text: &str) -> Environment {
    let one = |line: &str| {
        let inner = line.strip_prefix("Environment=\"")?.strip_suffix('"')?;
        let (name, value) = inner.split_once('=')?;
        let value = value
            .replace("%%", "%")
            .replace("\\\"", "\"")
            .replace("\\\\", "\\");
        Some((name.to_owned(), value))
    };
    text.lines().filter_map(one).collect()
}

/// What this machine's drop-in for `unit` says; none where there is none.
///
/// # Errors
/// If it cannot be read.
pub fn read(system: &dyn System, unit: &str, drop_in: &str) -> Result<Option<Environment>, SystemError> {
    let content = system.read(&path(unit, drop_in))?;
    Ok(content.map(|content| parse(&String::from_utf8_lossy(&content))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let environment: Environment = [
            ("ETCD_NAME", "m1"),
            (
                "ETCD_INITIAL_CLUSTER",
                "m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380",
            ),
            ("ETCD_DATA_DIR", "/var/lib/50% \"of\" it"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let text = render(&environment);
        assert_eq!(parse(&text), environment);
        assert!(
            text.contains("Environment=\"ETCD_DATA_DIR=/var/lib/50%% \\\"of\\\" it\"\n"),
            "{text}"
        );
    }
}
