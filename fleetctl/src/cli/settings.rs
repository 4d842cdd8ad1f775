//! Global options, checked and ready to use.

use std::path::PathBuf;
use std::time::Duration;

use super::GlobalArgs;
use crate::api::Endpoint;
use crate::error::Error;
use crate::printer::Printer;

/// Where fleet.socket listens.
pub(super) const DEFAULT_ENDPOINT: &str = "unix:///var/run/fleet.sock";

/// Global options, checked and ready to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// Show each request.
    pub debug: bool,
    /// Holds this machine's id.
    pub machine_id_file: PathBuf,
}

impl Settings {
    pub(super) fn read(args: &GlobalArgs) -> Result<Self, Error> {
        match args.driver.as_str() {
            "" | "API" | "api" => {}
            "etcd" => {
                return Err(Error::Usage(
                    "driver etcd is not supported: fleetctl speaks to a fleetd, which --endpoint names \
                     (unix:///var/run/fleet.sock or http://host:port)"
                        .to_owned(),
                ));
            }
            other => {
                let message = format!("unrecognized driver {other:?}: expected API");
                return Err(Error::Usage(message));
            }
        }
        Ok(Self {
            endpoint: endpoint(&args.endpoint, Printer::new(args.debug))?,
            timeout: timeout(&args.request_timeout)?,
            debug: args.debug,
            machine_id_file: args.machine_id_file.clone(),
        })
    }
}

fn endpoint(list: &str, printer: Printer) -> Result<Endpoint, Error> {
    let mut items = list.split(',').map(str::trim);
    let first = items.next().filter(|first| !first.is_empty());
    if items.next().is_some() {
        printer.warning("--endpoint names more than one: only the first is used");
    }
    Endpoint::parse(first.unwrap_or(DEFAULT_ENDPOINT)).map_err(|error| Error::Usage(error.to_string()))
}

fn timeout(text: &str) -> Result<Duration, Error> {
    let seconds = if text.is_empty() { "10" } else { text };
    let timeout = seconds
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.filter(|timeout| !timeout.is_zero()).ok_or_else(|| {
        let expected = "expected seconds, such as 10 or 2.5";
        Error::Usage(format!(
            "invalid value {text:?} for --request-timeout: {expected}"
        ))
    })
}
