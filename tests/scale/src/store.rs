//! The cluster's store: a real etcd, or its twin in memory.

use std::sync::Arc;

use anyhow::Result;
use fleetd::registry::SharedRegistry;
use fleetd::registry::memory::MemoryRegistry;

use crate::etcd::{Counts, Etcd};
use crate::run::Options;
use crate::usage::Usage;

/// Which store the cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A process of its own, started for this run.
    Etcd,
    /// In this process: what fleet itself costs, without etcd and its disk.
    Memory,
}

/// The store.
#[derive(Debug)]
pub(crate) enum Store {
    /// In a process of its own.
    Etcd(Etcd),
    /// In this process.
    Memory(MemoryRegistry),
}

/// What the store has done so far and holds, and what its process takes; nothing where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// As it counts.
    pub counts: Counts,
    /// As the kernel counts.
    pub usage: Usage,
}

impl Store {
    /// An empty store, as the options have it.
    ///
    /// # Errors
    /// If etcd does not come up.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        Ok(match options.store {
            Kind::Etcd => Self::Etcd(Etcd::start(options.etcd.as_deref(), &options.data)?),
            Kind::Memory => Self::Memory(MemoryRegistry::new()),
        })
    }

    /// A client of its own, as each fleetd has one.
    ///
    /// # Errors
    /// Never, with an etcd that was started here.
    pub(crate) fn connect(&self, name: &str) -> Result<SharedRegistry> {
        Ok(match self {
            Self::Etcd(etcd) => Arc::new(etcd.connect()?),
            Self::Memory(memory) => Arc::new(memory.client(name)),
        })
    }

    /// How it stands.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub(crate) async fn look(&self) -> Result<Look> {
        match self {
            Self::Etcd(etcd) => {
                let address = etcd.address();
                let counts = tokio::task::spawn_blocking(move || Etcd::counts(address)).await??;
                Ok(Look {
                    counts,
                    usage: etcd.usage()?,
                })
            }
            Self::Memory(memory) => {
                let asked = memory.counters();
                #[expect(clippy::cast_precision_loss, reason = "counts of one run")]
                let counts = Counts {
                    changes: asked.changes as f64,
                    ranges: asked.reads as f64,
                    transactions: asked.commits as f64,
                    renewals: asked.renewals as f64,
                    ..Counts::default()
                };
                Ok(Look {
                    counts,
                    usage: Usage::default(),
                })
            }
        }
    }
}
