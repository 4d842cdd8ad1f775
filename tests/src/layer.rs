//! What the lab adds to the image for the machines of one cluster: a second read-only layer, written anew for each
//! cluster, so that a change in here needs no new image. And the files that differ from machine to machine.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::{Base, Etcd, Options};
use crate::fleet::Fleet;
use crate::host_etcd;
use crate::network::Index;

const UNITS: &str = "usr/lib/systemd/system";

/// How much of its past etcd keeps: as we recommend, only shorter, so that half an hour shows it at work.
const COMPACTION: &str = "5m";

/// etcd refuses writes beyond this many bytes.
const QUOTA: u64 = 512 << 20;

/// The one thing that a bare machine has from the lab: its address.
const NETWORK: (&str, &str) = (
    "usr/lib/systemd/system/lab-network.service",
    include_str!("../machine/lab-network.service"),
);

const FILES: [(&str, &str); 5] = [
    (
        "usr/lib/systemd/system/lab-images.service",
        include_str!("../machine/lab-images.service"),
    ),
    (
        "usr/lib/systemd/system/etcd-gateway.service",
        include_str!("../machine/etcd-gateway.service"),
    ),
    (
        "usr/lib/systemd/system/docker.service.d/forward.conf",
        include_str!("../machine/docker-forward.conf"),
    ),
    (
        "etc/containers/containers.conf",
        include_str!("../machine/containers.conf"),
    ),
    (
        "usr/lib/sysusers.d/fleet.conf",
        include_str!("../machine/fleet-group.conf"),
    ),
];

/// A machine's name inside the cluster, also its etcd member's.
pub fn hostname(number: usize) -> String {
    format!("m{number}")
}

/// A machine's id: recognisable at a glance, as it stands in every list that fleet prints.
pub fn machine_id(number: usize) -> String {
    format!("{number:02}").repeat(16)
}

/// Writes the layer that all machines of the cluster share.
pub fn write_shared(layer: &Path, index: Index, options: &Options, fleet: Option<&Fleet>) -> Result<()> {
    write(&layer.join(NETWORK.0), NETWORK.1)?;
    enable(layer, "lab-network.service", "sysinit.target")?;
    if options.base != Base::Lab {
        return Ok(());
    }
    for (path, content) in FILES {
        write(&layer.join(path), content)?;
    }
    if options.images {
        enable(layer, "lab-images.service", "multi-user.target")?;
    }
    let mut hosts = String::from("127.0.0.1 localhost\n");
    for number in 1..=options.machines {
        // Writing to a String cannot fail.
        let _ = writeln!(hosts, "{} {}", index.address(number), hostname(number));
    }
    write(&layer.join("etc/hosts"), &hosts)?;
    if options.etcd == Etcd::Host {
        host_etcd(layer)?;
    }
    match fleet {
        Some(fleet) => fleet.install(layer),
        None => Ok(()),
    }
}

/// Puts the host's etcd over the image's: what faults do to one version they do to the other.
fn host_etcd(layer: &Path) -> Result<()> {
    let programs = host_etcd::directory()?;
    for program in ["etcd", "etcdctl"] {
        let (from, to) = (programs.join(program), layer.join("usr/bin").join(program));
        write(&to, "")?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Writes what is one machine's own, into its root.
pub fn write_own(root: &Path, index: Index, number: usize, options: &Options) -> Result<()> {
    let address = index.address(number);
    write(&root.join("etc/machine-id"), &format!("{}\n", machine_id(number)))?;
    write(&root.join("etc/hostname"), &format!("{}\n", hostname(number)))?;
    let network = format!("ADDRESS={address}\nGATEWAY={}\n", index.host_address());
    write(&root.join("etc/lab/network"), &network)?;
    if options.base != Base::Lab {
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {}\n", hostname(number));
        return write(&root.join("etc/hosts"), &hosts);
    }
    write_etcd(root, index, number, options)?;
    write(
        &root.join("etc/fleet/fleet.conf"),
        &fleet_conf(number, address, options),
    )
}

fn write_etcd(root: &Path, index: Index, number: usize, options: &Options) -> Result<()> {
    let members = 1..=options.members();
    if members.contains(&number) {
        let address = index.address(number);
        let cluster: Vec<String> = members
            .map(|n| format!("{}=http://{}:2380", hostname(n), index.address(n)))
            .collect();
        let settings = format!(
            "ETCD_NAME={}\n\
             ETCD_LISTEN_PEER_URLS=http://{address}:2380\n\
             ETCD_LISTEN_CLIENT_URLS=http://{address}:2379,http://127.0.0.1:2379\n\
             ETCD_ADVERTISE_CLIENT_URLS=http://{address}:2379\n\
             ETCD_INITIAL_ADVERTISE_PEER_URLS=http://{address}:2380\n\
             ETCD_INITIAL_CLUSTER={}\n\
             ETCD_INITIAL_CLUSTER_TOKEN={}\n\
             ETCD_INITIAL_CLUSTER_STATE=new\n\
             ETCD_AUTO_COMPACTION_MODE=periodic\n\
             ETCD_AUTO_COMPACTION_RETENTION={COMPACTION}\n\
             ETCD_QUOTA_BACKEND_BYTES={QUOTA}\n",
            hostname(number),
            cluster.join(","),
            index.bridge(),
        );
        write(&root.join("etc/default/etcd"), &settings)?;
        enable(root, "etcd.service", "multi-user.target")
    } else {
        let members: Vec<String> = members.map(|n| format!("{}:2379", index.address(n))).collect();
        write(
            &root.join("etc/lab/etcd"),
            &format!("MEMBERS={}\n", members.join(",")),
        )?;
        enable(root, "etcd-gateway.service", "multi-user.target")
    }
}

fn fleet_conf(number: usize, address: Ipv4Addr, options: &Options) -> String {
    let mut lines = vec![
        format!("public_ip={address}"),
        "etcd_servers=http://127.0.0.1:2379".to_owned(),
    ];
    if !options.zones.is_empty() {
        lines.push(format!(
            "metadata=zone={}",
            options.zones[(number - 1) % options.zones.len()]
        ));
    }
    lines.extend_from_slice(&options.fleet_conf);
    lines.join("\n") + "\n"
}

/// Has a unit of the image, or of the layer, start at boot.
pub fn enable(root: &Path, unit: &str, target: &str) -> Result<()> {
    let wants = root.join("etc/systemd/system").join(format!("{target}.wants"));
    fs::create_dir_all(&wants).with_context(|| format!("cannot make {}", wants.display()))?;
    let link = wants.join(unit);
    symlink(Path::new("/").join(UNITS).join(unit), &link)
        .with_context(|| format!("cannot link {}", link.display()))
}

/// Writes a file and the directories it needs.
pub fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
