//! What can go wrong between here and fleetd, each in one line with what to do next.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::Endpoint;
use crate::ssh::SshError;

/// A request that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody there.
    #[error("cannot reach the fleet API at {endpoint}: {}", why(endpoint, error))]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// The system's word for it.
        error: io::Error,
    },
    /// Somebody there, but silent.
    #[error(
        "no answer from the fleet API at {endpoint} within {} s: see `journalctl -u fleet` there, or wait longer with --request-timeout",
        after.as_secs_f64()
    )]
    Timeout {
        /// Where.
        endpoint: Endpoint,
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended in the middle.
    #[error("the fleet API at {endpoint} hung up ({reason}): was fleetd restarted? try again")]
    Broken {
        /// Where.
        endpoint: Endpoint,
        /// In hyper's words.
        reason: String,
    },
    /// One side does not take the other's certificate.
    #[error("the fleet API at {endpoint} cannot be spoken to: {reason}")]
    Untrusted {
        /// Where.
        endpoint: Endpoint,
        /// Whose certificate, and which file to look at.
        reason: String,
    },
    /// An answer that says no.
    #[error("{}", refusal(endpoint, *status, message))]
    Status {
        /// Where.
        endpoint: Endpoint,
        /// The HTTP status.
        status: u16,
        /// What the answer says; may be empty.
        message: String,
    },
    /// The way there, by ssh, does not lead there.
    #[error("cannot reach the fleet API by ssh: {0}")]
    Tunnel(#[from] SshError),
    /// More units than can be asked for at once.
    #[error("too many units for one command: give fewer, a thousand for example, and the rest in another")]
    TooMany,
    /// An answer that cannot be understood.
    #[error("the fleet API at {endpoint} gave an answer that is not understood ({reason}): is it a fleetd of version {version}?", version = env!("CARGO_PKG_VERSION"))]
    Answer {
        /// Where.
        endpoint: Endpoint,
        /// What is wrong with it.
        reason: String,
    },
}

impl ApiError {
    /// Whether asking again may help: fleetd is restarting, or has lost etcd for the moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } | Self::Tunnel(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Untrusted { .. } | Self::TooMany | Self::Answer { .. } => false,
        }
    }
}

/// Why nobody is there, and what to do about it.
pub(crate) fn why(endpoint: &Endpoint, error: &io::Error) -> String {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match (endpoint, error.kind()) {
        (Endpoint::Unix(_), NotFound) => {
            "there is no such socket; is fleetd running? see `systemctl status fleet.socket`, or name another --endpoint"
                .to_owned()
        }
        (Endpoint::Unix(_), ConnectionRefused) => {
            "nothing listens on that socket; is fleetd running? see `systemctl status fleet.socket`".to_owned()
        }
        (Endpoint::Unix(_), PermissionDenied) => {
            "permission denied; become a member of the group fleet, or root".to_owned()
        }
        (Endpoint::Tcp { .. } | Endpoint::Tls { .. }, ConnectionRefused) => {
            "connection refused; does fleet.socket listen on that port? see `systemctl status fleet.socket` there"
                .to_owned()
        }
        _ => format!("{error}; is --endpoint right?"),
    }
}

fn refusal(endpoint: &Endpoint, status: u16, message: &str) -> String {
    let reason = if message.is_empty() {
        "it gave no reason"
    } else {
        message
    };
    match status {
        503 => format!(
            "fleetd at {endpoint} cannot serve now: {reason}; is etcd up? see `journalctl -u fleet` there"
        ),
        500.. => format!("fleetd at {endpoint} failed ({status}): {reason}; see `journalctl -u fleet` there"),
        404 if message.is_empty() => format!(
            "fleetd at {endpoint} does not know this request: it is older than this fleetctl ({})",
            env!("CARGO_PKG_VERSION")
        ),
        _ if message.is_empty() => format!("fleetd at {endpoint} refused ({status}) and gave no reason"),
        _ => message.to_owned(),
    }
}

/// The error of that kind that is somewhere in `error`. An `io::Error` does not call what it wraps its source.
pub(super) fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
