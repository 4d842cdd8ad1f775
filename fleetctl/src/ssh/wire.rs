//! A connection that a process carries.

use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::SshError;

/// The most of a process' stderr that is kept.
const LONGEST_SPEECH: u64 = 4096;

/// A connection over the stdin and stdout of a process, which ends with it.
///
/// A process that failed is an error of the read that comes to its end: an `io::Error` that holds an [`SshError`].
#[derive(Debug)]
pub struct Wire {
    /// `None` once nothing more will be said.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What became of the process; `None` once that is known.
    end: Option<JoinHandle<Option<SshError>>>,
}

impl Wire {
    /// Starts the process. How it ended and what it said on stderr may make an error.
    pub(super) fn new(
        mut command: Command,
        explain: impl FnOnce(ExitStatus, &[u8]) -> Option<SshError> + Send + 'static,
    ) -> Result<Self, SshError> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err(SshError::Run("it has no pipes".to_owned()));
        };
        let end = async move {
            let mut said = Vec::new();
            // What it says beyond that is read too, or it would wait to be heard.
            let read = async {
                (&mut stderr).take(LONGEST_SPEECH).read_to_end(&mut said).await?;
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await
            };
            let _ = read.await;
            match child.wait().await {
                Ok(status) => explain(status, &said),
                Err(error) => Some(error.into()),
            }
        };
        Ok(Self {
            stdin: Some(stdin),
            stdout,
            end: Some(tokio::spawn(end)),
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Some processes end only when both directions have.
        self.stdin = None;
        let Some(end) = &mut self.end else {
            return Poll::Ready(Ok(()));
        };
        let end_of = ready!(Pin::new(end).poll(cx));
        self.end = None;
        Poll::Ready(match end_of {
            Ok(Some(error)) => Err(io::Error::other(error)),
            Ok(None) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        })
    }
}

/// What cannot be written any more is dropped: why, is told by the next read.
impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(stdin) = &mut self.stdin else {
            return Poll::Ready(Ok(buf.len()));
        };
        match ready!(Pin::new(stdin).poll_write(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(buf.len())),
            other => Poll::Ready(other),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The process goes with the task that waits for it.
        if let Some(end) = &self.end {
            end.abort();
        }
    }
}
