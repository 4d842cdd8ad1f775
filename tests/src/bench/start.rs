//! One new unit: `fleetctl start` on three machines, returns when it is active, against `systemctl start` on one.

use anyhow::Result;

use super::figure::{Table, max, median};
use super::stopwatch::time;
use super::{PLAIN, Size};
use crate::cluster::{Cluster, Options};
use crate::fleet::Fleet;
use crate::fleetctl::UNITS;
use crate::printer::Printer;

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    let cluster = Cluster::fresh(Options::default(), Some(fleet), printer)?;
    cluster.wait_for_machines(1, 3)?;
    let count = size.starts;
    let what = format!("start one new unit, {count} times each by systemctl and by fleetctl");
    let (by_systemd, by_fleet) = printer.step(what, |step| {
        step.parts(count as u64);
        let (mut by_systemd, mut by_fleet) = (Vec::new(), Vec::new());
        // The first of each is not counted: it is also the first that is read from disk.
        for n in 0..=count {
            let (systemd, fleet) = (format!("d{n}.service"), format!("f{n}.service"));
            cluster.write(1, &format!("/run/systemd/system/{systemd}"), PLAIN)?;
            cluster.unit_file(1, &fleet, PLAIN)?;
            let systemd = time(&cluster, 1, &["systemctl", "start", &systemd])?;
            let fleet = time(&cluster, 1, &["fleetctl", "start", &format!("{UNITS}/{fleet}")])?;
            if n > 0 {
                by_systemd.push(systemd.took());
                by_fleet.push(fleet.took());
            }
            step.part();
        }
        Ok((by_systemd, by_fleet))
    })?;
    table.times(
        "start of one unit: `systemctl start` on 1 machine, the floor",
        &by_systemd,
        &[],
    )?;
    table.times(
        "start of one unit: `fleetctl start` on 3 machines",
        &by_fleet,
        &[median(0.100), max(0.250)],
    )
}
