//! Errors as a new user meets them: one clear line, what to do next, a documented exit code.

use anyhow::{Result, ensure};
use lab::cluster::{Cluster, Options};

use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![shared(
        "errors::each_is_a_line_that_says_what_to_do",
        Options::default(),
        lines,
    )]
}

/// Runs fleetctl; it must end with `code` and say exactly one line that has all of `words` in it.
fn says(cluster: &Cluster, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let output = cluster.fleet(1, arguments)?;
    let said = output.stderr.trim_end();
    let line = arguments.join(" ");
    ensure!(
        output.code == Some(code),
        "fleetctl {line} ended with {:?}, not {code}: {said}",
        output.code
    );
    ensure!(
        output.stdout.is_empty(),
        "fleetctl {line} wrote to stdout: {}",
        output.stdout
    );
    for word in words {
        ensure!(
            said.contains(word),
            "fleetctl {line} does not say {word:?}: {said}"
        );
    }
    Ok(())
}

fn lines(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 3)?;
    says(
        cluster,
        &["start", "nobody.service"],
        1,
        &["unable to find Unit(nobody.service) in Registry or on filesystem"],
    )?;
    says(
        cluster,
        &["cat", "nobody.service"],
        1,
        &["Unit nobody.service not found"],
    )?;
    says(
        cluster,
        &["status", "nobody.service"],
        1,
        &["Unit nobody.service does not exist."],
    )?;
    cluster.unit_file(
        1,
        "broken.service",
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=zone\n",
    )?;
    says(
        cluster,
        &["submit", "broken.service"],
        1,
        &["broken.service:4:", "zone"],
    )?;
    cluster.unit_file(
        1,
        "apart.service",
        "[Service]\nExecStart=/bin/true\n[X-Fleet]\nReplaces=a.service\nConflicts=b.service\n",
    )?;
    says(
        cluster,
        &["submit", "apart.service"],
        1,
        &["apart.service", "Conflicts cannot be used with Replaces"],
    )?;
    says(cluster, &["list-units", "--bogus"], 2, &["--bogus"])?;
    says(cluster, &["frobnicate"], 2, &["frobnicate"])?;
    says(
        cluster,
        &["--endpoint", "unix:///run/nowhere.sock", "list-units"],
        1,
        &["/run/nowhere.sock", "fleet.socket"],
    )?;
    says(cluster, &["--driver", "etcd", "list-units"], 2, &["--endpoint"])
}
