//! What this machine is to etcd: a member of its cluster, or a gateway to it.
//!
//! Everything here may be cut off and done again. A running etcd is restarted only if its settings have changed.

pub mod dropin;
pub mod members;
pub mod next;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::system::{File, System, SystemError};
use super::talk::{Talk, until};
use crate::gateway::{self, GatewayConfig};
use crate::registry::etcd::{EtcdTls, EtcdTlsError};
use dropin::Environment;
use members::{Members, MembersError};
use next::{Next, next};

/// etcd's unit.
pub const UNIT: &str = "etcd.service";
/// The gateway's unit.
pub const GATEWAY: &str = "fleet-gateway.service";
/// What the gateway goes by.
pub const GATEWAY_FILE: &str = gateway::DEFAULT_FILE;
/// Where etcd, or the gateway to it, answers on every machine.
pub const LOCAL: &str = "http://127.0.0.1:2379";

/// How long etcd may take until it answers. A founder needs more than half of the others for it.
pub(super) const ANSWERS: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(100);

/// How the machine comes to have etcd at 127.0.0.1:2379.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// One of those that found the cluster: etcd is started with its settings, and that is all.
    Founder,
    /// It becomes a member of a cluster that runs already.
    Member {
        /// Where the cluster is, as far as is known.
        servers: Servers,
        /// With so many members (itself among them) there are enough: [`form`] then makes none, and says so.
        limit: usize,
    },
    /// It is none of the members, and passes connections on to them.
    Gateway {
        /// Where the cluster is, as far as is known.
        servers: Servers,
    },
}

/// Where members of a cluster are, and how they are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Servers {
    /// Their addresses for other members: `http://10.0.0.1:2380`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Their addresses for clients: `https://10.0.0.1:2379`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
    /// Certificates for `https://`.
    #[serde(flatten)]
    pub files: Option<TlsFiles>,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// Who vouches for the members.
    pub cafile: String,
    /// Ours.
    pub certfile: String,
    /// The key to it.
    pub keyfile: String,
}

/// etcd on this machine, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// What it is to the others.
    pub role: Role,
    /// `ETCD_…` settings, for a founder or a member: complete but for what only the running cluster can say.
    pub environment: BTreeMap<String, String>,
    /// Name of the drop-in that carries them: `20-cloudinit.conf`.
    pub drop_in: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formed {
    /// etcd answers on this machine.
    Up {
        /// It had to be started, or taken in by the others.
        changed: bool,
    },
    /// It was not made a member, as there are enough.
    Enough,
}

/// Why etcd does not answer on this machine. One line.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Of the machine.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Of the cluster.
    #[error("etcd: {0}")]
    Members(#[from] MembersError),
    /// The certificates to speak with are of no use.
    #[error(transparent)]
    Tls(#[from] EtcdTlsError),
    /// What it is to be asked for is not there.
    #[error("{0} is not installed: apt-get install {1}")]
    Missing(&'static str, &'static str),
    /// A member without an address.
    #[error("etcd's settings name no {0}")]
    Incomplete(&'static str),
    /// The addresses are none that a gateway could use.
    #[error("{0}")]
    Gateway(String),
    /// Another cluster's data.
    #[error(
        "{0} holds the data of an etcd cluster that this machine is no member of: `fleetctl leave` removes it, with all that is in it"
    )]
    Stranger(String),
    /// It is a member already.
    #[error("this machine is a member of etcd's cluster ({0} holds its data): `fleetctl leave` comes first")]
    IsMember(String),
    /// It was started, and does not answer.
    #[error("{unit} does not answer: {why}; it is tried on, see journalctl -u {unit}")]
    Silent {
        /// Its unit.
        unit: &'static str,
        /// The last word.
        why: String,
    },
}

impl std::fmt::Display for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<&str> = self
            .peers
            .iter()
            .chain(&self.members)
            .map(String::as_str)
            .collect();
        f.write_str(&all.join(","))
    }
}

impl Servers {
    /// Known by their addresses for other members alone.
    pub fn at_peers(peers: Vec<String>) -> Self {
        Self {
            peers,
            ..Self::default()
        }
    }

    /// With the certificates that etcd's own settings name, if none are known.
    fn or_files_of(&self, environment: &Environment) -> Self {
        let file = |name: &str| environment.get(name).cloned();
        let own = file("ETCD_TRUSTED_CA_FILE")
            .zip(file("ETCD_CERT_FILE"))
            .zip(file("ETCD_KEY_FILE"));
        let own = own.map(|((cafile, certfile), keyfile)| TlsFiles {
            cafile,
            certfile,
            keyfile,
        });
        Self {
            files: self.files.clone().or(own),
            ..self.clone()
        }
    }

    fn tls(&self) -> Result<Option<EtcdTls>, EtcdTlsError> {
        let files = self.files.as_ref();
        EtcdTls::read(
            files.map(|f| Path::new(&f.cafile)),
            files.map(|f| Path::new(&f.certfile)),
            files.map(|f| Path::new(&f.keyfile)),
        )
    }

    /// Speaks to one of them.
    ///
    /// # Errors
    /// If none answers.
    pub async fn reach(&self) -> Result<(Members, Vec<members::Member>), EtcdError> {
        let mut clients = self.members.clone();
        let mut silence = None;
        if !self.peers.is_empty() {
            let peers = Self {
                members: Vec::new(),
                ..self.clone()
            };
            match gateway::ask(&peers.gateway()?).await {
                Ok(told) => clients.extend(told.clients.iter().map(ToString::to_string)),
                Err(why) => silence = Some(why),
            }
        }
        match (clients.is_empty(), silence) {
            (true, Some(why)) => Err(MembersError::Unreachable(why).into()),
            _ => Ok(Members::reach(&clients, self.tls()?.as_ref()).await?),
        }
    }

    /// What a gateway to them goes by.
    fn gateway(&self) -> Result<GatewayConfig, EtcdError> {
        let text = toml::to_string(self).map_err(|error| EtcdError::Gateway(error.to_string()))?;
        let wrong = |error: gateway::GatewayConfigError| EtcdError::Gateway(error.to_string());
        GatewayConfig::parse(&text, Path::new(GATEWAY_FILE)).map_err(wrong)
    }
}

/// Makes etcd answer on this machine.
///
/// # Errors
/// If it does not come to that; run again, it goes on where it stood.
pub async fn form(etcd: &Etcd, system: &dyn System, talk: Talk<'_>) -> Result<Formed, EtcdError> {
    match &etcd.role {
        Role::Founder => {
            let changed = start_member(etcd, etcd.environment.clone(), system, talk)?;
            // Without a quorum it answers nobody.
            answers(
                LOCAL,
                UNIT,
                talk,
                "etcd, which needs more than half of its members",
            )
            .await?;
            Ok(Formed::Up { changed })
        }
        Role::Member { servers, limit } => become_member(etcd, servers, *limit, system, talk).await,
        Role::Gateway { servers } => {
            let changed = become_gateway(servers, &etcd.environment, system, talk).await?;
            Ok(Formed::Up { changed })
        }
    }
}

fn urls(environment: &Environment, name: &'static str) -> Result<Vec<String>, EtcdError> {
    let value = environment.get(name).ok_or(EtcdError::Incomplete(name))?;
    Ok(value.split(',').map(|url| url.trim().to_owned()).collect())
}

async fn become_member(
    etcd: &Etcd,
    servers: &Servers,
    limit: usize,
    system: &dyn System,
    talk: Talk<'_>,
) -> Result<Formed, EtcdError> {
    let settings = &etcd.environment;
    let peers = urls(settings, "ETCD_INITIAL_ADVERTISE_PEER_URLS")?;
    let name = settings
        .get("ETCD_NAME")
        .ok_or(EtcdError::Incomplete("ETCD_NAME"))?;
    let data = settings
        .get("ETCD_DATA_DIR")
        .ok_or(EtcdError::Incomplete("ETCD_DATA_DIR"))?;
    let servers = servers.or_files_of(settings);
    let reached = until(ANSWERS, Duration::from_secs(1), async || servers.reach().await);
    let (mut cluster, mut list) = talk.wait_for("an answer of the cluster", reached).await?;
    let mut waited = false;
    loop {
        let has_data = system.is_there(&Path::new(data).join("member"))?;
        match next(&list, name, &peers, has_data, limit) {
            Next::Full => return Ok(Formed::Enough),
            Next::Stranger => return Err(EtcdError::Stranger(data.clone())),
            Next::Replace(id) => {
                talk.say("takes away the member that this machine was before it lost its data");
                not_now(cluster.remove(id).await)?;
            }
            Next::Add => match not_now(cluster.add(&peers).await)? {
                Some(_) => talk.say("announced this machine to etcd's members"),
                None if !std::mem::replace(&mut waited, true) => {
                    talk.say("waits until etcd's members can take in another one");
                }
                None => {}
            },
            Next::Start {
                cluster: initial,
                learner,
            } => {
                let mut environment = settings.clone();
                environment.insert("ETCD_INITIAL_CLUSTER".to_owned(), initial);
                environment.insert("ETCD_INITIAL_CLUSTER_STATE".to_owned(), "existing".to_owned());
                // They count at the very first start only. Other members have come and gone since; that is no reason
                // to restart etcd.
                if let Some(before) = dropin::read(system, UNIT, &etcd.drop_in)?.filter(|_| has_data) {
                    for name in ["ETCD_INITIAL_CLUSTER", "ETCD_INITIAL_CLUSTER_STATE"] {
                        if let Some(value) = before.get(name) {
                            environment.insert(name.to_owned(), value.clone());
                        }
                    }
                }
                let changed = start_member(etcd, environment, system, talk)?;
                if let Some(id) = learner {
                    let promoted = until(ANSWERS, PAUSE, async || match cluster.promote(id).await {
                        // By a run before this one.
                        Err(MembersError::Refused(text)) if text.contains("can only promote a learner") => {
                            Ok(())
                        }
                        other => other,
                    });
                    talk.wait_for("etcd to catch up with the others", promoted)
                        .await?;
                    talk.say("etcd on this machine has a vote");
                }
                answers(LOCAL, UNIT, talk, "etcd").await?;
                return Ok(Formed::Up { changed });
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        list = cluster.list().await?;
    }
}

/// Something that only time stands in the way of is no error.
fn not_now<T>(result: Result<T, MembersError>) -> Result<Option<T>, MembersError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(MembersError::NotNow(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn start_member(
    etcd: &Etcd,
    environment: Environment,
    system: &dyn System,
    talk: Talk<'_>,
) -> Result<bool, EtcdError> {
    installed(system, UNIT, "etcd-server")?;
    if system.is_there(Path::new(GATEWAY_FILE))? {
        system.must("systemctl", &["disable", "--now", GATEWAY])?;
        system.remove(Path::new(GATEWAY_FILE))?;
        talk.say("this machine is no gateway to etcd any more");
    }
    let text = dropin::render(&environment);
    run_with(
        system,
        UNIT,
        &File::plain(dropin::path(UNIT, &etcd.drop_in), text),
        talk,
    )
}

async fn become_gateway(
    servers: &Servers,
    environment: &Environment,
    system: &dyn System,
    talk: Talk<'_>,
) -> Result<bool, EtcdError> {
    installed(system, GATEWAY, "fleet")?;
    if let Some(data) = environment.get("ETCD_DATA_DIR")
        && system.is_there(&Path::new(data).join("member"))?
    {
        return Err(EtcdError::IsMember(data.clone()));
    }
    // Debian starts one of its own at installation; it would hold the address.
    system.run("systemctl", &["disable", "--now", UNIT])?;
    servers.gateway()?;
    let text = toml::to_string(servers).map_err(|error| EtcdError::Gateway(error.to_string()))?;
    let text = format!("# Written by fleet: `fleetctl leave` takes it away.\n{text}");
    let changed = run_with(system, GATEWAY, &File::plain(GATEWAY_FILE, text), talk)?;
    answers(LOCAL, GATEWAY, talk, "the gateway to etcd").await?;
    Ok(changed)
}

fn installed(system: &dyn System, unit: &'static str, package: &'static str) -> Result<(), EtcdError> {
    match system.run("systemctl", &["cat", unit])?.success {
        true => Ok(()),
        false => Err(EtcdError::Missing(unit, package)),
    }
}

/// Has a unit run with these settings. Does not wait for it: etcd may need others.
///
/// It is stopped before its settings are written, so that wherever this is cut off, what runs is never taken for what is
/// written. Says whether anything had to be done.
fn run_with(system: &dyn System, unit: &str, settings: &File, talk: Talk<'_>) -> Result<bool, EtcdError> {
    if system.read(&settings.path)?.as_ref() != Some(&settings.content) {
        system.must("systemctl", &["stop", unit])?;
        system.write(settings)?;
    }
    system.must("systemctl", &["daemon-reload"])?;
    system.must("systemctl", &["enable", "--quiet", unit])?;
    let stands = !system.run("systemctl", &["is-active", "--quiet", unit])?.success;
    if stands {
        system.must("systemctl", &["start", "--no-block", unit])?;
        talk.say(format!("started {unit}"));
    }
    Ok(stands)
}

/// Waits until etcd answers at `url`.
async fn answers(url: &str, unit: &'static str, talk: Talk<'_>, what: &str) -> Result<(), EtcdError> {
    let urls = [url.to_owned()];
    let asked = until(ANSWERS, PAUSE, async || Members::reach(&urls, None).await);
    match talk.wait_for(what, asked).await {
        Ok(_) => Ok(()),
        Err(error) => Err(EtcdError::Silent {
            unit,
            why: error.to_string(),
        }),
    }
}
