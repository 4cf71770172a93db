//! A mail server: it speaks as much SMTP as takes a mail over (RFC 5321), in plain text, by STARTTLS (RFC 3207) or over TLS
//! from the first byte (RFC 8314), keeps what it gets, and fails as it is told to.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::{authority::Pair, eventually};

/// What becomes of mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// They are taken.
    Takes,
    /// They are not taken now: 451.
    Later,
    /// They are never taken: 550.
    Never,
    /// They are not taken of us: 530.
    Stranger,
    /// They are taken, and nobody is told: the connection ends.
    TakesInSilence,
    /// They are taken, once the mood is another one.
    Waits,
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// Headers and parts, as they came.
    pub data: String,
}

impl Received {
    /// A header.
    pub fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        self.data.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    }

    /// The secret of the link in it.
    pub fn token(&self) -> String {
        // A line that is too long is broken by `=` at its end; in what remains `=3D` is `=`.
        let whole = self.data.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
        let (_, rest) = whole.split_once("#token=").unwrap_or_else(|| panic!("no link in {whole}"));
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').collect()
    }
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Plain,
    StartTls,
    Tls,
}

/// A mail server.
pub struct Smtp {
    pub addr: SocketAddr,
    wire: Wire,
    mood: watch::Sender<Mood>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    mails: Vec<Received>,
    attempts: usize,
    connections: usize,
    /// Every line that came in plain text.
    plain: Vec<String>,
    /// What it shows from now on.
    tls: Option<TlsAcceptor>,
}

impl Smtp {
    pub async fn start() -> Self {
        Self::speaking(Wire::Plain).await
    }

    /// One that shows nothing yet, where it speaks TLS.
    pub async fn speaking(wire: Wire) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (mood, told) = watch::channel(Mood::Takes);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, kept) = (told.clone(), Arc::clone(&kept));
                // A client that goes away ends its session, and nothing else.
                tokio::spawn(async move { drop(serve(stream, wire, told, kept).await) });
            }
        });
        Self { addr, wire, mood, seen, task }
    }

    pub fn url(&self) -> String {
        match self.wire {
            Wire::Plain => format!("smtp://{}", self.addr),
            Wire::StartTls => format!("smtp://{}?tls=required", self.addr),
            Wire::Tls => format!("smtps://{}", self.addr),
        }
    }

    /// Shows a certificate from now on.
    pub fn show(&self, pair: &Pair) {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(chain, key).expect("they belong together");
        self.seen.lock().tls = Some(TlsAcceptor::from(Arc::new(config)));
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.seen.lock().connections
    }

    /// Every line that came in plain text.
    pub fn plain(&self) -> Vec<String> {
        self.seen.lock().plain.clone()
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// How often a mail was begun.
    pub fn attempts(&self) -> usize {
        self.seen.lock().attempts
    }

    /// All that was taken, in order.
    pub fn mails(&self) -> Vec<Received> {
        self.seen.lock().mails.clone()
    }

    /// Waits until so many mails were taken.
    pub async fn taken(&self, count: usize) -> Vec<Received> {
        eventually("mails are taken", async || Some(self.mails()).filter(|mails| mails.len() >= count)).await
    }

    /// Waits for a mail to somebody; the last one.
    pub async fn to(&self, address: &str) -> Received {
        let last = async || self.mails().into_iter().rev().find(|mail| mail.to == address);
        eventually("a mail to somebody", last).await
    }

    /// Waits until a mail was begun so often.
    pub async fn tried(&self, count: usize) {
        eventually("mails are tried", async || (self.attempts() >= count).then_some(())).await;
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    wire: Wire,
    mood: watch::Receiver<Mood>,
    seen: Arc<Mutex<Seen>>,
) -> std::io::Result<()> {
    seen.lock().connections += 1;
    let accept = || seen.lock().tls.clone().ok_or(std::io::Error::from(std::io::ErrorKind::NotConnected));
    let mut stream = BufReader::new(stream);
    if wire == Wire::Tls {
        let mut stream = BufReader::new(accept()?.accept(stream).await?);
        stream.write_all(b"220 mail.test\r\n").await?;
        stream.flush().await?;
        return session(&mut stream, false, mood, &seen).await.map(drop);
    }
    stream.write_all(b"220 mail.test\r\n").await?;
    if session(&mut stream, wire == Wire::StartTls, mood.clone(), &seen).await? {
        let mut stream = BufReader::new(accept()?.accept(stream).await?);
        session(&mut stream, false, mood, &seen).await?;
    }
    Ok(())
}

/// Speaks until the client goes away; or, where it can, until it wants to speak TLS: whether it does.
async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    start_tls: bool,
    mut mood: watch::Receiver<Mood>,
    seen: &Mutex<Seen>,
) -> std::io::Result<bool> {
    let (mut from, mut to) = (String::new(), String::new());
    loop {
        let Some(line) = line(stream).await? else { return Ok(false) };
        if start_tls {
            seen.lock().plain.push(line.clone());
        }
        let now = *mood.borrow();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match (verb.as_str(), now) {
            ("EHLO", _) if start_tls => "250-mail.test\r\n250-STARTTLS\r\n250 8BITMIME",
            ("EHLO", _) => "250-mail.test\r\n250 8BITMIME",
            ("STARTTLS", _) if start_tls => {
                stream.write_all(b"220 go on\r\n").await?;
                return Ok(true);
            }
            ("MAIL", Mood::Stranger) => "530 sign in first",
            ("MAIL", _) => {
                seen.lock().attempts += 1;
                from = address();
                "250 ok"
            }
            ("RCPT", Mood::Later) => "451 not now",
            ("RCPT", Mood::Never) => "550 nobody of that name",
            ("RCPT", _) => {
                to = address();
                "250 ok"
            }
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                stream.flush().await?;
                let data = data(stream).await?;
                if mood.wait_for(|mood| *mood != Mood::Waits).await.is_err() {
                    return Ok(false);
                }
                seen.lock().mails.push(Received { from: from.clone(), to: to.clone(), data });
                if *mood.borrow() == Mood::TakesInSilence {
                    return Ok(false);
                }
                "250 taken"
            }
            ("QUIT", _) => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(false);
            }
            ("RSET" | "NOOP", _) => "250 ok",
            _ => "502 what",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        // Over TLS what is written waits for that.
        stream.flush().await?;
    }
}

async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

/// A mail, up to the dot that stands alone; a line that begins with a dot has one more.
async fn data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> std::io::Result<String> {
    let mut data = String::new();
    while let Some(line) = line(stream).await? {
        if line == "." {
            break;
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push_str("\r\n");
    }
    Ok(data)
}
