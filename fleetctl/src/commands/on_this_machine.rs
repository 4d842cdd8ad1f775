//! `fleetctl init`, `join` and `leave`: fleetd of this machine does them.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, ExitStatus};

/// Becomes `fleetd VERB ARGUMENTS…`; comes back only if that is not possible.
pub(super) fn run(verb: &'static str, arguments: &[OsString]) -> Result<ExitStatus, Error> {
    let error = Command::new(fleetd()).arg(verb).args(arguments).exec();
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("`fleetctl {verb}` changes the machine it runs on, and fleetd is not installed here")
        }
        _ => format!("cannot run fleetd: {error}"),
    };
    Err(Error::Failed {
        what: "Error",
        message,
    })
}

/// The one that was installed beside this fleetctl, else the first of `$PATH`.
fn fleetd() -> PathBuf {
    let beside = std::env::current_exe().ok();
    let beside = beside.and_then(|path| Some(path.parent()?.join("fleetd")));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| Path::new("fleetd").to_owned())
}
