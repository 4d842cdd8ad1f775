//! The leader goes: how long until the next one has placed a unit.

use anyhow::Result;

use super::Size;
use super::figure::{Table, max};
use crate::cluster::{Cluster, Options};
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::prove::leader::{self, End};

const ENDS: [End; 4] = [End::Restarted, End::Stopped, End::PowerCut, End::PowerCutWithEtcd];

pub(super) fn run(fleet: &Fleet, size: &Size, table: &mut Table, printer: &Printer) -> Result<()> {
    let cluster = Cluster::fresh(Options::default(), Some(fleet), printer)?;
    for (kind, end) in ENDS.into_iter().enumerate() {
        let (mut usual, mut vacant) = (Vec::new(), Vec::new());
        for run in 0..size.leaders {
            let gap = leader::lose(&cluster, kind * size.leaders + run, end, printer)?;
            usual.push(gap.usual);
            vacant.push(gap.vacant);
        }
        let what = format!(
            "leader gone, until the next one has placed a unit: {}",
            end.words()
        );
        table.times(
            format!("{what}; a unit asked for, until its place, before it"),
            &usual,
            &[],
        )?;
        table.times(what, &vacant, &[max(end.allowed().as_secs_f64())])?;
    }
    Ok(())
}
