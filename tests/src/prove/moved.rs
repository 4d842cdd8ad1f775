//! A unit that is slow to stop is moved off a live machine: never two copies.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::report::Report;
use super::{Settings, witness};
use crate::cluster::Cluster;
use crate::printer::Printer;
use crate::wait::{seen, wait_until};

const UNIT: &str = "slow.service";

/// Machines are in zones a, b and a; the unit wants a, and its machine goes over to c.
pub fn slow_stop(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let slow = settings.slow.as_secs();
    cluster.wait_for_machines(1, cluster.machines().len())?;
    witness::install(cluster)?;
    cluster.unit_file(1, UNIT, &witness::unit(slow, "MachineMetadata=zone=a"))?;
    cluster.fleet_ok(1, &["start", UNIT])?;
    let old = cluster.home(1, UNIT)?;
    // Before its first sign the witness may not yet be slow to stop.
    wait_until("the witness's first sign", Duration::from_secs(20), || {
        let copies = witness::copies(cluster, UNIT)?;
        seen(!copies.is_empty(), || "none".to_owned())
    })?;
    let asked = printer.step(
        format!("machine {old} is no longer in the unit's zone; the unit takes {slow} s to stop"),
        |_| {
            cluster.run(old, &["sed", "-i", "s/zone=a/zone=c/", "/etc/fleet/fleet.conf"])?;
            let asked = witness::now()?;
            cluster.run(old, &["systemctl", "restart", "fleet.service"])?;
            wait_until(
                "the unit to be active elsewhere",
                settings.slow + Duration::from_secs(30),
                || {
                    let on = cluster.active_on(1, UNIT)?;
                    seen(on.len() == 1 && on != [old], || format!("{on:?}"))
                },
            )?;
            std::thread::sleep(Duration::from_secs(2));
            Ok(asked)
        },
    )?;
    let copies = witness::copies(cluster, UNIT)?;
    ensure!(copies.len() == 2, "the witness saw {copies:?}");
    report.none(
        "times with two copies, by the witness",
        &witness::overlaps(&copies),
    );
    let (first, second) = match (copies[0].machine == old, &copies[..]) {
        (true, [first, second]) => (first, second),
        (_, all) => (&all[1], &all[0]),
    };
    report.holds(
        "the old copy ended after the order to move",
        format!("{:.2} s", first.to - asked),
        &format!("not before the {slow} s that it takes"),
        // The witness counts whole seconds.
        first.to - asked >= settings.slow.as_secs_f64() - 1.0,
    );
    report.holds(
        "from the end of the old copy to the new one's first sign",
        format!("{:.2} s", second.from - first.to),
        "5 s",
        (0.0..5.0).contains(&(second.from - first.to)),
    );
    Ok(report)
}
