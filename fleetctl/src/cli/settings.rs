//! Global options, checked and ready to use.

use std::path::PathBuf;
use std::time::Duration;

use super::GlobalArgs;
use super::remote::SshArgs;
use crate::api::{Endpoint, Tls};
use crate::error::Error;
use crate::printer::Printer;
use crate::ssh::{self, Destination};

/// Where fleet.socket listens.
pub(super) const DEFAULT_ENDPOINT: &str = "unix:///var/run/fleet.sock";

/// Global options, checked and ready to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is.
    pub endpoint: Endpoint,
    /// Through which host it, and the machines, are reached.
    pub tunnel: Option<Destination>,
    /// What is said to ssh.
    pub ssh: ssh::Options,
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
        let (endpoint, tunnel) = endpoint(args)?;
        Ok(Self {
            tunnel,
            ssh: ssh_options(&args.ssh)?,
            tls: tls(&endpoint, args)?,
            endpoint,
            timeout: timeout(&args.request_timeout)?,
            debug: args.debug,
            machine_id_file: args.machine_id_file.clone(),
        })
    }
}

/// Where the API is, and through which host.
fn endpoint(args: &GlobalArgs) -> Result<(Endpoint, Option<Destination>), Error> {
    let mut items = args.endpoint.split(',').map(str::trim);
    let first = items.next().filter(|first| !first.is_empty());
    if items.next().is_some() {
        Printer::new(args.debug).warning("--endpoint names more than one: only the first is used");
    }
    let tunnel = said(args.ssh.tunnel.as_ref());
    let text = first.unwrap_or(DEFAULT_ENDPOINT);
    let Some(remote) = text.strip_prefix("ssh://") else {
        let endpoint = Endpoint::parse(text).map_err(|error| Error::Usage(error.to_string()))?;
        return Ok((
            endpoint,
            tunnel.map(|host| destination("--tunnel", host)).transpose()?,
        ));
    };
    if tunnel.is_some() {
        let message = "--tunnel and --endpoint ssh:// both name a host to go through: give one";
        return Err(Error::Usage(message.to_owned()));
    }
    let (host, path) = remote.split_once('/').unwrap_or((remote, ""));
    let endpoint = match path {
        "" => Endpoint::parse(DEFAULT_ENDPOINT),
        path => Endpoint::parse(&format!("unix:///{path}")),
    };
    let endpoint = endpoint.map_err(|error| Error::Usage(error.to_string()))?;
    Ok((endpoint, Some(destination("--endpoint ssh://", host)?)))
}

/// A variable that is empty says nothing.
fn said(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

fn destination(flag: &str, text: &str) -> Result<Destination, Error> {
    Destination::parse(text)
        .map_err(|error| Error::Usage(format!("invalid value {text:?} for {flag}: {error}")))
}

fn ssh_options(args: &SshArgs) -> Result<ssh::Options, Error> {
    let user = said(args.ssh_username.as_ref());
    if let Some(user) = user.filter(|user| user.starts_with('-')) {
        return Err(Error::Usage(format!(
            "invalid value {user:?} for --ssh-username: expected a user"
        )));
    }
    let strict = said(args.strict_host_key_checking.as_ref()).map(|text| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::Usage(format!(
            "invalid value {text:?} for --strict-host-key-checking: expected true or false"
        ))),
    });
    Ok(ssh::Options {
        user: user.map(str::to_owned),
        timeout: said(args.ssh_timeout.as_ref())
            .map(|text| seconds("--ssh-timeout", text))
            .transpose()?,
        known_hosts: said(args.known_hosts_file.as_ref()).map(str::to_owned),
        strict: strict.transpose()?,
    })
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
    seconds("--request-timeout", if text.is_empty() { "10" } else { text })
}

fn seconds(flag: &str, text: &str) -> Result<Duration, Error> {
    let seconds = text.parse().ok();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| {
        let expected = "expected seconds, such as 10 or 2.5";
        Error::Usage(format!("invalid value {text:?} for {flag}: {expected}"))
    })
}
