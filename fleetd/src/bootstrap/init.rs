//! `fleetctl init`: the first machine of a cluster, and perhaps its only one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::etcd::{Etcd, EtcdError, Role, form, refuse_foreign};
use super::fleet::{self, FleetError};
use super::pki::{self, PkiError};
use super::settings::{DROP_IN, SETUP};
use super::standing::{Standing, Taken, is_free, standing};
use super::system::{System, SystemError};
use super::talk::Talk;
use super::this::{self, OwnArgs, ThisError};
use super::token::{Token, TokenError};

/// Tells one founding from another.
const FOUNDING: &str = "ETCD_INITIAL_CLUSTER_TOKEN";

/// Found a cluster: an etcd of one member and fleet, on this machine
///
/// Prints the command that other machines join it with. Run again, it goes on where it was cut off, and prints the
/// command once more.
///
/// Exit codes: 0 done, 1 not done, 2 wrong usage.
#[derive(Debug, Args)]
pub struct Init {
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    token: TokenArgs,
}

/// The two ways to hand over a token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The cluster's token: 64 hexadecimal digits
    #[arg(long, env = "FLEET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file that holds it, so that no list of processes shows it
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

/// Why a machine did not become one of the cluster. One line each.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Of the machine.
    #[error(transparent)]
    This(#[from] ThisError),
    /// It is set up already, otherwise.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// Of its files and programs.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The cluster has another one.
    #[error(
        "this cluster has another token already, in {}: leave --token away",
        super::token::FILE
    )]
    OtherToken,
    /// The machine is in a cluster with another one.
    #[error("this machine has joined a cluster with another token: `fleetctl leave` comes first")]
    StrangeToken,
    /// There is none.
    #[error("a cluster is joined with its token: --token, as `fleetctl init` showed it (it shows it again)")]
    NoToken,
    /// No certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The cluster lets nobody in who has made its certificate from this token.
    #[error("{0}; is the token that of this cluster?")]
    WrongToken(EtcdError),
    /// No fleetd.
    #[error(transparent)]
    Fleet(#[from] FleetError),
}

impl TokenArgs {
    /// The one that was given, if any.
    ///
    /// # Errors
    /// If it is none, or its file cannot be read.
    pub fn given(&self, system: &dyn System) -> Result<Option<Token>, SetupError> {
        let text = match (&self.token, &self.token_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                let content = system.read(&path)?.ok_or_else(|| SystemError::File {
                    what: "read",
                    path,
                    error: std::io::ErrorKind::NotFound.into(),
                })?;
                String::from_utf8_lossy(&content).into_owned()
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Token::parse(&text)?))
    }
}

/// Founds the cluster. Returns the line to type on the other machines.
///
/// # Errors
/// If it did not come to that; run again, it goes on.
pub async fn init(arguments: &Init, system: &dyn System, talk: Talk<'_>) -> Result<String, SetupError> {
    this::root()?;
    let founding = match standing(system)? {
        Standing::Bare => None,
        Standing::FleetAlone(fleet) if is_free(&fleet) => None,
        Standing::Founder(environment) => environment.get(FOUNDING).cloned(),
        Standing::Member(_) | Standing::Gateway => return Err(Taken::Joined.into()),
        Standing::CloudConfig(_) | Standing::FleetAlone(_) => return Err(Taken::CloudConfig.into()),
    };
    if founding.is_none() {
        refuse_foreign().await?;
    }
    let own = this::own(&arguments.own, &fleet::before(system, DROP_IN)?)?;
    let token = match (Token::kept(system)?.transpose()?, arguments.token.given(system)?) {
        (Some(kept), Some(given)) if kept != given => return Err(SetupError::OtherToken),
        (Some(kept), _) => kept,
        (None, Some(given)) => given,
        (None, None) => Token::random()?,
    };
    // Before anything is made from it.
    token.keep(system)?;
    settle_certificates(system, &token, &own, talk)?;
    let mut environment = own.etcd();
    // etcd makes the ids of the cluster and of its founder from this: of a machine that is founded anew under its old
    // address they must not be the old ones, or what is left of the old cluster takes it in with a log that is none.
    let founding = founding.map_or_else(|| Token::random().map(|t| t.to_string()), Ok)?;
    environment.insert(FOUNDING.to_owned(), founding);
    environment.insert(SETUP.to_owned(), "init".to_owned());
    let etcd = Etcd {
        role: Role::Founder,
        environment,
        drop_in: DROP_IN.to_owned(),
    };
    form(&etcd, system, talk).await?;
    fleet::run_with(system, &own.fleet(), DROP_IN, talk)?;
    fleet::seen(&own.id, talk).await?;
    talk.say("the cluster is up; on other machines, as root:");
    // Who keeps the token in a file does not want it in a log.
    Ok(match &arguments.token.token_file {
        Some(file) => format!("fleetctl join {} --token-file {}", own.address, file.display()),
        None => format!("fleetctl join {} --token {token}", own.address),
    })
}

pub(super) fn settle_certificates(
    system: &dyn System,
    token: &Token,
    own: &super::settings::Own,
    talk: Talk<'_>,
) -> Result<(), SetupError> {
    // etcd's package makes the group that may read the key.
    if !system.run("systemctl", &["cat", super::etcd::UNIT])?.success {
        return Err(EtcdError::Missing(super::etcd::UNIT, "etcd-server").into());
    }
    if pki::settle(system, token, &own.names(), &own.addresses())? {
        talk.say(format!(
            "made certificates in {}",
            Path::new(pki::DIRECTORY).display()
        ));
    }
    Ok(())
}
