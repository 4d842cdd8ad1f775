//! The way to the API behind `--tunnel` (fleet-reference §4.7).
//!
//! Each connection to the API is a process of its own: `ssh HOST fleetctl fd-forward SOCKET` for a unix socket, as
//! fleet did it, and `ssh -W` for a port. Its stdin and stdout are the connection, so nothing listens on this machine
//! that others could use, and nothing has to be waited for or tidied up. A user is asked for a password, a PIN or a host
//! key only once: before the first connection one ssh authenticates, and stays behind as a master of `ControlMaster`
//! that all others share. It is the user's own master where `ssh_config(5)` provides for one; else it is private to
//! this run of fleetctl, and ends with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::configured::Sharing;
use super::{Destination, Options, SshError, Wire, ask, command_line, lines, run};
use crate::printer::Printer;

/// What a configuration made for people at terminals must not add to a connection that carries bytes.
const BARE: [&str; 7] = [
    "-T",
    "-a",
    "-x",
    "-o",
    "ClearAllForwardings=yes",
    "-o",
    "RemoteCommand=none",
];

/// How ssh ends when it is itself what failed.
const SSH_FAILED: i32 = 255;

/// How a shell ends when there is no such command.
const NOT_FOUND: i32 = 127;

/// The longest path of a socket, with room for what ssh appends to it while it makes one.
const LONGEST_PATH: usize = 80;

/// A host through which the API is reached.
#[derive(Debug)]
pub struct Tunnel {
    options: Options,
    destination: Destination,
    printer: Printer,
    way: OnceCell<Way>,
}

/// What leads to the host, now that it has been reached.
#[derive(Debug)]
struct Way {
    /// Arguments of ssh, without the host.
    words: Vec<String>,
    /// The socket of our own master.
    master: Option<PathBuf>,
}

impl Tunnel {
    /// A tunnel through that host; nothing happens before it is used.
    pub fn new(options: Options, destination: Destination, printer: Printer) -> Self {
        Self {
            options,
            destination,
            printer,
            way: OnceCell::new(),
        }
    }

    /// Reaches the host, if that has not been done yet. A person may be asked something, which takes its time: only
    /// what ssh does by itself is limited (`--ssh-timeout`).
    ///
    /// # Errors
    /// ssh's own words.
    pub async fn open(&self) -> Result<(), SshError> {
        self.way().await.map(drop)
    }

    /// A connection to a unix socket there.
    ///
    /// # Errors
    /// As [`open`](Self::open). What goes wrong behind that is told by the first read.
    pub async fn to_socket(&self, path: &Path) -> Result<Wire, SshError> {
        let forward = command_line(&["fleetctl", "fd-forward", &path.to_string_lossy()]);
        let host = self.destination.host().to_owned();
        self.wire(&[], &[host, "--".to_owned(), forward]).await
    }

    /// A connection to a port as it is reached from there.
    ///
    /// # Errors
    /// As [`to_socket`](Self::to_socket).
    pub async fn to_port(&self, host: &str, port: u16) -> Result<Wire, SshError> {
        let target = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let through = self.destination.host().to_owned();
        self.wire(&["-W".to_owned(), target], &[through]).await
    }

    /// What `ProxyCommand` has to be for an ssh that goes on from there.
    pub(super) async fn proxy(&self) -> Result<String, SshError> {
        let words: Vec<String> = std::iter::once("ssh")
            .chain(BARE)
            .map(str::to_owned)
            .chain(self.way().await?.words.iter().map(|word| word.replace('%', "%%")))
            .collect();
        let host = self.destination.host().replace('%', "%%");
        Ok(format!(
            "{} -W '[%h]:%p' {}",
            command_line(&words),
            command_line(&[host])
        ))
    }

    async fn wire(&self, before: &[String], after: &[String]) -> Result<Wire, SshError> {
        let way = self.way().await?;
        let mut ssh = Command::new("ssh");
        ssh.args(BARE).args(&way.words).args(before).args(after);
        let host = self.destination.to_string();
        Wire::new(ssh, move |status, stderr| {
            (!status.success()).then(|| failed(host, status, &lines(stderr).join("; ")))
        })
    }

    async fn way(&self) -> Result<&Way, SshError> {
        self.way.get_or_try_init(|| self.reach()).await
    }

    async fn reach(&self) -> Result<Way, SshError> {
        let mut words = self.options.words(&self.destination);
        let configured = ask(&words, &self.destination).await?;
        words.extend(self.options.time_limit(configured.has_time_limit));
        let shares = match configured.sharing {
            // What took any key is nobody else's.
            _ if self.options.strict == Some(false) => false,
            Sharing::None => false,
            Sharing::Perhaps => self.is_shared(&words).await?,
            Sharing::Yes => true,
        };
        let master = (!shares).then(socket).flatten();
        if let Some(master) = &master {
            words.extend(private_master(master));
        }
        let (status, stderr) = self.authenticate(&words).await?;
        let mut said = lines(&stderr);
        // Any other code is one of the host's, which may be one that runs no commands.
        if matches!(status.code(), None | Some(SSH_FAILED)) {
            let last = said.pop().unwrap_or_default();
            said.iter().for_each(|line| self.printer.say(line));
            let mut error = failed(self.destination.to_string(), status, &last);
            self.name_the_old_user(&mut error);
            return Err(error);
        }
        if status.success() {
            said.iter().for_each(|line| self.printer.say(line));
        }
        Ok(Way { words, master })
    }

    /// Whether the user's configuration leads to a master that is there.
    async fn is_shared(&self, words: &[String]) -> Result<bool, SshError> {
        let check = ["-O", "check", self.destination.host()].map(str::to_owned);
        Ok(run(&[words, &check].concat()).await?.status.success())
    }

    /// Goes there once, for nothing; how ssh ended, and what it said.
    async fn authenticate(&self, words: &[String]) -> Result<(ExitStatus, Vec<u8>), SshError> {
        let mut ssh = Command::new("ssh");
        ssh.args(BARE)
            .args(words)
            .args([self.destination.host(), "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = ssh.spawn()?;
        let mut said = Vec::new();
        let Some(mut stderr) = child.stderr.take() else {
            return Ok((child.wait().await?, said));
        };
        // A master that stays behind, or a `ProxyCommand` of it, may hold stderr open: its end is not waited for. All
        // that was written before the process ended is there to be read by then, and reading comes first.
        let ended = {
            let mut reading = pin!(stderr.read_to_end(&mut said));
            tokio::select! {
                biased;
                _ = &mut reading => None,
                status = child.wait() => Some(status?),
            }
        };
        let status = match ended {
            Some(status) => status,
            None => child.wait().await?,
        };
        Ok((status, said))
    }

    /// Helps whoever relied on fleet's default.
    fn name_the_old_user(&self, error: &mut SshError) {
        let is_named = self.options.user.is_some() || self.destination.user().is_some();
        if let SshError::Failed { words, .. } = error
            && !is_named
            && words.contains("Permission denied")
        {
            words.truncate(words.trim_end_matches('.').len());
            let _ = write!(
                words,
                "; fleet 1.0 logged in as core, which --ssh-username core does"
            );
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let Some(Way {
            master: Some(master), ..
        }) = self.way.get()
        else {
            return;
        };
        // If this fails it ends by itself, some seconds later.
        let _ = std::process::Command::new("ssh")
            .args(["-o", &control_path(master), "-O", "exit", self.destination.host()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn failed(host: String, status: ExitStatus, said: &str) -> SshError {
    let said = said.strip_prefix("Error: ").unwrap_or(said);
    let words = match (said, status.code()) {
        ("", Some(code)) => format!("ssh ended with {code} and did not say why"),
        ("", None) => "ssh was killed".to_owned(),
        (said, Some(NOT_FOUND)) => format!("{said}; for a unix socket fleetctl has to be installed there"),
        (said, _) => said.to_owned(),
    };
    SshError::Failed { host, words }
}

/// Where only this user can make a socket; `None` if nowhere: then every connection authenticates.
fn socket() -> Option<PathBuf> {
    let directory = |variable: &str, below: &str| {
        let path = PathBuf::from(std::env::var_os(variable)?).join(below);
        (path.is_absolute() && path.is_dir()).then_some(path)
    };
    let directory = directory("XDG_RUNTIME_DIR", "").or_else(|| directory("HOME", ".ssh"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // No other run of fleetctl may find it: this one may have been told to take any host key.
    let name = format!("fleetctl-{:x}-{:x}", std::process::id(), now.as_nanos());
    let path = directory.join(name);
    (path.as_os_str().len() <= LONGEST_PATH).then_some(path)
}

fn private_master(socket: &Path) -> Vec<String> {
    let options = [
        "ControlMaster=auto",
        &control_path(socket),
        // It ends so long after its last connection, whatever became of fleetctl.
        "ControlPersist=5",
        // A network that is gone is noticed about when fleetctl itself takes an event stream for dead.
        "ServerAliveInterval=15",
    ]
    .map(str::to_owned);
    options
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
}

fn control_path(socket: &Path) -> String {
    format!("ControlPath={}", socket.to_string_lossy().replace('%', "%%"))
}
