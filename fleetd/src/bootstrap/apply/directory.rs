//! Directories that etcd writes to.

use crate::bootstrap::etcd::UNIT;
use crate::bootstrap::system::{System, SystemError};

/// Whether it is there and etcd's user can write to it.
///
/// # Errors
/// If the machine cannot be asked.
pub(super) fn is_done(system: &dyn System, path: &str) -> Result<bool, SystemError> {
    let Some(owner) = owner(system, path)? else {
        return Ok(false);
    };
    let user = user(system)?;
    if owner == user {
        return Ok(true);
    }
    let arguments = ["-u", &user, "--", "test", "-w", path, "-a", "-x", path];
    Ok(system.run("runuser", &arguments)?.success)
}

/// Makes it, with what leads there; or gives it to etcd's user. What another user has, and what is in one that is root's,
/// is not ours to give away.
///
/// # Errors
/// If it is such a one, or is not to be given, or that fails.
pub(super) fn make(system: &dyn System, path: &str, give: bool) -> Result<(), SystemError> {
    let user = user(system)?;
    // stat(1) has that word for a number that is nobody's.
    let is_free = |owner: &str| ["root", "UNKNOWN"].contains(&owner);
    if let Some(owner) = owner(system, path)?
        && !(give && is_free(&owner) && is_empty(system, path)?)
    {
        return Err(SystemError::Unwritable {
            path: path.into(),
            user,
        });
    }
    // etcd itself wants 0700.
    let arguments = ["-d", "-m", "0700", "-o", &user, path];
    system.must("install", &arguments).map(drop)
}

fn owner(system: &dyn System, path: &str) -> Result<Option<String>, SystemError> {
    let ended = system.run("stat", &["--format=%U", path])?;
    Ok(ended.success.then(|| ended.stdout.trim().to_owned()))
}

fn is_empty(system: &dyn System, path: &str) -> Result<bool, SystemError> {
    let found = system.must("ls", &["-A", path])?;
    // Where a file system begins, there is this from the start.
    Ok(found.lines().all(|name| name == "lost+found"))
}

fn user(system: &dyn System) -> Result<String, SystemError> {
    let ended = system.run("systemctl", &["show", "-p", "User", "--value", UNIT])?;
    let user = ended.stdout.trim();
    Ok(if user.is_empty() { "etcd" } else { user }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::system::Ended;
    use crate::bootstrap::system::memory::Memory;

    fn said(stdout: &str) -> Ended {
        Ended {
            success: true,
            stdout: stdout.to_owned(),
            stderr: String::new(),
        }
    }

    #[test]
    fn a_directory_is_made_for_the_user_of_the_unit() {
        let system = Memory::new("core-01");
        let none = Ended {
            success: false,
            ..said("")
        };
        system.reply("stat --format=%U /srv/etcd", none);
        system.reply("systemctl show", said("\n"));
        assert!(!is_done(&system, "/srv/etcd").unwrap());
        make(&system, "/srv/etcd", false).unwrap();
        system.reply("systemctl show -p User --value etcd.service", said("other\n"));
        make(&system, "/srv/etcd", true).unwrap();
        assert_eq!(
            system.changes(),
            [
                "install -d -m 0700 -o etcd /srv/etcd",
                "install -d -m 0700 -o other /srv/etcd"
            ]
        );
    }

    #[test]
    fn one_that_is_there_is_given_away_only_if_it_is_empty() {
        for (owner, holds, give, given) in [
            ("root", "", true, true),
            ("root", "lost+found\n", true, true),
            ("root", "lost+found\nmember\n", true, false),
            ("root", "member\n", true, false),
            ("root", "", false, false),
            ("UNKNOWN", "", true, true),
            ("core", "", true, false),
        ] {
            let system = Memory::new("core-01");
            system.reply("systemctl show", said("etcd\n"));
            system.reply("stat", said(&format!("{owner}\n")));
            system.reply("ls -A /srv/etcd", said(holds));
            assert!(!is_done(&system, "/srv/etcd").unwrap());
            let made = make(&system, "/srv/etcd", give).map_err(|e| e.to_string());
            if given {
                assert_eq!(made, Ok(()));
                assert_eq!(system.changes(), ["install -d -m 0700 -o etcd /srv/etcd"]);
            } else {
                assert_eq!(
                    made.unwrap_err(),
                    "etcd.service's user etcd cannot write to /srv/etcd, which is somebody else's: have etcd use another, or chown it"
                );
                assert_eq!(system.changes(), [""; 0]);
            }
        }
    }

    #[test]
    fn one_that_etcd_can_write_to_is_left_as_it_is() {
        let system = Memory::new("core-01");
        system.reply("systemctl show", said("etcd\n"));
        system.reply("stat", said("etcd\n"));
        assert!(is_done(&system, "/srv/etcd").unwrap());
        // By its group, or its permissions.
        system.reply("stat", said("root\n"));
        assert!(!is_done(&system, "/srv/etcd").unwrap());
        system.reply("runuser -u etcd -- test -w /srv/etcd -a -x /srv/etcd", said(""));
        assert!(is_done(&system, "/srv/etcd").unwrap());
        assert_eq!(system.changes(), [""; 0]);
    }
}
