//! Accepts connections and hands them round-robin to the threads that serve them.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    clock,
    threads::Connections,
    tls::{Secured, Tls},
    wire::Accepted,
};

/// How long to wait when the system gives no more descriptors: without it the loop would spin.
const PAUSE: Duration = Duration::from_millis(50);
/// Most handshakes under way at once. One more takes the place of the oldest: who means well is done in milliseconds.
const HANDSHAKES: usize = 512;
/// Least span between two lines of the log about handshakes that failed.
const COMPLAIN: Duration = Duration::from_secs(1);

/// Accepts until `stop`.
pub async fn run(listener: TcpListener, tls: Option<Arc<Tls>>, threads: Vec<Connections>, stop: CancellationToken) {
    let mut turns = threads.iter().cycle();
    let mut handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            // Never ready while none is under way.
            Some(agreed) = handshakes.tasks.join_next() => match agreed {
                Ok(Ok(secured)) => Ok(Accepted::Secured(Box::new(secured))),
                failed => {
                    handshakes.failed(failed.map(Result::err));
                    continue;
                }
            },
            accepted = listener.accept() => match (accepted, &tls) {
                (Ok((stream, _)), Some(tls)) => {
                    handshakes.begin(Arc::clone(tls), stream);
                    continue;
                }
                (accepted, _) => accepted.and_then(|(stream, _)| hand_over(stream)).map(Accepted::Plain),
            },
        };
        match accepted {
            Ok(connection) => {
                if let Some(thread) = turns.next() {
                    // A thread is gone only when the server stops.
                    let _ = thread.send(connection);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes a connection off this runtime. Without delay: an answer is one small packet, and waiting for more of them costs
/// tens of milliseconds.
fn hand_over(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}

/// The handshakes under way, and what is told of those that failed.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<io::Result<Secured>>,
    /// Those under way and some that have ended, the oldest first.
    order: VecDeque<AbortHandle>,
    told: Option<tokio::time::Instant>,
    untold: u64,
}

impl Handshakes {
    fn begin(&mut self, tls: Arc<Tls>, stream: TcpStream) {
        if self.order.len() >= HANDSHAKES {
            self.order.retain(|handshake| !handshake.is_finished());
            if self.order.len() >= HANDSHAKES
                && let Some(oldest) = self.order.pop_front()
            {
                oldest.abort();
            }
        }
        self.order.push_back(self.tasks.spawn(async move {
            let peer = stream.peer_addr()?;
            let agreed = match stream.set_nodelay(true) {
                Ok(()) => tls.handshake(stream).await,
                Err(error) => Err(error),
            };
            agreed.map_err(|error| io::Error::new(error.kind(), format!("{peer}: {error}")))
        }));
    }

    /// Tells that a handshake failed; of many, how many more there were.
    fn failed(&mut self, outcome: Result<Option<io::Error>, tokio::task::JoinError>) {
        let why = match outcome {
            Ok(Some(error)) => error.to_string(),
            Ok(None) => return,
            Err(ended) if ended.is_cancelled() => "there are too many handshakes: the oldest was given up".to_owned(),
            Err(ended) => ended.to_string(),
        };
        let now = clock::monotonic();
        if self.told.is_some_and(|told| now.duration_since(told) < COMPLAIN) {
            self.untold += 1;
            return;
        }
        tracing::warn!(error = why, more = self.untold, "a TLS handshake failed");
        (self.told, self.untold) = (Some(now), 0);
    }
}
