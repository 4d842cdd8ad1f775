//! Taking away what the lab made, found by name alone, so that it also works after a run that was killed.
//!
//! Only what carries the lab's name is touched: cgroups and the processes in them, links, the bridge's rule, mounts
//! and files in the lab's own directory.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::cgroup::Hierarchies;
use crate::cluster::{self, directory, home};
use crate::host;
use crate::machine::Machine;
use crate::network::{self, Index, PREFIX};
use crate::printer::Printer;

/// Takes away everything of one cluster, whatever there is of it. The caller holds the cluster's lock.
pub fn wipe(index: Index) -> Result<()> {
    let hierarchies = Hierarchies::find()?;
    let machine = |number| Machine::new(index, number, directory(index, number), &hierarchies);
    let machines: Vec<Machine> = numbers(index, &hierarchies)?.into_iter().map(machine).collect();
    // All at once: none has time to miss the others.
    for machine in &machines {
        machine.cut_power()?;
    }
    for machine in &machines {
        machine.remove()?;
    }
    network::remove_bridge(index)?;
    host::remove_tree(&home(index))
}

/// The machines of a cluster of which there is any trace.
fn numbers(index: Index, hierarchies: &Hierarchies) -> Result<BTreeSet<usize>> {
    let group = index.machine(0);
    let group = group.trim_end_matches('0');
    let mut names = hierarchies.names(group)?;
    names.extend(
        network::links()?
            .iter()
            .filter_map(|link| link.strip_prefix("vb-"))
            .map(str::to_owned),
    );
    let mut numbers: BTreeSet<usize> = names
        .iter()
        .filter_map(|name| name.strip_prefix(group))
        .filter_map(|number| number.parse().ok())
        .collect();
    if let Ok(entries) = fs::read_dir(home(index)) {
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        numbers.extend(names.filter_map(|name| {
            name.strip_prefix('m')
                .and_then(|number| number.parse::<usize>().ok())
        }));
    }
    Ok(numbers)
}

/// Takes away every cluster that no living process holds, the one that people play with included.
pub fn everything(printer: &Printer) -> Result<()> {
    for index in Index::all() {
        let Some(lock) = cluster::lock(index)? else {
            printer.note(&format!("cluster {index} is in use by a running lab: left alone"));
            continue;
        };
        if has_traces(index)? {
            printer.step(format!("take away cluster {index}"), |_| wipe(index))?;
        }
        drop(lock);
    }
    Ok(())
}

fn has_traces(index: Index) -> Result<bool> {
    let found = leftovers()?;
    let names = [home(index).display().to_string(), index.bridge()];
    Ok(found
        .iter()
        .any(|trace| names.iter().any(|name| trace.contains(name.as_str()))))
}

/// Everything on this host that carries the lab's name and belongs to a cluster, for people and for tests that want
/// to see nothing.
pub fn leftovers() -> Result<Vec<String>> {
    let hierarchies = Hierarchies::find()?;
    let mut found: Vec<String> = network::links()?
        .into_iter()
        .map(|link| format!("link {link}"))
        .collect();
    for name in hierarchies.names(PREFIX)? {
        let processes = hierarchies.group(&name).processes();
        found.push(format!("cgroup {name}, processes {processes:?}"));
    }
    found.extend(
        host::mounts_below(cluster::HOME.as_ref())?
            .into_iter()
            .map(|point| format!("mount {point}")),
    );
    let bridges = Index::all()
        .map(Index::bridge)
        .filter(|bridge| network::has_rule(bridge));
    found.extend(bridges.map(|bridge| format!("iptables rule of {bridge}")));
    let homes = Index::all().map(home).filter(|home| home.exists());
    found.extend(homes.map(|home| format!("directory {}", home.display())));
    found.extend(containers()?);
    Ok(found)
}

/// What systemd-nspawn keeps of containers that did not end in order.
fn containers() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir("/run/systemd/nspawn/propagate") else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context("cannot list systemd-nspawn's containers")?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(format!("directory {}", entry.path().display()));
        }
    }
    Ok(found)
}
