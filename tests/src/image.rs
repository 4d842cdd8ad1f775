//! The Debian tree that every machine shares, read-only, under its own overlay.
//!
//! It takes over a minute to build, so it is cached outside the source tree under a name that holds a digest of the
//! recipe: a changed recipe means a new image. It is built beside its place and renamed when done, so that an
//! interrupted build never counts.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::host;
use crate::printer::{Printer, Step};

/// Where images are kept, unless `FLEET_LAB_CACHE` names another place.
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

/// The image, built first if it is not there.
pub fn ensure(printer: &Printer) -> Result<PathBuf> {
    let cache = cache();
    let image = cache.join(format!("image-{:016x}", key()));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Whoever comes second waits and finds it done.
    let lock = File::create(cache.join("lock")).context("cannot make the lock of the image cache")?;
    lock.lock().context("cannot lock the image cache")?;
    if !image.exists() {
        prune(&cache)?;
        printer.step("build the machines' image (Debian 13), once", |step| {
            build(&cache, &image, step)
        })?;
    }
    Ok(image)
}

/// Where images and what else was fetched are kept.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("FLEET_LAB_CACHE").map_or_else(|| PathBuf::from(CACHE), PathBuf::from)
}

/// Removes the cached images that no machine uses; the bytes are worth a minute each.
pub fn remove_unused(printer: &Printer) -> Result<()> {
    let cache = cache();
    if cache.exists() {
        printer.step(format!("remove images under {}", cache.display()), |_| {
            prune(&cache)
        })?;
    }
    Ok(())
}

fn key() -> u64 {
    // Not the same with every Rust release: then the image is built once more.
    let mut hasher = DefaultHasher::new();
    (SUITE, PACKAGES, FINISH).hash(&mut hasher);
    hasher.finish()
}

fn build(cache: &Path, image: &Path, step: &Step) -> Result<()> {
    let partial = cache.join("partial");
    host::remove_tree(&partial)?;
    step.parts(LINES);
    debootstrap(&partial, step)?;
    step.busy_with("finishing");
    let script = partial.join("finish.sh");
    fs::write(&script, FINISH)?;
    host::run(
        "chroot",
        [partial.as_os_str(), "sh".as_ref(), "/finish.sh".as_ref()],
    )?;
    fs::remove_file(&script)?;
    fs::rename(&partial, image).with_context(|| format!("cannot put the image to {}", image.display()))
}

fn debootstrap(target: &Path, step: &Step) -> Result<()> {
    let mirror = std::env::var("FLEET_LAB_MIRROR").unwrap_or_else(|_| MIRROR.into());
    // In namespaces of its own, that end when we do: a build that is killed leaves no mounts and no processes.
    let mut child = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args([
            "sh",
            "-c",
            "exec \"$@\" 2>&1",
            "sh",
            "debootstrap",
            "--variant=minbase",
        ])
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(target)
        .arg(&mirror)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run debootstrap")?;
    let mut last = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cannot read from debootstrap")?;
            let told = line
                .trim_start_matches(|c: char| c.is_ascii_uppercase())
                .trim_start_matches(": ");
            step.busy_with(
                told.split_whitespace()
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" ")
                    .as_str(),
            );
            step.part();
            last = line;
        }
    }
    if !child.wait().context("cannot wait for debootstrap")?.success() {
        bail!(
            "debootstrap failed ({last}): see debootstrap/debootstrap.log in {}; is {mirror} reachable?",
            target.display()
        );
    }
    Ok(())
}

/// Removes images of older recipes and what an interrupted build left, except what a machine uses right now.
fn prune(cache: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let ours = ["partial", "etcd-host", "etcd-partial"]
            .iter()
            .any(|n| name == *n)
            || name.to_string_lossy().starts_with("image-");
        let in_use = mounts.contains(&path.display().to_string());
        if ours && !in_use {
            host::remove_tree(&path)?;
        }
    }
    Ok(())
}
