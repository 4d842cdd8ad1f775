//! A machine of the cluster gets another address: `fleetctl join` again tells etcd's members, and no unit notices.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::forming::{WHOLE, destroy, fill, processes};
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::forming::{ETCD_PORTS, Invitation};
use crate::machine::Machine;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

/// Gives a member of etcd another address, as a lease of DHCP that was lost would. Leaves the machine with it: the
/// cluster is no longer one that the lab can count by addresses.
pub(super) fn readdressed(
    cluster: &Cluster,
    number: usize,
    invitation: &Invitation,
    printer: &Printer,
) -> Result<Report> {
    let mut report = Report::default();
    let numbers: Vec<usize> = cluster.machines().iter().map(Machine::number).collect();
    let asker = numbers.iter().copied().find(|n| *n != number).unwrap_or(number);
    let units = fill(cluster, asker)?;
    let before = processes(cluster, &numbers, &units)?;

    // The worst case: the others have to elect before they can take a word in.
    cluster.lead_etcd(number)?;
    let machine = cluster.machine(number)?;
    let [a, b, c, d] = machine.address().octets();
    let new = format!("{a}.{b}.{c}.{}", d + 100);
    let script = "ip address flush dev host0 scope global && ip address add $0/24 dev host0 && ip route add default via $1";
    machine.run(&["sh", "-c", script, &new, &format!("{a}.{b}.{c}.1")])?;
    let started = Instant::now();
    printer.step(
        format!("fleetctl join again on machine {number}, now {new}"),
        |_| cluster.join(number, invitation, &[]),
    )?;
    report.fact("the command took", span(started.elapsed()));

    let peer = format!("https://{new}:2380");
    let members = cluster.etcd_members(asker, ETCD_PORTS[0])?;
    ensure!(
        members.len() == 3,
        "etcd has other members than before: {members:?}"
    );
    let known: Vec<String> = members.into_iter().flat_map(|member| member.peers).collect();
    report.holds(
        "etcd's members know it by its new address",
        known.join(" "),
        &peer,
        known.contains(&peer),
    );
    // The machine itself answers from its own etcd, and fleet's record follows.
    wait_until("the new address in list-machines", WHOLE, || {
        let list = cluster.fleet_ok(number, &["list-machines", "--no-legend", "--fields=ip"])?;
        seen(list.lines().any(|ip| ip.trim() == new), || list)
    })?;
    let after = processes(cluster, &numbers, &units)?;
    let touched: Vec<_> = before
        .iter()
        .filter(|(place, pid)| after.get(place) != Some(pid))
        .map(|((unit, number), _)| format!("{unit} on {number}"))
        .collect();
    report.none("units touched by it", &touched);
    destroy(cluster, asker, &units)?;
    Ok(report)
}
