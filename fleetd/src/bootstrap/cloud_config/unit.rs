//! `coreos.units`: systemd units, their drop-ins, and what is to be done with them.

use std::fmt;

use units::{UnitFile, UnitName};

use super::finding::quoted;
use super::section::{Field, Section};
use super::yaml::Kind;

/// A unit of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name; that of today where it has changed (`etcd.service` for `etcd2.service`).
    pub name: String,
    /// What is done to it in the end.
    pub command: Option<Verb>,
    /// Started at every boot.
    pub enable: bool,
    /// Its files are gone with the next boot.
    pub runtime: bool,
    /// Never started.
    pub mask: bool,
    /// Its file.
    pub content: Option<String>,
    /// Name and text of files that add to it.
    pub drop_ins: Vec<(String, String)>,
}

/// `command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is the verb of systemctl
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    TryRestart,
    ReloadOrRestart,
    ReloadOrTryRestart,
}

impl Verb {
    const ALL: [Self; 7] = [
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Reload,
        Self::TryRestart,
        Self::ReloadOrRestart,
        Self::ReloadOrTryRestart,
    ];

    /// As systemctl calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::TryRestart => "try-restart",
            Self::ReloadOrRestart => "reload-or-restart",
            Self::ReloadOrTryRestart => "reload-or-try-restart",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const KEYS: [&str; 7] = [
    "command", "content", "drop_ins", "enable", "mask", "name", "runtime",
];

/// The unit of today that a unit of CoreOS is.
pub(super) fn today(name: &str) -> &str {
    match name {
        "etcd2.service" => "etcd.service",
        other => other,
    }
}

/// Files of systemd-networkd, which CoreOS kept among the units.
pub(super) fn is_network(name: &str) -> bool {
    [".network", ".netdev", ".link"].iter().any(|s| name.ends_with(s))
}

/// A unit and where it stands.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) unit: Unit,
    pub(super) field: Field<'a>,
}

/// Reads the list.
pub(super) fn read<'a>(list: &Field<'a>) -> Vec<Found<'a>> {
    let mut all: Vec<Found<'a>> = Vec::new();
    let written = |field: &Field<'_>| {
        let map = match &field.node.kind {
            Kind::Map(entries) => entries.iter().find(|e| e.key == "name"),
            _ => None,
        };
        map.and_then(|entry| match &entry.value.kind {
            Kind::Text(name) => Some(name.clone()),
            _ => None,
        })
    };
    let items = list.items();
    let has_etcd2 = items
        .iter()
        .any(|f| written(f).as_deref() == Some("etcd2.service"));
    for field in items {
        let Some(unit) = unit(&field) else { continue };
        let is_out = unit.mask || unit.command == Some(Verb::Stop);
        if has_etcd2 && is_out && written(&field).as_deref() == Some("etcd.service") {
            field.notice("beside etcd2.service this is etcd 0.4, which is not here: left alone");
            continue;
        }
        for other in all.iter().filter(|o| o.unit.name == unit.name) {
            let line = other.field.line;
            if other.unit.content.is_some() && unit.content.is_some() {
                field.error(format!("{} has its content in line {line} already", unit.name));
            }
            let is_started = |u: &Unit| u.command.is_some_and(|c| c != Verb::Stop);
            if (other.unit.mask && is_started(&unit)) || (unit.mask && is_started(&other.unit)) {
                field.error(format!("{} is masked and started (line {line})", unit.name));
            }
            let mut names = unit.drop_ins.iter().map(|(name, _)| name);
            if let Some(name) = names.find(|name| other.unit.drop_ins.iter().any(|(n, _)| n == *name)) {
                field.error(format!(
                    "{} has its drop-in {name} in line {line} already",
                    unit.name
                ));
            }
        }
        all.push(Found { unit, field });
    }
    all
}

fn unit(field: &Field<'_>) -> Option<Unit> {
    let section = Section::open(field, &KEYS).or_else(|| {
        if matches!(field.node.kind, Kind::Nothing) {
            field.error("expected a map of keys, found nothing");
        }
        None
    })?;
    let name_field = section.need("name")?;
    let name = name_field.line_of_text()?;
    let is_network = is_network(&name);
    let parsed = UnitName::parse(&name);
    if let (Err(why), false) = (&parsed, is_network) {
        name_field.error(format!("{}: {why}", quoted(&name)));
        return None;
    }
    if name.contains('/') || name.starts_with('.') {
        name_field.error(format!("{} is no name of a unit", quoted(&name)));
        return None;
    }
    let unit = Unit {
        name: today(&name).to_owned(),
        command: section.get("command").and_then(|f| verb(&f)),
        enable: section.flag("enable"),
        runtime: section.flag("runtime"),
        mask: section.flag("mask"),
        content: section.get("content").and_then(|f| content(&f)),
        drop_ins: section.get("drop_ins").map(|f| drop_ins(&f)).unwrap_or_default(),
    };
    if is_network && (unit.command.is_some() || unit.enable || unit.mask) {
        field.error(format!(
            "{name} is a file of systemd-networkd: it has content, and nothing is done with it but to restart systemd-networkd.service"
        ));
    }
    let is_template = parsed.is_ok_and(|name| name.is_template());
    if let (true, Some(verb)) = (is_template, unit.command) {
        field.error(format!("{name} is a template: there is nothing to {verb}"));
    }
    if unit.mask {
        match unit.command {
            Some(verb) if verb != Verb::Stop => {
                field.error(format!("is masked, so it cannot {verb}: take one of them out"));
            }
            _ if unit.enable => field.error("is masked, so it cannot be enabled: take one of them out"),
            _ if unit.content.is_some() => {
                field.error("is masked, so it cannot have content: take one of them out");
            }
            _ => {}
        }
    }
    if unit.name == "etcd.service" && unit.content.is_some() {
        field.notice(
            "its content takes the place of the etcd.service of this machine's packages, which reads the settings above",
        );
    }
    Some(unit)
}

fn verb(field: &Field<'_>) -> Option<Verb> {
    let text = field.line_of_text()?;
    let found = Verb::ALL.into_iter().find(|verb| verb.as_str() == text);
    found.or_else(|| {
        let all: Vec<&str> = Verb::ALL.iter().map(|v| v.as_str()).collect();
        field.wrong(&format!("one of {}", all.join(", ")))
    })
}

fn drop_ins(field: &Field<'_>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for item in field.items() {
        let Some(section) = Section::open(&item, &["name", "content"]) else {
            continue;
        };
        let (Some(name_field), Some(content_field)) = (section.need("name"), section.need("content")) else {
            continue;
        };
        let (Some(name), Some(text)) = (name_field.line_of_text(), content(&content_field)) else {
            continue;
        };
        if !name.ends_with(".conf") || name.contains('/') || name.starts_with('.') {
            name_field.error(format!(
                "{} is no name of a drop-in: expected NAME.conf",
                quoted(&name)
            ));
        } else if name == "20-cloudinit.conf" {
            name_field
                .error("20-cloudinit.conf is the name of the drop-in that bootstrap makes: take another");
        } else if all.iter().any(|(n, _)| *n == name) {
            name_field.error(format!("{name} is given twice"));
        } else {
            all.push((name, text));
        }
    }
    all
}

/// The text of a unit file. Its own lines are those of the cloud-config where it is a block (`|`), as it mostly is.
fn content(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if let Err(error) = UnitFile::parse(&text) {
        let is_block = field.node.line > field.line;
        let line = if is_block {
            field.node.line + error.line - 1
        } else {
            field.line
        };
        field.error_at(line, format!("no unit file: {}", error.fault));
        return None;
    }
    if text.ends_with('\n') {
        return Some(text);
    }
    Some(text + "\n")
}
