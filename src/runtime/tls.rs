//! TLS on the listener: certificates that are read again when their files change, and handshakes.
//!
//! A handshake runs beside the threads that serve, on the runtime that accepts: nobody's call waits while a key signs. Once it
//! is over the connection moves to its thread, as a plain one does.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::clients::{Shown, Trust, Verifier};
use crate::{
    config::TlsConfig,
    domain::time::{Clock, Timestamp},
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A file for TLS cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

impl TlsError {
    /// What is wrong with a file; never what is in it.
    #[must_use]
    pub fn new(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }
}

/// Tells rustls the time by the server's clock.
struct Time(Arc<dyn Clock>);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}

/// A point in time as rustls has it.
#[must_use]
pub fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(now.since(Timestamp::default()))
}

/// What the files held.
#[derive(PartialEq, Eq)]
struct Files {
    certificates: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Vec<u8>,
}

/// TLS as the files say.
pub struct Tls {
    config: TlsConfig,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<ServerConfig>>,
    trust: Option<Arc<Trust>>,
}

impl Tls {
    /// Reads the files; gives what looks at them from then on, until `stop`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(
        config: &TlsConfig,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<(Arc<Self>, impl Future<Output = ()> + Send + 'static), TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let files = read(config)?;
        let verifier = verifier(config, &files, &provider)?.map(Arc::new);
        let server = server(config, &files, verifier.as_ref(), &provider, &clock)?;
        let tls = Arc::new(Self {
            config: config.clone(),
            clock,
            provider,
            current: RwLock::new(Arc::new(server)),
            trust: verifier.map(|verifier| Arc::new(Trust::new(verifier))),
        });
        let watch = Arc::clone(&tls).watch(files, stop);
        Ok((tls, watch))
    }

    /// Looks at the files again and again. What cannot be used is told and leaves everything as it is.
    async fn watch(self: Arc<Self>, mut used: Files, stop: CancellationToken) {
        let mut complaint = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let changed = match read(&self.config) {
                Ok(files) if files == used => Ok(()),
                Ok(files) => self.replace(&used, &files).map(|()| used = files),
                Err(error) => Err(error),
            };
            let told = changed.err().map(|error| error.to_string()).unwrap_or_default();
            if !told.is_empty() && told != complaint {
                tracing::error!(
                    error = told,
                    "a changed file for TLS cannot be used: what was read before stays in use"
                );
            }
            complaint = told;
        }
    }

    fn replace(&self, used: &Files, files: &Files) -> Result<(), TlsError> {
        let verifier = verifier(&self.config, files, &self.provider)?.map(Arc::new);
        let server = server(&self.config, files, verifier.as_ref(), &self.provider, &self.clock)?;
        *self.current.write() = Arc::new(server);
        if let (Some(trust), Some(verifier)) = (&self.trust, verifier)
            && files.authorities != used.authorities
        {
            trust.replace(verifier);
            tracing::info!("other authorities for clients are in use: open connections are looked at again");
        }
        tracing::info!("changed files for TLS are in use");
        Ok(())
    }

    /// Whether clients may show certificates.
    #[must_use]
    pub const fn knows_clients(&self) -> bool {
        self.trust.is_some()
    }

    /// Agrees with a client on a connection.
    ///
    /// # Errors
    /// Why not.
    pub async fn handshake(&self, stream: TcpStream) -> io::Result<Secured> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.read()));
        let agreed = tokio::time::timeout(HANDSHAKE, acceptor.accept(Socket(Some(stream)))).await;
        let stream = agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let client = match (stream.get_ref().1.peer_certificates(), &self.trust) {
            (Some(chain), Some(trust)) => {
                let shown = Shown::new(chain, Arc::clone(trust), Arc::clone(&self.clock));
                Some(shown.map_err(io::Error::other)?)
            }
            _ => None,
        };
        Ok(Secured { stream, client })
    }
}

fn read(config: &TlsConfig) -> Result<Files, TlsError> {
    let read = |path: &Path| fs::read(path).map_err(|error| TlsError::new(path, error.to_string()));
    Ok(Files {
        certificates: read(&config.cert_file)?,
        key: Zeroizing::new(read(&config.key_file)?),
        authorities: config.clients.as_ref().map(|clients| read(&clients.ca_file)).transpose()?.unwrap_or_default(),
    })
}

fn verifier(config: &TlsConfig, files: &Files, provider: &Arc<CryptoProvider>) -> Result<Option<Verifier>, TlsError> {
    config.clients.as_ref().map(|clients| Verifier::new(clients, &files.authorities, provider)).transpose()
}

fn server(
    config: &TlsConfig,
    files: &Files,
    verifier: Option<&Arc<Verifier>>,
    provider: &Arc<CryptoProvider>,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let bad = |path: &Path, why: &dyn fmt::Display| TlsError::new(path, why.to_string());
    let certificates = CertificateDer::pem_slice_iter(&files.certificates).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| bad(&config.cert_file, &error))?;
    if certificates.is_empty() {
        return Err(bad(&config.cert_file, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|error| bad(&config.key_file, &error))?;
    let builder = ServerConfig::builder_with_details(Arc::clone(provider), Arc::new(Time(Arc::clone(clock))));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad(&config.cert_file, &error))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
        None => builder.with_no_client_auth(),
    };
    // Refuses a key that is not the certificate's.
    let mut server = builder.with_single_cert(certificates, key).map_err(|error| bad(&config.cert_file, &error))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would bring in a certificate that nobody has looked at again. Connections are few and long.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// A socket that can move to another runtime. It is there but for that moment.
#[derive(Debug)]
pub struct Socket(Option<TcpStream>);

impl Socket {
    /// The socket itself.
    pub const fn get(&self) -> Option<&TcpStream> {
        self.0.as_ref()
    }

    fn poll<T>(&mut self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.0 {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(cx))
    }
}

/// A connection after its handshake.
pub struct Secured {
    /// What is said over it.
    pub stream: TlsStream<Socket>,
    /// The client's certificate, if it has shown one.
    pub client: Option<Shown>,
}

impl Secured {
    /// Takes the socket off the runtime that it was on, and puts it on the one that this runs on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn settle(mut self) -> io::Result<Self> {
        let socket = self.stream.get_mut().0;
        if let Some(stream) = socket.0.take() {
            socket.0 = Some(TcpStream::from_std(stream.into_std()?)?);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{ClientAuth, ClientsConfig},
        runtime::clock::SystemClock,
    };

    #[test]
    fn a_changed_file_that_cannot_be_used_is_told_and_leaves_what_was_read_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let certified = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it signs");
        let (first, second) = (certified(), certified());
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let config = TlsConfig {
            cert_file: put("server.pem", &first.cert.pem()),
            key_file: put("server.key", &first.signing_key.serialize_pem()),
            clients: Some(ClientsConfig {
                ca_file: put("clients.pem", &first.cert.pem()),
                auth: ClientAuth::Required,
                trust_domains: Vec::new(),
            }),
        };
        let (tls, _watch) =
            Tls::open(&config, Arc::new(SystemClock), CancellationToken::new()).expect("the files are good");
        let used = read(&config).expect("they are there");
        let before = Arc::clone(&tls.current.read());
        let bad = [
            ("server.pem", "nonsense".to_owned()),
            ("server.pem", String::new()),
            ("server.pem", second.cert.pem()),
            ("server.key", second.signing_key.serialize_pem()),
            ("server.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned()),
            ("clients.pem", String::new()),
            ("clients.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        ];
        for (name, text) in bad {
            let good = fs::read_to_string(folder.path().join(name)).expect("it is there");
            put(name, &text);
            let error = tls.replace(&used, &read(&config).expect("it is there")).expect_err(name).to_string();
            assert!(error.contains(folder.path().to_str().expect("text")) && !error.contains("AAAA"), "{error}");
            assert!(Arc::ptr_eq(&before, &tls.current.read()), "{name}");
            put(name, &good);
        }
        put("server.pem", &second.cert.pem());
        put("server.key", &second.signing_key.serialize_pem());
        tls.replace(&used, &read(&config).expect("they are there")).expect("these are good");
        assert!(!Arc::ptr_eq(&before, &tls.current.read()));
    }
}
