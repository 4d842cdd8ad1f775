//! `fleetctl fd-forward`: the end of a tunnel that is on the machine of the socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::thread;

use super::Context;
use crate::api::{Endpoint, why};
use crate::error::{During as _, Error, ExitStatus};

/// Copies stdin to the socket, and the socket to stdout until it ends.
pub(super) fn run(context: &Context, sockets: &[String]) -> Result<ExitStatus, Error> {
    let [path] = sockets else {
        context.printer.say("Provide a single argument");
        return Ok(ExitStatus::Failure);
    };
    let mut socket = UnixStream::connect(path).map_err(|error| Error::Failed {
        what: "Error",
        message: format!(
            "cannot connect to {path}: {}",
            why(&Endpoint::Unix(path.into()), &error)
        ),
    })?;
    let mut input = socket.try_clone()?;
    // Not waited for: whoever writes here may still do so when the socket has ended.
    thread::spawn(move || {
        let _ = copy(&mut io::stdin(), &mut input);
        // What the socket still answers comes through.
        let _ = input.shutdown(Shutdown::Write);
    });
    // Not io::Stdout, which would keep what does not end in a line feed.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    copy(&mut socket, &mut output).during("Error forwarding")?;
    Ok(ExitStatus::Success)
}

/// Not io::copy, which would splice(2): that keeps the pipe locked while it waits for the socket, so that whoever reads
/// from the pipe hangs, even if it asked not to wait.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
