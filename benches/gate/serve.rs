//! The servers that are compared, each a process of its own: this program again, on one core when `taskset` is there.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tollreeve::{
    config::{Config, Options},
    domain::time::Clock,
    runtime::{
        Server, accept,
        clock::SystemClock,
        keyring::Keyring,
        threads::{self, Incoming},
        wire::Accepted,
    },
    store::Db,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::server::TcpIncoming,
};
use tonic_prost::ProstCodec;

use crate::{scene::Scene, seed};

/// Asks this program to be one of the servers.
pub const SERVE: &str = "BENCH_SERVE";
/// The method of [`Empty`].
pub const EMPTY: &str = "/bench.Empty/Call";
/// Keys that calls are made with.
pub const KEYS: usize = 1000;
/// Longer than any run.
const TOKEN: Duration = Duration::from_hours(1);

/// A server that runs, in another process.
pub struct Peer {
    process: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// A bearer token for it.
    pub token: String,
}

impl Peer {
    /// Starts a server: `gate` in a folder, or `threads` or `tokio` with answers of a size.
    pub fn start(kind: &str, detail: &str) -> Self {
        let program = std::env::current_exe().expect("oneself");
        let mut command = if pinning() {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env(SERVE, format!("{kind} {detail}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let (addr, token) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Self { process, addr: addr.parse().expect("an address"), token: token.to_owned() }
    }

    /// Processor time that it has taken, in seconds.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("Linux");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        // Fields 14 and 15, in ticks of a hundredth of a second.
        let ticks: f64 =
            after_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().expect("a number")).sum();
        ticks / 100.0
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Whether servers and callers are kept on cores of their own.
pub fn pinning() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores > 1 && Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// Serves until the standard input ends.
pub fn serve(what: &str) {
    let (kind, detail) = what.split_once(' ').expect("a kind and a detail");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        match kind {
            "gate" => serve_gate(Path::new(detail)).await,
            "threads" => empty_on_threads(detail).await,
            _ => empty_on_tokio(detail).await,
        }
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
            .await
            .expect("waits")
            .expect("reads");
    });
    runtime.shutdown_background();
}

/// The scene that a gate serves.
pub fn scene(keyring: &Keyring) -> Scene {
    Scene::new(KEYS, KEYS, keyring.peppers.clone())
}

/// Settings of a gate in a folder.
pub fn config(folder: &Path) -> Config {
    let options = Options {
        listen: Some(([127, 0, 0, 1], 0).into()),
        data_dir: Some(folder.to_owned()),
        hold_grace_seconds: Some(2),
        ..Options::default()
    };
    options.validate().expect("good settings")
}

async fn serve_gate(folder: &Path) {
    let config = config(folder);
    let (db, exclusive) = Db::open(&config.database).await.expect("opens");
    let scene = scene(&Keyring::open(&db, &config, SystemClock.now()).await.expect("key files"));
    seed::write(&db, &scene, KEYS).await;
    db.close().await;
    drop(exclusive);
    let keys: Vec<String> = (0..KEYS).map(|n| scene.key(n).1.expose().to_owned()).collect();
    fs::write(folder.join("keys.txt"), keys.join("\n")).expect("written");
    let server = Server::start(&config, Arc::new(SystemClock)).await.expect("starts");
    let (token, _) = server.app().tokens.issue(scene.caller, None, SystemClock.now(), TOKEN).expect("signs");
    println!("{} {token}", server.addr());
    // It lives as long as the process.
    std::mem::forget(server);
}

/// The empty service on threads as the gate has them.
async fn empty_on_threads(size: &str) {
    let listener = listen().await;
    let empty = Empty::new(size);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let start = |_| {
        let empty = empty.clone();
        let serve = async move |mut transport: tonic::transport::Server, incoming: Incoming| {
            let incoming = incoming.map(|connection| match connection {
                Accepted::Plain(stream) => TcpStream::from_std(stream),
                Accepted::Secured(_) => Err(std::io::ErrorKind::Unsupported.into()),
            });
            transport.add_service(empty).serve_with_incoming(incoming).await.expect("serves");
        };
        threads::start(serve).expect("a thread").0
    };
    tokio::spawn(accept::run(listener, None, (0..cores).map(start).collect(), CancellationToken::new()));
}

/// The empty service as the usual runtime serves it.
async fn empty_on_tokio(size: &str) {
    let incoming = TcpIncoming::from(listen().await).with_nodelay(Some(true));
    tokio::spawn(tonic::transport::Server::builder().add_service(Empty::new(size)).serve_with_incoming(incoming));
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    listener
}

/// A message of any size.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Blob {
    /// Its content.
    #[prost(bytes = "bytes", tag = "1")]
    pub content: Bytes,
}

impl Blob {
    /// A message that takes `size` bytes when it is written.
    pub fn of_size(size: usize) -> Self {
        // Tag and length take three bytes from 128 bytes on.
        Self { content: vec![7; size.saturating_sub(if size > 129 { 3 } else { 2 })].into() }
    }
}

/// The empty service: reads a message and answers another.
#[derive(Clone)]
struct Empty {
    answer: Blob,
}

impl Empty {
    fn new(size: &str) -> Self {
        Self { answer: Blob::of_size(size.parse().expect("a size")) }
    }
}

impl NamedService for Empty {
    const NAME: &'static str = "bench.Empty";
}

impl UnaryService<Blob> for Empty {
    type Response = Blob;
    type Future = std::future::Ready<Result<Response<Blob>, Status>>;

    fn call(&mut self, request: Request<Blob>) -> Self::Future {
        std::hint::black_box(request.into_inner());
        std::future::ready(Ok(Response::new(self.answer.clone())))
    }
}

/// As the generated code does it.
impl tower::Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(service, request).await) })
    }
}
