//! `fleetd bootstrap FILE`: the command line, and what is done in which order.

#[cfg(test)]
mod tests;

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::apply::{self, Changed};
use super::cloud_config;
use super::etcd::Role;
use super::facts::Facts;
use super::plan;
use super::standing;
use super::step::Step;
use super::system::{System, ThisMachine};

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Set this machine up as a CoreOS cloud-config says: users, files, units, etcd, fleet.
///
/// All of the file is checked before anything is changed. It may be run again at any time: what is so already is left
/// alone.
///
/// Exit codes: 0 done, 1 could not, 2 wrong usage or a bad file.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The cloud-config; - reads it from stdin
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what is wrong with the file
    #[arg(long, conflicts_with = "dry_run")]
    pub validate: bool,
    /// Print what would be done, without doing it
    #[arg(long)]
    pub dry_run: bool,
    /// What $private_ipv4 stands for [default: as /etc/environment or this machine's interfaces say]
    #[arg(long, value_name = "ADDRESS")]
    pub private_ipv4: Option<Ipv4Addr>,
    /// What $public_ipv4 stands for
    #[arg(long, value_name = "ADDRESS")]
    pub public_ipv4: Option<Ipv4Addr>,
}

/// Where the command reads and says things.
struct Outside<'a> {
    /// The file, as it is called in messages.
    name: String,
    bytes: Vec<u8>,
    facts: Facts,
    system: &'a dyn System,
    /// Data: what a dry run would do.
    out: &'a (dyn Fn(&str) + Sync),
    /// Everything else.
    talk: &'a (dyn Fn(&str) + Sync),
}

/// Runs the command on this machine and returns its exit code.
pub async fn run(arguments: Arguments) -> u8 {
    let talk = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    let (name, bytes) = match file(&arguments.file) {
        Ok(read) => read,
        Err(error) => {
            talk(&format!(
                "fleetd bootstrap: cannot read {}: {error}",
                arguments.file.display()
            ));
            return WRONG;
        }
    };
    let facts = match Facts::gather(&ThisMachine) {
        Ok(facts) => Facts {
            private_ipv4: arguments.private_ipv4,
            public_ipv4: arguments.public_ipv4,
            ..facts
        },
        Err(error) => {
            talk(&format!("fleetd bootstrap: {error}"));
            return FAILED;
        }
    };
    if !arguments.validate && !arguments.dry_run && !nix::unistd::geteuid().is_root() {
        talk("fleetd bootstrap: only root can set a machine up: try sudo, or --dry-run");
        return FAILED;
    }
    let outside = Outside {
        name,
        bytes,
        facts,
        system: &ThisMachine,
        out: &|line| drop(writeln!(std::io::stdout(), "{line}")),
        talk: &talk,
    };
    carry_out(&arguments, &outside).await
}

/// A little more than may be in it, so that too much is seen.
fn file(path: &Path) -> std::io::Result<(String, Vec<u8>)> {
    let most = cloud_config::MAX_SIZE as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut bytes)?;
        return Ok(("stdin".to_owned(), bytes));
    }
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok((path.display().to_string(), bytes))
}

async fn carry_out(arguments: &Arguments, outside: &Outside<'_>) -> u8 {
    let Outside { system, talk, .. } = *outside;
    let reading = cloud_config::read(&outside.bytes, &outside.facts);
    for finding in &reading.findings {
        talk(&format!("{}:{finding}", outside.name));
    }
    let Some(config) = reading.config else {
        let errors = reading.findings.iter().filter(|f| f.is_error).count();
        let things = if errors == 1 { "thing is" } else { "things are" };
        talk(&format!(
            "fleetd bootstrap: {errors} {things} wrong with {}: nothing was changed",
            outside.name
        ));
        return WRONG;
    };
    if arguments.validate {
        return DONE;
    }
    match standing::refusal(system, config.etcd.as_ref()) {
        Ok(None) => {}
        Ok(Some(taken)) => {
            talk(&format!("fleetd bootstrap: {taken}"));
            return FAILED;
        }
        Err(error) => {
            talk(&format!("fleetd bootstrap: {error}"));
            return FAILED;
        }
    }
    let steps = plan::plan(&config, &outside.facts);
    if arguments.dry_run {
        // Who may not look at everything sees too much to do, not too little.
        let changed = Changed::look(&steps, system).unwrap_or_default();
        for step in &steps {
            let is_done = apply::is_done(step, &changed, system).unwrap_or(false);
            (outside.out)(&format!("{} {step}", if is_done { "done" } else { "do  " }));
            if let Step::Etcd(etcd) = step
                && !matches!(etcd.role, Role::Gateway { .. })
            {
                for (key, value) in &etcd.environment {
                    (outside.out)(&format!("       {key}={value}"));
                }
            }
        }
        return DONE;
    }
    match apply::apply(&steps, system, talk).await {
        Ok(_) => DONE,
        Err(errors) => {
            for error in errors {
                talk(&format!("fleetd bootstrap: {error}"));
            }
            FAILED
        }
    }
}
