//! What is done to the machine, one thing at a time.

use std::fmt;

use super::cloud_config::{User, Verb};
use super::etcd::{Etcd, Role};
use super::system::File;

/// One thing that is to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The machine has this name.
    Hostname(String),
    /// The name leads back to the machine, by `/etc/hosts`.
    Hosts(String),
    /// There is such a user.
    User {
        /// As they are made, if there is none.
        user: User,
        /// Groups that they are put into as far as there are such groups.
        if_there: Vec<String>,
    },
    /// These keys open the door to a user.
    Keys {
        /// Whom.
        user: String,
        /// Lines of `authorized_keys`.
        keys: Vec<String>,
    },
    /// A file is so.
    File {
        /// The file.
        file: File,
        /// The unit that it is a part of.
        unit: Option<String>,
    },
    /// A unit cannot be started.
    Mask {
        /// The unit.
        unit: String,
        /// Until the next boot.
        runtime: bool,
    },
    /// systemd knows of the units' files.
    Reload,
    /// A unit is started at boot.
    Enable {
        /// The unit.
        unit: String,
        /// Until the next boot.
        runtime: bool,
    },
    /// A unit is started, stopped, …
    Command {
        /// The unit.
        unit: String,
        /// What is done to it.
        verb: Verb,
    },
    /// A directory that etcd's user can write to.
    Directory {
        /// Absolute.
        path: String,
        /// One that is there, and that the user cannot write to, becomes that user's if it is empty.
        give: bool,
    },
    /// etcd answers on this machine.
    Etcd(Etcd),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(name) => write!(f, "set the host name to {name}"),
            Self::Hosts(name) => write!(f, "put {name} into /etc/hosts"),
            Self::User { user, .. } => write!(f, "make the user {}", user.name),
            Self::Keys { user, keys } => match keys.len() {
                1 => write!(f, "let a key in as {user}"),
                more => write!(f, "let {more} keys in as {user}"),
            },
            Self::File { file, .. } => {
                let (path, owner) = (file.path.display(), &file.owner);
                let size = file.content.len();
                write!(f, "write {path} ({size} bytes, {:04o}, {owner})", file.mode)
            }
            Self::Mask { unit, runtime } => write!(f, "mask {unit}{}", until_boot(*runtime)),
            Self::Reload => f.write_str("reload systemd"),
            Self::Enable { unit, runtime } => write!(f, "enable {unit}{}", until_boot(*runtime)),
            Self::Command { unit, verb } => write!(f, "{verb} {unit}"),
            Self::Directory { path, give: true } => write!(f, "make {path} for etcd.service's user"),
            Self::Directory { path, give: false } => write!(f, "have {path} for etcd.service's user"),
            Self::Etcd(etcd) => match &etcd.role {
                Role::Founder => f.write_str("found etcd's cluster: start etcd.service"),
                Role::Member { servers, .. } => write!(f, "join etcd's cluster through {servers}"),
                Role::Gateway { servers } => {
                    write!(f, "pass connections to etcd on to its members at {servers}")
                }
            },
        }
    }
}

fn until_boot(runtime: bool) -> &'static str {
    if runtime { " until the next boot" } else { "" }
}
