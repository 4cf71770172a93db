//! How answers go onto the wire: many of them with one system call.
//!
//! h2 copies small frames into a buffer of 16 KiB and writes that when it is full or nothing more waits. A frame past a
//! threshold it hands to the system at once, uncopied, with a call of its own. An answer of Authorize has 1.6 kB, and the
//! call costs more than everything else that is done for it. So small answers go in pieces below the threshold: a second
//! frame's nine bytes and a copy, in place of a system call for each answer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::Connected;
use tower::util::MapResponseLayer;

use super::{clients::Shown, tls::Secured};
use crate::grpc::layers::authn::Peer;

/// Longest piece, in bytes: what h2 still copies for a connection without vectored writes
/// (`CHAIN_THRESHOLD_WITHOUT_VECTORED_IO` of its `framed_write`, less one).
const PIECE: usize = 1023;
/// Longest answer that goes in pieces, in bytes: past that a call of its own is the smaller cost.
const SMALL: usize = 4 * PIECE;

/// A connection on its way to the thread that serves it.
pub enum Accepted {
    /// In plain text.
    Plain(std::net::TcpStream),
    /// After a TLS handshake.
    Secured(Box<Secured>),
}

impl Accepted {
    /// Puts the connection on the runtime that this runs on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn settle(self) -> io::Result<Wire> {
        match self {
            Self::Plain(stream) => TcpStream::from_std(stream).map(Wire::Plain),
            Self::Secured(secured) => secured.settle().map(|secured| Wire::Secured(Box::new(secured))),
        }
    }
}

/// A connection that tells h2 to gather what it writes.
pub enum Wire {
    /// In plain text.
    Plain(TcpStream),
    /// With TLS.
    Secured(Box<Secured>),
}

impl Connected for Wire {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let (socket, client) = match self {
            Self::Plain(stream) => (Some(stream), None),
            Self::Secured(secured) => (secured.stream.get_ref().0.get(), secured.client.as_ref()),
        };
        Peer {
            address: socket.and_then(|stream| stream.peer_addr().ok()),
            spiffe: client.and_then(Shown::spiffe).cloned(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secured(secured) => {
                // Before anything is heard from a client whose certificate is no longer good.
                if let Some(Err(error)) = secured.client.as_mut().map(Shown::look_again) {
                    tracing::info!(%error, "a connection has ended with its client's certificate");
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)));
                }
                Pin::new(&mut secured.stream).poll_read(cx, buf)
            }
        }
    }
}

/// Vectored writes are left out: that is the point.
impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_shutdown(cx),
        }
    }
}

pin_project! {
    /// A body whose small parts go in pieces.
    #[derive(Debug)]
    pub struct Pieces<B> {
        #[pin]
        body: B,
        rest: Bytes,
    }
}

/// Changes an answer's body.
type Change<B> = fn(Response<B>) -> Response<Pieces<B>>;

/// Puts answers into pieces; the outermost layer, for it changes their type.
#[must_use]
pub fn pieces<B>() -> MapResponseLayer<Change<B>> {
    MapResponseLayer::new(|answer: Response<B>| answer.map(|body| Pieces { body, rest: Bytes::new() }))
}

impl<B: Body<Data = Bytes>> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() <= SMALL => *this.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    struct Parts(VecDeque<Frame<Bytes>>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// Lengths of the pieces of parts with these lengths and trailers after them; 0 stands for those.
    fn lengths(parts: &[usize]) -> Vec<usize> {
        let data = parts.iter().map(|len| Frame::data(Bytes::from(vec![b'x'; *len])));
        let all = data.chain([Frame::trailers(http::HeaderMap::new())]).collect();
        let mut body = Pieces { body: Parts(all), rest: Bytes::new() };
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut lengths = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            lengths.push(frame.data_ref().map_or(0, Bytes::len));
            assert_eq!(body.is_end_stream(), frame.is_trailers());
        }
        lengths
    }

    #[test]
    fn small_parts_go_in_pieces_and_large_ones_whole_and_nothing_is_lost() {
        assert_eq!(lengths(&[5, 1023, 1024, 1600]), [5, 1023, 1023, 1, 1023, 577, 0]);
        assert_eq!(lengths(&[SMALL, SMALL + 1]), [PIECE, PIECE, PIECE, PIECE, SMALL + 1, 0]);
    }
}
