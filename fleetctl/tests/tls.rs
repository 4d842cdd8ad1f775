//! fleetctl and the API of a real fleetd over TLS: who is let in, and what is said to whoever is not.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fleetd::api::Api;
use fleetd::api::listen::Listener;
use fleetd::api::tls::ApiTls;
use fleetd::registry::keys::Keys;
use fleetd::registry::memory::MemoryRegistry;
use fleetd::registry::trust::Trust;
use fleetd::watchdog::Pulse;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A CA, with files in a directory of its own.
struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, names: &[&str], until: i32) {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// An API over TCP, for as long as this lives.
struct Server {
    port: u16,
    _runtime: tokio::runtime::Runtime,
    _run: TempDir,
}

impl Server {
    fn new(tls: Option<ApiTls>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let run = tempfile::tempdir().unwrap();
        let trust = Arc::new(Trust::open(run.path()).unwrap());
        let registry = Arc::new(MemoryRegistry::new().client("api"));
        let router = Api::new(registry, Keys::default(), trust).router();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let listener = Listener::Tcp(listener, tls);
            listener
                .serve(router, Pulse::default(), CancellationToken::new())
                .await;
        });
        Self {
            port,
            _runtime: runtime,
            _run: run,
        }
    }
}

type Flags<'a> = &'a [(&'a str, &'a Path)];

/// Exit code and the first line of stderr; what may follow are hints.
fn fleetctl(endpoint: &str, flags: Flags<'_>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command.env_clear().args(["--endpoint", endpoint]);
    for (flag, value) in flags {
        command.arg(flag).arg(value);
    }
    let output = command.arg("list-machines").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let first = said.lines().next().unwrap_or_default();
    (output.status.code().unwrap(), first.to_owned())
}

#[test]
fn only_who_shows_the_right_certificate_is_let_in() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("server", &["127.0.0.1"], 2100);
    pki.issue("client", &["me"], 2100);
    pki.issue("old", &["me"], 2001);
    other.issue("client", &["me"], 2100);
    let [server_pem, server_key, ca] = ["server.pem", "server.key", "ca.pem"].map(|f| pki.path(f));
    let tls = ApiTls::read(Some(&server_pem), Some(&server_key), Some(&ca)).unwrap();
    let server = Server::new(tls);
    let https = format!("https://127.0.0.1:{}", server.port);
    let with = |authority: &Pki, holder: &Pki, name: &str| {
        let [pem, key] = ["pem", "key"].map(|kind| holder.path(&format!("{name}.{kind}")));
        fleetctl(
            &https,
            &[
                ("--ca-file", &authority.path("ca.pem")),
                ("--cert-file", &pem),
                ("--key-file", &key),
            ],
        )
    };
    assert_eq!(with(&pki, &pki, "client"), (0, String::new()));

    let refusals = [
        (
            with(&other, &pki, "client"),
            format!(
                "its certificate is not signed by a CA of --ca-file {}",
                other.path("ca.pem").display()
            ),
        ),
        (
            with(&pki, &other, "client"),
            format!(
                "it does not take --cert-file {}",
                other.path("client.pem").display()
            ),
        ),
        (
            with(&pki, &pki, "old"),
            format!("it does not take --cert-file {}", pki.path("old.pem").display()),
        ),
        (
            fleetctl(&https, &[("--ca-file", &ca)]),
            "it asks for a certificate: see --cert-file and --key-file".to_owned(),
        ),
        (
            fleetctl(&https.replace("127.0.0.1", "localhost"), &[("--ca-file", &ca)]),
            "its certificate is not for that name: see --endpoint".to_owned(),
        ),
        (
            fleetctl(&https.replace("https", "http"), &[]),
            "this port speaks TLS: use https://, with a certificate of your own".to_owned(),
        ),
    ];
    for ((code, said), expected) in refusals {
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&expected), "said {said:?}, expected {expected:?}");
    }
    assert_eq!(with(&pki, &pki, "client").0, 0, "the others have not harmed it");
}

#[test]
fn https_to_a_port_that_speaks_http() {
    let pki = Pki::new();
    let server = Server::new(None);
    let endpoint = format!("https://127.0.0.1:{}", server.port);
    let (code, said) = fleetctl(&endpoint, &[("--ca-file", &pki.path("ca.pem"))]);
    let expected =
        format!("the fleet API at {endpoint} cannot be spoken to: it does not speak TLS: use http://");
    assert!(code == 1 && said.contains(&expected), "{code}: {said}");
}

#[test]
fn files_that_are_missing_or_wrong_are_named() {
    let pki = Pki::new();
    pki.issue("client", &["me"], 2100);
    let [ca, pem, key, none] = ["ca.pem", "client.pem", "client.key", "none.pem"].map(|f| pki.path(f));
    let table: [(&str, Flags<'_>, String); 6] = [
        (
            "https://a:1",
            &[],
            "an https:// endpoint needs --ca-file: the CA that signed fleetd's certificate".to_owned(),
        ),
        (
            "https://a:1",
            &[("--ca-file", &none)],
            format!("--ca-file {}: No such file or directory (os error 2)", none.display()),
        ),
        (
            "https://a:1",
            &[("--ca-file", &key)],
            format!("--ca-file {}: holds no certificate in PEM form", key.display()),
        ),
        (
            "https://a:1",
            &[("--ca-file", &ca), ("--cert-file", &pem)],
            "--cert-file and --key-file belong together: only one is given".to_owned(),
        ),
        (
            "https://a:1",
            &[("--ca-file", &ca), ("--cert-file", &pem), ("--key-file", &pem)],
            format!("--key-file {}: holds no private key in PEM form", pem.display()),
        ),
        (
            "http://a:1",
            &[("--ca-file", &ca)],
            "--ca-file, --cert-file and --key-file need an https:// endpoint: over http:// nothing is checked"
                .to_owned(),
        ),
    ];
    for (endpoint, flags, expected) in table {
        assert_eq!(fleetctl(endpoint, flags), (2, format!("Error: {expected}")));
    }
}
