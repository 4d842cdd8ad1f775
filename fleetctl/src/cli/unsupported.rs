//! What fleet had and this fleetctl has not yet: said so, rather than ignored.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::error::Error;

/// Global flags of fleet, and what to do instead.
const FLAGS: [(&str, &str); 8] = [
    ("tunnel", TUNNEL),
    ("ssh-username", TUNNEL),
    ("ssh-timeout", TUNNEL),
    ("ssh-port", TUNNEL),
    ("known-hosts-file", TUNNEL),
    ("strict-host-key-checking", TUNNEL),
    (
        "etcd-key-prefix",
        "the registry belongs to fleetd; fleetctl only needs --endpoint",
    ),
    (
        "experimental-api",
        "the API is the only way now; leave the flag out",
    ),
];

const TUNNEL: &str = "run fleetctl on a machine of the cluster, or forward its socket yourself \
                      (ssh -L /tmp/fleet.sock:/var/run/fleet.sock HOST) and name it with --endpoint";

/// Commands of fleet, and what to do instead.
const COMMANDS: [(&str, &str); 4] = [
    (
        "journal",
        "run `journalctl --unit UNIT` on its machine, which `fleetctl status UNIT` names",
    ),
    (
        "ssh",
        "run `ssh HOST` yourself; `fleetctl list-machines` lists the addresses",
    ),
    ("fd-forward", "forward the socket with `ssh -L`"),
    (
        "verify",
        "`fleetctl submit` checks every unit before it sends any",
    ),
];

/// Those of them that need no value, and take one only after `=`.
const SWITCHES: [&str; 2] = ["strict-host-key-checking", "experimental-api"];

/// The flags, for clap to recognize.
pub(super) fn flags() -> impl Iterator<Item = Arg> {
    FLAGS.iter().map(|(name, _)| {
        let flag = Arg::new(*name).long(*name).global(true).hide(true);
        match SWITCHES.contains(name) {
            true => flag
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            false => flag.num_args(1),
        }
    })
}

/// Refuses those that were given, on the command line or in the environment.
pub(super) fn refuse(matches: &ArgMatches) -> Result<(), Error> {
    for (name, instead) in FLAGS {
        let variable = format!("FLEETCTL_{}", name.replace('-', "_").to_uppercase());
        let given = matches.value_source(name) == Some(ValueSource::CommandLine);
        let value = match given {
            true => matches.get_one::<String>(name).cloned(),
            false => std::env::var(&variable).ok(),
        };
        // What says nothing, and what fleet ignored, is no reason to stop.
        let harmless = match value.as_deref() {
            None | Some("") => true,
            Some(value) => name == "experimental-api" && value == "true",
        };
        if !harmless {
            let flag = if given { format!("--{name}") } else { variable };
            return Err(Error::Usage(format!("{flag} is not supported yet: {instead}")));
        }
    }
    Ok(())
}

/// What to do instead of a command of fleet that is not there.
pub(super) fn command(name: &str) -> Option<&'static str> {
    let known = COMMANDS.iter().find(|(command, _)| *command == name);
    known.map(|(_, instead)| *instead)
}
