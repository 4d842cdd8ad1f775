//! The cluster, and everything that is done to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetd::init::scripted::{Start, Stop};
use fleetd::registry::memory::{Backup, Counters, MemoryRegistry};
use tokio::time::{Instant, sleep, sleep_until};

use crate::bug::Bug;
use crate::host::{Host, TTL, id_of};
use crate::rules::rest::{self, Up};
use crate::rules::{Rule, Violation};
use crate::script::{Act, Script, Whim, Who};
use crate::seam::Role;
use crate::user;
use crate::witness::Witness;
use crate::work::NAMES;

/// How long a cluster may take to come to rest after the last fault: old copies wait for successors, lost machines for
/// a TTL, failed steps for a minute.
const REST: Duration = Duration::from_secs(400);

/// After so many seconds without a word the cluster may be at rest: an agent saves up what it says of a unit that
/// flapped for 10 s.
const SILENCE: u32 = 12;

/// For how many TTLs nothing may be written then.
const QUIET: u32 = 4;

/// A whole cluster.
#[derive(Debug)]
pub(crate) struct World {
    store: MemoryRegistry,
    hosts: Vec<Host>,
    witness: Arc<Witness>,
    backup: Option<Backup>,
    is_etcd_down: bool,
}

impl World {
    /// Machines that are still off, and an empty registry.
    pub(crate) fn new(script: &Script, directory: &Path, bug: Option<Bug>, witness: &Arc<Witness>) -> Self {
        let store = MemoryRegistry::new();
        let eye = witness.clone();
        store.observe(move |written| eye.written(written));
        let members = script.members.iter().enumerate();
        let hosts = members
            .map(|(n, m)| Host::new(n, m, &store, directory, witness, bug))
            .collect();
        Self {
            store,
            hosts,
            witness: witness.clone(),
            backup: None,
            is_etcd_down: false,
        }
    }

    /// Plays the script, heals everything, and waits for rest. Ends early if a rule is broken.
    pub(crate) async fn play(&mut self, script: Script) -> std::io::Result<()> {
        let began = Instant::now();
        for (at, act) in script.acts {
            sleep_until(began + at).await;
            self.attend().await;
            if self.witness.violation().is_some() {
                return Ok(());
            }
            self.act(act).await?;
        }
        sleep_until(began + script.end).await;
        self.heal().await?;
        self.rest().await;
        Ok(())
    }

    /// What follows from what was begun: machines that have left, processes that broke.
    async fn attend(&mut self) {
        for (m, host) in self.hosts.iter_mut().enumerate() {
            if let Some(left) = host.has_left() {
                self.witness
                    .note(format_args!("m{m}"), format_args!("fleetd ends, left: {left}"));
            }
            if host.is_broken() {
                self.witness.broke(m, "see the panic above");
            }
        }
    }

    fn find(&self, who: Who) -> usize {
        match who {
            Who::Machine(m) => m,
            Who::Leader => self.witness.leader().unwrap_or(0),
        }
    }

    async fn act(&mut self, act: Act) -> std::io::Result<()> {
        if !matches!(act, Act::Ask(..) | Act::Start(_) | Act::Boot(_)) {
            self.witness.note("world", format_args!("{act:?}"));
        }
        match act {
            Act::Ask(m, change) => {
                tokio::spawn(user::ask(m, self.hosts[m].api(), change, self.witness.clone()));
            }
            Act::Crash(who) => {
                let m = self.find(who);
                self.hosts[m].kill();
            }
            Act::Start(m) => self.hosts[m].start()?,
            Act::Restart(who, metadata) => {
                let m = self.find(who);
                let host = &mut self.hosts[m];
                if let Some(metadata) = metadata {
                    host.metadata = metadata;
                }
                if host.is_up() && !host.is_leaving() {
                    host.stop().await;
                    host.start()?;
                }
            }
            Act::Leave(m) => self.hosts[m].leave(),
            Act::PowerOff(who) => {
                let m = self.find(who);
                self.hosts[m].power_off();
            }
            Act::Boot(m) => self.hosts[m].boot()?,
            Act::Freeze(who) => self.hosts[self.find(who)].freeze(),
            Act::Thaw => self.hosts.iter().for_each(Host::thaw),
            Act::Cut(who) => self.links(who, |link| link.cut()),
            Act::Hang(who) => self.links(who, |link| link.hang()),
            Act::Deafen(who) => self.links(who, |link| link.deafen()),
            Act::Mend => self.mend(),
            Act::Slow(who, there, back) => self.links(who, |link| link.delay(there, back)),
            Act::Lag(who, each) => self.links(who, |link| link.lag(each)),
            Act::LoseAnswer(who) => self.links(who, |link| link.lose_next_answer()),
            Act::LateDecision(who, late) => self.hosts[self.find(who)].link(Role::Engine).late_commit(late),
            Act::DropWatches(who) => self.links(who, |link| link.drop_watches()),
            Act::Compact => drop(self.store.compact(self.store.revision())),
            Act::Expire(m) => self.expire(m),
            Act::LateLeases(late) => self.store.end_leases_late(late),
            Act::EtcdDown => {
                self.is_etcd_down = true;
                self.store.stop_leases();
                self.all_links(|link| link.cut());
            }
            Act::EtcdUp => self.etcd_up(),
            Act::Backup => self.backup = Some(self.store.backup()),
            Act::Lose { restore, restart } => self.lose(restore, restart).await?,
            Act::BusDown(m) => self.init(m, |init| init.disconnect()),
            Act::BusUp(m) => self.init(m, |init| init.reconnect()),
            Act::Whim(m, unit, whim) => self.init(m, |init| match whim {
                Whim::SlowStart(time) => init.on_start(unit, Start::Take(time)),
                Whim::HangingStart => init.on_start(unit, Start::Hang),
                Whim::FailingStart => init.on_start(unit, Start::Fail("exit-code".to_owned())),
                Whim::Flapping(time) => init.on_start(unit, Start::Flap(time)),
                Whim::SlowStop(time) => init.on_stop(unit, Stop::Take(time)),
                Whim::HangingStop => init.on_stop(unit, Stop::Hang),
                Whim::Crash => init.crash_unit(unit),
                Whim::Finish => init.finish_unit(unit),
                Whim::PersonStops => init.person_stops(unit),
            }),
            Act::SlowReload(m, time) => self.init(m, |init| init.set_reload_time(time)),
            Act::HostUnit(m, unit) => self.init(m, |init| {
                init.host_unit(unit, format!("/usr/lib/systemd/system/{unit}"));
            }),
        }
        Ok(())
    }

    fn links(&self, who: Who, act: impl Fn(&fleetd::registry::memory::MemoryClient)) {
        self.hosts[self.find(who)].links().iter().for_each(act);
    }

    fn all_links(&self, act: impl Fn(&fleetd::registry::memory::MemoryClient)) {
        self.hosts
            .iter()
            .flat_map(Host::links)
            .for_each(|link| act(&link));
    }

    fn init(&self, m: usize, act: impl FnOnce(&fleetd::init::scripted::ScriptedInit)) {
        if let Some(init) = &self.hosts[m].init {
            act(init);
        }
    }

    fn mend(&self) {
        // An etcd that is down stays down.
        if !self.is_etcd_down {
            self.all_links(|link| {
                link.mend();
                link.delay(Duration::ZERO, Duration::ZERO);
                link.lag(Duration::ZERO);
            });
        }
    }

    fn etcd_up(&mut self) {
        if std::mem::take(&mut self.is_etcd_down) {
            self.store.resume_leases();
            self.mend();
        }
    }

    fn expire(&self, m: usize) {
        let key = fleetd::registry::keys::Keys::default().presence(&id_of(m));
        let lease = self
            .store
            .dump()
            .into_iter()
            .find(|kv| kv.key == key)
            .and_then(|kv| kv.lease);
        if let Some(lease) = lease {
            self.store.expire(lease);
        }
    }

    /// etcd loses what it had. The machines keep everything, also one whose fleetd is restarted, until a person has
    /// decided to go on with the registry as it is.
    async fn lose(&mut self, restore: bool, restart: usize) -> std::io::Result<()> {
        self.heal().await?;
        // Everybody has heard of everything: what a machine that is cut off has not seen it cannot miss (a limit that
        // docs/failure.md states).
        sleep(Duration::from_secs(12)).await;
        self.attend().await;
        let before = self.store.revision();
        match self.backup.take().filter(|_| restore) {
            Some(backup) => self.store.restore(&backup),
            None => self.store.wipe(),
        }
        if self.store.revision() == before {
            // Nothing had been written since: nothing is lost, and nobody can tell.
            return Ok(());
        }
        self.witness.replaced(&self.store.dump(), self.store.revision());
        self.witness.note(
            "world",
            format_args!("etcd is at revision {}", self.store.revision()),
        );
        sleep(Duration::from_secs(6)).await;
        self.hosts[restart].kill();
        self.hosts[restart].start()?;
        sleep(Duration::from_secs(6)).await;
        // `fleetctl recover`, on one machine, is for all.
        user::recover(restart, self.hosts[restart].api(), &self.witness).await;
        Ok(())
    }

    /// Takes every fault back.
    async fn heal(&mut self) -> std::io::Result<()> {
        self.witness.note("world", format_args!("everything is healed"));
        self.etcd_up();
        self.mend();
        self.store.end_leases_late(Duration::ZERO);
        self.attend().await;
        for host in &mut self.hosts {
            host.thaw();
            if let Some(init) = &host.init {
                init.reconnect();
                init.set_reload_time(Duration::ZERO);
                init.forget_scripts();
                for unit in NAMES {
                    init.release(unit);
                    init.remove_host_unit(unit);
                }
            }
            host.boot()?;
        }
        Ok(())
    }

    fn up(&self) -> Vec<Up<'_>> {
        let hosts = self.hosts.iter().enumerate();
        let up = hosts.filter_map(|(n, host)| {
            let (id, boot) = (id_of(n), host.boot_id());
            let init = host.init.as_deref()?;
            Some(Up { id, boot, init })
        });
        up.collect()
    }

    /// What is wrong with the cluster as it is, for one that should be at rest.
    fn unrest(&self) -> Option<Violation> {
        self.witness
            .with_cluster(|cluster| rest::converged(cluster, &self.up()).or_else(|| rest::garbage(cluster)))
    }

    /// Waits for the cluster to come to rest, and looks whether it stays there.
    async fn rest(&mut self) {
        let began = Instant::now();
        let mut before = (0, 0);
        let mut quiet = 0;
        loop {
            sleep(Duration::from_secs(1)).await;
            self.attend().await;
            for m in 0..self.hosts.len() {
                // Whoever was still leaving when everything was healed comes back.
                if !self.hosts[m].is_up()
                    && let Err(error) = self.hosts[m].boot()
                {
                    self.witness.broke(m, &error.to_string());
                }
            }
            if self.witness.violation().is_some() {
                return;
            }
            let now = self.busy();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
            let waited = began.elapsed() > REST;
            if quiet < SILENCE && !waited {
                continue;
            }
            match self.unrest() {
                None if quiet >= SILENCE => break,
                None => return self.accuse("writes without an end".to_owned()),
                Some(violation) if waited => return self.witness.accuse(Some(violation)),
                Some(_) => {}
            }
        }
        self.witness
            .note("world", format_args!("at rest after {:?}", began.elapsed()));
        sleep(TTL * QUIET).await;
        if self.busy() != before {
            self.accuse(format!(
                "{:?} revisions and commits at rest, {before:?} before",
                self.busy()
            ));
        }
        self.witness.accuse(self.unrest());
    }

    fn accuse(&self, what: String) {
        self.witness.accuse(Some(Violation::new(Rule::Converges, what)));
    }

    /// What counts as doing something.
    fn busy(&self) -> (i64, u64) {
        let Counters { commits, .. } = self.store.counters();
        (self.store.revision(), commits)
    }
}
