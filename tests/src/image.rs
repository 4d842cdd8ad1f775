//! The Debian trees that machines share, read-only, under their own overlays.
//!
//! The first takes over a minute to build, so all are cached outside the source tree under names that hold a digest of
//! the recipe: a changed recipe means a new tree. Each is built beside its place and renamed when done, so that an
//! interrupted build never counts.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;
use crate::printer::{Printer, Step};

pub mod plain;

/// Where trees are kept, unless `FLEET_LAB_CACHE` names another place.
const CACHE: &str = "/var/cache/fleetlab";

/// Where Debian comes from, unless `FLEET_LAB_MIRROR` names another place.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Debian 13: systemd 257, etcd 3.5.
const SUITE: &str = "trixie";

const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,iptables,nftables,procps,less,curl,ca-certificates,\
    openssh-server,busybox-static,etcd-server,etcd-client,docker.io,docker-cli,podman,crun,netavark,aardvark-dns";

/// What happens in the tree once the packages are in.
const FINISH: &str = include_str!("../machine/finish.sh");

/// debootstrap says about this many lines, five for each package.
const LINES: u64 = 830;

/// What a tree of the cache is; its name begins so. One cluster's machines stand on several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Debian with etcd and containers, for most machines.
    Image,
    /// A bare Debian.
    Plain,
    /// What apt downloads before it installs our package on it.
    Archives,
    /// What apt installs before our package.
    Packages,
    /// Our package.
    Fleet,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Image,
        Self::Plain,
        Self::Archives,
        Self::Packages,
        Self::Fleet,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::Image => "image-",
            Self::Plain => "plain-",
            Self::Archives => "archives-",
            Self::Packages => "packages-",
            Self::Fleet => "fleet-",
        }
    }
}

/// The image with etcd and containers, built first if it is not there.
pub fn ensure(printer: &Printer) -> Result<PathBuf> {
    let what = "build the machines' image (Debian 13), once";
    cached(
        Kind::Image,
        key(&(SUITE, PACKAGES, FINISH)),
        what,
        printer,
        |partial, step| build(partial, PACKAGES, FINISH, LINES, step),
    )
}

/// Removes the cached trees that no machine uses; the bytes are worth a minute each.
pub fn remove_unused(printer: &Printer) -> Result<()> {
    let cache = cache();
    if cache.exists() {
        printer.step(format!("remove images under {}", cache.display()), |_| {
            prune(&cache, &Kind::ALL)
        })?;
    }
    Ok(())
}

/// Where trees and what else was fetched are kept.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("FLEET_LAB_CACHE").map_or_else(|| PathBuf::from(CACHE), PathBuf::from)
}

fn key(recipe: &impl Hash) -> u64 {
    // Not the same with every Rust release: then the tree is built once more.
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    hasher.finish()
}

/// The tree of this kind and key, built first if it is not there. Older ones of its kind go.
fn cached(
    kind: Kind,
    key: u64,
    what: &str,
    printer: &Printer,
    build: impl FnOnce(&Path, &Step) -> Result<()>,
) -> Result<PathBuf> {
    let cache = cache();
    let tree = cache.join(format!("{}{key:016x}", kind.prefix()));
    if tree.exists() {
        return Ok(tree);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Whoever comes second waits and finds it done.
    let lock = File::create(cache.join("lock")).context("cannot make the lock of the image cache")?;
    lock.lock().context("cannot lock the image cache")?;
    if !tree.exists() {
        prune(&cache, &[kind])?;
        let partial = cache.join("partial");
        printer.step(what, |step| build(&partial, step))?;
        fs::rename(&partial, &tree).with_context(|| format!("cannot put a tree to {}", tree.display()))?;
    }
    Ok(tree)
}

/// A Debian with these packages, finished by this script.
fn build(target: &Path, packages: &str, finish: &str, lines: u64, step: &Step) -> Result<()> {
    step.parts(lines);
    debootstrap(target, packages, step)?;
    step.busy_with("finishing");
    let script = target.join("finish.sh");
    fs::write(&script, finish)?;
    host::run(
        "chroot",
        [target.as_os_str(), "sh".as_ref(), "/finish.sh".as_ref()],
    )?;
    fs::remove_file(&script).context("cannot remove the finishing script")
}

fn debootstrap(target: &Path, packages: &str, step: &Step) -> Result<()> {
    let mirror = std::env::var("FLEET_LAB_MIRROR").unwrap_or_else(|_| MIRROR.into());
    let mut command = apart();
    command
        .args([
            "sh",
            "-c",
            "exec \"$@\" 2>&1",
            "sh",
            "debootstrap",
            "--variant=minbase",
        ])
        .arg(format!("--include={packages}"))
        .arg(SUITE)
        .arg(target)
        .arg(&mirror);
    let last = follow(command, |line| {
        let told = line
            .trim_start_matches(|c: char| c.is_ascii_uppercase())
            .trim_start_matches(": ");
        let words: Vec<&str> = told.split_whitespace().take(2).collect();
        step.busy_with(&words.join(" "));
        step.part();
    })
    .context("cannot run debootstrap")?;
    if let Some(last) = last {
        bail!(
            "debootstrap failed ({last}): see debootstrap/debootstrap.log in {}; is {mirror} reachable?",
            target.display()
        );
    }
    Ok(())
}

/// The beginning of a command in namespaces of its own, that end when we do: one that is killed leaves no mounts and
/// no processes.
fn apart() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
}

/// Runs a command and hands each line of its stdout on; its last line if it failed.
pub(crate) fn follow(mut command: Command, mut each: impl FnMut(&str)) -> Result<Option<String>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let mut last = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what a command says")?;
            last = String::from_utf8_lossy(&line).into_owned();
            each(&last);
        }
    }
    let ended = child.wait().context("cannot wait for a command")?;
    Ok((!ended.success()).then_some(last))
}

/// Removes trees of these kinds and what an interrupted build left, except what a machine uses right now.
fn prune(cache: &Path, kinds: &[Kind]) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let ours = name.starts_with("partial") || kinds.iter().any(|kind| name.starts_with(kind.prefix()));
        let in_use = mounts.contains(&path.display().to_string());
        if ours && !in_use {
            host::remove_tree(&path)?;
        }
    }
    Ok(())
}
