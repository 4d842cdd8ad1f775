//! A fleetd that answers what its script says, on a unix socket of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use units::{Event, UnitFile};

/// What the fake does on an event stream.
#[derive(Clone)]
#[allow(clippy::large_enum_variant)] // there are a handful of them
pub(crate) enum Part {
    /// Sends it with that revision.
    Event(i64, Event),
    /// Waits for a request that begins so.
    After(&'static str),
    /// Sends these bytes.
    Raw(&'static str),
    /// Ends the stream; without this it stays open.
    Close,
}

/// An answer of the fake.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(u16, Option<i64>, String),
    /// Ok, with a `Warning:` of that text.
    Warned(&'static str, String),
    Events(Vec<Part>),
    /// Ends the connection.
    HangUp,
    /// Says nothing.
    Silence,
}

pub(crate) fn json(body: impl Into<String>) -> Reply {
    Reply::Json(200, None, body.into())
}

pub(crate) fn error(status: u16, message: &str) -> Reply {
    let body = units::wire::v1::ErrorBody::new(status, message);
    Reply::Json(status, None, serde_json::to_string(&body).unwrap())
}

/// The answer to a change.
pub(crate) fn changed(status: u16, revision: i64) -> Reply {
    Reply::Json(status, Some(revision), String::new())
}

#[derive(Default)]
struct Shared {
    /// What is left of each request's answers; the last one stays.
    replies: Mutex<BTreeMap<String, Vec<Reply>>>,
    requests: Mutex<Vec<String>>,
    arrived: Condvar,
}

/// What is to be seen of an invocation.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Every request that changes something, sorted.
    pub(crate) writes: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit {}", self.exit)?;
        let parts = [
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("writes", &self.writes),
        ];
        for (name, content) in parts.iter().filter(|(_, content)| !content.is_empty()) {
            write!(f, "----- {name}\n{content}")?;
        }
        Ok(())
    }
}

/// The fake, in a directory of its own, which is also where fleetctl runs.
pub(crate) struct Fleetd {
    dir: TempDir,
    shared: Arc<Shared>,
}

impl Fleetd {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let shared = Arc::new(Shared::default());
        let fake = Self {
            dir,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // An error here is the other side leaving.
                thread::spawn(move || shared.serve(stream).unwrap_or_default());
            }
        });
        fake.on("GET /fleet/v2/machines", json(super::say::MACHINES)).on(
            "GET /fleet/v2/leader",
            json(r#"{"machine":"1234abcd","address":""}"#),
        )
    }

    /// Answers `GET /path` so; said again, it is what the next such request gets.
    pub(crate) fn on(self, request: &str, reply: Reply) -> Self {
        let mut replies = self.shared.replies.lock().unwrap();
        replies.entry(request.to_owned()).or_default().push(reply);
        drop(replies);
        self
    }

    /// Takes back the first answer to a request.
    pub(crate) fn forget(&self, request: &str) {
        let mut replies = self.shared.replies.lock().unwrap();
        replies.get_mut(request).unwrap().remove(0);
    }

    /// Answers a request for the events of `units` so.
    pub(crate) fn events(self, units: &[&str], parts: Vec<Part>) -> Self {
        let query: Vec<String> = units.iter().map(|unit| format!("unit={unit}")).collect();
        self.on(
            &format!("GET /fleet/v2/events?{}", query.join("&")),
            Reply::Events(parts),
        )
    }

    /// Puts a file where fleetctl runs.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Makes it a machine of the cluster, with this systemctl.
    pub(crate) fn on_machine(self, id: &str, systemctl: &str) -> Self {
        let fake = self
            .file("machine-id", format!("{id}\n"))
            .file("systemctl", systemctl);
        let executable = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(fake.dir.path().join("systemctl"), executable).unwrap();
        fake
    }

    /// Takes the socket away, or what listens on it.
    pub(crate) fn without_socket(self, left_behind: bool) -> Self {
        let path = self.dir.path().join("sock");
        std::fs::remove_file(&path).unwrap();
        if left_behind {
            drop(UnixListener::bind(path).unwrap());
        }
        self
    }

    /// Runs fleetctl with arguments separated by blanks; gives all there is to see.
    pub(crate) fn run(&self, arguments: &str) -> String {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &str, environment: &[(&str, &str)]) -> String {
        self.said(arguments, environment).to_string()
    }

    /// Runs fleetctl; gives all there is to see, part by part.
    pub(crate) fn said(&self, arguments: &str, environment: &[(&str, &str)]) -> Said {
        let words = ["--machine-id-file", "machine-id"];
        let words: Vec<&str> = words.into_iter().chain(arguments.split_whitespace()).collect();
        let output = self
            .command(&words)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let mut writes: Vec<String> = self.shared.requests.lock().unwrap().clone();
        writes.retain(|request| !request.starts_with("GET "));
        writes.sort();
        writes.iter_mut().for_each(|write| write.push('\n'));
        Said {
            exit: output.status.code().unwrap_or(-1),
            stdout: self.readable(&output.stdout),
            stderr: self.readable(&output.stderr),
            writes: writes.concat(),
        }
    }

    /// fleetctl with these words, where the fake is.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_fleetctl"));
        command.args(words);
        command
    }

    /// A program with what fleetctl needs to find the fake.
    pub(crate) fn program(&self, path: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(path);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLEETCTL_")) {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.dir.path())
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env(
                "FLEETCTL_ENDPOINT",
                format!("unix://{}/sock", self.dir.path().display()),
            );
        command
    }

    /// Runs fleetctl with its output going into a command.
    pub(crate) fn run_through(&self, arguments: &str, reader: &str) -> String {
        let script = format!(
            "set -o pipefail; {} --endpoint unix://{}/sock {arguments} | {reader}; echo \"exit $?\"",
            env!("CARGO_BIN_EXE_fleetctl"),
            self.dir.path().display(),
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        self.readable(&[output.stdout, output.stderr].concat())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn readable(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        text.replace(&self.dir.path().display().to_string(), "[DIR]")
            .replace('\t', "→")
    }

    /// How often a request that begins so was made.
    pub(crate) fn count(&self, request: &str) -> usize {
        let requests = self.shared.requests.lock().unwrap();
        requests.iter().filter(|made| made.starts_with(request)).count()
    }
}

/// A body, with the hash of options in their place.
fn short(body: &[u8]) -> String {
    let Ok(mut unit) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    if let Some(options) = unit.get_mut("options") {
        let file = UnitFile::from_options(serde_json::from_value(options.take()).unwrap()).unwrap();
        *options = file.hash().short().into();
    }
    unit.to_string()
}

impl Shared {
    fn serve(&self, stream: UnixStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut first = String::new();
            if reader.read_line(&mut first)? == 0 {
                return Ok(());
            }
            let request = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                let Some((name, value)) = header.trim_end().split_once(": ") else {
                    break;
                };
                if name == "content-length" {
                    length = value.parse().unwrap_or_default();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let body = short(&body);
            let made = format!("{request} {body}").trim_end().to_owned();
            self.requests.lock().unwrap().push(made);
            self.arrived.notify_all();
            if !self.answer(&request, &stream)? {
                return Ok(());
            }
        }
    }

    /// Whether another request can follow.
    fn answer(&self, request: &str, mut stream: &UnixStream) -> std::io::Result<bool> {
        let mut all = self.replies.lock().unwrap();
        // What is scripted for no query stands for any other.
        let path = request.split_once('?').map_or(request, |(path, _)| path);
        let key = if all.contains_key(request) { request } else { path };
        let reply = match all.get_mut(key) {
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
            None => error(404, ""),
        };
        drop(all);
        match reply {
            Reply::Json(status, revision, body) => {
                let revision = revision.map_or_else(String::new, |r| format!("X-Fleet-Revision: {r}\r\n"));
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{revision}\r\n{body}"
                )?;
                Ok(true)
            }
            Reply::Warned(warning, body) => {
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nWarning: 199 fleet \"{warning}\"\r\n\r\n{body}"
                )?;
                Ok(true)
            }
            Reply::Events(parts) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
                )?;
                for part in parts {
                    match part {
                        Part::Event(revision, event) => {
                            let data = serde_json::to_value(&event).unwrap();
                            let kind = data["kind"].as_str().unwrap();
                            write!(
                                stream,
                                ": ping\n\nid: {revision}\nevent: {kind}\ndata: {data}\n\n"
                            )?;
                        }
                        Part::Raw(text) => write!(stream, "{text}")?,
                        Part::After(request) => self.wait_for(request),
                        Part::Close => {
                            stream.shutdown(std::net::Shutdown::Both)?;
                            return Ok(false);
                        }
                    }
                }
                // Open until the other side leaves.
                stream.read_exact(&mut [0])?;
                Ok(false)
            }
            Reply::HangUp => {
                stream.shutdown(std::net::Shutdown::Both)?;
                Ok(false)
            }
            Reply::Silence => {
                thread::sleep(Duration::from_secs(60));
                Ok(false)
            }
        }
    }

    fn wait_for(&self, request: &str) {
        let requests = self.requests.lock().unwrap();
        let has_come = |requests: &mut Vec<String>| !requests.iter().any(|made| made.starts_with(request));
        drop(
            self.arrived
                .wait_timeout_while(requests, Duration::from_secs(20), has_come)
                .unwrap(),
        );
    }
}
