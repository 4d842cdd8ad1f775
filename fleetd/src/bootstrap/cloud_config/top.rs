//! The keys at the top and those of `coreos`.

use super::etcd::{Wanted, read_etcd, read_etcd2, settle};
use super::finding::Findings;
use super::section::{Field, Section, normal};
use super::unit::{Found, Verb};
use super::yaml::Node;
use super::{CloudConfig, files, fleet, unit, users};
use crate::bootstrap::facts::Facts;

const KEYS: [&str; 6] = [
    "coreos",
    "hostname",
    "manage_etc_hosts",
    "ssh_authorized_keys",
    "users",
    "write_files",
];

/// Keys of cloud-init that CoreOS never had. cloud-init reads the same file, or another, and does them itself.
#[rustfmt::skip]
const CLOUD_INIT: [&str; 82] = [
    "allow_public_ssh_keys", "ansible", "apk_repos", "apt", "apt_pipelining", "apt_update", "apt_upgrade",
    "bootcmd", "byobu_by_default", "ca_certs", "chef", "chpasswd", "cloud_config_modules",
    "cloud_final_modules", "cloud_init_modules", "create_hostname_file", "datasource", "device_aliases",
    "disable_ec2_metadata", "disable_root", "disable_root_opts", "disk_setup", "drivers", "fan",
    "final_message", "fqdn", "fs_setup", "groups", "growpart", "grub_dpkg", "hotplug", "keyboard",
    "landscape", "locale", "lxd", "manage_resolv_conf", "mcollective", "merge_how", "merge_type", "mounts",
    "network", "no_ssh_fingerprints", "ntp", "output", "package_reboot_if_required", "package_update",
    "package_upgrade", "packages", "password", "phone_home", "power_state", "prefer_fqdn_over_hostname",
    "preserve_hostname", "puppet", "random_seed", "reporting", "resize_rootfs", "resolv_conf",
    "rh_subscription", "rsyslog", "runcmd", "salt_minion", "snap", "spacewalk", "ssh", "ssh_deletekeys",
    "ssh_genkeytypes", "ssh_import_id", "ssh_keys", "ssh_pwauth", "ssh_quiet_keygen", "swap", "system_info",
    "timezone", "ubuntu_advantage", "ubuntu_pro", "updates", "user", "vendor_data", "wireguard",
    "yum_repos", "zypper",
];

const COREOS: [&str; 8] = [
    "etcd",
    "etcd2",
    "flannel",
    "fleet",
    "locksmith",
    "oem",
    "units",
    "update",
];

/// Reads the whole document.
pub(super) fn read(root: &Node, facts: &Facts, findings: &Findings) -> CloudConfig {
    let root = Field::root(root, findings);
    let mut known = KEYS.to_vec();
    known.extend(CLOUD_INIT);
    let mut config = CloudConfig::default();
    let Some(section) = Section::open(&root, &known) else {
        return config;
    };
    for (key, field) in section.fields() {
        if CLOUD_INIT.contains(&key) {
            field.notice("left to cloud-init");
        }
    }
    config.hostname = section.get("hostname").and_then(|f| hostname(&f));
    config.manage_etc_hosts = section.get("manage_etc_hosts").is_some_and(|f| etc_hosts(&f));
    config.core_keys = section
        .get("ssh_authorized_keys")
        .map(|f| users::keys(&f))
        .unwrap_or_default();
    config.users = section.get("users").map(|f| users::read(&f)).unwrap_or_default();
    config.files = section
        .get("write_files")
        .map(|f| files::read(&f))
        .unwrap_or_default();
    let mut facts = facts.clone();
    if let Some(hostname) = &config.hostname {
        facts.hostname.clone_from(hostname);
    }
    if let Some(field) = section.get("coreos") {
        coreos(&field, &facts, &mut config);
    }
    config
}

fn hostname(field: &Field<'_>) -> Option<String> {
    let name = field.line_of_text()?;
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if name.len() <= 64 && name.split('.').all(is_label) {
        return Some(name);
    }
    field.wrong("a host name")
}

fn etc_hosts(field: &Field<'_>) -> bool {
    match field.line_of_text().as_deref() {
        Some("localhost") => true,
        Some("true" | "false" | "template") => {
            field.notice("left to cloud-init");
            false
        }
        None => false,
        _ => {
            field.wrong::<()>("localhost");
            false
        }
    }
}

fn coreos(field: &Field<'_>, facts: &Facts, config: &mut CloudConfig) {
    let Some(section) = Section::open(field, &COREOS) else {
        return;
    };
    for (key, field) in section.fields() {
        let why = match key {
            "update" => "the operating system's packages are updated by its own means",
            "locksmith" => "there are no update locks",
            "flannel" => "there is no flannel",
            "oem" => "it describes a CoreOS image",
            _ => continue,
        };
        field.notice(format!("has no effect: {why}"));
    }
    if let Some(field) = section.get("fleet") {
        config.fleet = fleet::read(&field, facts);
    }
    let units = section.get("units").map(|f| unit::read(&f)).unwrap_or_default();
    if let (Some(old), Some(new)) = (section.get("etcd"), section.get("etcd2")) {
        let (later, first) = if old.line > new.line {
            (old, new)
        } else {
            (new, old)
        };
        later.error(format!(
            "is given beside {} in line {}: give one of them",
            first.path, first.line
        ));
        return;
    }
    etcd(&section, &units, facts, config);
    config.units = units.into_iter().map(|found| found.unit).collect();
}

fn etcd(section: &Section<'_>, units: &[Found<'_>], facts: &Facts, config: &mut CloudConfig) {
    let starts = |name: &str| {
        let is_start = |f: &&Found<'_>| {
            f.unit.name == name && matches!(f.unit.command, Some(Verb::Start | Verb::Restart))
        };
        units.iter().find(is_start)
    };
    let started = starts("etcd.service");
    let (old, new) = (section.get("etcd"), section.get("etcd2"));
    // Settings that are there are checked, whether or not anything comes of them.
    let settled = match (&old, &new) {
        (Some(field), _) => settle(read_etcd(field, facts), field, facts),
        (None, Some(field)) => settle(read_etcd2(field, facts), field, facts),
        (None, None) => started.and_then(|f| settle(Wanted::default(), &f.field, facts)),
    };
    match (started, old.or(new)) {
        (Some(_), _) => config.etcd = settled,
        (None, Some(field)) => {
            let because = if starts("fleet.service").is_some() {
                ", though fleet.service is"
            } else {
                ""
            };
            field.notice(format!(
                "has no effect: {}.service is not started by any of units{because}",
                last(&field.path)
            ));
        }
        (None, None) => {}
    }
}

fn last(path: &str) -> String {
    normal(path.rsplit('.').next().unwrap_or(path))
}
