//! Users of the machine and their keys.

use super::text;
use crate::bootstrap::cloud_config::User;
use crate::bootstrap::system::{System, SystemError};

/// The home of a user; none where there is no such user.
pub(super) fn home(system: &dyn System, user: &str) -> Result<Option<String>, SystemError> {
    let ended = system.run("getent", &["passwd", user])?;
    let home = ended.stdout.trim().split(':').nth(5).map(str::to_owned);
    Ok(home.filter(|_| ended.success))
}

pub(super) fn has_other_password(system: &dyn System, user: &User) -> Result<bool, SystemError> {
    let Some(hash) = &user.passwd else {
        return Ok(false);
    };
    let shadow = text(system, "/etc/shadow")?;
    let mut lines = shadow.lines().map(|line| line.split(':'));
    let is_so = lines.any(|mut fields| fields.next() == Some(&user.name) && fields.next() == Some(hash));
    Ok(!is_so)
}

pub(super) fn make(system: &dyn System, user: &User, if_there: &[String]) -> Result<(), SystemError> {
    if home(system, &user.name)?.is_none() {
        add(system, user, if_there)?;
    }
    let Some(hash) = &user.passwd else {
        return Ok(());
    };
    // Not among the arguments, which everybody may read: a hash can be guessed at.
    let line = format!("{}:{hash}\n", user.name);
    system.must_with("chpasswd", &["--encrypted"], &line).map(drop)
}

fn add(system: &dyn System, user: &User, if_there: &[String]) -> Result<(), SystemError> {
    let mut groups = user.groups.clone();
    for group in if_there {
        if !groups.contains(group) && system.run("getent", &["group", group])?.success {
            groups.push(group.clone());
        }
    }
    let groups = groups.join(",");
    let mut arguments: Vec<&str> = Vec::new();
    let options = [
        ("--comment", user.gecos.as_deref()),
        ("--home-dir", user.homedir.as_deref()),
        ("--gid", user.primary_group.as_deref()),
        ("--groups", Some(groups.as_str()).filter(|g| !g.is_empty())),
        // No password fits. Without one the account would count as locked, and some sshds refuse those.
        ("--password", Some("*")),
        ("--shell", user.shell.as_deref().or(Some("/bin/bash"))),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            arguments.extend([option, value]);
        }
    }
    let home = if user.no_create_home {
        "--no-create-home"
    } else {
        "--create-home"
    };
    arguments.push(home);
    let flags = [
        ("--no-user-group", user.no_user_group),
        ("--system", user.system),
        ("--no-log-init", user.no_log_init),
    ];
    arguments.extend(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| *flag));
    arguments.push(&user.name);
    system.must("useradd", &arguments).map(drop)
}

/// No `authorized_keys` is as large, in bytes.
const MOST_KEYS: usize = 1 << 20;

/// So much of a file `$1` as `$2` says. A pipe would never end, and is none.
const READ: &str = r#"[ -f "$1" ] && head -c "$2" -- "$1""#;

/// Keys that a user does not have yet and the file that they belong into; none where there is no such user.
pub(super) fn missing(
    system: &dyn System,
    user: &str,
    keys: &[String],
) -> Result<Option<(Vec<String>, String)>, SystemError> {
    let Some(home) = home(system, user)? else {
        return Ok(None);
    };
    let path = format!("{home}/.ssh/authorized_keys");
    // As the user: what they have made of their directory must not lead root elsewhere. Nor is it to be without an end.
    let limit = (MOST_KEYS + 1).to_string();
    let ended = system.run(
        "runuser",
        &["-u", user, "--", "sh", "-c", READ, "sh", &path, &limit],
    )?;
    let present = if ended.success {
        ended.stdout
    } else {
        String::new()
    };
    if present.len() > MOST_KEYS {
        return Err(SystemError::File {
            what: "read",
            path: path.into(),
            error: std::io::Error::other("it has more than 1 MiB"),
        });
    }
    let missing = keys
        .iter()
        .filter(|key| !present.lines().any(|line| line.trim() == *key));
    Ok(Some((missing.cloned().collect(), path)))
}

/// `$1` is the file, what follows are lines for it.
const APPEND: &str = r#"set -e; umask 077; f=$1; shift; mkdir -p "${f%/*}"; if [ -s "$f" ] && [ -n "$(tail -c1 "$f")" ]; then echo >> "$f"; fi; printf '%s\n' "$@" >> "$f""#;

pub(super) fn let_in(system: &dyn System, user: &str, keys: &[String]) -> Result<(), SystemError> {
    let Some((missing, path)) = missing(system, user, keys)? else {
        return system.must("getent", &["passwd", user]).map(drop);
    };
    let mut arguments = vec!["-u", user, "--", "sh", "-c", APPEND, "sh", &path];
    arguments.extend(missing.iter().map(String::as_str));
    system.must("runuser", &arguments).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::system::ThisMachine;
    use crate::bootstrap::system::memory::Memory;

    #[test]
    fn keys_go_on_lines_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my home/.ssh/authorized_keys");
        let append = |keys: &[&str]| {
            let path = path.to_str().unwrap();
            let arguments = [&["-c", APPEND, "sh", path], keys].concat();
            ThisMachine.must("sh", &arguments).unwrap();
        };
        append(&["ssh-rsa A a", "ssh-rsa B b"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "ssh-rsa A a\nssh-rsa B b\n"
        );
        std::fs::write(&path, "ssh-rsa C c").unwrap();
        append(&["ssh-rsa %s $HOME"]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "ssh-rsa C c\nssh-rsa %s $HOME\n"
        );
    }

    #[test]
    fn no_more_of_a_users_file_is_read_than_keys_take() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let read = |file: &str, limit: &str| ThisMachine.run("sh", &["-c", READ, "sh", file, limit]).unwrap();
        std::fs::write(path("keys"), "ssh-rsa A a\n").unwrap();
        assert_eq!(read(&path("keys"), "100").stdout, "ssh-rsa A a\n");
        assert_eq!(read(&path("keys"), "4").stdout, "ssh-");
        nix::unistd::mkfifo(path("pipe").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for endless in ["/dev/zero", &path("pipe"), &path("none")] {
            let ended = read(endless, "100");
            assert_eq!((ended.success, ended.stdout.as_str()), (false, ""), "{endless}");
        }
    }

    #[test]
    fn keys_without_an_end_are_refused_and_not_added_to() {
        let system = Memory::new("core-01");
        system.run("useradd", &["elroy"]).unwrap();
        system.put("/home/elroy/.ssh/authorized_keys", &"a\n".repeat(MOST_KEYS));
        let keys = ["ssh-rsa A a".to_owned()];
        let error = let_in(&system, "elroy", &keys).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot read /home/elroy/.ssh/authorized_keys: it has more than 1 MiB"
        );
        assert_eq!(system.changes(), ["useradd elroy"]);
    }
}
