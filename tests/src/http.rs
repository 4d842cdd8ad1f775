//! Asking a service in a machine from the host: one request, one answer, no library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The body of what a server answers to GET, if it answers 200.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<String> {
    let asking = || format!("http://{address}{path}");
    let mut stream =
        TcpStream::connect_timeout(&address, limit).with_context(|| format!("{}: no answer", asking()))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("{}: the answer broke off", asking()))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{}: not HTTP", asking()))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{} answered {status}", asking());
    }
    Ok(body.to_owned())
}
