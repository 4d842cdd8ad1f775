//! Asking a service in a machine from the host: one request, one answer, no library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The body of what a server answers to GET, if it answers 200.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<String> {
    let asking = || format!("http://{address}{path}");
    let mut stream =
        TcpStream::connect_timeout(&address, limit).with_context(|| format!("{}: no answer", asking()))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // In one piece: a server that answers without having read it all would have the kernel reset the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("{}: the answer broke off", asking()))?;
    let (status, body) = read(&answer).with_context(asking)?;
    if status != 200 {
        bail!("{} answered {status}", asking());
    }
    Ok(body)
}

/// The status and the body of an answer that is all there.
pub fn read(answer: &str) -> Result<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("not HTTP: {head:?}"))?;
    Ok((status, body.to_owned()))
}

/// Sends a request with a JSON body over a unix socket; the status and the body of the answer.
pub fn ask(socket: &Path, method: &str, path: &str, body: &str, limit: Duration) -> Result<(u16, String)> {
    let asking = || format!("{method} {path} at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(|| format!("{}: no answer", asking()))?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("{}: the answer broke off", asking()))?;
    read(&answer).with_context(asking)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let body = get(address, "/", Duration::from_secs(5));
        server.join().unwrap();
        body
    }

    #[test]
    fn only_200_is_an_answer() {
        assert_eq!(answered("HTTP/1.0 200 OK\r\n\r\nm1\n").unwrap(), "m1\n");
        assert!(
            answered("HTTP/1.0 404 Not Found\r\n\r\n")
                .unwrap_err()
                .to_string()
                .contains("404")
        );
        let error = answered("what?").unwrap_err();
        assert!(format!("{error:#}").ends_with("not HTTP"), "{error:#}");
    }
}
