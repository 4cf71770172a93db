//! A mail server: it speaks as much SMTP as takes a mail over (RFC 5321), keeps what it gets, and fails as it is told to.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::eventually;

/// What becomes of mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// They are taken.
    Takes,
    /// They are not taken now: 451.
    Later,
    /// They are never taken: 550.
    Never,
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

/// A mail server.
pub struct Smtp {
    pub addr: SocketAddr,
    mood: watch::Sender<Mood>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    mails: Vec<Received>,
    attempts: usize,
}

impl Smtp {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (mood, told) = watch::channel(Mood::Takes);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, kept) = (told.clone(), Arc::clone(&kept));
                // A client that goes away ends its session, and nothing else.
                tokio::spawn(async move { drop(session(stream, told, kept).await) });
            }
        });
        Self { addr, mood, seen, task }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
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

async fn session(stream: TcpStream, mut mood: watch::Receiver<Mood>, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut from, mut to) = (String::new(), String::new());
    stream.write_all(b"220 mail.test\r\n").await?;
    loop {
        let Some(line) = line(&mut stream).await? else { return Ok(()) };
        let now = *mood.borrow();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match (verb.as_str(), now) {
            ("EHLO", _) => "250-mail.test\r\n250 8BITMIME",
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
                let data = data(&mut stream).await?;
                if mood.wait_for(|mood| *mood != Mood::Waits).await.is_err() {
                    return Ok(());
                }
                seen.lock().mails.push(Received { from: from.clone(), to: to.clone(), data });
                if *mood.borrow() == Mood::TakesInSilence {
                    return Ok(());
                }
                "250 taken"
            }
            ("QUIT", _) => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            ("RSET" | "NOOP", _) => "250 ok",
            _ => "502 what",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

/// A mail, up to the dot that stands alone; a line that begins with a dot has one more.
async fn data(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
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
