//! `users` and `ssh_authorized_keys`.

use super::files::is_account;
use super::finding::quoted;
use super::section::{Field, Section};
use super::yaml::Kind;

/// A user who is made if there is none of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, as a hash.
    pub passwd: Option<String>,
    /// The full name.
    pub gecos: Option<String>,
    /// Where they live; `/home/NAME` if not said.
    pub homedir: Option<String>,
    /// They get no directory.
    pub no_create_home: bool,
    /// The group that they are in first.
    pub primary_group: Option<String>,
    /// Others.
    pub groups: Vec<String>,
    /// No group of their own name is made.
    pub no_user_group: bool,
    /// A user for a service.
    pub system: bool,
    /// Not in the logs of logins.
    pub no_log_init: bool,
    /// What they are given at login.
    pub shell: Option<String>,
    /// Keys that they come in with.
    pub keys: Vec<String>,
}

const KEYS: [&str; 17] = [
    "coreos_ssh_import_github",
    "coreos_ssh_import_github_users",
    "coreos_ssh_import_url",
    "gecos",
    "groups",
    "homedir",
    "lock_passwd",
    "name",
    "no_create_home",
    "no_log_init",
    "no_user_group",
    "passwd",
    "primary_group",
    "shell",
    "ssh_authorized_keys",
    "sudo",
    "system",
];

/// Reads the list.
pub(super) fn read(list: &Field<'_>) -> Vec<User> {
    let mut all: Vec<User> = Vec::new();
    for field in list.items() {
        if matches!(&field.node.kind, Kind::Text(text) if text == "default") {
            field.notice("is cloud-init's own user: left to cloud-init");
            continue;
        }
        let Some(section) = Section::open(&field, &KEYS) else {
            continue;
        };
        let Some(user) = user(&section) else { continue };
        if all.iter().any(|other| other.name == user.name) {
            field.error(format!("{} is given twice", user.name));
        }
        all.push(user);
    }
    all
}

fn user(section: &Section<'_>) -> Option<User> {
    for (key, field) in section.fields() {
        if key.starts_with("coreos_ssh_import") {
            field.notice("is not supported, nothing is fetched: write the keys in ssh-authorized-keys");
        } else if matches!(key, "lock_passwd" | "sudo") {
            field.notice("left to cloud-init");
        }
    }
    let line = |key: &str| {
        let field = section.get(key)?;
        let text = field.line_of_text()?;
        if text.contains(':') {
            return field.wrong("a text without a colon");
        }
        Some(text)
    };
    let account = |field: Field<'_>| {
        let name = field.line_of_text()?;
        if is_account(&name) {
            return Some(name);
        }
        field.error(format!("{} is no name of a user or group", quoted(&name)));
        None
    };
    let path = |key: &str| {
        let field = section.get(key)?;
        let text = line(key)?;
        if text.starts_with('/') {
            return Some(text);
        }
        field.wrong("a path that begins with /")
    };
    let groups = section.get("groups").map(|field| match &field.node.kind {
        // As cloud-init takes them.
        Kind::Text(text) => {
            let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
            if !names.iter().all(|name| is_account(name)) {
                field.wrong::<()>("a list of groups");
            }
            names
        }
        _ => field.items().into_iter().filter_map(account).collect(),
    });
    let passwd = line("passwd");
    if let (Some(hash), Some(field)) = (&passwd, section.get("passwd"))
        && !hash.starts_with(['$', '!', '*'])
    {
        // The value is no business of whoever reads the message.
        field.error(
            "expected the hash of a password, such as `openssl passwd -6` makes, found something else",
        );
    }
    let user = User {
        passwd,
        gecos: line("gecos"),
        homedir: path("homedir"),
        no_create_home: section.flag("no_create_home"),
        primary_group: section.get("primary_group").and_then(account),
        groups: groups.unwrap_or_default(),
        no_user_group: section.flag("no_user_group"),
        system: section.flag("system"),
        no_log_init: section.flag("no_log_init"),
        shell: path("shell"),
        keys: section
            .get("ssh_authorized_keys")
            .map(|f| keys(&f))
            .unwrap_or_default(),
        name: section.need("name").and_then(account)?,
    };
    Some(user)
}

/// Public keys, one a line as in `authorized_keys`.
pub(super) fn keys(list: &Field<'_>) -> Vec<String> {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let mut all = Vec::new();
    for field in list.items() {
        let Some(key) = field.line_of_text() else { continue };
        // Options may stand before the kind.
        let mut words = key.split_whitespace();
        let is_key = words
            .by_ref()
            .any(|w| KINDS.iter().any(|kind| w.starts_with(kind)))
            && words.next().is_some();
        if !is_key {
            field.error(format!(
                "expected a public key such as `ssh-ed25519 AAAA… name`, found {}",
                quoted(&key)
            ));
        } else if !all.contains(&key) {
            all.push(key);
        }
    }
    all
}
