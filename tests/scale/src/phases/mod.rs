//! The phases, each on the cluster as the one before left it.

mod change;
mod floor;
mod handover;
mod join;
mod loss;
mod memory;
mod submit;

use std::pin::Pin;

use anyhow::Result;

use crate::run::Cluster;

/// A phase at work.
type Phase<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A phase.
pub(crate) type Make = for<'a> fn(&'a mut Cluster) -> Phase<'a>;

/// All of them, in order, by the names they have in the report.
pub(crate) const ALL: [(&str, Make); 7] = [
    ("join", |cluster| Box::pin(join::run(cluster))),
    ("submit", |cluster| Box::pin(submit::run(cluster))),
    ("change", |cluster| Box::pin(change::run(cluster))),
    ("loss", |cluster| Box::pin(loss::run(cluster))),
    ("handover", |cluster| Box::pin(handover::run(cluster))),
    ("memory", |cluster| Box::pin(memory::run(cluster))),
    ("floor", |cluster| Box::pin(floor::run(cluster))),
];
