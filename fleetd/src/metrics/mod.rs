//! What an operator's Prometheus gets to see (docs/metrics.md): the names of fleet 1.0 (fleet-reference §9), made right,
//! and what was missing there.
//!
//! Each part is handed the numbers that it keeps; nothing is global. Nothing wakes up for them either: what has to be
//! looked up is looked up when somebody asks ([`Metrics::scrape`]).

mod census;
mod meter;
mod process;
mod registry;
mod text;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use census::LastCensus;
pub use census::{Census, CensusDesk, CensusQuestions};
pub use meter::{Counter, Gauge, Histogram};
pub use registry::{Metered, OperationMetrics, RegistryMetrics};
pub(crate) use text::CONTENT_TYPE;

use self::process::Process;
use self::registry::Operation;
use self::text::{Kind, Text};

/// All that this process counts.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// By the engine.
    pub engine: Arc<EngineMetrics>,
    /// By whoever asks the store.
    pub registry: Arc<RegistryMetrics>,
    /// By whoever asks systemd.
    pub init: Arc<InitMetrics>,
}

/// What the engine did, in all its terms since the process began.
#[derive(Debug, Default)]
pub struct EngineMetrics {
    /// Seconds since the epoch when the present term began; 0 while this process does not lead.
    pub leader_since: Gauge,
    /// Units that were given a place.
    pub scheduled: Counter,
    /// Units that were taken from one.
    pub unscheduled: Counter,
    /// Placements that could not be written.
    pub schedule_failed: Counter,
    /// Withdrawals that could not be written.
    pub unschedule_failed: Counter,
    /// Passes: a look at the cluster, a plan, its writes.
    pub passes: Counter,
    /// How long a whole pass took.
    pub pass_took: Histogram,
    /// How long the plan alone took.
    pub plan_took: Histogram,
    /// From a change that the leader heard of to the placement that it led to, written.
    pub placement_took: Histogram,
    /// Units moved because their machine was lost.
    pub rescued: Counter,
    /// Units that passes decided about, whether anything was to be done or not.
    pub considered: Counter,
    /// Passes that ended early, since a decision could not be written.
    pub passes_failed: Counter,
    /// Units that were found to fit nowhere.
    pub unplaceable: Counter,
    /// Where the leader is asked what the cluster consists of.
    pub census: CensusDesk,
}

impl EngineMetrics {
    /// A term begins.
    pub(crate) fn leads(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.leader_since.set(now.map_or(1, |t| t.as_secs()));
    }

    /// It has ended.
    pub(crate) fn follows(&self) {
        self.leader_since.set(0);
    }
}

/// What systemd was asked.
#[derive(Debug, Default)]
pub struct InitMetrics {
    /// Calls over D-Bus.
    pub calls: Counter,
    /// Those that failed, but for questions about a unit that systemd does not know.
    pub failed: Counter,
    /// `daemon-reload`s among them.
    pub reloads: Counter,
    /// How long a reload took.
    pub reload_took: Histogram,
}

impl Metrics {
    /// Everything, as it stands now.
    pub async fn scrape(&self) -> String {
        let census = self.engine.census.ask().await;
        self.render(census.as_ref(), process::look().as_ref())
    }

    fn render(&self, census: Option<&Census>, process: Option<&Process>) -> String {
        let mut text = Text::default();
        self.engine.render(&mut text);
        self.registry.render(&mut text);
        self.init.render(&mut text);
        text.family("fleet_build_info", Kind::Gauge, "Which fleetd this is.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        if let Some(census) = census {
            census.render(&mut text);
        }
        if let Some(process) = process {
            process.render(&mut text);
        }
        text.finish()
    }
}

impl EngineMetrics {
    fn render(&self, text: &mut Text) {
        use Kind::{Counter, Gauge, Histogram};
        let since = self.leader_since.get();
        text.family(
            "fleet_engine_leader",
            Gauge,
            "Whether this fleetd leads the engines.",
        )
        .sample(&[], u8::from(since > 0));
        let help =
            "Start time of becoming an engine leader since epoch in seconds; 0 while another one leads.";
        text.family("fleet_engine_leader_start_time", Gauge, help)
            .sample(&[], since);
        let by_task = |text: &mut Text, name, help, schedule: u64, unschedule: u64| {
            text.family(name, Counter, help)
                .sample(&[("type", "attemptscheduleunit")], schedule)
                .sample(&[("type", "unscheduleunit")], unschedule);
        };
        let (name, help) = (
            "fleet_engine_task_count_total",
            "Counter of engine schedule tasks.",
        );
        by_task(text, name, help, self.scheduled.get(), self.unscheduled.get());
        let (name, help) = (
            "fleet_engine_task_failure_count_total",
            "Counter of engine schedule task failures.",
        );
        by_task(
            text,
            name,
            help,
            self.schedule_failed.get(),
            self.unschedule_failed.get(),
        );
        text.family(
            "fleet_engine_reconcile_count_total",
            Counter,
            "Counter of reconcile rounds.",
        )
        .sample(&[], self.passes.get());
        let help = "Units that reconcile rounds looked at: what has changed, and what that may concern.";
        text.family("fleet_engine_considered_units_total", Counter, help)
            .sample(&[], self.considered.get());
        let help = "Counter of what stood in the way of a reconcile round.";
        text.family("fleet_engine_reconcile_failure_count_total", Counter, help)
            .sample(&[("type", "machine_away")], self.rescued.get())
            .sample(&[("type", "run")], self.passes_failed.get())
            .sample(&[("type", "schedule")], self.unplaceable.get());
        for (name, help, histogram) in [
            (
                "fleet_engine_reconcile_duration_second",
                "Histogram of time (in seconds) each schedule round takes.",
                &self.pass_took,
            ),
            (
                "fleet_engine_plan_duration_seconds",
                "How long the decisions of a round took, without their writing.",
                &self.plan_took,
            ),
            (
                "fleet_engine_placement_latency_seconds",
                "From a change that the leader heard of to the placement it led to, written.",
                &self.placement_took,
            ),
        ] {
            text.family(name, Histogram, help).histogram(&[], histogram);
        }
    }
}

impl RegistryMetrics {
    fn render(&self, text: &mut Text) {
        for (name, help, value) in [
            (
                "fleet_registry_operation_count_total",
                "Counter of registry operations, failed ones too.",
                (|m: &OperationMetrics| m.asked.get()) as fn(&OperationMetrics) -> u64,
            ),
            (
                "fleet_registry_operation_failed_count_total",
                "Counter of failed registry operations.",
                |m| m.failed.get(),
            ),
        ] {
            let mut family = text.family(name, Kind::Counter, help);
            for operation in Operation::ALL {
                family.sample(&[("type", operation.as_str())], value(self.of(operation)));
            }
        }
        let help = "Histogram of time (in seconds) each registry operation takes.";
        let mut family = text.family("fleet_registry_operation_duration_second", Kind::Histogram, help);
        for operation in Operation::ALL {
            family.histogram(&[("ops", operation.as_str())], &self.of(operation).took);
        }
    }
}

impl InitMetrics {
    /// Takes note of a reload that took so long.
    pub(crate) fn reloaded(&self, took: Duration) {
        self.reloads.add_one();
        self.reload_took.observe(took);
    }

    fn render(&self, text: &mut Text) {
        for (name, help, counter) in [
            (
                "fleet_systemd_calls_total",
                "Calls to systemd over D-Bus.",
                &self.calls,
            ),
            (
                "fleet_systemd_call_errors_total",
                "Calls to systemd that failed.",
                &self.failed,
            ),
            (
                "fleet_systemd_reloads_total",
                "Times that fleetd had systemd reload.",
                &self.reloads,
            ),
        ] {
            text.family(name, Kind::Counter, help).sample(&[], counter.get());
        }
        let help = "How long systemd took to reload.";
        text.family("fleet_systemd_reload_duration_seconds", Kind::Histogram, help)
            .histogram(&[], &self.reload_took);
    }
}

impl Census {
    fn render(&self, text: &mut Text) {
        let mut family = text.family(
            "fleet_units",
            Kind::Gauge,
            "Units by desired state; from the leader alone.",
        );
        for (state, count) in &self.units {
            family.sample(&[("desired", state)], count);
        }
        let help = "Units that fit nowhere at the moment; from the leader alone.";
        text.family("fleet_units_unplaced", Kind::Gauge, help)
            .sample(&[], self.unplaced);
        let help = "Copies of units on machines, by systemd's ActiveState; from the leader alone.";
        let mut family = text.family("fleet_unit_copies", Kind::Gauge, help);
        for (state, count) in &self.copies {
            family.sample(&[("active", state)], count);
        }
        let help = "Machines that the cluster remembers; from the leader alone.";
        let mut family = text.family("fleet_machines", Kind::Gauge, help);
        for (state, count) in &self.machines {
            family.sample(&[("state", state)], count);
        }
    }
}

impl Process {
    fn render(&self, text: &mut Text) {
        let help = "User and system CPU time spent, in seconds.";
        text.family("process_cpu_seconds_total", Kind::Counter, help)
            .sample(&[], self.cpu);
        for (name, help, value) in [
            ("process_open_fds", "Open file descriptors.", self.open_fds),
            (
                "process_max_fds",
                "Most file descriptors there may be.",
                self.max_fds,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory, in bytes.",
                self.resident,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory, in bytes.",
                self.virtual_memory,
            ),
        ] {
            text.family(name, Kind::Gauge, help).sample(&[], value);
        }
        let help = "When the process began, in seconds since the epoch.";
        text.family("process_start_time_seconds", Kind::Gauge, help)
            .sample(&[], self.started);
    }
}

#[cfg(test)]
mod tests;
