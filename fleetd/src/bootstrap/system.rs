//! The machine that is being set up: its files and the programs that are run on it.

mod files;
#[cfg(test)]
pub mod memory;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Group, Uid, User};

/// What could not be done to the machine, in one line.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A file, with what was to be done to it.
    #[error("cannot {what} {path}: {error}")]
    File {
        /// `read`, `write`, `remove`, `look for`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The owner of a file is no user or group of this machine.
    #[error("cannot give {path} to {owner}: there is no such user or group")]
    Owner {
        /// The file.
        path: PathBuf,
        /// `user` or `user:group`.
        owner: String,
    },
    /// A directory that etcd is to write to.
    #[error(
        "etcd.service's user {user} cannot write to {path}, which is somebody else's: have etcd use another, or chown it"
    )]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// The user.
        user: String,
    },
    /// A program could not be run at all.
    #[error("cannot run {program}: {error}")]
    Unrunnable {
        /// The program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// A program ended with a failure.
    #[error("{command} failed: {said}")]
    Failed {
        /// As a person would type it.
        command: String,
        /// The last line that it said.
        said: String,
    },
}

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute.
    pub path: PathBuf,
    /// All of it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// `user` or `user:group`, by name or number.
    pub owner: String,
}

impl File {
    /// A file of root's that everybody may read.
    pub fn plain(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
            owner: "root".to_owned(),
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status was 0.
    pub success: bool,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Files and programs of the machine. Calls block.
pub trait System: Send + Sync {
    /// A file's content; none where there is no file.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SystemError>;

    /// Whether there is a file or a directory.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn is_there(&self, path: &Path) -> Result<bool, SystemError>;

    /// Makes a file what it is to be, at once and to last: after a power cut there is the old one or the new one.
    /// Says whether anything had to be changed. Only links of root's are followed, and never for the last name.
    ///
    /// # Errors
    /// If it cannot be written, or its owner is not known.
    fn write(&self, file: &File) -> Result<bool, SystemError>;

    /// Whether a file is what it is to be: content, permissions and owner. An owner who is not known yet owns nothing.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    fn holds(&self, file: &File) -> Result<bool, SystemError>;

    /// Removes a file, or a directory with all in it. Says whether there was one.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&self, path: &Path) -> Result<bool, SystemError>;

    /// Runs a program, with `input` on its stdin, and waits for its end. What is secret belongs there: everybody may read
    /// a program's arguments.
    ///
    /// # Errors
    /// If it cannot be run; that it failed is no error here.
    fn run_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<Ended, SystemError>;

    /// As [`System::run_with`], with nothing on its stdin.
    ///
    /// # Errors
    /// If it cannot be run.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<Ended, SystemError> {
        self.run_with(program, arguments, "")
    }

    /// As [`System::run`], for a program that has to succeed. Returns its stdout.
    ///
    /// # Errors
    /// If it cannot be run or fails; with the last line that it said.
    fn must(&self, program: &str, arguments: &[&str]) -> Result<String, SystemError> {
        self.must_with(program, arguments, "")
    }

    /// As [`System::must`], with `input` on its stdin.
    ///
    /// # Errors
    /// If it cannot be run or fails; with the last line that it said.
    fn must_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, SystemError> {
        let ended = self.run_with(program, arguments, input)?;
        if ended.success {
            return Ok(ended.stdout);
        }
        let last = |text: &str| text.lines().rfind(|l| !l.trim().is_empty()).map(str::to_owned);
        Err(SystemError::Failed {
            command: [&[program], arguments].concat().join(" "),
            said: last(&ended.stderr)
                .or_else(|| last(&ended.stdout))
                .unwrap_or_else(|| "it said nothing".to_owned()),
        })
    }
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SystemError {
    let path = path.to_owned();
    move |error| SystemError::File { what, path, error }
}

impl System for ThisMachine {
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SystemError> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("read", path)(error)),
        }
    }

    fn is_there(&self, path: &Path) -> Result<bool, SystemError> {
        path.try_exists().map_err(file_error("look for", path))
    }

    fn write(&self, file: &File) -> Result<bool, SystemError> {
        let (uid, gid) = ids(file)?;
        if self.holds(file)? {
            return Ok(false);
        }
        files::replace(file, uid, gid).map_err(file_error("write", &file.path))?;
        Ok(true)
    }

    fn holds(&self, file: &File) -> Result<bool, SystemError> {
        let Ok((uid, gid)) = ids(file) else {
            return Ok(false);
        };
        files::is_so(file, uid, gid).map_err(file_error("read", &file.path))
    }

    fn remove(&self, path: &Path) -> Result<bool, SystemError> {
        let removed = match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => Err(error),
        };
        removed.map(|()| true).map_err(file_error("remove", path))
    }

    fn run_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<Ended, SystemError> {
        let unrunnable = |error| SystemError::Unrunnable {
            program: program.to_owned(),
            error,
        };
        let mut running = Command::new(program)
            .args(arguments)
            .stdin(if input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(unrunnable)?;
        // Little enough to be held by the pipe. One that ends without reading says itself what it lacked.
        if let Some(mut stdin) = running.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = running.wait_with_output().map_err(unrunnable)?;
        Ok(Ended {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn ids(file: &File) -> Result<(Uid, Gid), SystemError> {
    let (user, group) = match file.owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (file.owner.as_str(), None),
    };
    let found = User::from_name(user).ok().flatten();
    let uid = found.as_ref().map(|u| u.uid);
    let uid = uid.or_else(|| user.parse().ok().map(Uid::from_raw));
    let gid = match group {
        None => found
            .map(|u| u.gid)
            .or_else(|| uid.map(|u| Gid::from_raw(u.as_raw()))),
        Some(group) => {
            let found = Group::from_name(group).ok().flatten();
            found
                .map(|g| g.gid)
                .or_else(|| group.parse().ok().map(Gid::from_raw))
        }
    };
    uid.zip(gid).ok_or_else(|| SystemError::Owner {
        path: file.path.clone(),
        owner: file.owner.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_written_once_and_put_right_when_it_is_not_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = File {
            owner: format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid()),
            mode: 0o640,
            ..File::plain(directory.path().join("a/b/c"), "text\n")
        };
        assert!(!ThisMachine.holds(&file).unwrap());
        assert!(ThisMachine.write(&file).unwrap());
        assert!(ThisMachine.holds(&file).unwrap());
        assert!(!ThisMachine.write(&file).unwrap());
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(ThisMachine.write(&file).unwrap());
        // As a masked unit is: the link is what is replaced, not what it leads to.
        let target = directory.path().join("target");
        fs::write(&target, "text\n").unwrap();
        fs::remove_file(&file.path).unwrap();
        std::os::unix::fs::symlink(&target, &file.path).unwrap();
        assert!(ThisMachine.write(&file).unwrap());
        assert!(fs::symlink_metadata(&file.path).unwrap().is_file());
        assert!(ThisMachine.remove(&file.path).unwrap());
        assert!(!ThisMachine.remove(&file.path).unwrap());
        assert_eq!(fs::read_to_string(target).unwrap(), "text\n");
    }

    #[test]
    fn a_program_reads_what_it_is_given_and_nothing_else() {
        assert_eq!(ThisMachine.must_with("cat", &[], "a:b\n").unwrap(), "a:b\n");
        assert_eq!(ThisMachine.must("cat", &[]).unwrap(), "");
        // It does not have to.
        assert_eq!(ThisMachine.must_with("true", &[], "a\n").unwrap(), "");
    }
}
