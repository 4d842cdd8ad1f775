//! What this machine holds: the unit files in fleet's own directory, and what was done with each in this boot.
//!
//! Both live below `/run`, so a reboot forgets them: then nothing runs, and the registry speaks first (design §5).
//! A file is written beside its place and renamed into it, so after a crash there is the old one or the new one. The
//! memory of a start is written before systemd is asked and again when it has accepted, so that a fleetd killed in
//! between knows where to look ([`Started::Asked`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use units::{Hash, Metadata, OnDisconnect, Requirements, UnitFile, UnitName};

/// A unit that this machine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Of the file as it is on disk; `None` if that cannot be read as a unit: it will be written again.
    pub hash: Option<Hash>,
    /// Whether that file says `OnDisconnect=stop`.
    pub guarded: bool,
    /// What was done with it.
    pub record: Record,
}

impl Held {
    /// A unit as its text and its memory describe it.
    pub fn of(unit: &UnitName, text: &str, record: Record) -> Self {
        let file = UnitFile::parse(text).ok();
        let requirements = file.as_ref().and_then(|f| Requirements::parse(unit, f).ok());
        Self {
            hash: file.map(|f| f.hash()),
            guarded: requirements.is_some_and(|asked| asked.on_disconnect == OnDisconnect::Stop),
            record,
        }
    }
}

/// What was done with a unit in this boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Generation it was last started (or loaded) for.
    #[serde(default)]
    pub generation: i64,
    /// Run it was last started for.
    #[serde(default)]
    pub run: u64,
    /// Whether that start was issued.
    #[serde(default)]
    pub started: Started,
    /// When that start was asked for, by systemd's clock, in microseconds since the epoch; 0 if not known.
    #[serde(default)]
    pub asked_us: u64,
    /// Whether systemd has been told of the file as it is now.
    #[serde(default)]
    pub installed: bool,
    /// Whether its `[Install]` is in force.
    #[serde(default)]
    pub enabled: bool,
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    /// Not asked for.
    #[default]
    No,
    /// About to be asked for, or asked for and not known to be accepted.
    Asked,
    /// systemd has accepted it. It is never issued again for the same generation and run.
    Yes,
}

/// What the API has laid over this machine's metadata, as the registry had it last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Revision of the machine's record that held them.
    pub revision: i64,
    /// As in the record: an empty value hides the key.
    pub metadata: Metadata,
}

/// The two directories.
#[derive(Debug, Clone)]
pub struct Local {
    units: PathBuf,
    records: PathBuf,
}

impl Local {
    /// Unit files in `units` (`/run/fleet/units`), memory in `records` (`/run/fleet/records`); both are made.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn open(units: &Path, records: &Path) -> io::Result<Self> {
        for directory in [units, records] {
            fs::create_dir_all(directory).map_err(|e| named(directory, e))?;
        }
        fs::set_permissions(units, fs::Permissions::from_mode(0o755)).map_err(|e| named(units, e))?;
        Ok(Self {
            units: units.to_owned(),
            records: records.to_owned(),
        })
    }

    /// Where the file of a unit is.
    pub fn path(&self, unit: &UnitName) -> PathBuf {
        self.units.join(unit.as_str())
    }

    fn record_path(&self, unit: &UnitName) -> PathBuf {
        self.records.join(format!("{unit}.json"))
    }

    /// Everything held. Files with other names than units' are left alone and not reported.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn load(&self) -> io::Result<BTreeMap<UnitName, Held>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.units).map_err(|e| named(&self.units, e))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(|n| UnitName::parse(n).ok()) else {
                continue;
            };
            let record = self.record(&name).unwrap_or_default();
            let held = match fs::read_to_string(entry.path()) {
                Ok(text) => Held::of(&name, &text, record),
                Err(_) => Held {
                    hash: None,
                    guarded: false,
                    record,
                },
            };
            all.insert(name, held);
        }
        Ok(all)
    }

    /// The memory of a unit whose file is there. Lost memory of a held unit must not start it a second time: it is
    /// looked into like a start whose acceptance is not known.
    fn record(&self, unit: &UnitName) -> Option<Record> {
        let read = fs::read(self.record_path(unit))
            .ok()
            .and_then(|b| serde_json::from_slice(&b).ok());
        if read.is_none() {
            tracing::warn!(%unit, "found no memory of a unit that is here");
        }
        read.or_else(|| {
            Some(Record {
                started: Started::Asked,
                ..Record::default()
            })
        })
    }

    /// Writes the file of a unit (mode 0644) with its memory.
    ///
    /// # Errors
    /// If either cannot be written; the old file is then still whole.
    pub fn write(&self, unit: &UnitName, text: &str, record: &Record) -> io::Result<()> {
        self.remember(unit, record)?;
        replace(&self.path(unit), text.as_bytes())
    }

    /// Writes the memory of a unit.
    ///
    /// # Errors
    /// If it cannot be written; the old one is then still whole.
    pub fn remember(&self, unit: &UnitName, record: &Record) -> io::Result<()> {
        replace(&self.record_path(unit), &serde_json::to_vec(record)?)
    }

    // Beside the records: what is among them is of a unit, and gone with it.
    fn overrides_path(&self) -> PathBuf {
        self.records.with_file_name("overrides.json")
    }

    /// The overrides that were remembered last; none if that cannot be read, which is logged.
    pub fn overrides(&self) -> Option<Overrides> {
        let path = self.overrides_path();
        let read = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            read => read,
        };
        let parsed = read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        if let Err(error) = &parsed {
            tracing::warn!(file = %path.display(), %error, "could not read which metadata the API had set");
        }
        parsed.ok()
    }

    /// Remembers overrides for a recovery ([`crate::recovery`]).
    ///
    /// # Errors
    /// If they cannot be written; the old memory is then still whole.
    pub fn remember_overrides(&self, overrides: &Overrides) -> io::Result<()> {
        replace(&self.overrides_path(), &serde_json::to_vec(overrides)?)
    }

    /// Removes file and memory of a unit, in this order. Not an error if there are none.
    ///
    /// # Errors
    /// If either is there and cannot be removed.
    pub fn remove(&self, unit: &UnitName) -> io::Result<()> {
        for path in [self.path(unit), self.record_path(unit)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(named(&path, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leading dot and no unit suffix: systemd and load() both pass over it.
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.new"));
    let write = || {
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644))?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| named(path, e))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    #[test]
    fn what_was_written_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(&directory.path().join("units"), &directory.path().join("records")).unwrap();
        let record = Record {
            generation: 7,
            run: 2,
            started: Started::Yes,
            installed: true,
            enabled: true,
            asked_us: 9,
        };
        let text = "[Service]\nExecStart=/bin/true\n";
        local.write(&name("a@1.service"), text, &record).unwrap();
        fs::write(
            local
                .path(&name("half.service"))
                .with_file_name(".half.service.new"),
            "[Ser",
        )
        .unwrap();
        fs::write(local.path(&name("half.service")).with_file_name("README"), "").unwrap();

        let found = local.load().unwrap();
        let held = Held {
            hash: Some(UnitFile::parse(text).unwrap().hash()),
            guarded: false,
            record,
        };
        assert_eq!(found, BTreeMap::from([(name("a@1.service"), held)]));

        local.remove(&name("a@1.service")).unwrap();
        local.remove(&name("a@1.service")).unwrap();
        assert_eq!(local.load().unwrap(), BTreeMap::new());
    }

    #[test]
    fn overrides_are_remembered_over_restarts_and_nonsense_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let open =
            || Local::open(&directory.path().join("units"), &directory.path().join("records")).unwrap();
        assert_eq!(open().overrides(), None);
        let overrides = Overrides {
            revision: 7,
            metadata: [("zone".to_owned(), String::new())].into(),
        };
        open().remember_overrides(&overrides).unwrap();
        assert_eq!(open().overrides(), Some(overrides));
        fs::write(open().overrides_path(), "{").unwrap();
        assert_eq!(open().overrides(), None);
    }

    #[test]
    fn a_unit_without_memory_counts_as_perhaps_started() {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(&directory.path().join("units"), &directory.path().join("records")).unwrap();
        fs::write(local.path(&name("a.service")), "[Service]\nExecStart=/bin/true\n").unwrap();
        assert_eq!(
            local.load().unwrap()[&name("a.service")].record.started,
            Started::Asked
        );
    }
}
