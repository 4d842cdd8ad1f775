//! What a failed call means: may it be sent again, may it have had an effect, and what is said about it in one line.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, ConnectError, Status};

use super::super::RegistryError;
use super::{EtcdTls, MAX_MESSAGE_BYTES, tls};

/// Why a call to one endpoint failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request surely had no effect; another endpoint, or a later moment, may do better.
    Unreached(String),
    /// The request was sent, and nobody said what became of it.
    InDoubt(String),
    /// etcd answered, and would say the same again.
    Refused(String),
    /// etcd answered that there is no such lease.
    NoSuchLease,
    /// etcd answered that the revision is gone.
    Compacted,
    /// etcd answered with more than is taken.
    TooLarge(String),
}

impl Failure {
    /// Whether the endpoint itself is in doubt, rather than the request.
    pub(super) fn blames_endpoint(&self) -> bool {
        matches!(self, Self::Unreached(_) | Self::InDoubt(_))
    }

    /// For a call that changes nothing, or nothing that a repetition would not change: it is just not available.
    pub(super) fn of_read(self) -> RegistryError {
        match self {
            Self::Unreached(text) | Self::InDoubt(text) => RegistryError::Unavailable(text),
            // The next attempt asks for a later one.
            Self::Compacted => {
                RegistryError::Unavailable("the history to read from is gone meanwhile".to_owned())
            }
            other => other.into_answer(),
        }
    }

    /// For a call whose effect must not be guessed.
    pub(super) fn of_commit(self) -> RegistryError {
        match self {
            Self::Unreached(text) => RegistryError::Unavailable(text),
            Self::InDoubt(text) => RegistryError::Unknown(text),
            other => other.into_answer(),
        }
    }

    fn into_answer(self) -> RegistryError {
        RegistryError::Refused(match self {
            Self::Unreached(text) | Self::InDoubt(text) | Self::Refused(text) | Self::TooLarge(text) => text,
            Self::NoSuchLease => "there is no such lease".to_owned(),
            Self::Compacted => "the revision is compacted".to_owned(),
        })
    }

    /// No connection was to be had in time.
    pub(super) fn no_connection(within: Duration) -> Self {
        Self::Unreached(format!("no connection within {within:?}"))
    }

    /// The endpoint was asked and kept silent.
    pub(super) fn no_answer(endpoint: &str, within: Duration) -> Self {
        Self::InDoubt(format!("{endpoint}: no answer within {within:?}"))
    }

    /// The same with what may be behind it, where a connection was just closed before anything was answered on it: an
    /// etcd that misses a certificate often says no more than that.
    pub(super) fn suspecting(self, endpoint: &str, tls: Option<&EtcdTls>) -> Self {
        match self {
            Self::InDoubt(text)
                if ["closed", "canceled", "reset by peer", "fatal alert"]
                    .iter()
                    .any(|w| text.contains(w)) =>
            {
                Self::InDoubt(format!("{text}; {}", tls::suspicion(endpoint, tls)))
            }
            other => other,
        }
    }

    /// What it was, without the endpoint's address that it begins with.
    pub(super) fn reason(&self, endpoint: &str) -> &str {
        match self {
            Self::Unreached(text) | Self::InDoubt(text) | Self::Refused(text) | Self::TooLarge(text) => text
                .strip_prefix(endpoint)
                .map_or(text, |rest| rest.trim_start_matches(": ")),
            Self::NoSuchLease => "no such lease",
            Self::Compacted => "compacted",
        }
    }

    /// What `error` of a call to `endpoint` means.
    pub(super) fn new(endpoint: &str, tls: Option<&EtcdTls>, error: etcd_client::Error) -> Self {
        use etcd_client::Error as E;
        // Neither side sees a request before it has taken the other's certificate.
        let cause: &(dyn std::error::Error + 'static) = match &error {
            E::GRpcStatus(status) => status,
            E::TransportError(error) => error,
            other => other,
        };
        if let Some(why) = tls.and_then(|tls| tls.explain(endpoint, cause)) {
            return Self::Unreached(format!("{endpoint}: {why}"));
        }
        match error {
            E::GRpcStatus(status) => Self::of_status(endpoint, &status),
            E::LeaseKeepAliveError(text) if text == "lease not found" => Self::NoSuchLease,
            // The address or an option makes no sense; nothing was sent.
            E::InvalidArgs(text) => Self::Refused(format!("{endpoint}: {text}")),
            E::InvalidUri(e) => Self::Refused(format!("{endpoint}: {e}")),
            E::InvalidMetadataValue(e) => Self::Refused(format!("{endpoint}: {e}")),
            E::TransportError(e) => Self::Unreached(format!("{endpoint}: {}", deepest(&e))),
            other => Self::InDoubt(format!("{endpoint}: {other}")),
        }
    }

    fn of_status(endpoint: &str, status: &Status) -> Self {
        let said = status.message().trim_start_matches("etcdserver: ");
        let text = format!("{endpoint}: {said}");
        match status.code() {
            Code::Unavailable if never_connected(status) => {
                Self::Unreached(format!("{endpoint}: {}", deepest(status)))
            }
            // Checked by etcd before it looks at the request, as we ask it to (`require_leader`).
            Code::Unavailable if said == "no leader" => Self::Unreached(text),
            // Checked before the request is proposed to the cluster.
            Code::ResourceExhausted if said == "too many requests" => Self::Unreached(text),
            Code::NotFound if said == "requested lease not found" => Self::NoSuchLease,
            // etcd and the decoder on our side use the same code for different things.
            Code::OutOfRange if said.contains("compacted") => Self::Compacted,
            Code::OutOfRange if said.contains("decoded message length too large") => Self::TooLarge(format!(
                "{endpoint}: the answer is larger than {} MiB",
                MAX_MESSAGE_BYTES >> 20
            )),
            Code::ResourceExhausted
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss => Self::Refused(match remedy(said) {
                Some(remedy) => format!("{text}: {remedy}"),
                None => text,
            }),
            // "request timed out" is Unavailable too, and may yet be applied.
            Code::Unavailable
            | Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal => match status.source() {
                Some(_) => Self::InDoubt(format!("{endpoint}: {}", deepest(status))),
                None => Self::InDoubt(text),
            },
        }
    }
}

/// What to do when etcd does not know us, or knows us and gives us no right.
fn remedy(said: &str) -> Option<&'static str> {
    Some(match said {
        "permission denied" => {
            "etcd_username needs a role with readwrite on everything below etcd_key_prefix"
        }
        "authentication failed, invalid user ID or password" => "see etcd_username and etcd_password",
        "user name is empty" => "it asks for a user: set etcd_username and etcd_password",
        "authentication is not enabled" => "etcd_username is set, and `etcdctl auth enable` was not done",
        _ => return None,
    })
}

/// Whether the request failed because no connection could be made for it, so that not a byte of it was sent.
fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The innermost cause: "Connection refused", where the layers around it say "transport error".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> Failure {
        Failure::new(
            "http://e",
            None,
            etcd_client::Error::GRpcStatus(Status::new(code, message)),
        )
    }

    #[test]
    fn only_what_was_surely_not_sent_is_unreached() {
        assert_eq!(
            of(Code::Unavailable, "etcdserver: no leader"),
            Failure::Unreached("http://e: no leader".to_owned())
        );
        for message in ["etcdserver: request timed out", "error reading from server: EOF"] {
            assert!(
                matches!(of(Code::Unavailable, message), Failure::InDoubt(_)),
                "{message}"
            );
        }
        assert!(matches!(
            of(Code::Unknown, "h2 protocol error"),
            Failure::InDoubt(_)
        ));
    }

    #[test]
    fn answers_are_told_from_silence() {
        assert_eq!(
            of(Code::NotFound, "etcdserver: requested lease not found"),
            Failure::NoSuchLease
        );
        assert_eq!(
            of(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted"
            ),
            Failure::Compacted
        );
        assert_eq!(
            of(
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded"
            )
            .of_commit(),
            RegistryError::Refused("http://e: mvcc: database space exceeded".to_owned())
        );
        assert_eq!(
            of(
                Code::OutOfRange,
                "Error, decoded message length too large: found 9 bytes"
            )
            .of_read(),
            RegistryError::Refused("http://e: the answer is larger than 64 MiB".to_owned())
        );
    }
}
