//! The leader goes: how long until the next one acts, as the longest time without a placement shows it.

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
        let (mut usual, mut around) = (Vec::new(), Vec::new());
        for run in 0..size.leaders {
            let gap = leader::lose(&cluster, kind * size.leaders + run, end, printer)?;
            usual.push(gap.before);
            around.push(gap.around);
        }
        let what = format!("leader gone, the next placement: {}", end.words());
        table.times(
            format!("{what}; between two placements before it, the floor"),
            &usual,
            &[],
        )?;
        table.times(what, &around, &[max(end.allowed().as_secs_f64())])?;
    }
    Ok(())
}
