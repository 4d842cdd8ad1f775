//! What a cluster looks like, for people.

use std::fmt::Write as _;

use crate::cluster::{Base, Cluster};
use crate::forming::ETCD_PORTS;
use crate::machine::Machine;
use crate::printer::Printer;

/// A table of the machines.
pub fn machines(cluster: &Cluster) -> String {
    let mut table = String::from("MACHINE  ADDRESS       ID        STATE    CABLE    ETCD");
    for machine in cluster.machines() {
        let number = machine.number();
        let running = machine.is_running();
        let cable = match running {
            true if machine.is_connected() => "plugged",
            true => "cut",
            false => "-",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            table,
            "\n{number:<8} {:<13} {:.8}  {:<8} {cable:<8} {}",
            machine.address().to_string(),
            machine.id(),
            state(machine),
            if running && !machine.is_paused() {
                etcd(cluster, number)
            } else {
                "-"
            },
        );
        let frozen: Vec<String> = machine.frozen().into_iter().map(|pid| pid.name()).collect();
        if !frozen.is_empty() {
            let _ = write!(table, "   frozen: {}", frozen.join(", "));
        }
    }
    table
}

fn state(machine: &Machine) -> &'static str {
    match machine.is_running() {
        true if machine.is_paused() => "paused",
        true => "running",
        false => "off",
    }
}

fn etcd(cluster: &Cluster, number: usize) -> &'static str {
    if cluster.options().base != Base::Lab {
        return match cluster.etcd_machines(number, ETCD_PORTS[0]) {
            Err(_) => "silent",
            Ok(members) if members.contains(&number) => "member",
            Ok(_) => "gateway",
        };
    }
    let member = cluster.members().contains(&number);
    match cluster.etcd_view(number) {
        Err(_) => "silent",
        Ok(view) if !view.has_leader => "no leader",
        Ok(_) if !member => "gateway",
        Ok(view) if view.leads => "leader",
        Ok(_) => "member",
    }
}

/// What one can do with a cluster that is up.
pub fn how_to_play(cluster: &Cluster, printer: &Printer) {
    let what = match cluster.options().base {
        Base::Lab => "The cluster is up. Play with it:",
        Base::Bare | Base::Package => "The machines are up. Make a cluster of them:",
    };
    printer.note(&format!("\n{what}"));
    let (exec, logs) = if cluster.options().base != Base::Lab {
        let exec = (
            "cargo lab exec 1 -- fleetctl init",
            "prints the command for the others",
        );
        (exec, ("cargo lab logs 1 fleet.service", "what fleetd says"))
    } else if cluster.options().fleet {
        let exec = (
            "cargo lab exec 1 -- fleetctl list-units",
            "fleetctl, on machine 1",
        );
        (exec, ("cargo lab logs 1 fleet.service", "what fleetd says"))
    } else {
        let exec = (
            "cargo lab exec 1 -- etcdctl member list",
            "a command, on machine 1",
        );
        (exec, ("cargo lab logs 1 etcd.service", "what etcd says"))
    };
    for (command, meaning) in [
        ("cargo lab ps", "the machines, and how they are"),
        exec,
        ("cargo lab shell 2", "a shell on machine 2"),
        ("cargo lab kill 3", "cut its power; `boot 3` brings it back"),
        ("cargo lab cut 2", "pull its cable; `heal 2` plugs it in again"),
        logs,
        ("cargo lab down", "take everything away"),
    ] {
        printer.note(&format!("  {command:<42} {meaning}"));
    }
}
