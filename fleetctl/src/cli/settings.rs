//! Global options, checked and ready to use.

use std::path::PathBuf;
use std::time::Duration;

use super::GlobalArgs;
use crate::api::{Endpoint, Tls};
use crate::error::Error;
use crate::printer::Printer;

/// Where fleet.socket listens.
pub(super) const DEFAULT_ENDPOINT: &str = "unix:///var/run/fleet.sock";

/// Global options, checked and ready to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// For an `https://` endpoint.
    pub tls: Option<Tls>,
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
                     (unix:///var/run/fleet.sock or http(s)://host:port)"
                        .to_owned(),
                ));
            }
            other => {
                let message = format!("unrecognized driver {other:?}: expected API");
                return Err(Error::Usage(message));
            }
        }
        let endpoint = endpoint(&args.endpoint, Printer::new(args.debug))?;
        Ok(Self {
            tls: tls(&endpoint, args)?,
            endpoint,
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

/// Certificates are read only where they are used: in the environment they may stand for other endpoints.
fn tls(endpoint: &Endpoint, args: &GlobalArgs) -> Result<Option<Tls>, Error> {
    // A variable that is empty says nothing. Of the two names of each, --ca-file and FLEETCTL_CA_FILE go first.
    let given = |file: &Option<PathBuf>, older_name| {
        let older = || std::env::var_os(older_name).map(PathBuf::from);
        let said = |file: &PathBuf| !file.as_os_str().is_empty();
        file.clone().filter(said).or_else(|| older().filter(said))
    };
    let ca = given(&args.ca_file, "FLEETCTL_ETCD_CAFILE");
    let certificate = given(&args.cert_file, "FLEETCTL_ETCD_CERTFILE");
    let key = given(&args.key_file, "FLEETCTL_ETCD_KEYFILE");
    let (ca, certificate, key) = (ca.as_deref(), certificate.as_deref(), key.as_deref());
    match endpoint {
        Endpoint::Unix(_) => Ok(None),
        Endpoint::Tcp { .. } if ca.or(certificate).or(key).is_some() => Err(Error::Usage(
            "--ca-file, --cert-file and --key-file need an https:// endpoint: over http:// nothing is checked".to_owned(),
        )),
        Endpoint::Tcp { .. } => Ok(None),
        Endpoint::Tls { .. } => Tls::read(ca, certificate, key)
            .map(Some)
            .map_err(|error| Error::Usage(error.to_string())),
    }
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
