//! Taking away what the lab made, found by name alone, so that it also works after a run that was killed.
//!
//! Only what carries the lab's name is touched: cgroups and the processes in them, links, the bridge's rule, mounts
//! and files in the lab's own directory.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use crate::cgroup::Hierarchies;
use crate::cluster::{self, directory, home};
use crate::host;
use crate::machine::Machine;
use crate::network::{self, Index};
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
    Index::all().try_for_each(|index| unless_in_use(index, printer))
}

/// Takes away what crashed runs left, but not the cluster that people play with.
pub fn stale(printer: &Printer) -> Result<()> {
    Index::all()
        .filter(|index| *index != Index::DEMO)
        .try_for_each(|index| unless_in_use(index, printer))
}

fn unless_in_use(index: Index, printer: &Printer) -> Result<()> {
    if traces(index)?.is_empty() {
        return Ok(());
    }
    match cluster::lock(index)? {
        Some(_lock) => printer.step(format!("take away cluster {index}"), |_| wipe(index)),
        None => {
            printer.note(&format!("cluster {index} is in use by a running lab: left alone"));
            Ok(())
        }
    }
}

/// Everything on this host that carries the name of a cluster, for people and for tests that want to see nothing.
pub fn traces(index: Index) -> Result<Vec<String>> {
    let hierarchies = Hierarchies::find()?;
    let (bridge, home) = (index.bridge(), home(index));
    let links = network::links()?
        .into_iter()
        .filter(|link| link.contains(&bridge));
    let mut found: Vec<String> = links.map(|link| format!("link {link}")).collect();
    for name in hierarchies.names(&bridge)? {
        let processes = hierarchies.group(&name).processes();
        found.push(format!("cgroup {name} with processes {processes:?}"));
    }
    found.extend(
        host::mounts_below(&home)?
            .into_iter()
            .map(|point| format!("mount {point}")),
    );
    if network::has_rule(&bridge) {
        found.push(format!("iptables rule of {bridge}"));
    }
    if home.exists() {
        found.push(format!("directory {}", home.display()));
    }
    if let Ok(entries) = fs::read_dir("/run/systemd/nspawn/propagate") {
        let containers = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(
            containers
                .filter(|name| name.starts_with(&bridge))
                .map(|name| format!("container {name}")),
        );
    }
    Ok(found)
}
