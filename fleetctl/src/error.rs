//! How a command can end, and its exit code.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::api::ApiError;
use crate::printer::Printer;

/// How fleetctl ends; see [`exit codes`](crate#exit-codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It is as asked, or there was nothing to do.
    Success,
    /// It is not.
    Failure,
    /// The command line could not be understood.
    Usage,
    /// What another program answered, or would have: `systemctl status` for `status`.
    Other(u8),
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => Self::SUCCESS,
            ExitStatus::Failure => Self::FAILURE,
            ExitStatus::Usage => Self::from(2),
            ExitStatus::Other(code) => Self::from(code),
        }
    }
}

/// Why a command ended early: always said in one line, which names what to do next where that is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line cannot be meant so.
    #[error("{0}")]
    Usage(String),
    /// Something failed; `what` is fleet's own prefix for it.
    #[error("{what}: {message}")]
    Failed {
        /// Such as `Error creating units`.
        what: &'static str,
        /// The rest of the line.
        message: String,
    },
    /// The API could not be asked, or refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// stdout could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// Says it, and gives the exit status for it.
    pub fn report(&self, printer: Printer) -> ExitStatus {
        match self {
            Self::Usage(message) => {
                printer.error("Error", message);
                return ExitStatus::Usage;
            }
            // `fleetctl list-units | head -1` ends this way, and nothing is wrong with it.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitStatus::Success,
            Self::Failed { what, message } => printer.error(what, message),
            Self::Api(_) | Self::Output(_) => printer.error("Error", self),
        }
        ExitStatus::Failure
    }
}

/// Puts fleet's own prefix before an error.
pub(crate) trait During<T> {
    /// Such as `Error creating units`.
    fn during(self, what: &'static str) -> Result<T, Error>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Failed {
            what,
            message: error.to_string(),
        })
    }
}
