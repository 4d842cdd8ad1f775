//! etcd away, wiped, restored, under units that run.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use super::Settings;
use super::herd::Herd;
use super::report::{Report, span};
use crate::cluster::Cluster;
use crate::job::TTL;
use crate::printer::Printer;
use crate::wait::{Seen, seen, wait_until};

/// From etcd's first linearizable read to the first change that is accepted.
const FIRST_CHANGE: Duration = Duration::from_secs(2);

/// Longer than a presence lives: had one been lost, its units would have moved by then.
const AFTERMATH: Duration = Duration::from_secs(TTL.as_secs() + 3);

const DATA: &str = "/var/lib/etcd/default";

/// A unit that only has to be accepted.
const IDLE: [[&str; 3]; 1] = [["Service", "ExecStart", "/bin/true"]];

/// etcd is stopped on all members, stays away, and is started again.
pub fn stopped(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let herd = printer.step(format!("start {} units", settings.herd), |_| {
        cluster.wait_for_machines(1, cluster.machines().len())?;
        Herd::start(cluster, settings.herd)
    })?;
    let away = settings.outage;
    printer.step(format!("etcd is away for {} s", away.as_secs()), |step| {
        stop_etcd(cluster)?;
        let until = Instant::now() + away;
        while let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            step.busy_with(&format!("{} s left", left.as_secs()));
            std::thread::sleep(left.min(Duration::from_secs(1)));
        }
        Ok(())
    })?;
    let mut meanwhile = Report::default();
    herd.untouched(cluster, &mut meanwhile)?;
    report.include(&format!("after {} s without etcd", away.as_secs()), meanwhile);
    let firsts = printer.step("etcd is started; first read, first change", |_| firsts(cluster))?;
    report.fact(
        "etcd told to start → its first linearizable read; first change accepted",
        format!("{}; {}", span(firsts.read), span(firsts.first)),
    );
    report.within(
        "etcd's first linearizable read → first change accepted",
        firsts.first.saturating_sub(firsts.read),
        FIRST_CHANGE * settings.patience,
    );
    report.fact(
        "… → a change accepted by the last of the machines",
        span(firsts.last.saturating_sub(firsts.read)),
    );
    printer.step("longer than a presence lives", |_| {
        cluster.wait_for_machines(1, cluster.machines().len())?;
        std::thread::sleep(AFTERMATH);
        let mut after = Report::default();
        herd.untouched(cluster, &mut after)?;
        report.include("after its return", after);
        herd.destroy(cluster)
    })?;
    Ok(report)
}

/// Spans from the moment that etcd was told to start.
struct Firsts {
    read: Duration,
    first: Duration,
    last: Duration,
}

/// Starts etcd; on each machine at once a reader asks etcd and a user asks fleet, until both are answered.
fn firsts(cluster: &Cluster) -> Result<Firsts> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let readers: Vec<_> = cluster
            .members()
            .map(|number| {
                scope.spawn(move || {
                    // One process that asks again at once: what etcd can answer is not missed.
                    let script =
                        "until etcdctl --command-timeout=200ms get /probe >/dev/null 2>&1; do :; done";
                    cluster.run(number, &["sh", "-c", script])?;
                    anyhow::Ok(begun.elapsed())
                })
            })
            .collect();
        let users: Vec<_> = cluster
            .machines()
            .iter()
            .map(|machine| {
                let number = machine.number();
                scope.spawn(move || {
                    let unit = format!("first-{number}.service");
                    wait_until("a change to be accepted", Duration::from_secs(60), || {
                        let (status, answer) = cluster.api_put(number, &unit, "inactive", &IDLE)?;
                        seen(status == 201, || format!("{status} {answer}"))
                    })?;
                    anyhow::Ok(begun.elapsed())
                })
            })
            .collect();
        start_etcd(cluster)?;
        let ended = |thread: std::thread::ScopedJoinHandle<'_, Result<Duration>>| {
            thread.join().unwrap_or_else(|_| bail!("a probe panicked"))
        };
        let reads = readers.into_iter().map(ended).collect::<Result<Vec<_>>>()?;
        let changes = users.into_iter().map(ended).collect::<Result<Vec<_>>>()?;
        Ok(Firsts {
            read: reads.into_iter().min().context("no reader")?,
            first: changes.iter().min().copied().context("no user")?,
            last: changes.into_iter().max().context("no user")?,
        })
    })
}

/// etcd comes back without its data.
pub fn wiped(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    let herd = printer.step(format!("start {} units", settings.herd), |_| {
        cluster.wait_for_machines(1, cluster.machines().len())?;
        Herd::start(cluster, settings.herd)
    })?;
    printer.step("wipe etcd", |_| {
        stop_etcd(cluster)?;
        on_members(cluster, |number| {
            cluster.run(number, &["rm", "-rf", DATA]).map(drop)
        })?;
        start_etcd(cluster)
    })?;
    doubted(cluster, settings, &herd, &mut report, printer)?;
    recovered(cluster, &herd, &[], &mut report, printer)?;
    Ok(report)
}

/// etcd comes back as it was before the last changes.
pub fn restored(cluster: &Cluster, settings: &Settings, printer: &Printer) -> Result<Report> {
    let mut report = Report::default();
    printer.step(
        format!("start {} units, take a snapshot, change some", settings.herd),
        |_| {
            cluster.wait_for_machines(1, cluster.machines().len())?;
            Herd::start(cluster, settings.herd)?;
            let member = *cluster.members().start();
            cluster
                .etcdctl(member, &["snapshot", "save", "/root/backup.db"])?
                .ok()?;
            // Some go, some come, so that the old truth differs from what runs, in both directions.
            cluster.fleet_ok(1, &["destroy", "herd@1.service", "herd@2.service"])?;
            let new = ["herd@n1.service", "herd@n2.service", "herd@n3.service"];
            cluster.fleet_ok(1, &[&["start"], new.as_slice()].concat())?;
            wait_until("the two to be gone", Duration::from_secs(10), || {
                let left = super::herd::census(cluster)?.len();
                seen(left == settings.herd + 1, || format!("{left} run"))
            })?;
            // A machine hears of changes that are not its own with each renewal of its lease, every third of a TTL.
            std::thread::sleep(TTL / 3 + Duration::from_secs(2));
            Ok(())
        },
    )?;
    let herd = Herd::count(cluster)?;
    printer.step("restore the snapshot", |_| {
        stop_etcd(cluster)?;
        let snapshot = cluster.machine(*cluster.members().start())?.root().join("root/backup.db");
        ensure!(snapshot.exists(), "no snapshot at {}", snapshot.display());
        let bytes = std::fs::read(&snapshot)?;
        for number in cluster.members() {
            std::fs::write(cluster.machine(number)?.root().join("root/snapshot.db"), &bytes)?;
        }
        let script = r#"
            set -a; . /etc/default/etcd; set +a
            rm -rf "$1"
            etcdctl snapshot restore /root/snapshot.db --data-dir "$1" --name "$ETCD_NAME" \
                --initial-cluster "$ETCD_INITIAL_CLUSTER" --initial-cluster-token "$ETCD_INITIAL_CLUSTER_TOKEN" \
                --initial-advertise-peer-urls "$ETCD_INITIAL_ADVERTISE_PEER_URLS"
            chown -R etcd:etcd "$1"
        "#;
        on_members(cluster, |number| {
            cluster.run(number, &["sh", "-ec", script, "sh", DATA]).map(drop)
        })?;
        start_etcd(cluster)
    })?;
    doubted(cluster, settings, &herd, &mut report, printer)?;
    // What was destroyed after the snapshot is wanted again by what is restored.
    let back = ["herd@1.service", "herd@2.service"];
    recovered(cluster, &herd, &back, &mut report, printer)?;
    Ok(report)
}

/// The registry is another one by now: nothing may happen to units, and everybody is told what to do.
fn doubted(
    cluster: &Cluster,
    settings: &Settings,
    herd: &Herd,
    report: &mut Report,
    printer: &Printer,
) -> Result<()> {
    let log = printer.step("each fleetd sees it", |_| {
        let mut said = String::new();
        for machine in cluster.machines() {
            let words = [
                "journalctl",
                "--unit=fleet.service",
                "--output=cat",
                "--quiet",
                "--grep=stopped believing",
            ];
            said = wait_until("a word of doubt", Duration::from_secs(30), || {
                let lines = machine.exec(&words)?.stdout;
                Ok(match lines.lines().next() {
                    Some(line) => Seen::Yes(line.to_owned()),
                    None => Seen::NotYet("nothing in the journal".into()),
                })
            })?;
        }
        Ok(said)
    })?;
    printer.step(format!("{} s go by", settings.hold.as_secs()), |_| {
        std::thread::sleep(settings.hold);
        herd.untouched(cluster, report)
    })?;
    cluster.unit_file(2, "late.service", super::herd::UNIT)?;
    let refused = cluster.fleet(2, &["start", "late.service"])?;
    let said = refused.stderr.trim().replace('\n', " | ");
    report.holds(
        "fleetctl refuses a change and says what to do",
        said.clone(),
        "exit 1, names the registry and the way out",
        refused.code == Some(1) && said.contains("the registry") && names_the_way_out(&said),
    );
    let listed = cluster.fleet(3, &["list-units", "--no-legend"])?.stderr;
    report.holds(
        "fleetctl list-units warns",
        listed.trim().to_owned(),
        "the same",
        names_the_way_out(&listed),
    );
    report.holds(
        "the log of every machine says so, too",
        log.clone(),
        "the same",
        names_the_way_out(&log),
    );
    Ok(())
}

fn names_the_way_out(text: &str) -> bool {
    text.contains("fleetctl recover")
}

/// A person says that the registry as it is now is the one to follow.
fn recovered(
    cluster: &Cluster,
    herd: &Herd,
    back: &[&str],
    report: &mut Report,
    printer: &Printer,
) -> Result<()> {
    let (said, took) = printer.step("fleetctl recover; the first unit is started", |_| {
        let begun = Instant::now();
        let said = cluster.fleet(2, &["recover"])?;
        wait_until("a start after the recovery", Duration::from_secs(90), || {
            let start = cluster.fleet(2, &["start", "late.service"])?;
            seen(start.success(), || start.stderr.clone())
        })?;
        Ok((said, begun.elapsed()))
    })?;
    report.holds(
        "fleetctl recover",
        format!(
            "exit {:?}: {}",
            said.code,
            said.stderr.trim().replace('\n', " | ")
        ),
        "exit 0",
        said.success(),
    );
    report.fact("recover → a new unit runs", span(took));
    printer.step("longer than a presence lives", |_| {
        cluster.wait_for_machines(1, cluster.machines().len())?;
        std::thread::sleep(AFTERMATH);
        let mut after = Report::default();
        herd.untouched_beside(back, cluster, &mut after)?;
        after.none("units that run and are not listed", &herd.unlisted(cluster)?);
        report.include("after the recovery", after);
        Ok(())
    })
}

fn on_members(cluster: &Cluster, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = cluster
            .members()
            .map(|number| {
                let work = &work;
                scope.spawn(move || work(number))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

fn stop_etcd(cluster: &Cluster) -> Result<()> {
    on_members(cluster, |number| {
        cluster
            .run(number, &["systemctl", "stop", "etcd.service"])
            .map(drop)
    })
}

fn start_etcd(cluster: &Cluster) -> Result<()> {
    on_members(cluster, |number| {
        cluster
            .run(number, &["systemctl", "start", "etcd.service"])
            .map(drop)
    })
}
