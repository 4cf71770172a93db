//! Threads that answer calls.
//!
//! Each has a runtime of its own, so that a call never crosses threads: that answers more calls with less work than one
//! runtime over all cores, because a socket is flushed once for many answers.

use std::{io, thread::JoinHandle, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;

use super::wire::Accepted;

/// Where a thread is handed connections.
pub type Connections = mpsc::UnboundedSender<Accepted>;
/// The connections that a thread was handed; they still have to settle on its runtime.
pub type Incoming = UnboundedReceiverStream<Accepted>;

/// Starts a thread that runs `serve`, which is given the transport and the connections that the thread is sent.
///
/// # Errors
/// When the system gives no more threads or descriptors.
pub fn start<S>(serve: S) -> io::Result<(Connections, JoinHandle<()>)>
where
    S: AsyncFnOnce(Server, Incoming) + Send + 'static,
{
    let (sender, connections) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        runtime.block_on(serve(transport(), UnboundedReceiverStream::new(connections)));
    };
    let thread = std::thread::Builder::new().name("serve".to_owned()).spawn(run)?;
    Ok((sender, thread))
}

/// HTTP/2 as it is spoken here.
fn transport() -> Server {
    Server::builder()
        .max_concurrent_streams(1024)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .http2_max_header_list_size(16 * 1024)
}
