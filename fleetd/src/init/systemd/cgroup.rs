//! Ends every process of a unit by its cgroup, without systemd (`cgroup.kill`, kernel 5.14; cgroups(7)).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use units::UnitName;

const ROOT: &str = "/sys/fs/cgroup";

/// Kills all processes of `unit`, in whatever slice it is.
///
/// # Errors
/// If one of them could not be killed. A kernel without cgroup2 has none.
pub(super) fn kill(unit: &UnitName) -> io::Result<()> {
    for group in named(Path::new(ROOT), unit.as_str()) {
        let file = group.join("cgroup.kill");
        fs::write(&file, "1").or_else(|e| match e.kind() {
            // It ended meanwhile.
            ErrorKind::NotFound => Ok(()),
            _ => Err(io::Error::new(e.kind(), format!("{}: {e}", file.display()))),
        })?;
    }
    Ok(())
}

/// Directories of that name, at any depth: a unit's slice may be any.
fn named(directory: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
    {
        if entry.file_name().to_str() == Some(name) {
            found.push(entry.path());
        } else {
            found.extend(named(&entry.path(), name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_cgroup_is_found_in_any_slice() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("system.slice/system-db.slice/db@1.service");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(root.path().join("system.slice/db@2.service")).unwrap();
        assert_eq!(named(root.path(), "db@1.service"), vec![deep]);
    }
}
