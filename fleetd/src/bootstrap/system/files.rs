//! Files in directories that users of the machine may write to. Root writes for a cloud-config, and a link that such a user
//! has put there must not lead root to a file of another's: the last name of a path is never followed, and of those before
//! it only links of root's in directories of root's, such as `/var/run`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, unlinkat};

use super::File;

/// So many links and made directories a path may have: more are a circle (path_resolution(7)).
const DETOURS: usize = 40;

/// Whether the links of a user are followed.
type Trust = fn(Uid) -> bool;

/// Root's, and those of whoever runs this: a dry run needs no root.
fn trusted(user: Uid) -> bool {
    user.is_root() || user == Uid::effective()
}

/// Whether a file is what it is to be.
pub(super) fn is_so(file: &File, uid: Uid, gid: Gid) -> io::Result<bool> {
    let (directory, name) = parts(&file.path)?;
    let Some(directory) = directory_at(directory, false, trusted)? else {
        return Ok(false);
    };
    // A link is never what a file is to be: a masked unit is one to /dev/null. A pipe is not waited at.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let found = match openat(&directory, name, flags, Mode::empty()) {
        Ok(found) => fs::File::from(found),
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let size = file.content.len() as u64;
    let is_so = found.metadata().is_ok_and(|m| {
        m.is_file()
            && m.len() == size
            && m.mode() & 0o7777 == file.mode
            && m.uid() == uid.as_raw()
            && m.gid() == gid.as_raw()
    });
    if !is_so {
        return Ok(false);
    }
    let mut content = Vec::new();
    found.take(size + 1).read_to_end(&mut content)?;
    Ok(content == file.content)
}

/// By a new file that takes the old one's place once it is on the disk.
pub(super) fn replace(file: &File, uid: Uid, gid: Gid) -> io::Result<()> {
    replace_with(file, uid, gid, trusted)
}

fn replace_with(file: &File, uid: Uid, gid: Gid, trust: Trust) -> io::Result<()> {
    let (directory, name) = parts(&file.path)?;
    let directory = directory_at(directory, true, trust)?.ok_or(io::ErrorKind::NotFound)?;
    let mut new = OsString::from(".");
    new.push(name);
    new.push(".new");
    let remove = || unlinkat(&directory, new.as_os_str(), UnlinkatFlags::NoRemoveDir);
    let written = (|| {
        // One that was left by a run that was cut off may be anybody's.
        match remove() {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let out = openat(&directory, new.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut out = fs::File::from(out);
        out.write_all(&file.content)?;
        nix::unistd::fchown(&out, Some(uid), Some(gid))?;
        out.set_permissions(Permissions::from_mode(file.mode))?;
        out.sync_all()?;
        renameat(&directory, new.as_os_str(), &directory, name)?;
        Ok(())
    })();
    if written.is_err() {
        let _ = remove();
        return written;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    fs::File::from(openat(&directory, ".", flags, Mode::empty())?).sync_all()
}

fn parts(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The directory that an absolute path leads to; none if there is none and it is not to be made.
fn directory_at(path: &Path, make: bool, trust: Trust) -> io::Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let into = flags | OFlag::O_DIRECTORY;
    let root = || open("/", into, Mode::empty());
    let mut here = root()?;
    let mut above: Vec<OwnedFd> = Vec::new();
    // The next one last.
    let mut rest: Vec<OsString> = Vec::new();
    let way = |path: &Path| -> Vec<OsString> {
        let names = path.components().rev();
        names.map(|name| name.as_os_str().to_owned()).collect()
    };
    rest.extend(way(path));
    let mut detours = 0;
    while let Some(name) = rest.pop() {
        match Path::new(&name).components().next() {
            Some(Component::Normal(_)) => {}
            Some(Component::RootDir) => {
                here = root()?;
                above.clear();
                continue;
            }
            Some(Component::ParentDir) => {
                here = above.pop().unwrap_or(here);
                continue;
            }
            _ => continue,
        }
        match openat(&here, name.as_os_str(), into, Mode::empty()) {
            Ok(child) => {
                above.push(std::mem::replace(&mut here, child));
                continue;
            }
            Err(Errno::ENOENT) if !make => return Ok(None),
            Err(Errno::ENOENT) => match mkdirat(&here, name.as_os_str(), Mode::from_bits_truncate(0o777)) {
                Ok(()) | Err(Errno::EEXIST) => rest.push(name),
                Err(error) => return Err(error.into()),
            },
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let link = openat(&here, name.as_os_str(), flags, Mode::empty())?;
                let (found, holder) = (fstat(&link)?, fstat(&here)?);
                if found.st_mode & nix::libc::S_IFMT != nix::libc::S_IFLNK {
                    return Err(Errno::ENOTDIR.into());
                }
                if ![found.st_uid, holder.st_uid]
                    .map(Uid::from_raw)
                    .into_iter()
                    .all(trust)
                {
                    return Err(io::Error::other(format!(
                        "{} on the way there is a link that another than root can make, and is not followed",
                        name.display()
                    )));
                }
                // Of the link that was looked at, whatever has its name by now.
                rest.extend(way(Path::new(&readlinkat(&link, "")?)));
            }
            Err(error) => return Err(error.into()),
        }
        detours += 1;
        if detours > DETOURS {
            return Err(Errno::ELOOP.into());
        }
    }
    Ok(Some(here))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(path: &Path, trust: Trust) -> io::Result<()> {
        let file = File::plain(path, "root's\n");
        replace_with(&file, Uid::effective(), Gid::effective(), trust)
    }

    /// A directory that is reached by no link.
    fn directory() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        (directory, path)
    }

    #[test]
    fn a_users_link_leads_root_nowhere() {
        let (_kept, top) = directory();
        fs::create_dir(top.join("etc")).unwrap();
        fs::create_dir(top.join("home")).unwrap();
        for (name, to) in [("absolute", top.join("etc")), ("relative", "../etc".into())] {
            symlink(to, top.join("home").join(name)).unwrap();
            let stranger: Trust = |_| false;
            for below in ["passwd", "made/passwd"] {
                let path = top.join("home").join(name).join(below);
                let error = write(&path, stranger).unwrap_err().to_string();
                assert_eq!(
                    error,
                    format!(
                        "{name} on the way there is a link that another than root can make, and is not followed"
                    )
                );
            }
            assert_eq!(fs::read_dir(top.join("etc")).unwrap().count(), 0);
            // No link, no harm: a directory of theirs may be written to.
            write(&top.join("home/file"), stranger).unwrap();
        }
    }

    #[test]
    fn a_link_is_a_users_by_its_owner_or_by_who_owns_the_directory() {
        let user = Uid::from_raw(65534);
        assert!(trusted(Uid::from_raw(0)) && trusted(Uid::effective()) && !trusted(user));
        let (_kept, top) = directory();
        fs::create_dir(top.join("etc")).unwrap();
        fs::create_dir(top.join("home")).unwrap();
        symlink(top.join("etc"), top.join("home/link")).unwrap();
        write(&top.join("home/link/a"), trusted).unwrap();
        if !Uid::effective().is_root() {
            return; // Who else could give them away.
        }
        std::os::unix::fs::chown(top.join("home"), Some(65534), None).unwrap();
        write(&top.join("home/link/b"), trusted).unwrap_err();
        std::os::unix::fs::chown(top.join("home"), Some(0), None).unwrap();
        write(&top.join("home/link/b"), trusted).unwrap();
        std::os::unix::fs::lchown(top.join("home/link"), Some(65534), None).unwrap();
        write(&top.join("home/link/c"), trusted).unwrap_err();
        assert!(!top.join("etc/c").exists());
    }

    #[test]
    fn the_last_name_is_replaced_and_so_is_what_was_put_in_the_new_files_place() {
        let (_kept, top) = directory();
        let target = top.join("shadow");
        fs::write(&target, "theirs\n").unwrap();
        for name in ["file", ".file.new"] {
            symlink(&target, top.join(name)).unwrap();
        }
        write(&top.join("file"), |_| false).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs\n");
        assert_eq!(fs::read_to_string(top.join("file")).unwrap(), "root's\n");
        assert!(fs::symlink_metadata(top.join("file")).unwrap().is_file());
        assert!(fs::symlink_metadata(top.join(".file.new")).is_err());
    }

    #[test]
    fn roots_own_links_are_followed_as_var_run_is() {
        let (_kept, top) = directory();
        fs::create_dir_all(top.join("var/a")).unwrap();
        symlink("/run", top.join("var/run")).unwrap();
        symlink("../../run", top.join("var/a/up")).unwrap();
        write(&top.join("var/a/up/made/file"), |_| true).unwrap();
        assert!(top.join("run/made/file").is_file());
        assert!(
            directory_at(&top.join("var/run"), false, |_| true)
                .unwrap()
                .is_some()
        );
        symlink("circle", top.join("circle")).unwrap();
        let circle = write(&top.join("circle/file"), |_| true).unwrap_err();
        assert_eq!(circle.raw_os_error(), Some(Errno::ELOOP as i32));
        fs::write(top.join("plain"), "").unwrap();
        let plain = write(&top.join("plain/file"), |_| true).unwrap_err();
        assert_eq!(plain.raw_os_error(), Some(Errno::ENOTDIR as i32));
    }

    #[test]
    fn a_pipe_in_a_files_place_is_not_waited_at() {
        let (_kept, top) = directory();
        nix::unistd::mkfifo(&top.join("file"), Mode::S_IRUSR).unwrap();
        let file = File::plain(top.join("file"), "");
        assert!(!is_so(&file, Uid::effective(), Gid::effective()).unwrap());
    }
}
