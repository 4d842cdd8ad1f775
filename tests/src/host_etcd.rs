//! The etcd of the host's own Debian release, an older one than the machines': 3.4 on Debian 12.
//!
//! The host's, if it is installed. Else its packages are only unpacked, so that no service comes with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{host, image};

const PACKAGES: [&str; 2] = ["etcd-server", "etcd-client"];

/// Where `etcd` and `etcdctl` are. Fetched and unpacked once.
pub fn directory() -> Result<PathBuf> {
    let installed = Path::new("/usr/bin");
    let there = |directory: &Path| ["etcd", "etcdctl"].iter().all(|p| directory.join(p).exists());
    if there(installed) {
        return Ok(installed.to_owned());
    }
    let cache = image::cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("etcd-lock")).context("cannot make the lock of the etcd cache")?;
    lock.lock().context("cannot lock the etcd cache")?;
    let unpacked = cache.join("etcd-host");
    let programs = unpacked.join("usr/bin");
    if !there(&programs) {
        unpack(&cache.join("etcd-partial"), &unpacked)
            .context("cannot fetch the host's etcd: apt-get install etcd-server etcd-client")?;
    }
    Ok(programs)
}

fn unpack(partial: &Path, unpacked: &Path) -> Result<()> {
    host::remove_tree(partial)?;
    host::remove_tree(unpacked)?;
    fs::create_dir_all(partial)?;
    let fetch = || {
        let mut command = Command::new("apt-get");
        command.arg("download").args(PACKAGES).current_dir(partial);
        host::output(command)
    };
    // The lists of a fresh machine are empty or old.
    if fetch().is_err() {
        host::run("apt-get", ["update", "--quiet"])?;
        fetch()?;
    }
    for entry in fs::read_dir(partial)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            host::run("dpkg-deb", [Path::new("-x"), &path, &partial.join("root")])?;
        }
    }
    fs::rename(partial.join("root"), unpacked).context("nothing was unpacked")?;
    host::remove_tree(partial)
}
