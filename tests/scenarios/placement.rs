//! Where units go on real machines, and what is said when they can go nowhere.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::wait::{seen, wait_until};
use tokio::time::Instant;

use crate::harness::{Scenario, fresh, shared};

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn scenarios() -> Vec<Scenario> {
    let zones = || Options {
        zones: vec!["a".into(), "b".into()],
        ..Options::default()
    };
    vec![
        shared("placement::metadata_decides", zones(), metadata),
        shared(
            "placement::a_follower_is_placed_beside_its_peer_and_follows_it",
            zones(),
            machine_of,
        ),
        shared(
            "placement::a_global_unit_runs_on_every_machine_that_fits",
            zones(),
            global,
        ),
        shared(
            "placement::a_failure_domain_keeps_conflicting_units_in_different_zones",
            zones(),
            failure_domain,
        ),
        shared(
            "placement::every_example_is_accepted_or_says_why_not",
            zones(),
            examples,
        ),
        fresh(
            "placement::a_unit_that_fits_nowhere_says_why_and_starts_when_a_machine_fits",
            Options::default(),
            nowhere,
        ),
        shared(
            "placement::a_unit_named_like_the_hosts_own_is_refused_and_the_hosts_is_untouched",
            zones(),
            host_name,
        ),
    ]
}

fn clear(cluster: &Cluster, units: &[&str]) -> Result<()> {
    cluster.fleet_ok(1, &[&["destroy"], units].concat())?;
    let list = cluster.fleet_ok(1, &["list-units", "--no-legend"])?;
    ensure!(list.is_empty(), "left after destroy: {list}");
    Ok(())
}

/// Machines 1 and 3 are in zone a, machine 2 in zone b.
fn metadata(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    let list = cluster.fleet_ok(1, &["list-machines", "--no-legend", "--fields=metadata"])?;
    ensure!(
        list.lines().collect::<Vec<_>>() == ["zone=a", "zone=b", "zone=a"],
        "{list}"
    );
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone=b\n";
    cluster.unit_file(1, "only-b.service", unit)?;
    cluster.fleet_ok(1, &["start", "only-b.service"])?;
    ensure!(cluster.home(1, "only-b.service")? == 2, "not in zone b");
    clear(cluster, &["only-b.service"])
}

fn machine_of(cluster: &Cluster) -> Result<()> {
    let peer = |zone: &str| {
        format!("[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=zone={zone}\n")
    };
    let follower = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineOf=peer.service\n";
    cluster.unit_file(1, "peer.service", &peer("b"))?;
    cluster.unit_file(1, "follower.service", follower)?;
    cluster.fleet_ok(1, &["start", "peer.service", "follower.service"])?;
    ensure!(cluster.home(1, "follower.service")? == 2, "not beside its peer");
    cluster.unit_file(1, "peer.service", &peer("a"))?;
    cluster.fleet_ok(1, &["start", "--replace", "peer.service"])?;
    let moved = cluster.home(1, "peer.service")?;
    ensure!(moved != 2, "the peer stayed in zone b");
    cluster.wait_active(1, "follower.service", &[moved], SOON)?;
    clear(cluster, &["peer.service", "follower.service"])
}

fn global(cluster: &Cluster) -> Result<()> {
    cluster.example(1, "global.service")?;
    cluster.fleet_ok(1, &["start", "global.service"])?;
    cluster.wait_active(1, "global.service", &[1, 2, 3], SOON)?;
    clear(cluster, &["global.service"])?;
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nGlobal=true\nMachineMetadata=zone=a\n";
    cluster.unit_file(1, "global-a.service", unit)?;
    cluster.fleet_ok(1, &["start", "global-a.service"])?;
    cluster.wait_active(1, "global-a.service", &[1, 3], SOON)?;
    clear(cluster, &["global-a.service"])
}

fn failure_domain(cluster: &Cluster) -> Result<()> {
    cluster.example(1, "zone@.service")?;
    cluster.fleet_ok(1, &["start", "zone@1", "zone@2"])?;
    let zone = |machine: usize| if machine == 2 { "b" } else { "a" };
    let homes = [
        cluster.home(1, "zone@1.service")?,
        cluster.home(1, "zone@2.service")?,
    ];
    ensure!(
        zone(homes[0]) != zone(homes[1]),
        "both in one zone: machines {homes:?}"
    );
    let third = cluster.fleet(1, &["start", "zone@3"])?;
    ensure!(
        third.code == Some(1),
        "a third found a place in two zones: {}",
        third.stdout
    );
    ensure!(third.stderr.contains("shares its zone with"), "{}", third.stderr);
    clear(cluster, &["zone@1", "zone@2", "zone@3"])
}

/// Examples that no machine here can run start all the same: what is in them is systemd's business.
fn examples(cluster: &Cluster) -> Result<()> {
    let directory = lab::fleet::workspace().join("units/examples");
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        cluster.example(1, &name)?;
        cluster.fleet_ok(1, &["submit", &name])?;
        let cat = cluster.fleet_ok(1, &["cat", &name])?;
        ensure!(cat.contains('['), "{name}: {cat}");
        cluster.fleet_ok(1, &["destroy", &name])?;
    }
    Ok(())
}

fn nowhere(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    // It leaves in order, so that it joins anew with what it has got by then.
    cluster.machine(3)?.poweroff()?;
    cluster.wait_for_machines(1, 2)?;
    let unit = "[Service]\nExecStart=/bin/sleep infinity\n[X-Fleet]\nMachineMetadata=disk=ssd\n";
    cluster.unit_file(1, "ssd.service", unit)?;
    let asked = Instant::now();
    let output = cluster.fleet(1, &["start", "ssd.service"])?;
    let took = asked.elapsed();
    ensure!(output.code == Some(1), "it ended with {:?}", output.code);
    ensure!(took < Duration::from_secs(1), "the answer took {took:?}");
    for machine in ["01010101.../10.111", "02020202.../10.111"] {
        ensure!(
            output.stderr.contains(machine),
            "no reason for {machine}: {}",
            output.stderr
        );
    }
    ensure!(
        output
            .stderr
            .matches("has no metadata disk, MachineMetadata= asks for disk=ssd")
            .count()
            == 2,
        "{}",
        output.stderr
    );

    let conf = cluster.machine(3)?.root().join("etc/fleet/fleet.conf");
    let text = std::fs::read_to_string(&conf)?;
    std::fs::write(&conf, format!("{text}\nmetadata=\"disk=ssd\"\n"))?;
    cluster.machine(3)?.boot()?;
    cluster.wait_active(1, "ssd.service", &[3], Duration::from_secs(30))
}

fn host_name(cluster: &Cluster) -> Result<()> {
    let machines: Vec<usize> = (1..=3).collect();
    for number in &machines {
        cluster.run(*number, &["ssh-keygen", "-A"])?;
        cluster.run(*number, &["systemctl", "start", "ssh.service"])?;
    }
    let pids = |c: &Cluster| {
        machines
            .iter()
            .map(|n| c.main_pid(*n, "ssh.service"))
            .collect::<Result<Vec<_>>>()
    };
    let before = pids(cluster)?;
    ensure!(
        before.iter().all(Option::is_some),
        "sshd does not run: {before:?}"
    );
    cluster.unit_file(1, "ssh.service", "[Service]\nExecStart=/bin/sleep infinity\n")?;
    let output = cluster.fleet(1, &["start", "ssh.service"])?;
    ensure!(output.code == Some(1), "it ended with {:?}", output.code);
    ensure!(
        output
            .stderr
            .matches("/usr/lib/systemd/system/ssh.service")
            .count()
            == 3,
        "{}",
        output.stderr
    );
    cluster.fleet_ok(1, &["stop", "ssh.service"])?;
    cluster.fleet_ok(1, &["destroy", "ssh.service"])?;
    wait_until("the refused unit to be forgotten", SOON, || {
        let keys = cluster
            .etcdctl(1, &["get", "--prefix", "--keys-only", "/_coreos.com/fleet/"])?
            .ok()?;
        seen(!keys.contains("ssh.service"), || keys.clone())
    })?;
    ensure!(pids(cluster)? == before, "the host's sshd was touched");
    Ok(())
}
