//! What fleet had and this fleetctl has not: said so, rather than ignored.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::error::Error;

/// Global flags of fleet, and what to do instead.
const FLAGS: [(&str, &str); 2] = [
    (
        "etcd-key-prefix",
        "the registry belongs to fleetd; fleetctl only needs --endpoint",
    ),
    (
        "experimental-api",
        "the API is the only way now; leave the flag out",
    ),
];

/// Those of them that need no value, and take one only after `=`.
const SWITCHES: [&str; 1] = ["experimental-api"];

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
            return Err(Error::Usage(format!("{flag} is not supported: {instead}")));
        }
    }
    Ok(())
}
