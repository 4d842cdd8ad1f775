//! Units of every type: those that Debian's packages ship, as fleet keeps them, and one of each type as it runs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use lab::cluster::{Cluster, Options};
use lab::fleetctl::UNITS;
use units::{UnitFile, UnitName, UnitType, validate};

use crate::harness::{Scenario, shared};

pub(crate) fn scenarios() -> Vec<Scenario> {
    let one = || Options {
        machines: 1,
        ..Options::default()
    };
    vec![
        shared(
            "corpus::the_units_that_debian_ships_keep_their_text_and_hash",
            one(),
            shipped,
        ),
        shared(
            "corpus::a_unit_of_each_type_starts_stops_and_goes",
            one(),
            each_type,
        ),
    ]
}

/// Where Debian's packages put their unit files.
const SHIPPED: &str = "/usr/lib/systemd/system";

/// Between the files of a listing.
const MARK: &str = "\u{1}";

/// Files, not links: those are aliases and masks.
fn files(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let script = format!(
        "cd {SHIPPED} && for f in *.*; do if [ -f \"$f\" ] && [ ! -L \"$f\" ]; then printf '{MARK}%s\\n' \"$f\"; cat \"$f\"; fi; done"
    );
    let listing = cluster.run(1, &["sh", "-c", &script])?;
    let files = listing.split(MARK).filter_map(|file| file.split_once('\n'));
    Ok(files
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect())
}

/// A type that may not be renamed at will: the name is the path.
fn is_named_by_path(name: &UnitName) -> bool {
    use UnitType::{Automount, Mount, Swap};
    matches!(name.unit_type(), Mount | Automount | Swap)
}

fn shipped(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 1)?;
    let (mut submitted, mut refused) = (BTreeMap::new(), Vec::new());
    let mut by_type: BTreeMap<UnitType, usize> = BTreeMap::new();
    for (shipped, text) in files(cluster)? {
        let Ok(own) = UnitName::parse(&shipped) else {
            continue;
        };
        *by_type.entry(own.unit_type()).or_default() += 1;
        let renamed = UnitName::parse(&format!("corpus-{own}"))?;
        // Under its own name it can be kept as well, only not run: that one is the host's.
        let name = if is_named_by_path(&own) {
            refused.push(renamed);
            own
        } else {
            renamed
        };
        submitted.insert(name, text);
    }
    use UnitType::{Automount, Mount, Path, Service, Slice, Socket, Target, Timer};
    for unit_type in [Automount, Mount, Path, Service, Slice, Socket, Target, Timer] {
        ensure!(
            by_type.contains_key(&unit_type),
            "Debian ships no {unit_type}: {by_type:?}"
        );
    }

    for (name, text) in &submitted {
        cluster.unit_file(1, name.as_str(), text)?;
    }
    for name in &refused {
        let own = name.as_str().trim_start_matches("corpus-");
        let text = submitted
            .iter()
            .find(|(name, _)| name.as_str() == own)
            .map(|(_, text)| text);
        cluster.unit_file(1, name.as_str(), text.context("not shipped")?)?;
        let output = cluster.fleet(1, &["submit", name.as_str()])?;
        let says_why =
            output.stderr.contains("systemd wants the name to say the path") && output.stderr.contains(own);
        ensure!(
            output.code == Some(1) && says_why && output.stderr.lines().count() == 1,
            "fleetctl submit {name}: {output:?}"
        );
    }
    let names: Vec<&str> = submitted.keys().map(UnitName::as_str).collect();
    let said = cluster.fleet_ok(1, &[&["submit"], names.as_slice()].concat())?;
    ensure!(said.lines().count() == names.len(), "{said}");

    // One line for each unit: its hash as fleet lists it, and that of what `cat` prints.
    let listed = cluster.fleet_ok(
        1,
        &["list-unit-files", "--full", "--no-legend", "--fields=unit,hash"],
    )?;
    let listed: BTreeMap<&str, &str> = listed
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .collect();
    let script = "for u in \"$@\"; do printf '%s ' \"$u\"; fleetctl cat \"$u\" | sha1sum; done";
    let summed = cluster.run(1, &[&["sh", "-c", script, "sh"], names.as_slice()].concat())?;
    let summed: BTreeMap<&str, &str> = summed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, sum)| (name, sum.trim_end_matches(['-', ' '])))
        .collect();
    for (name, text) in &submitted {
        let file = UnitFile::parse(text).with_context(|| format!("{name} cannot be read"))?;
        validate(name, &file).with_context(|| format!("{name} is refused"))?;
        let known = [listed.get(name.as_str()), summed.get(name.as_str())].map(|hash| hash.map(|h| h.trim()));
        let hash = file.hash().to_string();
        ensure!(
            known == [Some(hash.as_str()); 2],
            "{name} is {hash}, listed and printed as {known:?}"
        );
    }
    cluster.fleet_ok(1, &[&["destroy"], names.as_slice()].concat())?;
    let left = cluster.fleet_ok(1, &["list-unit-files", "--no-legend"])?;
    ensure!(left.is_empty(), "{left}");
    cluster.run(1, &["rm", "-r", UNITS]).map(drop)
}

/// What the units of [`TYPES`] need to be there, loaded and not started.
const LOADED: [(&str, &str); 4] = [
    ("try-sock.service", SERVICE),
    ("try-tick.service", SERVICE),
    ("try-look.service", SERVICE),
    (
        "try-box.service",
        "[Service]\nSlice=trybox.slice\nExecStart=/bin/sleep infinity\n",
    ),
];

const SERVICE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// One of each type that a container can have, and what systemd says of it when it is up.
const TYPES: [(&str, &str, &str); 7] = [
    ("try.service", SERVICE, "running"),
    (
        "try-sock.socket",
        "[Socket]\nListenStream=/run/try.sock\n",
        "listening",
    ),
    ("try-tick.timer", "[Timer]\nOnActiveSec=1h\n", "waiting"),
    ("try-look.path", "[Path]\nPathExists=/nowhere/at-all\n", "waiting"),
    (
        "mnt-try.mount",
        "[Mount]\nWhat=tmpfs\nType=tmpfs\nWhere=/mnt/try\n",
        "mounted",
    ),
    ("try.target", "[Unit]\nDescription=A target\n", "active"),
    ("trybox.slice", "[Slice]\nTasksMax=100\n", "active"),
];

fn each_type(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_machines(1, 1)?;
    let ran = run_each(cluster);
    let names = LOADED
        .iter()
        .map(|(name, _)| *name)
        .chain(TYPES.iter().map(|(name, ..)| *name));
    let all: Vec<&str> = names
        .chain(["run-none.swap", "mnt-lazy.mount", "mnt-lazy.automount"])
        .collect();
    // Whoever has the cluster next finds nothing of it.
    cluster.fleet(1, &[&["destroy"], all.as_slice()].concat())?;
    ran?;
    for unit in all {
        let state = cluster.machine(1)?.property(unit, "ActiveState")?;
        ensure!(
            matches!(state.as_str(), "inactive" | "failed"),
            "{unit} is {state} though destroyed"
        );
    }
    Ok(())
}

fn run_each(cluster: &Cluster) -> Result<()> {
    for (name, text) in LOADED {
        cluster.unit_file(1, name, text)?;
    }
    for (name, text, _) in TYPES {
        cluster.unit_file(1, name, text)?;
    }
    let loaded = LOADED.map(|(name, _)| name);
    cluster.fleet_ok(1, &[&["load"][..], &loaded].concat())?;
    let names = TYPES.map(|(name, ..)| name);
    cluster.fleet_ok(1, &[&["start"][..], &names].concat())?;
    let listed = cluster.units(1)?;
    for (name, _, sub) in TYPES {
        let row = listed.get(name).and_then(|rows| rows.first());
        let row = row.with_context(|| format!("{name} is not listed"))?;
        ensure!(
            (row.active.as_str(), row.sub.as_str()) == ("active", sub),
            "{name} is {row:?}"
        );
        let status = cluster.fleet_ok(1, &["status", name])?;
        ensure!(status.contains(name) && status.contains("active"), "{status}");
    }
    ensure!(
        cluster.exec(1, &["mountpoint", "/mnt/try"])?.success(),
        "nothing is mounted"
    );

    // What runs in a slice ends with it.
    cluster.fleet_ok(1, &["start", "try-box.service"])?;
    cluster.fleet_ok(1, &["stop", "trybox.slice"])?;
    let boxed = cluster.machine(1)?.property("try-box.service", "ActiveState")?;
    ensure!(
        boxed == "inactive",
        "try-box.service is {boxed} without its slice"
    );

    let rest: Vec<&str> = names.into_iter().filter(|name| *name != "trybox.slice").collect();
    cluster.fleet_ok(1, &[&["stop"], rest.as_slice()].concat())?;
    for name in names {
        let state = cluster.machine(1)?.property(name, "ActiveState")?;
        ensure!(state == "inactive", "{name} is {state} though stopped");
    }

    // No container may swap: systemd's word is passed on, and the unit is there to look at.
    cluster.unit_file(1, "run-none.swap", "[Swap]\nWhat=/run/none\n")?;
    let output = cluster.fleet(1, &["start", "run-none.swap"])?;
    ensure!(
        output.code == Some(1) && output.stderr.contains("run-none.swap"),
        "{output:?}"
    );
    cluster.fleet_ok(1, &["cat", "run-none.swap"])?;
    cluster.fleet_ok(1, &["destroy", "run-none.swap"])?;

    // Nor has every kernel autofs for containers: then that fails in the same way.
    cluster.unit_file(
        1,
        "mnt-lazy.mount",
        "[Mount]\nWhat=tmpfs\nType=tmpfs\nWhere=/mnt/lazy\n",
    )?;
    cluster.unit_file(1, "mnt-lazy.automount", "[Automount]\nWhere=/mnt/lazy\n")?;
    cluster.fleet_ok(1, &["load", "mnt-lazy.mount"])?;
    let has_autofs = cluster.exec(1, &["test", "-c", "/dev/autofs"])?.success();
    let output = cluster.fleet(1, &["start", "mnt-lazy.automount"])?;
    match has_autofs {
        true => {
            output.ok()?;
            let state = cluster.machine(1)?.property("mnt-lazy.automount", "SubState")?;
            ensure!(state == "waiting", "mnt-lazy.automount is {state}");
            cluster.run(1, &["ls", "/mnt/lazy"])?;
            let mounted = cluster.machine(1)?.property("mnt-lazy.mount", "SubState")?;
            ensure!(mounted == "mounted", "mnt-lazy.mount is {mounted}");
            cluster
                .fleet_ok(1, &["stop", "mnt-lazy.automount", "mnt-lazy.mount"])
                .map(drop)
        }
        false => {
            let names_it = output.stderr.contains("mnt-lazy.automount");
            ensure!(output.code == Some(1) && names_it, "{output:?}");
            Ok(())
        }
    }
}
