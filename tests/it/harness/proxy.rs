//! A wire between a server and PostgreSQL that a test can cut, close, or let hang.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing passes, and nothing is closed.
    Hanging,
    /// New connections are closed at once.
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    /// How often all connections were cut.
    cuts: u64,
    /// How often the far end of all connections was lost.
    losses: u64,
}

/// Passes bytes on, as long as it may.
pub struct Proxy {
    addr: SocketAddr,
    socket: Arc<Mutex<PathBuf>>,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A wire to a socket of PostgreSQL.
    pub async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (state, seen) = watch::channel(State { way: Way::Open, cuts: 0, losses: 0 });
        let socket = Arc::new(Mutex::new(socket));
        let leads_to = Arc::clone(&socket);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let now = *seen.borrow();
                if now.way != Way::Closed {
                    tokio::spawn(connection(near, leads_to.lock().clone(), seen.clone(), now));
                }
            }
        });
        Self { addr, socket, state, accepting }
    }

    /// The address of a database behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://tollreeve@{}/{database}", self.addr)
    }

    /// Closes every connection; new ones are let through.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Leads to another socket from now on; closes every connection that there is.
    pub fn lead_to(&self, socket: PathBuf) {
        *self.socket.lock() = socket;
        self.cut();
    }

    /// Closes every connection, and new ones at once.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            *state = State { way: Way::Closed, cuts: state.cuts + 1, ..*state };
        });
    }

    /// Lets nothing pass, and closes nothing: what was sent arrives when the wire is healed.
    pub fn hang(&self) {
        self.state.send_modify(|state| state.way = Way::Hanging);
    }

    /// Lets nothing pass any more on connections that there are, for good, and closes none: as when the host at the other
    /// end is gone. New ones are let through.
    pub fn lose(&self) {
        self.state.send_modify(|state| state.losses += 1);
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.way = Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn connection(near: TcpStream, socket: PathBuf, seen: watch::Receiver<State>, made: State) {
    let mut ends = seen.clone();
    let through = async {
        passes(&seen, made).await?;
        let far = UnixStream::connect(socket).await.ok()?;
        near.set_nodelay(true).ok()?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::select! {
            end = pass(near_read, far_write, &seen, made) => end,
            end = pass(far_read, near_write, &seen, made) => end,
        }
    };
    tokio::select! {
        _ = through => {}
        _ = ends.wait_for(|state| state.cuts > made.cuts) => {}
    }
}

/// Waits until something may pass on a connection that was made in some state.
async fn passes(seen: &watch::Receiver<State>, made: State) -> Option<()> {
    let may = |state: &State| state.way != Way::Hanging && state.losses == made.losses;
    seen.clone().wait_for(may).await.ok().map(drop)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    seen: &watch::Receiver<State>,
    made: State,
) -> Option<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        passes(seen, made).await?;
        match read {
            Ok(count) if count > 0 => to.write_all(&buffer[..count]).await.ok()?,
            _ => return None,
        }
    }
}
