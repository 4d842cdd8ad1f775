//! Fake members of etcd, a gateway in front of them, and what it logs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetd::gateway::{Gateway, GatewayConfig, GatewayError, Memory, Patience};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What a client that speaks HTTP/2 begins with.
pub(crate) const HTTP2: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Listens, and does the same with each connection, until it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    task: JoinSet<()>,
}

impl Server {
    async fn new<F>(port: u16, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream);
                connections.spawn(async move { drop(serving.await) });
            }
        });
        Self { port, task }
    }

    /// A member that puts its name before everything it hears, in plain text.
    pub(crate) async fn member(name: &'static str) -> Self {
        Self::member_at(0, name).await
    }

    /// The same at a port of one's choice.
    pub(crate) async fn member_at(port: u16, name: &'static str) -> Self {
        Self::new(port, move |stream| echo(stream, name.to_owned())).await
    }

    /// The same with TLS; the name is followed by the protocol that was agreed on.
    pub(crate) async fn tls_member(name: &'static str, acceptor: TlsAcceptor) -> Self {
        Self::new(0, move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let stream = acceptor.accept(stream).await?;
                let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                let name = format!("{name}/{}", String::from_utf8_lossy(protocol));
                echo(stream, name).await
            }
        })
        .await
    }

    /// A member's peer port, with `answer` to `GET /members`.
    pub(crate) async fn peer(answer: String) -> Self {
        Self::peer_at(0, answer).await
    }

    /// The same at a port of one's choice.
    pub(crate) async fn peer_at(port: u16, answer: String) -> Self {
        Self::new(port, move |mut stream| {
            let answer = answer.clone();
            async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let status = match head.starts_with(b"GET /members HTTP/1.1\r\n") {
                    true => "200 OK",
                    false => "400 Bad Request",
                };
                let length = answer.len();
                let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{answer}");
                stream.write_all(text.as_bytes()).await
            }
        })
        .await
    }

    /// Takes connections, and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::silent_at(0).await
    }

    /// The same at a port of one's choice.
    pub(crate) async fn silent_at(port: u16) -> Self {
        Self::new(port, |stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
            Ok(())
        })
        .await
    }

    /// Waits until its port is free and all of its connections have ended.
    pub(crate) async fn end(mut self) {
        self.task.shutdown().await;
    }

    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: String) -> io::Result<()> {
    let mut heard = vec![0; 1024];
    loop {
        let read = stream.read(&mut heard).await?;
        if read == 0 {
            return Ok(());
        }
        let said = format!("{name}:{}", String::from_utf8_lossy(&heard[..read]));
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// As etcd lists members. Each is known to clients by one address.
pub(crate) fn list(peer: &str, clients: &[String]) -> String {
    let member =
        |client: &String| format!(r#"{{"id":1,"peerURLs":["{peer}"],"name":"m","clientURLs":["{client}"]}}"#);
    let members: Vec<String> = clients.iter().map(member).collect();
    let learner =
        format!(r#"{{"id":2,"peerURLs":["{peer}"],"clientURLs":["http://127.0.0.1:9"],"isLearner":true}}"#);
    let unstarted = format!(r#"{{"id":3,"peerURLs":["{peer}"]}}"#);
    format!("[{},{learner},{unstarted}]\n", members.join(","))
}

/// A gateway that runs.
pub(crate) struct Running {
    port: u16,
    _stop: tokio_util::sync::DropGuard,
}

/// Where gateways keep what they remember.
pub(crate) struct Machine {
    pub(crate) directory: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts one with this configuration; it takes a port that is free.
    pub(crate) async fn gateway(&self, config: &str) -> Running {
        self.gateway_with(config, Patience::default()).await
    }

    /// The same, of another patience.
    pub(crate) async fn gateway_with(&self, config: &str, patience: Patience) -> Running {
        let gateway = self
            .open_with(&format!("{config}\nlisten = [\"127.0.0.1:0\"]"), patience)
            .await
            .unwrap();
        let port = gateway.addresses()[0].port();
        let stop = CancellationToken::new();
        tokio::spawn(gateway.run(stop.clone()));
        Running {
            port,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) async fn open(&self, config: &str) -> Result<Gateway, GatewayError> {
        self.open_with(config, Patience::default()).await
    }

    async fn open_with(&self, config: &str, patience: Patience) -> Result<Gateway, GatewayError> {
        let config = GatewayConfig::parse(config, Path::new("gateway.toml")).unwrap();
        let memory = Memory::new(self.directory.path().join("gateway.json"), &config);
        let patience = Patience {
            between: Duration::from_millis(20),
            ..patience
        };
        Gateway::open(config, memory, patience).await
    }

    /// Waits until it has remembered this address.
    pub(crate) async fn remembers(&self, address: &str) {
        let path = self.directory.path().join("gateway.json");
        for _ in 0..500 {
            if std::fs::read_to_string(&path).is_ok_and(|text| text.contains(address)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never remembered {address}");
    }
}

impl Running {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// What a new connection is answered; nothing if it is closed.
    pub(crate) async fn ask(&self, text: &str) -> Option<String> {
        say(&mut self.connect().await, text).await
    }
}

/// Says something and hears the answer; nothing if the connection ends.
pub(crate) async fn say(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut heard = vec![0; 1024];
    let answered = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut heard)).await;
    let read = answered.expect("neither an answer nor an end").ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&heard[..read]).into_owned())
}

/// A CA, with files in a directory of its own.
pub(crate) struct Pki {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`, for one address.
    pub(crate) fn issue(&self, name: &str, address: &str) {
        let params = CertificateParams::new(vec![address.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Shows the certificate of that name, and asks for one of this CA.
    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        let read = |file: String| std::fs::read(self.path(&file)).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read(format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read(format!("{name}.key"))).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(&read("ca.pem".to_owned())).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// The configuration keys, with the certificate of that name if there is to be one.
    pub(crate) fn keys(&self, name: Option<&str>) -> String {
        let line = |key, file: &str| format!("{key} = \"{}\"\n", self.path(file).display());
        let shown = name.map_or_else(String::new, |name| {
            line("certfile", &format!("{name}.pem")) + &line("keyfile", &format!("{name}.key"))
        });
        line("cafile", "ca.pem") + &shown
    }
}

/// What is logged on this thread, where all of a test runs.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn new() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    /// The lines with this text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines()
            .filter(|l| l.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
