//! The Debian package: building it, and what it says of itself.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::fleet::{Profile, compile, workspace};
use crate::host;
use crate::image::follow;
use crate::printer::{Printer, Step};

/// What makes a package of a crate, and its version.
const TOOL: [&str; 2] = ["cargo-deb", "3.8.0"];

/// The tool's crates, for the bar.
const CRATES: u64 = 150;

/// The crate whose package it is.
const CRATE: &str = "fleetd";

/// A `.deb` of fleet.
#[derive(Debug, Clone)]
pub struct Package {
    path: PathBuf,
    version: String,
    dependencies: String,
}

impl Package {
    /// Builds it from this source tree, with another version if one is given; or takes the one that `FLEET_LAB_DEB` names.
    pub fn build(version: Option<&str>, printer: &Printer) -> Result<Self> {
        if let (Some(given), None) = (std::env::var_os("FLEET_LAB_DEB"), version) {
            return Self::open(Path::new(&given));
        }
        compile(Profile::Release, printer)?;
        let tools = target().join("tools");
        let tool = tools.join("bin").join(TOOL[0]);
        if !tool.exists() {
            let [name, number] = TOOL;
            printer.step(format!("install {name} {number}, once"), |step| {
                install_tool(&tools, step)
            })?;
        }
        let what = version.map_or_else(
            || "build the Debian package".to_owned(),
            |version| format!("build the Debian package as version {version}"),
        );
        printer.step(what, |step| {
            step.busy_with("cargo deb");
            build(&tool, version)
        })
    }

    /// One that is there.
    pub fn open(path: &Path) -> Result<Self> {
        let field = |name: &str| -> Result<String> {
            let path = path.display().to_string();
            let value = host::run("dpkg-deb", ["--field", &path, name])?;
            Ok(value.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        // As apt sees it: what is recommended is installed, too.
        let mut wanted = Vec::new();
        for name in ["Pre-Depends", "Depends", "Recommends"] {
            wanted.push(field(name)?);
        }
        wanted.retain(|list| !list.is_empty());
        let version = field("Version")?;
        if version.is_empty() {
            bail!("{} is no Debian package", path.display());
        }
        Ok(Self {
            path: path.to_owned(),
            version,
            dependencies: wanted.join(", "),
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What apt installs before it, as its own lists have it.
    pub fn dependencies(&self) -> &str {
        &self.dependencies
    }

    /// The same source tree again, as a package that apt takes for newer.
    pub fn newer(&self, printer: &Printer) -> Result<Self> {
        Self::build(Some(&format!("{}+newer", self.version)), printer)
    }
}

fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    workspace().join(named.unwrap_or_else(|| "target".into()))
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn install_tool(tools: &Path, step: &Step) -> Result<()> {
    step.parts(CRATES);
    let [name, number] = TOOL;
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$@\" 2>&1", "sh"])
        .arg(cargo())
        .args([
            "install",
            name,
            "--locked",
            "--version",
            &format!("={number}"),
            "--root",
        ])
        .arg(tools)
        // Not in the way of what cargo builds for us, and gone with it.
        .env("CARGO_TARGET_DIR", tools.join("build"));
    let failed = follow(command, |line| {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        if words.first() == Some(&"Compiling") {
            step.part();
        }
        step.busy_with(&words.join(" "));
    })?;
    if let Some(last) = failed {
        bail!("`cargo install {name}` failed: {last}");
    }
    host::remove_tree(&tools.join("build"))
}

fn build(tool: &Path, version: Option<&str>) -> Result<Package> {
    let place = target().join("lab");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let partial = place.join(format!("partial-{}.deb", std::process::id()));
    let mut command = Command::new(tool);
    command
        // Its own build has another profile, and would compile everything once more.
        .args(["--no-build", "--fast", "--package", CRATE, "--output"])
        .arg(&partial)
        .args(version.iter().flat_map(|version| ["--deb-version", version]))
        .current_dir(workspace())
        .stdin(Stdio::null());
    host::output(command)?;
    // The name is for people; that of the version that a file says of itself may differ.
    let package = Package::open(&partial)?;
    let path = place.join(format!("fleet_{}.deb", package.version));
    fs::rename(&partial, &path).with_context(|| format!("cannot put the package to {}", path.display()))?;
    Ok(Package { path, ..package })
}
