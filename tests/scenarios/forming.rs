//! From bare machines to a cluster: by hand, by CoreOS' file, by a file that is bad; commands cut off in the middle.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Base, Cluster, Options};
use lab::forming::CloudConfig;
use lab::printer::Printer;
use lab::prove::{Report, Settings, forming, killed, package};

use crate::harness::{Scenario, fresh};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let bare = Options {
        base: Base::Bare,
        ..Options::package(3)
    };
    vec![
        fresh(
            "forming::init_and_join_make_a_cluster_that_comes_back_and_lets_machines_go",
            Options::package(5),
            |cluster| kept(forming::by_hand, cluster),
        ),
        fresh(
            "forming::one_cloud_config_on_three_machines_makes_a_cluster",
            Options::package(5),
            |cluster| kept(forming::by_file, cluster),
        ),
        fresh(
            "forming::a_bad_cloud_config_is_refused_and_changes_nothing",
            Options::package(1),
            bad_file,
        ),
        fresh(
            "forming::a_command_cut_off_in_the_middle_is_run_again",
            Options::package(3),
            |cluster| kept(killed::killed, cluster),
        ),
        fresh(
            "forming::the_package_is_installed_upgraded_and_removed",
            bare,
            |cluster| kept(package::life, cluster),
        ),
    ]
}

type Proof = fn(&Cluster, &Settings, &Printer) -> Result<Report>;

fn kept(proof: Proof, cluster: &Cluster) -> Result<()> {
    proof(cluster, &Settings::short(), &Printer::silent())?.kept()
}

/// A good file, and what makes a bad one of it.
const BAD: [(&str, &str, &str); 6] = [
    ("a tab", "  fleet:", "\tfleet:"),
    ("no such key", "public-ip:", "publik-ip:"),
    ("no such command", "command: start", "command: dance"),
    ("no list", "  units:\n", "  units: many\n"),
    (
        "no address",
        "initial-cluster: infra1=http://",
        "initial-cluster: infra1=http//",
    ),
    ("not the first line", "#cloud-config\n", ""),
];

fn bad_file(cluster: &Cluster) -> Result<()> {
    let good = CloudConfig {
        cluster: &[1],
        existing: false,
        proxy: false,
        role: "web",
    };
    let good = good.text(cluster);
    // A user and a file come before the rest; a file that is bad at its end must not have made them.
    let good = good + "hostname: changed\nwrite_files:\n  - path: /etc/changed\n    content: yes\n";
    let before = state(cluster)?;
    for (what, from, to) in BAD {
        ensure!(good.contains(from), "{what}: the file has no {from:?}");
        let words = cluster.hand_out(1, &good.replacen(from, to, 1))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = cluster.exec(1, &words)?;
        ensure!(output.code == Some(2), "{what}: not refused: {output:?}");
        ensure!(!output.stderr.trim().is_empty(), "{what}: refused without a word");
        let after = state(cluster)?;
        let changed: Vec<_> = before.symmetric_difference(&after).take(5).collect();
        ensure!(changed.is_empty(), "{what}: changed {changed:?}");
    }
    let words = cluster.hand_out(1, &good)?;
    cluster
        .type_in(1, &words)
        .context("the file that they were made of is bad itself")?;
    ensure!(
        state(cluster)? != before,
        "a good file leaves no trace, so a bad one would leave none either"
    );
    Ok(())
}

/// Every file that a cloud-config may change, with its content, and what runs.
fn state(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let script = r"
        find /etc /run/systemd/system /var/lib/fleet /home -printf '%p %y %m %u %g %l\n' 2>/dev/null
        find /etc /run/systemd/system /var/lib/fleet /home -type f -exec sha256sum {} + 2>/dev/null
        systemctl --no-legend --no-pager --plain list-units --type=service,socket,mount
        hostname
    ";
    let text = cluster.run(1, &["bash", "-c", script])?;
    Ok(text.lines().map(str::to_owned).collect())
}
