//! etcd behind TLS and passwords: who is let in, and what is said to whoever is not.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use fleetd::registry::etcd::{EtcdConfig, EtcdRegistry, EtcdTls};
use fleetd::registry::{Commit, Registry, RegistryError, Select, Txn};
use lab::cluster::Options;
use tokio::time::timeout;

use crate::alone::Alone;
use crate::harness::{Scenario, shared};
use crate::pki::{Pair, Pki};

const SOON: Duration = Duration::from_secs(10);

pub(crate) fn scenarios() -> Vec<Scenario> {
    let needs = || Options {
        fleet: false,
        ..Options::default()
    };
    vec![
        shared(
            "tls::only_an_etcd_with_the_right_certificate_is_spoken_to",
            needs(),
            |_| run(servers()),
        ),
        shared(
            "tls::an_etcd_that_asks_for_certificates_gets_one",
            needs(),
            |_| run(clients()),
        ),
        shared(
            "tls::a_user_of_etcd_needs_one_prefix_and_outlives_its_token",
            needs(),
            |_| run(users()),
        ),
    ]
}

fn run(scenario: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(scenario)
}

fn connect(servers: &str, ca: Option<&Path>, identity: Option<&Pair>) -> Result<EtcdRegistry> {
    let (certificate, key) = identity
        .map(|pair| (pair.certificate.as_path(), pair.key.as_path()))
        .unzip();
    let config = EtcdConfig {
        servers: vec![servers.to_owned()],
        tls: EtcdTls::read(ca, certificate, key)?,
        user: None,
    };
    EtcdRegistry::connect(config).map_err(|error| anyhow!("{error}"))
}

/// Writes and reads.
async fn works(registry: &EtcdRegistry, prefix: &str) -> Result<(), RegistryError> {
    let key = format!("{prefix}key");
    match registry
        .commit(Txn::new().put(key.clone(), b"x".to_vec()))
        .await?
    {
        Commit::Applied(_) => {}
        Commit::Refused(_) => return Err(RegistryError::Refused("a put without a condition".to_owned())),
    }
    let snapshot = registry.read(&[Select::Key(key.clone())]).await?;
    match snapshot.get(&key) {
        Some(_) => Ok(()),
        None => Err(RegistryError::Refused("what was written is not there".to_owned())),
    }
}

/// The one line that a refused client says, which must be `expected`.
async fn refused(what: &str, registry: &EtcdRegistry, expected: &[&str]) -> Result<()> {
    let said = match works(registry, "/fleet/").await {
        Ok(()) => return Err(anyhow!("{what}: it was let in")),
        Err(error) => error.to_string(),
    };
    ensure!(!said.contains('\n'), "{what}: more than a line: {said}");
    ensure!(
        expected.iter().any(|expected| said.contains(expected)),
        "{what}: said {said:?}, expected {expected:?}"
    );
    Ok(())
}

fn serving(pair: &Pair) -> [(&'static str, &Path); 2] {
    [("--cert-file", &pair.certificate), ("--key-file", &pair.key)]
}

async fn servers() -> Result<()> {
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let good = pki.issue("server", &["localhost", "127.0.0.1"])?;
    let etcd = Alone::with("https", &serving(&good), &[("--cacert", &pki.ca)])?;
    works(&connect(&etcd.address, Some(&pki.ca), None)?, "/fleet/")
        .await
        .context("with the right CA")?;

    let wrong = format!("is not signed by a CA of {} (etcd_cafile)", other.ca.display());
    refused(
        "another CA",
        &connect(&etcd.address, Some(&other.ca), None)?,
        &[&wrong],
    )
    .await?;
    let plain = etcd.address.replacen("https", "http", 1);
    refused(
        "plain HTTP",
        &connect(&plain, None, None)?,
        &["does it speak TLS? then etcd_servers has to say https://"],
    )
    .await?;
    let said = connect(&etcd.address, None, None)
        .err()
        .context("no CA was no error")?;
    ensure!(said.to_string().contains("set etcd_cafile"), "{said}");
    drop(etcd);

    let named = pki.issue("named", &["etcd.example"])?;
    let etcd = Alone::with("https", &serving(&named), &[])?;
    refused(
        "another name",
        &connect(&etcd.address, Some(&pki.ca), None)?,
        &["its certificate is not for 127.0.0.1"],
    )
    .await?;
    drop(etcd);

    let old = pki.issue_expired("old", &["127.0.0.1"])?;
    let etcd = Alone::with("https", &serving(&old), &[])?;
    refused(
        "expired",
        &connect(&etcd.address, Some(&pki.ca), None)?,
        &["its certificate has expired"],
    )
    .await
}

async fn clients() -> Result<()> {
    let (pki, other) = (Pki::new()?, Pki::new()?);
    let server = pki.issue("server", &["127.0.0.1"])?;
    let client = pki.issue("client", &["fleetd"])?;
    let [certificate, key] = serving(&server);
    let yes = Path::new("true");
    let etcd = Alone::with(
        "https",
        &[
            certificate,
            key,
            ("--client-cert-auth", yes),
            ("--trusted-ca-file", &pki.ca),
        ],
        &[
            ("--cacert", &pki.ca),
            ("--cert", &client.certificate),
            ("--key", &client.key),
        ],
    )?;
    let as_whom = |pair: Option<&Pair>| connect(&etcd.address, Some(&pki.ca), pair);
    works(&as_whom(Some(&client))?, "/fleet/")
        .await
        .context("with a certificate")?;
    refused(
        "none",
        &as_whom(None)?,
        &["for a client certificate: set etcd_certfile and etcd_keyfile"],
    )
    .await?;
    for (what, pair) in [
        ("another CA's", other.issue("stranger", &["fleetd"])?),
        ("expired", pki.issue_expired("old", &["fleetd"])?),
    ] {
        let file = format!(
            "not take the client certificate {} (etcd_certfile)",
            pair.certificate.display()
        );
        refused(what, &as_whom(Some(&pair))?, &[&file]).await?;
    }
    Ok(())
}

const PREFIX: &str = "/_coreos.com/fleet/";

async fn users() -> Result<()> {
    let mut etcd = Alone::start()?;
    for line in [
        "user add root:rootpass",
        "user grant-role root root",
        "role add fleet",
        "role grant-permission fleet --prefix=true readwrite /_coreos.com/fleet/",
        "user add fleet:secret",
        "user grant-role fleet fleet",
        "user add stranger:secret",
        "auth enable",
    ] {
        etcd.ctl(&line.split(' ').collect::<Vec<_>>())?;
    }
    etcd.speak_as("root:rootpass");
    let as_user = |user: Option<(&str, &str)>| {
        let config = EtcdConfig {
            servers: vec![etcd.address.clone()],
            tls: None,
            user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        };
        EtcdRegistry::connect(config).map_err(|error| anyhow!("{error}"))
    };
    refused(
        "nobody",
        &as_user(None)?,
        &["it asks for a user: set etcd_username"],
    )
    .await?;
    refused(
        "a wrong password",
        &as_user(Some(("fleet", "guess")))?,
        &["see etcd_username and etcd_password"],
    )
    .await?;
    let rights = "permission denied: etcd_username needs a role with readwrite";
    refused(
        "no right at all",
        &as_user(Some(("stranger", "secret")))?,
        &[rights],
    )
    .await?;

    let fleet = as_user(Some(("fleet", "secret")))?;
    refused("outside of the prefix", &fleet, &[rights]).await?;
    works(&fleet, PREFIX).await.context("inside of the prefix")?;
    let outside = fleet.watch(Select::Prefix("/fleet/".to_owned()), 1).await;
    ensure!(outside.is_err(), "a watch outside of the prefix was let in");

    // etcd forgets its tokens when it restarts. Whatever is asked first after that gets a new one.
    let lease = fleet.grant(Duration::from_secs(60)).await?;
    etcd.restart()?;
    fleet
        .renew(lease.id, SOON)
        .await
        .context("a renewal comes first")?;
    etcd.restart()?;
    works(&fleet, PREFIX).await.context("a write comes first")?;
    etcd.restart()?;
    let mut watch = fleet
        .watch(Select::Prefix(PREFIX.to_owned()), 1)
        .await
        .context("a watch comes first")?;
    timeout(SOON, watch.next())
        .await
        .context("the watch is silent")??;
    etcd.restart()?;
    fleet
        .remaining(lease.id)
        .await
        .context("a question about a lease comes first")?;
    fleet.revoke(lease.id).await.context("revoking")?;
    Ok(())
}
