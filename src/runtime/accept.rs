//! Accepts connections and hands them round-robin to the threads that serve them.

use std::{io, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::threads::Connections;

/// How long to wait when the system gives no more descriptors: without it the loop would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stop`.
pub async fn run(listener: TcpListener, threads: Vec<Connections>, stop: CancellationToken) {
    let mut turns = threads.iter().cycle();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let handed = accepted.and_then(|(stream, _)| hand_over(stream));
        match handed {
            Ok(stream) => {
                if let Some(thread) = turns.next() {
                    // A thread is gone only when the server stops.
                    let _ = thread.send(stream);
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
