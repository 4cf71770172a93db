//! Replays against a stand-in for the server, which forgets answers on purpose, and may keep bad books.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::AtomicUsize},
};

use parking_lot::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

use super::*;
use crate::{
    cli::{demo::FleetKey, show::Paint},
    pb::tollreeve::v1::{
        authorize_request::Credential,
        budget_service_server::{BudgetService, BudgetServiceServer},
        charge_request::Subject,
        gate_service_server::{GateService, GateServiceServer},
    },
};

type Answer<T> = Result<Response<T>, Status>;

/// A key that is always refused.
const BROKE: &str = "broke";

/// Stands in for the server: allows everything but one key, loses some answers, and keeps books.
#[derive(Default)]
struct StandIn {
    /// Whether a repeated charge counts again, which it must not.
    counts_twice: bool,
    seen: Mutex<HashSet<String>>,
    /// Sums by project and model, which the hold's token carries.
    books: Mutex<BTreeMap<String, pb::ChargeSum>>,
}

impl StandIn {
    /// Whether this is the first time that the id is seen.
    fn first(&self, id: &str) -> bool {
        self.seen.lock().insert(id.to_owned())
    }
}

#[tonic::async_trait]
impl GateService for Arc<StandIn> {
    async fn authorize(&self, request: Request<pb::AuthorizeRequest>) -> Answer<pb::AuthorizeResponse> {
        assert_eq!(
            request.metadata().get("authorization").map(tonic::metadata::MetadataValue::as_bytes),
            Some(&b"Bearer t"[..])
        );
        let request = request.into_inner();
        if self.first(&request.request_id) {
            return Err(Status::unavailable("try again"));
        }
        let target = request.target.unwrap_or_default();
        let Some(Credential::ApiKey(key)) = request.credential else { return Err(Status::invalid_argument("no key")) };
        if key == BROKE {
            let denial = pb::Denial { code: pb::DenialCode::BudgetExhausted.into(), ..pb::Denial::default() };
            let decision = pb::Decision::Deny.into();
            return Ok(Response::new(pb::AuthorizeResponse { decision, denials: vec![denial], ..Default::default() }));
        }
        assert!(request.estimate.is_some_and(|estimate| estimate.max_output_tokens >= 256));
        let hold = Some(pb::Hold { token: format!("{key} {}", target.model).into(), ..pb::Hold::default() });
        let decision = pb::Decision::Allow.into();
        Ok(Response::new(pb::AuthorizeResponse { decision, hold, ..Default::default() }))
    }

    async fn charge(&self, request: Request<pb::ChargeRequest>) -> Answer<pb::ChargeResponse> {
        let request = request.into_inner();
        let Some(Subject::HoldToken(token)) = request.subject else { return Err(Status::invalid_argument("no hold")) };
        let usage = request.usage.unwrap_or_default();
        let first = self.first(&request.charge_id);
        let nanos = usage.input_tokens * 1000 + usage.output_tokens * 3000;
        if first || self.counts_twice {
            let mut books = self.books.lock();
            let sum = books.entry(String::from_utf8_lossy(&token).into_owned()).or_default();
            sum.charges += 1;
            sum.input_tokens += usage.input_tokens;
            sum.output_tokens += usage.output_tokens;
            sum.cost_nanos += nanos;
        }
        if first {
            // It is booked, but the sidecar is not told.
            return Err(Status::unavailable("the answer is lost"));
        }
        let status = pb::ChargeStatus::Replayed.into();
        Ok(Response::new(pb::ChargeResponse { status, charged_nanos: nanos, ..Default::default() }))
    }

    async fn charge_batch(&self, _: Request<pb::ChargeBatchRequest>) -> Answer<pb::ChargeBatchResponse> {
        Err(Status::unimplemented(""))
    }
}

/// Methods that a replay does not call, as `async_trait` writes them out: it does not look into macros.
macro_rules! absent {
    ($($method:ident $request:ident $response:ident;)*) => {$(
        fn $method<'s, 'f>(
            &'s self,
            _: Request<pb::$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Answer<pb::$response>> + Send + 'f>>
        where
            's: 'f,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented(""))))
        }
    )*};
}

#[tonic::async_trait]
impl BudgetService for Arc<StandIn> {
    async fn list_budgets(&self, _: Request<pb::ListBudgetsRequest>) -> Answer<pb::ListBudgetsResponse> {
        Ok(Response::new(pb::ListBudgetsResponse::default()))
    }

    async fn summarize_charges(
        &self,
        request: Request<pb::SummarizeChargesRequest>,
    ) -> Answer<pb::SummarizeChargesResponse> {
        let grouping = request.into_inner().grouping();
        let mut sums: BTreeMap<String, pb::ChargeSum> = BTreeMap::new();
        for (token, booked) in self.books.lock().iter() {
            let (project, model) = token.split_once(' ').unwrap_or_default();
            let group = match grouping {
                pb::ChargeGrouping::Project => format!("{}/projects/{project}", demo::PRODUCTION),
                pb::ChargeGrouping::Model => model.to_owned(),
                _ => String::new(),
            };
            let sum = sums.entry(group.clone()).or_insert(pb::ChargeSum { group, ..Default::default() });
            sum.charges += booked.charges;
            sum.input_tokens += booked.input_tokens;
            sum.output_tokens += booked.output_tokens;
            sum.cost_nanos += booked.cost_nanos;
        }
        Ok(Response::new(pb::SummarizeChargesResponse { sums: sums.into_values().collect() }))
    }

    absent! {
        create_budget CreateBudgetRequest CreateBudgetResponse;
        get_budget GetBudgetRequest GetBudgetResponse;
        update_budget UpdateBudgetRequest UpdateBudgetResponse;
        delete_budget DeleteBudgetRequest DeleteBudgetResponse;
        pause_budget PauseBudgetRequest PauseBudgetResponse;
        resume_budget ResumeBudgetRequest ResumeBudgetResponse;
        move_budget MoveBudgetRequest MoveBudgetResponse;
    }
}

/// Starts the stand-in; it ends with the guard.
async fn start(stand_in: StandIn) -> (String, DropGuard) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stand_in) = (CancellationToken::new(), Arc::new(stand_in));
    let server = tonic::transport::Server::builder()
        .add_service(GateServiceServer::new(Arc::clone(&stand_in)))
        .add_service(BudgetServiceServer::new(stand_in))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
    tokio::spawn(server);
    (address, stop.drop_guard())
}

/// Plays the sample's first calls with one good key and one that is always refused.
async fn rehearse(stand_in: StandIn, calls: usize, stopped: bool) -> Report {
    let (address, _guard) = start(stand_in).await;
    let connection = Connection::open(&address, &TlsArgs::default(), Some("t")).await.expect("a connection");
    let sidecars = open_sidecars(&address, &TlsArgs::default(), &["t".into(), "t".into()]).await.expect("two sidecars");
    let key = |secret: &str, project| FleetKey { name: String::new(), secret: secret.into(), team: "team", project };
    let sample = trace::parse(include_bytes!("../../../deploy/sample/trace.csv")).expect("a trace");
    let stop = CancellationToken::new();
    if stopped {
        stop.cancel();
    }
    let run = Arc::new(Run {
        calls: sample.calls[..calls].to_vec(),
        keys: vec![key("one", "one"), key(BROKE, "two")],
        mix: vec!["a/a".parse().expect("a share"), "b/b".parse().expect("a share")],
        speed: Speed::Max,
        end_user: "replay-1".into(),
        started: clock::monotonic(),
        stop,
        next: AtomicUsize::new(0),
    });
    let elapsed = play(&run, &connection, &sidecars, 4).await.expect("played");
    settle(&run, &connection, &sidecars, elapsed, vec![]).await
}

#[tokio::test]
async fn the_books_agree_although_every_first_answer_is_lost() {
    let report = rehearse(StandIn::default(), 20, false).await;
    let total = report.tally.total();
    assert_eq!((total.calls, total.refused, total.failed, total.charged.charges), (20, 10, 0, 10));
    assert_eq!(report.tally.retries, 30, "20 decisions and 10 charges");
    assert_eq!(report.books.as_ref().ok(), Some(&vec![]));
    let text = report.text(Paint::off());
    assert!(
        text.contains("The books agree") && text.contains("10 REPLAYED") && text.contains("BUDGET_EXHAUSTED"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_counts_a_repeated_charge_again_is_found_out() {
    let report = rehearse(StandIn { counts_twice: true, ..StandIn::default() }, 20, false).await;
    let differences = report.books.expect("books");
    let total = differences.iter().find(|difference| difference.group.is_empty() && difference.what == "charges");
    assert_eq!(total.map(|difference| (difference.told, difference.booked)), Some((10, 20)));
}

#[tokio::test]
async fn a_run_that_is_stopped_reports_what_it_has() {
    let report = rehearse(StandIn::default(), 20, true).await;
    assert_eq!((report.tally.total().calls, report.planned), (0, 20));
    assert_eq!(report.books.ok(), Some(vec![]));
}
