//! From what a cloud-config asks for to the steps that make it so, in the order of coreos-cloudinit.

use std::collections::BTreeMap;
use std::path::Path;

use super::cloud_config::{CloudConfig, Unit, User, Verb};
use super::etcd::dropin::assignment;
use super::etcd::{Etcd, Role};
use super::facts::Facts;
use super::settings::DATA;
use super::step::Step;
use super::system::File;

const ETCD: &str = "etcd.service";
const FLEET: &str = "fleet.service";

const PASSWORD: &str = "FLEET_ETCD_PASSWORD";
/// etcd's password for fleetd, apart from its other settings: systemd tells everybody what stands in a unit's Environment=.
pub const PASSWORD_FILE: &str = "/etc/fleet/etcd-password.env";

/// Groups that CoreOS' `core` was in.
const CORE_GROUPS: [&str; 5] = ["sudo", "wheel", "docker", "systemd-journal", "fleet"];

/// The steps, in order.
pub fn plan(config: &CloudConfig, facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(name) = &config.hostname {
        steps.push(Step::Hostname(name.clone()));
    }
    if config.manage_etc_hosts {
        let name = config.hostname.as_ref().unwrap_or(&facts.hostname);
        steps.push(Step::Hosts(name.clone()));
    }
    users(config, &mut steps);
    let plain = config.files.iter().map(|file| Step::File {
        unit: unit_of(file),
        file: file.clone(),
    });
    steps.extend(plain);
    units(config, &mut steps);
    steps
}

fn users(config: &CloudConfig, steps: &mut Vec<Step>) {
    let mut users = config.users.clone();
    if !config.core_keys.is_empty() {
        match users.iter_mut().find(|user| user.name == "core") {
            Some(core) => {
                let new = config.core_keys.iter().filter(|key| !core.keys.contains(key));
                let new: Vec<String> = new.cloned().collect();
                core.keys.extend(new);
            }
            None => users.insert(
                0,
                User {
                    name: "core".to_owned(),
                    keys: config.core_keys.clone(),
                    ..User::default()
                },
            ),
        }
    }
    for user in users {
        let if_there = if user.name == "core" {
            &CORE_GROUPS[..]
        } else {
            &[]
        };
        let keys = Step::Keys {
            user: user.name.clone(),
            keys: user.keys.clone(),
        };
        let has_keys = !user.keys.is_empty();
        steps.push(Step::User {
            user,
            if_there: if_there.iter().map(|&group| group.to_owned()).collect(),
        });
        if has_keys {
            steps.push(keys);
        }
    }
}

/// The unit that a file is a part of, by where it lies.
fn unit_of(file: &File) -> Option<String> {
    let roots = ["/etc/systemd/system", "/run/systemd/system"];
    let below = roots.iter().find_map(|root| file.path.strip_prefix(root).ok())?;
    let first = below.components().next()?.as_os_str().to_str()?;
    Some(first.strip_suffix(".d").unwrap_or(first).to_owned())
}

fn units(config: &CloudConfig, steps: &mut Vec<Step>) {
    let root = |unit: &Unit| {
        if unit.runtime {
            "/run/systemd/system"
        } else {
            "/etc/systemd/system"
        }
    };
    let drop_in = |root: &str, unit: &str, name: &str, text: String| Step::File {
        file: File::plain(format!("{root}/{unit}.d/{name}"), text),
        unit: Some(unit.to_owned()),
    };
    if !config.fleet.is_empty() {
        let mut variables = config.fleet.clone();
        let password = variables.remove(PASSWORD);
        let mut text = environment(&variables);
        if let Some(password) = password {
            text.push_str(&format!("EnvironmentFile={PASSWORD_FILE}\n"));
            steps.push(Step::File {
                file: password_file(&password),
                unit: Some(FLEET.to_owned()),
            });
        }
        // Not below /run: cloud-init runs us once, and the machine has to come back from a reboot.
        steps.push(drop_in("/etc/systemd/system", FLEET, "20-cloudinit.conf", text));
    }
    for unit in &config.units {
        for (name, text) in &unit.drop_ins {
            steps.push(drop_in(root(unit), &unit.name, name, text.clone()));
        }
    }
    for unit in &config.units {
        let Some(text) = &unit.content else { continue };
        let is_network = [".network", ".netdev", ".link"]
            .iter()
            .any(|s| unit.name.ends_with(s));
        let (directory, owner) = match (is_network, unit.runtime) {
            (false, _) => (root(unit), Some(unit.name.clone())),
            (true, false) => ("/etc/systemd/network", None),
            (true, true) => ("/run/systemd/network", None),
        };
        steps.push(Step::File {
            file: File::plain(format!("{directory}/{}", unit.name), text.clone()),
            unit: owner,
        });
    }
    for unit in config.units.iter().filter(|unit| unit.mask) {
        steps.push(Step::Mask {
            unit: unit.name.clone(),
            runtime: unit.runtime,
        });
    }
    if steps
        .iter()
        .any(|step| matches!(step, Step::File { unit: Some(_), .. }))
    {
        steps.push(Step::Reload);
    }
    enable(config, steps);
    for unit in &config.units {
        let Some(verb) = unit.command else { continue };
        let is_start = matches!(verb, Verb::Start | Verb::Restart);
        // fleetd is up once etcd answers: with fleet's unit first in the file it would wait for what comes after it.
        let form = config
            .etcd
            .as_ref()
            .filter(|_| is_start && [ETCD, FLEET].contains(&unit.name.as_str()));
        if let Some(etcd) = form {
            let step = Step::Etcd(etcd.clone());
            if !steps.contains(&step) {
                directories(etcd, steps);
                steps.push(step);
            }
        }
        if form.is_none() || unit.name != ETCD {
            steps.push(Step::Command {
                unit: unit.name.clone(),
                verb,
            });
        }
    }
}

/// Where etcd is to write, unless its package or etcd itself makes that: its user may make nothing elsewhere.
fn directories(etcd: &Etcd, steps: &mut Vec<Step>) {
    if matches!(etcd.role, Role::Gateway { .. }) {
        return;
    }
    let data = etcd.environment.get("ETCD_DATA_DIR").filter(|path| *path != DATA);
    if let Some(path) = data {
        steps.push(Step::Directory {
            path: path.clone(),
            give: true,
        });
    }
    // etcd puts its log's directory in place by renaming one beside it: what it has to write to is the one above.
    let above = etcd.environment.get("ETCD_WAL_DIR").and_then(|path| above(path));
    if let Some(path) = above.filter(|path| Some(*path) != data.map(String::as_str)) {
        steps.push(Step::Directory {
            path: path.to_owned(),
            // Nobody named it, and /srv or /mnt are everybody's, empty as they may be.
            give: Path::new(path).components().count() > 2 && !path.contains("/.."),
        });
    }
}

/// The directory that another lies in, unless that is there anyhow.
fn above(path: &str) -> Option<&str> {
    let (above, _) = path.trim_end_matches('/').rsplit_once('/')?;
    let above = if above.is_empty() { "/" } else { above };
    let is_etcds = above == DATA || DATA.strip_suffix("/fleet") == Some(above);
    (!is_etcds).then_some(above)
}

fn enable(config: &CloudConfig, steps: &mut Vec<Step>) {
    for unit in &config.units {
        let is_start = matches!(unit.command, Some(Verb::Start | Verb::Restart));
        // On CoreOS the cloud-config started it at every boot. Here it is read once. etcd is enabled as it is formed.
        let is_ours = unit.name == FLEET && is_start;
        let is_formed = unit.name == ETCD && config.etcd.is_some();
        let step = Step::Enable {
            unit: unit.name.clone(),
            runtime: unit.runtime && !is_ours,
        };
        if (unit.enable || is_ours) && !is_formed && !steps.contains(&step) {
            steps.push(step);
        }
    }
}

/// For `EnvironmentFile=`, whose quotes are a shell's (systemd.exec(5)).
fn password_file(password: &str) -> File {
    let mut text = format!("{PASSWORD}=\"");
    for character in password.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push_str("\"\n");
    File {
        mode: 0o600,
        ..File::plain(PASSWORD_FILE, text)
    }
}

/// A drop-in that sets variables for a service.
pub fn environment(variables: &BTreeMap<String, String>) -> String {
    let lines = variables
        .iter()
        .map(|(name, value)| assignment(name, value) + "\n");
    "[Service]\n".to_owned() + &lines.collect::<String>()
}
