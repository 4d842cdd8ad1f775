//! Directories that etcd writes to.

use crate::bootstrap::etcd::UNIT;
use crate::bootstrap::system::{System, SystemError};

/// Whether it is there and, if it is to be given to etcd's user, belongs to that user. One that is somebody else's and has something in it counts as done: what
/// is in there is not ours to give away, and etcd says what it lacks.
///
/// # Errors
/// If the machine cannot be asked.
pub(super) fn is_done(system: &dyn System, path: &str, give: bool) -> Result<bool, SystemError> {
    let owner = system.run("stat", &["--format=%U", path])?;
    if !owner.success {
        return Ok(false);
    }
    if !give || owner.stdout.trim() == user(system)? {
        return Ok(true);
    }
    let found = system.must("ls", &["-A", path])?;
    // Where a file system begins, there is this from the start.
    Ok(found.lines().any(|name| name != "lost+found"))
}

/// Makes it, with what leads there; or gives it to etcd's user.
///
/// # Errors
/// If that fails.
pub(super) fn make(system: &dyn System, path: &str) -> Result<(), SystemError> {
    let user = user(system)?;
    // etcd itself wants 0700.
    let arguments = ["-d", "-m", "0700", "-o", &user, path];
    system.must("install", &arguments).map(drop)
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
        assert!(!is_done(&system, "/srv/etcd", true).unwrap());
        assert!(!is_done(&system, "/srv/etcd", false).unwrap());
        make(&system, "/srv/etcd").unwrap();
        system.reply("systemctl show -p User --value etcd.service", said("other\n"));
        make(&system, "/srv/etcd").unwrap();
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
        for (owner, holds, done) in [
            ("etcd", "member\n", true),
            ("etcd", "", true),
            ("root", "", false),
            ("root", "lost+found\n", false),
            ("root", "lost+found\nmember\n", true),
        ] {
            let system = Memory::new("core-01");
            system.reply("systemctl show", said("etcd\n"));
            system.reply("stat", said(&format!("{owner}\n")));
            system.reply("ls -A /srv/etcd", said(holds));
            assert_eq!(
                is_done(&system, "/srv/etcd", true).unwrap(),
                done,
                "{owner} {holds}"
            );
            assert!(is_done(&system, "/srv/etcd", false).unwrap());
            assert_eq!(system.changes(), [""; 0]);
        }
    }
}
