//! The host: what it must offer, and running its commands.
//!
//! The lab needs root, a Debian, namespaces and cgroup v2, and a handful of packages that it installs itself.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cgroup::Hierarchies;
use crate::printer::Printer;

/// A file that shows that a package is there, and the package.
const PACKAGES: [(&str, &str); 5] = [
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/sbin/debootstrap", "debootstrap"),
    (
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/iptables", "iptables"),
];

/// Why the lab cannot run on this host at all; `None` if it can. Changes nothing.
pub fn why_not() -> Option<String> {
    if let Err(error) = require_root() {
        return Some(error.to_string());
    }
    if !is_debian() && !missing_packages().is_empty() {
        let missing = missing_packages().join(" ");
        return Some(format!(
            "it installs packages on Debian only; install these yourself: {missing}"
        ));
    }
    if let Err(error) = run(
        "unshare",
        ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"],
    ) {
        return Some(format!(
            "it needs namespaces, run it on the host or in a privileged container: {error:#}"
        ));
    }
    Hierarchies::find().err().map(|error| format!("{error:#}"))
}

/// An error for whoever is not root.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "it needs root, for containers with their own network: use sudo"
    );
    Ok(())
}

/// Makes sure the host can run the lab: refuses with a reason, or installs what is missing.
pub fn prepare(printer: &Printer) -> Result<()> {
    if let Some(reason) = why_not() {
        bail!("the lab cannot run here: {reason}");
    }
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    printer.step(format!("install {}", missing.join(" ")), |step| {
        step.busy_with("apt-get update");
        apt_get(&["update", "--quiet"])?;
        step.busy_with("apt-get install");
        let mut arguments = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
        arguments.extend(&missing);
        apt_get(&arguments)
    })
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    output(command).map(drop)
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release
        .lines()
        .any(|line| line == "ID=debian" || line.starts_with("ID_LIKE=") && line.contains("debian"))
}

fn missing_packages() -> Vec<&'static str> {
    // A merged /usr makes /sbin the same place; an unmerged one does not run a systemd this new.
    PACKAGES
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect()
}

/// Runs a command of the host to its end; its stdout, or an error that holds the command and what it complained of.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command)
}

/// As [`run`], for a command that needs more preparation.
pub fn output(mut command: Command) -> Result<String> {
    let shown = show(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {}",
        output.status,
        last_lines(&complaint, 3)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The last lines of a text that say something, on one line.
pub fn last_lines(text: &str, lines: usize) -> String {
    let told: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    told[told.len().saturating_sub(lines)..].join("; ")
}

/// A kernel setting that counts something per user, and all machines are one user to the kernel.
pub fn raise_sysctl(name: &str, at_least: u64) -> Result<()> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.trim().parse::<u64>().is_ok_and(|now| now < at_least) {
        fs::write(&path, at_least.to_string())
            .with_context(|| format!("cannot raise {name} to {at_least}"))?;
    }
    Ok(())
}

/// What is mounted at or below a directory, deepest first.
pub fn mounts_below(directory: &Path) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<String> = points
        .filter(|point| Path::new(point).starts_with(directory))
        .map(str::to_owned)
        .collect();
    below.reverse();
    Ok(below)
}

/// Unmounts everything at or below a directory, then removes it. A lazy unmount is never used: what is still busy
/// must show, not linger.
pub fn remove_tree(directory: &Path) -> Result<()> {
    for point in mounts_below(directory)? {
        run("umount", [&point])?;
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_command_and_its_complaint() {
        let error = run("sh", ["-c", "echo first >&2; echo >&2; echo last >&2; exit 3"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`sh -c") && error.contains("exit status: 3"),
            "{error}"
        );
        assert!(error.ends_with("first; last"), "{error}");
    }

    #[test]
    fn last_lines_are_those_that_say_something() {
        assert_eq!(last_lines("a\n\n  b  \n\nc\n", 2), "b; c");
        assert_eq!(last_lines("", 2), "");
    }
}
