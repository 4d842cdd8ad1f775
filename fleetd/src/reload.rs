//! SIGHUP: the configuration is read again, and what of it can change takes effect without a restart.
//!
//! What may change and what has to wait is decided by [`Config::changes`]; here it is carried out. Either all of a new
//! configuration is usable, or nothing of it is put into force.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use crate::agent::Request;
use crate::agent::request::Description;
use crate::api::tls::ApiTls;
use crate::config::{Config, DEFAULT_FILE, Effect};
use crate::daemon::DaemonError;
use crate::engine::Candidacy;
use crate::{host, log};

/// Where a configuration is read from.
#[derive(Debug, Clone)]
pub struct Source {
    file: PathBuf,
    /// It has to be there: it was named, or has been there before.
    is_needed: bool,
    environment: BTreeMap<String, OsString>,
}

impl Source {
    /// The file of `--config`, else the default one, which need not be there; and the variables fleetd was started with.
    pub fn new(named: Option<PathBuf>, environment: BTreeMap<String, OsString>) -> Self {
        Self {
            is_needed: named.is_some(),
            file: named.unwrap_or_else(|| DEFAULT_FILE.into()),
            environment,
        }
    }

    /// Reads it. A file that has been read once is missed from then on: one that is away for a moment, because somebody
    /// is writing it anew, does not stand for a machine without metadata.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(&mut self) -> Result<Config, crate::config::ConfigError> {
        let is_there = self.file.exists();
        let config = Config::load(&self.file, self.is_needed, &self.environment)?;
        self.is_needed |= is_there;
        Ok(config)
    }
}

/// The parts of a running fleetd that another configuration can change.
#[derive(Debug)]
pub struct Reloader {
    /// Where the configuration comes from.
    pub source: Source,
    /// What is in force.
    pub config: Config,
    /// `verbosity`.
    pub level: log::Level,
    /// `token_limit`.
    pub page_size: Arc<AtomicU16>,
    /// `disable_engine`.
    pub candidacy: Arc<Candidacy>,
    /// What this machine was said to be reached at; a network that is away for a moment does not take it back.
    pub address: String,
    /// `public_ip` and `metadata`.
    pub agent: mpsc::Sender<Request>,
    /// `api_certfile` and so on; `None` where the API speaks no TLS.
    pub tls: Option<ApiTls>,
}

impl Reloader {
    /// Does as SIGHUP asks, and says of each changed key what became of it. systemd is told when it begins and when it
    /// is over (sd_notify(3)).
    pub fn reload(&mut self) {
        tell(&[NotifyState::Reloading], true);
        // The line of fleet 1.0.
        tracing::info!("Reloading configuration");
        let status = match self.try_reload() {
            Ok(waiting) if waiting.is_empty() => String::new(),
            Ok(waiting) => format!("needs a restart for {}", waiting.join(", ")),
            Err(error) => {
                tracing::error!(%error, "could not reload the configuration; the one of before stays in force");
                format!("configuration not reloaded: {error}")
            }
        };
        tell(&[NotifyState::Status(&status), NotifyState::Ready], false);
    }

    /// The keys that have to wait for a restart.
    fn try_reload(&mut self) -> Result<Vec<&'static str>, DaemonError> {
        let new = self.source.read()?;
        let tls = tls(&new)?;
        let changes = self.config.changes(&new);
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        self.config = self.config.with(&changes, &new);
        self.level.set(self.config.verbosity);
        self.page_size.store(self.config.token_limit, Ordering::Relaxed);
        self.candidacy.allow(!self.config.disable_engine);
        if let (Some(ours), Some(new)) = (&self.tls, &tls) {
            // Also under the same names: this is how a renewed certificate gets into use.
            ours.replace(new);
            tracing::info!("read the certificates of the API again");
        }
        let description = with_address(description(&self.config), &self.address);
        self.address.clone_from(&description.address);
        // Not waited for: an agent that hangs is the watchdog's business.
        let described = self.agent.try_send(Request::Describe(description));
        if let Err(error) = described {
            tracing::error!(%error, "the agent did not hear what this machine says of itself");
        }
        let mut waiting = Vec::new();
        for change in &changes {
            match change.effect {
                Effect::Now => tracing::info!(
                    key = change.key,
                    value = change.value,
                    "a changed key took effect"
                ),
                Effect::AtRestart => {
                    tracing::warn!(
                        key = change.key,
                        value = change.value,
                        "a changed key needs `systemctl restart fleet`, which touches no unit"
                    );
                    waiting.push(change.key);
                }
            }
        }
        if changes.is_empty() {
            tracing::info!("the configuration is the one in force");
        }
        Ok(waiting)
    }
}

/// What the API's TCP sockets speak TLS with.
pub(crate) fn tls(config: &Config) -> Result<Option<ApiTls>, crate::api::tls::ApiTlsError> {
    ApiTls::read(
        config.api_certfile.as_deref(),
        config.api_keyfile.as_deref(),
        config.api_cafile.as_deref(),
    )
}

/// What this machine says of itself.
pub(crate) fn description(config: &Config) -> Description {
    let address = match config.public_ip.as_str() {
        "" => host::default_address()
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        given => given.to_owned(),
    };
    Description {
        address,
        metadata: config.metadata.clone(),
        disable_engine: config.disable_engine,
    }
}

/// With the address of before where none is found now.
fn with_address(mut description: Description, before: &str) -> Description {
    if description.address.is_empty() && !before.is_empty() {
        tracing::warn!(
            address = before,
            "found no address of this machine; the one of before stays in force"
        );
        before.clone_into(&mut description.address);
    }
    description
}

fn tell(state: &[NotifyState<'_>], with_time: bool) {
    let time = with_time
        .then(NotifyState::monotonic_usec_now)
        .and_then(Result::ok);
    let state: Vec<NotifyState<'_>> = state.iter().cloned().chain(time).collect();
    if let Err(error) = sd_notify::notify(&state) {
        tracing::warn!(%error, "could not tell systemd of the reload");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn reloader(directory: &Path, text: &str) -> (Reloader, mpsc::Receiver<Request>) {
        let file = directory.join("fleet.conf");
        fs::write(&file, text).unwrap();
        // As without --config: the file is the default one.
        let mut source = Source {
            file,
            is_needed: false,
            environment: BTreeMap::new(),
        };
        let config = source.read().unwrap();
        let (agent, asked) = mpsc::channel(4);
        let reloader = Reloader {
            tls: tls(&config).unwrap(),
            level: log::Level::unheard(),
            page_size: Arc::new(AtomicU16::new(config.token_limit)),
            candidacy: Arc::new(Candidacy::new(!config.disable_engine)),
            address: "10.0.0.1".to_owned(),
            source,
            config,
            agent,
        };
        (reloader, asked)
    }

    fn told(asked: &mut mpsc::Receiver<Request>) -> Option<Description> {
        match asked.try_recv().ok()? {
            Request::Describe(description) => Some(description),
            other => panic!("{other:?}"),
        }
    }

    /// What the parts go by.
    fn in_force(reloader: &Reloader) -> (u16, bool, Config) {
        let limit = reloader.page_size.load(Ordering::Relaxed);
        (limit, reloader.candidacy.is_allowed(), reloader.config.clone())
    }

    #[test]
    fn what_can_change_changes_and_what_cannot_waits() {
        let directory = tempfile::tempdir().unwrap();
        let (mut reloader, mut asked) = reloader(directory.path(), "agent_ttl=20s\n");
        fs::write(
            directory.path().join("fleet.conf"),
            "public_ip=10.0.0.9\nmetadata=zone=b\ntoken_limit=7\ndisable_engine=true\nagent_ttl=30s\napi_socket=/s\n",
        )
        .unwrap();
        assert_eq!(reloader.try_reload().unwrap(), ["agent_ttl", "api_socket"]);
        let (limit, may_lead, config) = in_force(&reloader);
        assert_eq!((limit, may_lead), (7, false));
        assert_eq!(config.agent_ttl.as_secs(), 20);
        let metadata = [("zone".to_owned(), "b".to_owned())].into();
        let address = "10.0.0.9".to_owned();
        let description = Description {
            address,
            metadata,
            disable_engine: true,
        };
        assert_eq!(told(&mut asked), Some(description));

        fs::write(directory.path().join("fleet.conf"), "agent_ttl=20s\n").unwrap();
        assert_eq!(reloader.try_reload().unwrap(), [""; 0]);
        let (limit, may_lead, _) = in_force(&reloader);
        assert_eq!((limit, may_lead), (100, true));
        assert_eq!(told(&mut asked).unwrap().metadata, BTreeMap::new());
    }

    #[test]
    fn a_configuration_that_cannot_be_used_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (mut reloader, mut asked) = reloader(directory.path(), "metadata=zone=a\n");
        let before = in_force(&reloader);
        for (text, expected) in [
            (
                "metadata=zone=b\nagent_ttl=soon\n",
                "line 2: agent_ttl=soon is not allowed",
            ),
            ("metadata=zone=b\nhello\n", "line 2: expected key=value"),
            ("metadata=zone=b\napi_certfile=/c\n", "belong together"),
            (
                "metadata=zone=b\napi_certfile=/none\napi_keyfile=/none\napi_cafile=/none\n",
                "api_certfile: cannot read /none",
            ),
        ] {
            fs::write(directory.path().join("fleet.conf"), text).unwrap();
            let error = reloader.try_reload().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(in_force(&reloader), before, "{text}");
            assert_eq!(told(&mut asked), None, "{text}");
        }
        // A file that is away for a moment does not stand for a machine without metadata, though without --config it need
        // not be there at the start.
        fs::remove_file(directory.path().join("fleet.conf")).unwrap();
        reloader.reload();
        assert_eq!(in_force(&reloader), before);
        assert_eq!(told(&mut asked), None);
    }

    #[test]
    fn a_network_that_is_away_for_a_moment_takes_no_address_back() {
        let described = |address: &str| Description {
            address: address.to_owned(),
            metadata: BTreeMap::new(),
            disable_engine: false,
        };
        assert_eq!(with_address(described(""), "10.0.0.1"), described("10.0.0.1"));
        assert_eq!(
            with_address(described("10.0.0.2"), "10.0.0.1"),
            described("10.0.0.2")
        );
        assert_eq!(with_address(described(""), ""), described(""));
    }
}
