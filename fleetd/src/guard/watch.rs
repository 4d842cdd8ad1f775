//! The files by which fleetd and its guard speak to each other, below `/run` like all that a reboot forgets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use units::UnitName;

use super::BootTime;

/// fleetd's word: what is guarded, and until when this machine surely counts as present.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// End of the lease by this machine's boot-time clock; `None` if there has been none.
    #[serde(default)]
    pub deadline: Option<BootTime>,
    /// The units.
    #[serde(default)]
    pub units: BTreeSet<UnitName>,
}

/// The directory of both.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// `root` (`/run/fleet/guard`) is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let directory = Self {
            root: root.to_owned(),
        };
        fs::create_dir_all(directory.ended()).map_err(|e| named(root, e))?;
        Ok(directory)
    }

    fn file(&self) -> PathBuf {
        self.root.join("watch.json")
    }

    fn ended(&self) -> PathBuf {
        self.root.join("ended")
    }

    /// fleetd's word; `None` if there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn read(&self) -> io::Result<Option<Watch>> {
        let file = self.file();
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| named(&file, e.into())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(named(&file, e)),
        }
    }

    /// Says something else from now on; a reader sees the old word or the new one, whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, watch: &Watch) -> io::Result<()> {
        let file = self.file();
        let temporary = file.with_extension("new");
        let write = || {
            fs::write(&temporary, serde_json::to_vec(watch)?)?;
            fs::rename(&temporary, &file)
        };
        write().map_err(|e| named(&file, e))
    }

    /// Notes that the guard is about to end this unit. To be said before, so that whoever sees it end finds the mark.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn mark(&self, unit: &UnitName) -> io::Result<()> {
        let path = self.ended().join(unit.as_str());
        fs::write(&path, "").map_err(|e| named(&path, e))
    }

    pub(crate) fn is_marked(&self, unit: &UnitName) -> bool {
        self.ended().join(unit.as_str()).exists()
    }

    pub(crate) fn unmark(&self, unit: &UnitName) {
        // One that stays has the unit started once more than needed; one that is not there is what is wanted.
        let _ = fs::remove_file(self.ended().join(unit.as_str()));
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
