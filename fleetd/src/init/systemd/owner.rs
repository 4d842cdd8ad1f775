//! Who else on this machine claims a unit's name.
//!
//! systemd would load a name from the first file it finds in its search path (`UnitPath`, which includes the
//! directories of generated, transient and controlled units), else from the file of its template. So the same is
//! looked for here, in the file system: about 26 `lstat`s, and it sees what lies beneath fleet's own link too, which
//! `GetUnitFileState` does not: a package may bring `web.service` after fleet linked its own. An alias is a link of
//! that name, a masked unit one to `/dev/null`; both claim it. Units without any file (mounts of `/etc/fstab`'s kind
//! have generated ones, but `init.scope` or a mount made by hand has none) only PID 1 knows.

use std::io;
use std::path::{Path, PathBuf};

use units::UnitName;

/// Where systemd puts the runtime links of unit files that lie elsewhere.
const LINKS: &str = "/run/systemd/system";

/// The first file outside fleet's `directory` that claims `name` or its template, in the directories of `search`.
pub(super) fn claimant(search: &[PathBuf], directory: &Path, name: &UnitName) -> Option<PathBuf> {
    let template = name.template();
    let names = std::iter::once(name).chain(&template);
    names
        .flat_map(|name| search.iter().map(move |place| place.join(name.as_str())))
        .find(|file| claims(file, directory))
}

/// The file that systemd would load a unit from.
pub(super) fn locate(search: &[PathBuf], unit: &str) -> Option<PathBuf> {
    let template = UnitName::parse(unit).ok().and_then(|name| name.template());
    let names = std::iter::once(unit).chain(template.as_ref().map(UnitName::as_str));
    let mut files = names.flat_map(|name| search.iter().map(move |place| place.join(name)));
    files.find(|file| file.symlink_metadata().is_ok())
}

/// Whether there is such a file and it is none of fleet's.
fn claims(file: &Path, directory: &Path) -> bool {
    match std::fs::read_link(file) {
        Ok(target) => !leads_into(file, &target, directory),
        // It is there, but no link.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => true,
        // Not there. What cannot be read (nothing that root meets) is left to systemd to refuse.
        Err(_) => false,
    }
}

/// Whether PID 1 loaded a unit from `fragment` because fleet linked it there.
///
/// What is gone from the directory of runtime links was fleet's: it unlinks what it ends. A unit that still runs though
/// its package took the file away is the host's.
pub(super) fn ours(fragment: &Path, directory: &Path) -> bool {
    if fragment.starts_with(directory) {
        return true;
    }
    match std::fs::read_link(fragment) {
        Ok(target) => leads_into(fragment, &target, directory),
        Err(error) => error.kind() == io::ErrorKind::NotFound && fragment.starts_with(LINKS),
    }
}

/// Whether a link leads into fleet's directory, whose file may be gone already.
fn leads_into(link: &Path, target: &Path, directory: &Path) -> bool {
    let place = link.parent().map(|parent| parent.join(target));
    let parent = place.as_deref().and_then(Path::parent);
    parent.is_some_and(|parent| {
        parent == directory
            // /var/run may be written for /run on either side.
            || matches!((parent.canonicalize(), directory.canonicalize()), (Ok(a), Ok(b)) if a == b)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Host {
        root: tempfile::TempDir,
        search: Vec<PathBuf>,
        directory: PathBuf,
    }

    impl Host {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a directory");
            let search = ["etc", "run", "usr"]
                .map(|place| root.path().join(place))
                .to_vec();
            let directory = root.path().join("fleet");
            search
                .iter()
                .chain([&directory])
                .for_each(|place| std::fs::create_dir(place).expect("made"));
            Self {
                root,
                search,
                directory,
            }
        }

        fn file(&self, path: &str) -> PathBuf {
            let path = self.root.path().join(path);
            std::fs::write(&path, "[Service]\n").expect("written");
            path
        }

        fn link(&self, path: &str, target: impl AsRef<Path>) -> PathBuf {
            let path = self.root.path().join(path);
            symlink(target, &path).expect("linked");
            path
        }

        fn claimant(&self, name: &str) -> Option<PathBuf> {
            claimant(
                &self.search,
                &self.directory,
                &UnitName::parse(name).expect("a name"),
            )
        }
    }

    #[test]
    fn a_name_nobody_uses_is_free() {
        assert_eq!(Host::new().claimant("web.service"), None);
    }

    #[test]
    fn fleets_own_links_are_not_the_hosts() {
        let host = Host::new();
        let file = host.file("fleet/web.service");
        host.link("run/web.service", &file);
        assert_eq!(host.claimant("web.service"), None);
        std::fs::remove_file(file).expect("removed");
        assert_eq!(host.claimant("web.service"), None);
    }

    #[test]
    fn a_file_beneath_fleets_own_link_is_seen() {
        let host = Host::new();
        host.link("run/web.service", host.directory.join("web.service"));
        let file = host.file("usr/web.service");
        assert_eq!(host.claimant("web.service"), Some(file));
    }

    #[test]
    fn aliases_and_masks_claim_their_names() {
        let host = Host::new();
        host.file("usr/ssh.service");
        let alias = host.link("etc/sshd.service", "../usr/ssh.service");
        let mask = host.link("etc/getty.service", "/dev/null");
        assert_eq!(host.claimant("sshd.service"), Some(alias));
        assert_eq!(host.claimant("getty.service"), Some(mask));
    }

    #[test]
    fn templates_claim_their_instances() {
        let host = Host::new();
        let template = host.file("usr/getty@.service");
        assert_eq!(host.claimant("getty@tty9.service"), Some(template.clone()));
        assert_eq!(host.claimant("getty@.service"), Some(template));
        assert_eq!(host.claimant("getty.service"), None);
    }

    #[test]
    fn another_spelling_of_fleets_directory_is_still_fleets() {
        let host = Host::new();
        host.file("fleet/web.service");
        let other = host.link("spelling", &host.directory);
        host.link("run/web.service", other.join("web.service"));
        assert_eq!(host.claimant("web.service"), None);
    }
}
