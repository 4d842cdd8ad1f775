//! A Debian as a hoster hands it out, and what our package brings onto it.
//!
//! Four trees, one over the other, so that a new build of the package costs a second and needs no network: the bare
//! Debian; what apt downloads for the package's dependencies; these installed; the package installed. apt does all of
//! it, as on a user's machine, from a mirror.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Kind, SUITE, apart, build, cached, follow, key};
use crate::package::Package;
use crate::printer::{Printer, Step};

/// What every Debian server has, and no more.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates";

const FINISH: &str = include_str!("../../machine/finish-plain.sh");

/// debootstrap says about this many lines.
const LINES: u64 = 480;

/// Runs a command in a tree that is laid over others.
const OVER: &str = include_str!("../../machine/over.sh");

const DOWNLOAD: &str = "apt-get --quiet update && apt-get --quiet --yes --download-only satisfy \"$1\"";

/// What is down already is enough, and no service starts.
const SATISFY: &str = "apt-get --quiet --yes --no-download satisfy \"$1\"";

/// As a user does it; what the package needs must be there by now. (apt does not take `--no-download` with a file.)
const INSTALL: &str = "apt-get --quiet --yes install \"$1\"";

/// The trees of a bare machine, topmost first: apt can install the package there without a network.
pub fn bare(package: &Package, printer: &Printer) -> Result<Vec<PathBuf>> {
    let recipe = (SUITE, PACKAGES, FINISH);
    let plain = cached(
        Kind::Plain,
        key(&recipe),
        "build the image of a bare Debian 13, once",
        printer,
        |partial, step| build(partial, PACKAGES, FINISH, LINES, step),
    )?;
    let archives = cached(
        Kind::Archives,
        key(&(recipe, OVER, DOWNLOAD, package.dependencies())),
        "download what the package depends on",
        printer,
        |partial, step| over(&[&plain], partial, DOWNLOAD, package.dependencies(), step),
    )?;
    Ok(vec![archives, plain])
}

/// The trees of a machine on which the package was installed, topmost first. Nothing of it ever ran.
pub fn installed(package: &Package, printer: &Printer) -> Result<Vec<PathBuf>> {
    let bare = bare(package, printer)?;
    let mut lower: Vec<&Path> = bare.iter().map(PathBuf::as_path).collect();
    let packages = cached(
        Kind::Packages,
        key(&(lower.as_slice(), OVER, SATISFY, package.dependencies())),
        "install what the package depends on",
        printer,
        |partial, step| over(&lower, partial, SATISFY, package.dependencies(), step),
    )?;
    lower.insert(0, &packages);
    let content =
        fs::read(package.path()).with_context(|| format!("cannot read {}", package.path().display()))?;
    let fleet = cached(
        Kind::Fleet,
        key(&(lower.as_slice(), OVER, INSTALL, content.as_slice())),
        "install the package",
        printer,
        |partial, step| {
            let name = "fleet.deb";
            over_with(&lower, partial, INSTALL, &format!("/{name}"), step, |upper| {
                fs::write(upper.join(name), &content).context("cannot hand the package over")
            })?;
            fs::remove_file(partial.join(name)).context("cannot take the package back")
        },
    )?;
    let mut trees = vec![fleet, packages];
    trees.extend(bare);
    Ok(trees)
}

fn over(lower: &[&Path], upper: &Path, script: &str, argument: &str, step: &Step) -> Result<()> {
    over_with(lower, upper, script, argument, step, |_| Ok(()))
}

/// Runs a script with an argument in a tree that is laid over others; what it changes stays in `upper`.
fn over_with(
    lower: &[&Path],
    upper: &Path,
    script: &str,
    argument: &str,
    step: &Step,
    before: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(upper).with_context(|| format!("cannot make {}", upper.display()))?;
    before(upper)?;
    let lower: Vec<String> = lower.iter().map(|tree| tree.display().to_string()).collect();
    let mut command = apart();
    command
        .args(["sh", "-c", OVER, "sh", &lower.join(":")])
        .arg(upper)
        .args(["sh", "-ec", script, "sh", argument])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    let mut told = Vec::new();
    let failed = follow(command, |line| {
        let line = line.trim();
        if !line.is_empty() {
            let words: Vec<&str> = line.split_whitespace().take(3).collect();
            step.busy_with(&words.join(" "));
            told.push(line.to_owned());
        }
    })?;
    if failed.is_some() {
        let end = told.split_off(told.len().saturating_sub(4));
        bail!("`{script}` failed for {argument}: {}", end.join("; "));
    }
    Ok(())
}
