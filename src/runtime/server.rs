//! A server, from its start to its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Mutex, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::{
    accept,
    fetch::Fetcher,
    forgetting,
    keyring::{Keyring, KeyringError},
    mailer::{self, MailError, Way},
    metrics::LedgerMetrics,
    peppers, process, signing, sweeper,
    threads::{self, Connections, Incoming},
    tls::{Tls, TlsError},
    uses,
    wire::{self, Accepted},
};
use crate::{
    app::{
        App, AppError, audit_tree, bootstrap,
        context::random,
        feed::{FeedError, Follower},
        hasher::Hasher,
        issuers::Issuers,
        key_rotation,
        mail::Post,
        sign_ins::SignIns,
    },
    config::{Config, mail::MailConfig},
    domain::{bindings::Principal, id::Id, service_accounts::ServiceAccount, time::Clock},
    engine::{Gate, GateParts, error::GateError, keeper::Keeper, lease::Lease, timing::Timing},
    grpc::{
        gate::{GateServer, generated::gate_service_server::GateServiceServer},
        layers::{authn::AuthnLayer, deadline::DeadlineLayer, shed::ShedLayer, trace::TraceLayer},
        services::Management,
    },
    pb::tollreeve::v1::{
        access_service_server::AccessServiceServer, audit_service_server::AuditServiceServer,
        budget_service_server::BudgetServiceServer, credit_service_server::CreditServiceServer,
        identity_service_server::IdentityServiceServer, key_service_server::KeyServiceServer,
        price_service_server::PriceServiceServer, session_service_server::SessionServiceServer,
        sign_in_service_server::SignInServiceServer, usage_service_server::UsageServiceServer,
    },
    store::{
        self, Db, StoreError,
        connect::{Claim, OpenError},
        ledger::Ledger,
        replicas::Member,
    },
};

/// Largest message, in bytes: a batch of 1000 charges fits.
const LARGEST_MESSAGE: usize = 2 * 1024 * 1024;
/// Largest message about prices, in bytes: a whole price file fits.
const LARGEST_PRICE_FILE: usize = 13 * 1024 * 1024;
/// How old a connection gets whose client has a certificate: then it is asked to come again, and shows the one that it has by
/// then. Certificates live an hour, and an open connection would not outlive its own.
const CERTIFIED_AGE: Duration = Duration::from_mins(10);
/// How long a stop waits for calls and charges under way.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key files.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The first start.
    #[error(transparent)]
    App(#[from] AppError),
    /// The state.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The database, later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A file for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The mail server.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Reflection.
    #[error("the service descriptors cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// How a server ended that nobody stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Other servers have not seen a sign of life of it for too long: it does not answer any more. Another run can take its
    /// place at once.
    TakenForDead,
    /// A part of it has failed: how.
    Failed(String),
}

/// A server that runs.
pub struct Server {
    addr: SocketAddr,
    app: Arc<App>,
    operator: ServiceAccount,
    health: HealthReporter,
    stop: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
    tasks: JoinSet<Ended>,
    claim: Arc<Mutex<Option<Claim>>>,
    /// Ends with the task that sends mails.
    mailer: Option<oneshot::Receiver<()>>,
}

impl Server {
    /// Starts a server: it answers when this returns.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let stop = CancellationToken::new();
        // First what costs nothing and is most often wrong.
        let tls = config.tls.as_ref().map(|tls| Tls::open(tls, Arc::clone(&clock), stop.clone())).transpose()?;
        let (tls, watch) = tls.unzip();
        let way = Way::of(&config.mail)?;
        let (db, claim) = open(config).await?;
        let claim = Arc::new(Mutex::new(Some(claim)));
        let keyring = Keyring::open(&db, config, clock.now()).await?;
        audit_tree::adopt(&db).await?;
        let operator = bootstrap::ensure_operator(&db, clock.now()).await?;
        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| StartError::Listen(config.listen, error))?;
        let addr = listener.local_addr().map_err(|error| StartError::Listen(config.listen, error))?;
        let (app, mut tasks) = join(config, db, keyring, clock, &claim).await?;
        let (health, routes) = routes(&app).await?;
        let edge = Edge {
            connection_age: tls.as_ref().filter(|tls| tls.knows_clients()).map(|_| CERTIFIED_AGE),
            shed: ShedLayer::new(config.limits),
            trace: TraceLayer::new(config.telemetry.otlp_endpoint.is_some().then_some(config.telemetry.trace_ratio)),
            authn: AuthnLayer::new(Arc::clone(&app.gate), Arc::clone(&app.tokens), Arc::clone(&app.clock)),
        };
        let (senders, threads) = (0..config.threads)
            .map(|_| serve_thread(routes.clone(), edge.clone(), stop.clone()))
            .collect::<Result<(Vec<_>, Vec<_>), _>>()?;
        endless(&mut tasks, "accepting", accept::run(listener, tls.clone(), senders, stop.clone()));
        if let Some(watch) = watch {
            endless(&mut tasks, "reading certificates again", watch);
        }
        let mailer = way.map(|way| {
            let (ended, end) = oneshot::channel();
            endless(&mut tasks, "sending mails", mailer::run(Arc::clone(&app), way, stop.clone(), ended));
            end
        });
        tracing::info!(%addr, tls = tls.is_some(), keys = app.gate.key_count(), revision = app.gate.revision(), "ready");
        Ok(Self { addr, app, operator, health, stop, threads, tasks, claim, mailer })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What its use cases share, for whoever runs it.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// A bearer token of the operator.
    ///
    /// # Errors
    /// When signing fails.
    pub fn operator_token(&self, ttl: Duration) -> Result<String, AppError> {
        let principal = Principal::ServiceAccount(self.operator.id);
        let issued = self.app.tokens.issue(principal, None, self.app.clock.now(), ttl);
        issued.map(|(token, _)| token).map_err(|error| AppError::State(error.to_string()))
    }

    /// Waits until a task that must never end has ended; gives what happened.
    pub async fn ended(&mut self) -> Ended {
        match self.tasks.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(panicked)) => Ended::Failed(format!("a task has failed: {panicked}")),
            None => Ended::Failed("no task runs".to_owned()),
        }
    }

    /// Stops in order: no new calls, those under way end, charges are written, what is set aside and not held is given
    /// back, the database is closed.
    ///
    /// # Errors
    /// When what is set aside could not be given back: the next start takes it back after a while.
    pub async fn stop(mut self) -> Result<(), GateError> {
        for service in SERVICES {
            self.health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }
        self.stop.cancel();
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        if tokio::time::timeout(DRAIN, joined).await.is_err() {
            tracing::warn!("calls were cut off: they did not end in time");
        }
        if let Some(mailer) = self.mailer
            && tokio::time::timeout(DRAIN, mailer).await.is_err()
        {
            tracing::warn!("mails that were being sent may be sent again");
        }
        let idle = async {
            while !self.app.gate.is_idle() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DRAIN, idle).await.is_err() {
            tracing::warn!("charges were not written in time; their callers were not told that they are");
        }
        let retired = self.app.gate.retire().await;
        self.tasks.shutdown().await;
        uses::end(&self.app).await;
        let closed = async {
            self.app.db.close().await;
            if let Some(claim) = self.claim.lock().await.take() {
                claim.release().await;
            }
        };
        if tokio::time::timeout(DRAIN, closed).await.is_err() {
            tracing::warn!("connections to the database were left behind: their other end does not answer");
        }
        retired
    }
}

/// Builds the state, takes a place among the servers of the ledger, and starts what runs beside the calls.
async fn join(
    config: &Config,
    db: Db,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    claim: &Arc<Mutex<Option<Claim>>>,
) -> Result<(Arc<App>, JoinSet<Ended>), StartError> {
    let now = clock.now();
    let boot = Id::new(now, random()?);
    let timing = Timing::new(config.hold_grace, config.max_stale);
    // A file is locked for as long as the process runs; over a network only signs of life tell.
    let lease = match &db {
        Db::Sqlite { .. } => Lease::for_good(),
        Db::Postgres { .. } => Lease::of(timing.answers_for()),
    };
    let journal = Ledger::new(db.clone(), boot, Arc::clone(&clock));
    let (gate, queues) = Gate::new(GateParts {
        journal: journal.clone(),
        peppers: keyring.peppers,
        hold_key: keyring.holds,
        boot,
        timing,
        lease,
        clock: Arc::clone(&clock),
        meter: Arc::new(LedgerMetrics::default()),
    });
    let (follower, feed) = Follower::load(db.clone(), Arc::clone(&gate), Arc::clone(&keyring.tokens), now).await?;
    let (identity, answers_for) = (config.identity.clone(), timing.answers_for());
    let member = Member { boot, started: now, identity, process: process::name(), answers_for };
    journal.join(&member, process::is_gone).await?;
    // From here on changes wait for this server: what was made between the look at the state and now it must see first.
    follower.catch_up().await?;
    let mut keeper = Keeper::new(Arc::clone(&gate));
    keeper.turn().await.map_err(|error| AppError::State(error.to_string()))?;

    let mut tasks = JoinSet::new();
    let (grants, charges) = (gate.run_grants(queues.grants), gate.run_charges(queues.charges));
    endless(&mut tasks, "granting", grants);
    endless(&mut tasks, "the ledger's writer", charges);
    tasks.spawn(async { Ended::Failed(format!("the feed cannot be followed: {}", follower.run().await)) });
    let sweep = sweeper::run(Arc::clone(&gate), Arc::clone(&clock), Arc::clone(claim));
    tasks.spawn(async { Ended::Failed(format!("the database may not be used: {}", sweep.await)) });
    let keep = sweeper::keep(keeper, Arc::clone(&gate), timing.beat);
    tasks.spawn(async {
        let _: () = keep.await;
        Ended::TakenForDead
    });
    let app = Arc::new(App {
        db,
        gate,
        feed,
        tokens: keyring.tokens,
        audit: keyring.audit,
        post: post(&config.mail),
        hasher: Hasher::default(),
        sign_ins: SignIns::default(),
        issuers: Issuers::new(config.oidc_issuers.clone(), Box::new(Fetcher::default())),
        clock,
    });
    key_rotation::retire_past(&app, forgetting::RETIRE_EVERY).await?;
    peppers::tell(app.gate.unchecked(), &app.peppers());
    tend(&mut tasks, &app, config);
    let bell = Arc::clone(&app);
    endless(&mut tasks, "listening", async move {
        let heard = || {
            bell.feed.wake();
            bell.gate.wake();
        };
        store::bell::listen(&bell.db, heard).await;
    });
    Ok((app, tasks))
}

/// Starts what is done now and then.
fn tend(tasks: &mut JoinSet<Ended>, app: &Arc<App>, config: &Config) {
    endless(tasks, "writing down uses", uses::run(Arc::clone(app)));
    endless(tasks, "looking for peppers", peppers::run(Arc::clone(app), peppers::Source::of(config)));
    endless(tasks, "looking for keys", signing::run(Arc::clone(app), config.keys_dir.clone()));
    endless(tasks, "forgetting", forgetting::run(Arc::clone(app)));
    endless(tasks, "telling what is spent", forgetting::alert(Arc::clone(app)));
    endless(tasks, "retiring", forgetting::retire(Arc::clone(app)));
    endless(tasks, "signing audit logs", forgetting::sign(Arc::clone(app)));
}

/// How mails leave.
fn post(mail: &MailConfig) -> Post {
    Post {
        sends: mail.smtp.is_some() || mail.to_terminal,
        shows_links: mail.smtp.is_none(),
        public_url: mail.public_url.clone(),
    }
}

/// Opens the database. The lock of a server that has just ended may take PostgreSQL a moment to notice.
async fn open(config: &Config) -> Result<(Db, Claim), OpenError> {
    for _ in 0..20 {
        match Db::open(&config.database).await {
            Err(OpenError::InUse) => tokio::time::sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
    }
    Db::open(&config.database).await
}

/// Starts a task that must never end.
fn endless(tasks: &mut JoinSet<Ended>, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        work.await;
        Ended::Failed(format!("{what} has ended"))
    });
}

/// The services whose health is told, the server as a whole first.
const SERVICES: [&str; 12] = [
    "",
    "tollreeve.v1.GateService",
    "tollreeve.v1.IdentityService",
    "tollreeve.v1.AccessService",
    "tollreeve.v1.KeyService",
    "tollreeve.v1.BudgetService",
    "tollreeve.v1.CreditService",
    "tollreeve.v1.AuditService",
    "tollreeve.v1.SessionService",
    "tollreeve.v1.SignInService",
    "tollreeve.v1.UsageService",
    "tollreeve.v1.PriceService",
];

async fn routes(app: &Arc<App>) -> Result<(HealthReporter, Routes), StartError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let gate = GateServer::new(Arc::clone(&app.gate), Arc::clone(&app.tokens), Arc::clone(&app.clock));
    let management = Management::new(Arc::clone(app), Handle::current());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::pb::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(GateServiceServer::new(gate).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(IdentityServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(AccessServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(KeyServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(BudgetServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(CreditServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(SessionServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(SignInServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(UsageServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(PriceServiceServer::new(management.clone()).max_decoding_message_size(LARGEST_PRICE_FILE))
        .add_service(AuditServiceServer::new(management).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    for service in SERVICES {
        health.set_service_status(service, tonic_health::ServingStatus::Serving).await;
    }
    Ok((health, routes.prepare()))
}

/// What every call passes, on every thread.
#[derive(Clone)]
struct Edge {
    connection_age: Option<Duration>,
    shed: ShedLayer,
    trace: TraceLayer,
    authn: AuthnLayer<Ledger>,
}

/// Starts a thread that answers calls, until `stop` and until its calls have ended.
fn serve_thread(
    routes: Routes,
    edge: Edge,
    stop: CancellationToken,
) -> Result<(Connections, std::thread::JoinHandle<()>), StartError> {
    let serve = async move |mut transport: tonic::transport::Server, incoming: Incoming| {
        let incoming = incoming.map(Accepted::settle);
        if let Some(age) = edge.connection_age {
            transport = transport.max_connection_age(age);
        }
        let mut layered =
            transport.layer(wire::pieces()).layer(edge.shed).layer(edge.trace).layer(DeadlineLayer).layer(edge.authn);
        let server = layered.add_routes(routes);
        let outcome = tokio::select! {
            outcome = server.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()) => outcome,
            () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "a serving thread has ended");
        }
    };
    threads::start(serve).map_err(StartError::Thread)
}
