//! Building fleet, and handing it to a cluster: the binaries and the unit files as the project ships them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::layer;
use crate::package::Package;
use crate::printer::Printer;

/// The unit files that the project ships, and what wants them at boot, if anything does.
const UNITS: [(&str, Option<&str>); 3] = [
    ("fleet.service", Some("multi-user.target")),
    ("fleet.socket", Some("sockets.target")),
    ("fleet-guard.service", None),
];

const BINARIES: [&str; 2] = ["fleetd", "fleetctl"];

/// fleet, built; as much of it as is needed.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    binaries: Option<PathBuf>,
    package: Option<Package>,
}

impl Fleet {
    /// Builds the binaries as they are shipped, for machines that the lab sets up: what figures are taken of.
    pub fn build(printer: &Printer) -> Result<Self> {
        Self::of(Profile::Release, printer)
    }

    /// Builds them as fast as it goes, for all but figures.
    pub fn quick(printer: &Printer) -> Result<Self> {
        Self::of(Profile::Quick, printer)
    }

    fn of(profile: Profile, printer: &Printer) -> Result<Self> {
        Ok(Self {
            binaries: Some(compile(profile, printer)?),
            package: None,
        })
    }

    /// Builds the Debian package too, for machines that get fleet as a user gets it.
    pub fn packaged(self, printer: &Printer) -> Result<Self> {
        let package = Package::build(None, printer)?;
        Ok(Self {
            package: Some(package),
            ..self
        })
    }

    /// The Debian package.
    pub fn package(&self) -> Result<&Package> {
        self.package.as_ref().context("the Debian package was not built")
    }

    /// Puts it where a package would.
    pub fn install(&self, root: &Path) -> Result<()> {
        let binaries = self.binaries.as_ref().context("the binaries were not built")?;
        for name in BINARIES {
            let target = root.join("usr/bin").join(name);
            layer::write(&target, "")?;
            fs::copy(binaries.join(name), &target).with_context(|| format!("cannot install {name}"))?;
        }
        for (unit, target) in UNITS {
            let shipped = workspace().join("fleetd/dist").join(unit);
            ensure!(
                shipped.exists(),
                "{} is not there: the project ships it",
                shipped.display()
            );
            let text =
                fs::read_to_string(&shipped).with_context(|| format!("cannot read {}", shipped.display()))?;
            layer::write(&root.join("usr/lib/systemd/system").join(unit), &text)?;
            if let Some(target) = target {
                layer::enable(root, unit, target)?;
            }
        }
        Ok(())
    }
}

/// How cargo builds: a profile in the workspace's Cargo.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What is shipped.
    Release,
    /// What is built soon.
    Quick,
}

/// Builds the binaries with the cargo that runs us, or the one in PATH; the directory that they are in.
pub fn compile(profile: Profile, printer: &Printer) -> Result<PathBuf> {
    let profile = match profile {
        Profile::Release => "release",
        Profile::Quick => "quick",
    };
    printer.step("build fleetd and fleetctl", |step| {
        step.busy_with(&format!("cargo build --profile {profile}"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args([
                "build",
                "--profile",
                profile,
                "--quiet",
                "--message-format=json-render-diagnostics",
            ])
            .args(BINARIES.iter().flat_map(|package| ["--package", package]))
            .current_dir(workspace());
        let messages = crate::host::output(command)?;
        let first = messages.lines().find_map(executable);
        let binaries = first.as_deref().and_then(Path::parent);
        Ok(binaries.context("cargo built no binary")?.to_owned())
    })
}

/// The top of the source tree.
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}
