//! Tries `init::contract` on the systemd of the machine it runs on, which must be one to throw away.
//!
//! `init-contract` runs all cases; `init-contract NAME…` those whose name contains one of the words.

use std::process::ExitCode;

use fleetd::init::contract::{Bench, CASES};
use fleetd::init::systemd::Systemd;
use fleetd::init::{Init, SharedInit};
use units::UnitName;

const DIRECTORY: &str = "/run/fleet/units";

#[tokio::main]
#[allow(clippy::print_stdout)] // a report is what it is for
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .init();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    std::fs::create_dir_all(DIRECTORY)?;
    let systemd = Systemd::connect(DIRECTORY, Default::default()).await?;
    let events = systemd.events().ok_or_else(|| anyhow::anyhow!("no events"))?;
    let mut bench = Bench {
        init: systemd as SharedInit,
        events,
        directory: DIRECTORY.into(),
        host: UnitName::parse("dbus.service")?,
        alias: UnitName::parse("default.target")?,
        instance: UnitName::parse("getty@tty9.service")?,
        script: Box::new(|_, _| ()),
    };
    let mut failed = 0;
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let begun = tokio::time::Instant::now();
        let outcome = case(&mut bench).await;
        let took = begun.elapsed().as_millis();
        match outcome {
            Ok(()) => println!("ok    {name} ({took} ms)"),
            Err(found) => {
                failed += 1;
                println!("FAIL  {name} ({took} ms): {found}");
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}
