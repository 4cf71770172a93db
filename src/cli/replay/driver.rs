//! The sidecars of a replay: each asks for one call at a time, and charges what it was allowed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::{
    plan::{self, ModelShare, Speed},
    tally::{Group, Latencies, Tally},
};
use crate::{
    cli::{
        client::{Authorized, fresh_id, worth_retrying},
        demo::{ENVIRONMENT, FleetKey},
    },
    domain::trace::TracedCall,
    pb::tollreeve::v1::{
        self as pb, authorize_request::Credential, charge_request::Subject, gate_service_client::GateServiceClient,
    },
    runtime::clock,
};

/// Attempts at one RPC. With the pauses between them they outlast the restart of a server.
const ATTEMPTS: u32 = 9;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One playing of a trace.
pub struct Run {
    /// The calls, in the order of their time.
    pub calls: Vec<TracedCall>,
    /// The keys of the end clients, who take turns; not empty.
    pub keys: Vec<FleetKey>,
    /// The models that they call; not empty.
    pub mix: Vec<ModelShare>,
    /// How fast.
    pub speed: Speed,
    /// Tags every call of this run.
    pub end_user: String,
    /// When the first call is due.
    pub started: Instant,
    /// Ends the run early; calls under way are finished.
    pub stop: CancellationToken,
    /// The next call that nobody has taken.
    pub next: AtomicUsize,
}

/// One slot of a sidecar: plays one call at a time. The slots of a sidecar share its connection and its tally.
#[derive(Clone)]
pub struct Slot {
    /// The sidecar's connection.
    pub gate: GateServiceClient<Authorized>,
    /// What the sidecar was told.
    pub tally: Arc<Mutex<Tally>>,
}

impl Slot {
    /// Takes call after call and plays each when it is due, until none is left or the run is stopped.
    pub async fn work(self, run: Arc<Run>) {
        loop {
            let n = run.next.fetch_add(1, Ordering::Relaxed);
            let Some(call) = run.calls.get(n).copied() else { return };
            let wait = run.speed.due(call.offset_micros);
            if run.speed != Speed::Max {
                // No due time: later than any clock goes.
                let Some(due) = run.started.checked_add(wait) else { return };
                tokio::select! {
                    biased;
                    () = run.stop.cancelled() => return,
                    () = sleep_until(due) => {}
                }
                let late = due.elapsed();
                let mut tally = self.tally.lock();
                tally.late = tally.late.max(late);
            } else if run.stop.is_cancelled() {
                return;
            }
            self.play(&run, n, &call).await;
        }
    }

    /// Plays the `n`th call of the run.
    async fn play(&self, run: &Run, n: usize, call: &TracedCall) {
        let key = &run.keys[n % run.keys.len()];
        let group = Group { team: key.team, project: key.project, model: plan::model(&run.mix, n) };
        let Self { gate, tally } = self;

        let question = question(run, key, &run.mix[group.model], call);
        let ask = || {
            let (mut gate, question) = (gate.clone(), question.clone());
            async move { gate.authorize(question).await }
        };
        let answer = persist(tally, FIRST_PAUSE, |tally| &mut tally.authorize, ask).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => return tally.lock().fail(group, "authorize", &status),
        };
        if answer.decision() != pb::Decision::Allow {
            return tally.lock().refuse(group, answer.denials);
        }

        let charge = pb::ChargeRequest {
            charge_id: fresh_id(),
            subject: Some(Subject::HoldToken(answer.hold.unwrap_or_default().token)),
            outcome: pb::Outcome::Success.into(),
            usage: Some(pb::Usage {
                input_tokens: call.input_tokens,
                output_tokens: call.output_tokens,
                requests: Some(1),
                ..pb::Usage::default()
            }),
            ..pb::ChargeRequest::default()
        };
        let send = || {
            let (mut gate, charge) = (gate.clone(), charge.clone());
            async move { gate.charge(charge).await }
        };
        let answer = persist(tally, FIRST_PAUSE, |tally| &mut tally.charge, send).await;
        let mut tally = tally.lock();
        match answer {
            Ok(answer) => tally.charge(group, call, &answer),
            Err(status) => {
                tally.unacknowledged += u64::from(worth_retrying(&status));
                tally.fail(group, "charge", &status);
            }
        }
    }
}

/// What a sidecar asks before it passes the call on.
fn question(run: &Run, key: &FleetKey, share: &ModelShare, call: &TracedCall) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest {
        request_id: fresh_id(),
        credential: Some(Credential::ApiKey(key.secret.clone())),
        target: Some(pb::Target {
            provider: share.provider.clone(),
            model: share.model.clone(),
            endpoint: "/v1/chat/completions".into(),
            environment: ENVIRONMENT.into(),
            ..pb::Target::default()
        }),
        end_user: run.end_user.clone(),
        estimate: Some(pb::Estimate {
            requests: 1,
            input_tokens: call.input_tokens,
            max_output_tokens: plan::output_bound(call),
            ..pb::Estimate::default()
        }),
        mode: pb::HoldMode::Hold.into(),
        ..pb::AuthorizeRequest::default()
    }
}

/// Makes a call again, with the same ids, as long as that may help, and notes how long the answer took. The first
/// pause is `pause`, each one after it twice as long.
async fn persist<T, Answer: Future<Output = Result<Response<T>, Status>>>(
    tally: &Mutex<Tally>,
    mut pause: Duration,
    times: fn(&mut Tally) -> &mut Latencies,
    mut call: impl FnMut() -> Answer,
) -> Result<T, Status> {
    let mut attempt = 1;
    loop {
        let began = clock::monotonic();
        match call().await {
            Ok(answer) => {
                times(&mut tally.lock()).note(began.elapsed());
                return Ok(answer.into_inner());
            }
            Err(status) if attempt == ATTEMPTS || !worth_retrying(&status) => return Err(status),
            Err(_) => tally.lock().retries += 1,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a call whose first `failures` attempts end with `status`, and how many attempts were made.
    async fn outcome(failures: u32, status: fn() -> Status) -> (Result<(), Status>, u32) {
        let tally = Mutex::new(Tally::default());
        let mut attempts = 0;
        let result = persist(
            &tally,
            Duration::ZERO,
            |tally| &mut tally.charge,
            || {
                attempts += 1;
                std::future::ready(if attempts <= failures { Err(status()) } else { Ok(Response::new(())) })
            },
        )
        .await;
        let tally = tally.into_inner();
        assert_eq!(tally.retries, u64::from(attempts - 1));
        assert_eq!(tally.charge.percentiles().is_some(), result.is_ok());
        (result, attempts)
    }

    #[tokio::test]
    async fn a_call_is_repeated_while_the_server_is_away_but_not_forever() {
        let away = || Status::unavailable("away");
        let (result, attempts) = outcome(3, away).await;
        assert!(result.is_ok() && attempts == 4);
        let (result, attempts) = outcome(u32::MAX, away).await;
        assert!(result.is_err() && attempts == ATTEMPTS);
    }

    #[tokio::test]
    async fn a_call_that_can_not_succeed_is_not_repeated() {
        let (result, attempts) = outcome(1, || Status::invalid_argument("no")).await;
        assert!(result.is_err() && attempts == 1);
    }
}
