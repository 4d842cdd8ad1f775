//! `fleetctl join`: one more machine of a cluster that `init` founded.

use std::net::IpAddr;
use std::path::Path;

use clap::Args;

use super::etcd::members::Member;
use super::etcd::{Etcd, EtcdError, Formed, LOCAL, Role, Servers, form, refuse_foreign};
use super::fleet;
use super::init::{SetupError, TokenArgs, settle_certificates};
use super::pki;
use super::settings::{DROP_IN, MEMBERS, SETUP, servers};
use super::standing::{Standing, Taken, is_free, standing};
use super::system::System;
use super::talk::{Talk, until};
use super::this::{self, OwnArgs};

/// Join a cluster that `fleetctl init` founded
///
/// The first machines to join become members of etcd, until there are three; those after them reach it through a gateway
/// on 127.0.0.1. Run again, it goes on where it was cut off; on a gateway it makes a member where one is missing.
///
/// Exit codes: 0 done, 1 not done, 2 wrong usage.
#[derive(Debug, Args)]
pub struct Join {
    /// A machine of the cluster that is one of etcd's members, or several, with commas
    #[arg(value_name = "ADDRESS", required = true, value_delimiter = ',', value_parser = host)]
    servers: Vec<String>,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    own: OwnArgs,
    /// Become a member of etcd, however many there are
    #[arg(long, conflicts_with = "gateway")]
    member: bool,
    /// Become no member of etcd, however few there are
    #[arg(long)]
    gateway: bool,
}

/// A host or an address, and nothing around it.
fn host(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    match text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(is_plain)) {
        true => Ok(text.to_owned()),
        false => Err("expected an address or a host name, without http:// and without a port".to_owned()),
    }
}

/// `https://HOST:2379` for a host or an address.
fn client_url(server: &str) -> String {
    match server.parse::<IpAddr>() {
        Ok(address) => super::settings::url(address, 2379),
        Err(_) => format!("https://{server}:2379"),
    }
}

/// Joins the cluster. Returns what to say about it.
///
/// # Errors
/// If it did not come to that; run again, it goes on.
pub async fn join(arguments: &Join, system: &dyn System, talk: Talk<'_>) -> Result<String, SetupError> {
    this::root()?;
    let is_in = match standing(system)? {
        Standing::Bare => false,
        Standing::FleetAlone(fleet) if is_free(&fleet) => false,
        Standing::Member(_) | Standing::Gateway => true,
        Standing::Founder(_) => return Err(Taken::Founded.into()),
        Standing::CloudConfig(_) | Standing::FleetAlone(_) => return Err(Taken::CloudConfig.into()),
    };
    if !is_in {
        refuse_foreign().await?;
    }
    let own = this::own(&arguments.own, &fleet::before(system, DROP_IN)?)?;
    match arguments.token.given(system)? {
        // etcd on this machine lives by the certificates that are there.
        Some(token) if is_in && !pki::belongs(system, &token)? => return Err(SetupError::StrangeToken),
        Some(token) => settle_certificates(system, &token, &own, talk)?,
        // It has been let in before.
        None if is_in && pki::are_for(system, &own.names(), &own.addresses())? => {}
        None => return Err(SetupError::NoToken),
    }
    // The founder may still be on its way up.
    let given = servers(arguments.servers.iter().map(|s| client_url(s)).collect());
    let reached = until(
        super::etcd::ANSWERS,
        std::time::Duration::from_secs(1),
        async || match given.reach().await {
            Err(error) if is_about_certificates(&error) => Ok(Err(SetupError::WrongToken(error))),
            Err(error) => Err(error),
            Ok((_, list)) => Ok(Ok(list)),
        },
    );
    let whom = format!("an answer of etcd at {}", arguments.servers.join(", "));
    let list = talk.wait_for(&whom, reached).await??;
    let voters: Vec<&Member> = list.iter().filter(|member| !member.is_learner).collect();
    let mut clients: Vec<String> = voters.iter().flat_map(|member| member.clients.clone()).collect();
    clients.retain(|url| url.starts_with("https://"));
    let known = Servers {
        peers: voters.iter().flat_map(|member| member.peers.clone()).collect(),
        ..servers(clients)
    };
    let mut settings = own.etcd();
    settings.insert(SETUP.to_owned(), "join".to_owned());
    let member = |limit| Etcd {
        role: Role::Member {
            servers: known.clone(),
            limit,
        },
        environment: settings.clone(),
        drop_in: DROP_IN.to_owned(),
    };
    let formed = match (arguments.gateway, arguments.member) {
        (true, _) => Formed::Enough,
        (false, true) => form(&member(usize::MAX), system, talk).await?,
        (false, false) => form(&member(MEMBERS), system, talk).await?,
    };
    if formed == Formed::Enough {
        let gateway = Etcd {
            role: Role::Gateway { servers: known },
            environment: settings,
            drop_in: DROP_IN.to_owned(),
        };
        form(&gateway, system, talk).await?;
    }
    fleet::run_with(system, &own.fleet(), DROP_IN, talk)?;
    fleet::seen(&own.id, talk).await?;
    let etcd = match formed {
        Formed::Up { .. } => "a member of etcd",
        Formed::Enough => "a gateway to etcd",
    };
    let machines = fleet::machines(Path::new(fleet::SOCKET))
        .await
        .unwrap_or_default();
    Ok(format!(
        "joined as {etcd}; the cluster has {} machines, etcd answers at {LOCAL}",
        machines.len()
    ))
}

fn is_about_certificates(error: &EtcdError) -> bool {
    let text = error.to_string();
    [
        "certificate is not signed by",
        "it does not take the client certificate",
    ]
    .iter()
    .any(|words| text.contains(words))
}
