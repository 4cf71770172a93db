//! HTTP/2 by hand, for what no gRPC client does: passed deadlines, broken frames, connections that end in the middle.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::{net::TcpStream, task::JoinHandle};

/// A connection, which ends at once when it is dropped.
pub struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A message with the five bytes that gRPC puts before each.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("short"));
    frame.put_slice(message);
    frame.freeze()
}

impl Connection {
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connects");
        let (requests, connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
        let driver = tokio::spawn(async {
            // It ends with an error when the other side has enough of it; the answers tell.
            let _ = connection.await;
        });
        Self { requests, driver }
    }

    /// Sends a request and its body, and waits for nothing.
    pub async fn send(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> ResponseFuture {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut requests = self.requests.clone().ready().await.expect("a stream");
        let (answer, mut stream) = requests.send_request(request, false).expect("sent");
        // A server that has answered already wants no body.
        let _ = stream.send_data(body, true);
        answer
    }

    /// The gRPC status of a request.
    pub async fn status(&mut self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<i32> {
        let answer = self.send(path, headers, body).await.await.ok()?;
        if let Some(status) = status_in(answer.headers()) {
            return Some(status);
        }
        let mut stream = answer.into_body();
        while let Some(chunk) = stream.data().await {
            let length = chunk.ok()?.len();
            stream.flow_control().release_capacity(length).ok()?;
        }
        status_in(&stream.trailers().await.ok()??)
    }
}

fn status_in(headers: &HeaderMap) -> Option<i32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
