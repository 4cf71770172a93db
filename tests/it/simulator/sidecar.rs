//! Sidecars: they ask, use what they were given, and say what it cost, over a network that loses things.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tollreeve::{
    domain::{
        bindings::Principal, id::UserId, meters::Metered, money::Nanos, permission::Permission, prices::Usage,
        time::Clock as _,
    },
    engine::{
        answer::Answer,
        charge::{ChargeAnswer, ChargeAsk, ChargeSubject},
        error::GateError,
        hold_token::OwnClaims,
        journal::Outcome,
        question::{Credential, Mode, Question},
        timing::WORST_CHARGE,
        witness::Stamp,
    },
};

use crate::harness::model_tables::Phase;

use super::{
    cast,
    checks::InForce,
    machine::Rate,
    saboteurs::Saboteur,
    server::{Run, hold_key},
    world::{World, ms},
};

/// Older answers are dropped.
const DEADLINE: Duration = Duration::from_millis(250);

pub struct Sidecar {
    world: Arc<World>,
    index: usize,
    rate: Rate,
    up: Duration,
}

/// A call that is to be authorized.
#[derive(Clone)]
pub struct Call {
    pub user: u128,
    pub cost: i64,
    pub ttl: u64,
    pub id: String,
}

impl Call {
    pub fn question<'a>(&'a self, stamp: Option<Stamp<'a>>, mode: Mode) -> Question<'a> {
        Question {
            request_id: &self.id,
            credential: Credential::Token(Some(Principal::User(UserId::from_bits(self.user)).into())),
            client_ip: None,
            origin: "",
            permission: Permission::ModelsInvoke,
            provider: "",
            model: "m",
            endpoint: "",
            environment: "",
            project: "",
            end_user: "",
            estimate: Usage { requests: 1, ..Usage::default() },
            metered: Metered::default(),
            stamp,
            cost: Some(Nanos(self.cost)),
            mode,
            ttl: Duration::from_secs(self.ttl),
            min_revision: 0,
        }
    }
}

/// What a sidecar has been given: the token and what it says.
#[derive(Clone)]
struct Given {
    token: Vec<u8>,
    claims: OwnClaims,
    /// When it arrived, by the sidecar's clock.
    at: Duration,
    /// When it ends, by the same.
    end: Duration,
}

/// A charge of a hold.
#[derive(Clone)]
struct Part {
    id: String,
    amount: i64,
    within: bool,
    last: bool,
    /// How much longer the hold is to live, in milliseconds.
    extend: Option<i64>,
}

impl World {
    /// What a server does when a message arrives; when none runs there, nothing.
    fn deliver(self: &Arc<Self>, site: usize, work: impl Fn(&Arc<Run>) + Send + 'static) {
        let Some(delay) = self.travel() else { return };
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(delay).await;
            let run = world.sites[site].run.lock().clone();
            run.iter().for_each(work);
        });
    }
}

impl Sidecar {
    pub fn new(world: &Arc<World>, index: usize) -> Arc<Self> {
        let rate = Rate(world.within(-10_000, 10_000));
        let up = Duration::from_secs(world.within(1, 100_000).unsigned_abs());
        Arc::new(Self { world: Arc::clone(world), index, rate, up })
    }

    fn clock(&self) -> Duration {
        self.up + self.rate.shown(self.world.elapsed())
    }

    fn stamp(&self) -> Option<(String, Duration)> {
        let silent = self.world.saboteur == Saboteur::NoWitness;
        (!silent).then(|| (format!("edge-{}", self.index), self.clock()))
    }

    fn any_site(&self) -> usize {
        usize::try_from(self.world.within(0, self.world.sites.len() as i64 - 1)).expect("an index")
    }

    /// Calls until the calm.
    pub async fn live(self: Arc<Self>) {
        let mut turn = 0u64;
        while !self.world.is_calm() && self.world.broken().is_none() {
            sleep(ms(self.world.within(50, 900))).await;
            turn += 1;
            tokio::spawn(Arc::clone(&self).ask(format!("{}-{turn}", self.index)));
        }
    }

    async fn ask(self: Arc<Self>, id: String) {
        let world = &self.world;
        let cost = if world.once_in(8) { world.within(200, 1_500) } else { world.within(1, 200) };
        let user = *world.random.lock().pick(&cast::USERS);
        let call = Call { user, cost, ttl: world.within(2, 10).unsigned_abs(), id };
        let known = world.checks.lock().known(call.user);
        let (sent, stamp, site) = (self.clock(), self.stamp(), self.any_site());
        let (reply, mut answers) = mpsc::unbounded_channel();
        let copies = if world.once_in(25) { 2 } else { 1 };
        for _ in 0..copies {
            let (call, stamp, reply, index) = (call.clone(), stamp.clone(), reply.clone(), self.index);
            let me = Arc::clone(&self);
            world.deliver(site, move |run| {
                let (here, call, reply) = (Arc::clone(run), call.clone(), reply.clone());
                let stamp = me.stamp_at_delivery(&stamp);
                run.spawn(async move {
                    let answer = here.authorize(index, &call, stamp).await;
                    here.reply(answer, reply);
                });
            });
        }
        drop(reply);
        while let Some(answer) = answers.recv().await {
            let Ok(answer) = answer else {
                world.count("refused for want of certainty");
                continue;
            };
            let Some(token) = answer else {
                world.count("denials");
                continue;
            };
            if self.clock() - sent > DEADLINE && world.saboteur != Saboteur::NoDeadline {
                world.count("answers that came too late");
                continue;
            }
            return self.accept(&call, token, &known).await;
        }
    }

    /// What a message says of the sidecar's clock when it arrives: what it said when it was sent.
    fn stamp_at_delivery(&self, sent: &Option<(String, Duration)>) -> Option<(String, Duration)> {
        if self.world.saboteur == Saboteur::NoQueueAge { self.stamp() } else { sent.clone() }
    }

    async fn accept(self: &Arc<Self>, call: &Call, token: Vec<u8>, known: &InForce) {
        let world = &self.world;
        world.count("admissions");
        let claims = hold_key().verify(&token).expect("a token of ours");
        // One that joined and was forgotten is not dead; what one gave that has put back everything is set aside.
        let phase = world.tables.lock().servers.get(&claims.boot).map(|server| server.phase);
        let has_put_back = world.checks.lock().has_recovered(claims.boot);
        if phase.is_some_and(|phase| phase != Phase::Live) && !has_put_back {
            world.broke(|| format!("{} was taken for dead, and its hold was taken", claims.boot));
        }
        let ttl = Duration::from_secs(call.ttl);
        {
            let (tables, mut checks) = (world.tables.lock(), world.checks.lock());
            checks.accept(&claims, world.elapsed() + self.in_time(ttl));
            if let Err(what) = checks.obeys(known, call.user, &claims, &tables, world.elapsed()) {
                world.broke(|| what);
            }
        }
        world.commit(|_| ());
        let given = Given { token, claims, at: self.clock(), end: self.clock() + ttl };
        world.open.fetch_add(1, Ordering::Relaxed);
        self.use_up(given).await;
        world.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How long at least charges are in time of a hold that is to live for so long yet by this clock.
    fn in_time(&self, left: Duration) -> Duration {
        self.rate.takes(left + self.world.timing.grace - WORST_CHARGE)
    }

    /// Waits until the call is over, and charges it.
    async fn use_up(self: &Arc<Self>, mut given: Given) {
        let world = &self.world;
        let ttl = given.end.saturating_sub(given.at);
        let in_time = ttl + world.timing.grace - WORST_CHARGE;
        let wait = match world.within(0, 19) {
            0 => return world.count("holds never charged"),
            1..3 => in_time + ms(world.within(0, 20_000)),
            3..6 => in_time - ms(world.within(0, 1_000)),
            _ => ms(world.within(0, i64::try_from(ttl.as_millis()).expect("short"))),
        };
        sleep(self.rate.takes(wait)).await;
        let mut left = given.claims.usd;
        let parts = if world.once_in(4) { world.within(2, 3) } else { 1 };
        for n in 1..=parts {
            let last = n == parts;
            let amount = match world.within(0, 9) {
                0 if last => left + world.within(1, 200),
                1..5 => left,
                _ => world.within(0, left),
            };
            let within = amount <= left;
            left -= amount.min(left);
            let id = format!("{}-{:x}-{}-{n}", given.claims.boot, given.claims.hold.0, given.claims.issued.micros());
            let extend = (!last && world.once_in(2)).then(|| world.within(2_000, 10_000));
            let sent = self.clock();
            let extended = self.charge(&given, Part { id, amount, within, last, extend }).await;
            if let (Some(token), Some(span)) = (extended, extend) {
                world.count("holds extended");
                let claims = hold_key().verify(&token).expect("a token of ours");
                // From when it was asked for: when it was granted nobody here can tell.
                given = Given { token, claims, end: given.end.max(sent + ms(span)), ..given };
                let until = world.elapsed() + self.in_time(given.end.saturating_sub(self.clock()));
                world.checks.lock().extend(&given.claims, until);
            }
            if !last {
                let most = i64::try_from(given.end.saturating_sub(self.clock()).as_millis()).expect("short");
                sleep(self.rate.takes(ms(world.within(0, most)))).await;
            }
        }
    }

    /// Sends a charge until it is acknowledged; gives the new token of a hold that lives longer.
    async fn charge(self: &Arc<Self>, given: &Given, part: Part) -> Option<Vec<u8>> {
        let world = &self.world;
        while world.broken().is_none() {
            let in_time = self.clock() <= given.end + world.timing.grace - WORST_CHARGE;
            let what = (part.amount, part.within, in_time);
            world.checks.lock().send(&given.claims, &part.id, world.elapsed(), what);
            let asked = self.asked(given, &part);
            let (reply, mut answers) = mpsc::unbounded_channel();
            let copies = if world.once_in(25) { 2 } else { 1 };
            for _ in 0..copies {
                let (asked, reply, index, me) = (asked.clone(), reply.clone(), self.index, Arc::clone(self));
                world.deliver(self.any_site(), move |run| {
                    let (here, reply) = (Arc::clone(run), reply.clone());
                    let asked = ChargeAsk { stamp: me.stamp_at_delivery(&asked.stamp), ..asked.clone() };
                    run.spawn(async move {
                        let answer = here.charge(index, asked).await;
                        here.reply(answer, reply);
                    });
                });
            }
            drop(reply);
            match timeout(ms(world.within(1_000, 5_000)), answers.recv()).await {
                Ok(Some(Ok(answer))) => {
                    if let Err(what) = world.checks.lock().acknowledge(&part.id, answer.charged) {
                        world.broke(|| what);
                    }
                    return answer.extended.map(|(token, _)| token);
                }
                Ok(Some(Err(
                    GateError::Unavailable(_) | GateError::InDoubt(_) | GateError::Overloaded | GateError::Draining,
                ))) => {}
                Ok(Some(Err(error))) => world.broke(|| format!("a charge was refused: {error}")),
                Ok(None) | Err(_) => {}
            }
            sleep(ms(world.within(10, 1_000))).await;
        }
        None
    }

    fn asked(&self, given: &Given, part: &Part) -> ChargeAsk {
        let mut age = self.clock() - given.at;
        if self.world.saboteur == Saboteur::LateAsPunctual {
            age = age.min(given.end - given.at);
        }
        ChargeAsk {
            charge_id: part.id.clone(),
            body_hash: part.amount.to_string(),
            subject: ChargeSubject::Hold(given.token.clone()),
            outcome: Outcome::Success,
            usage: Usage { requests: 1, ..Usage::default() },
            metered: Metered::default(),
            tier: None,
            cost: Some(Nanos(part.amount)),
            served_provider: String::new(),
            served_model: String::new(),
            last: part.last,
            extend: part.extend.map(ms),
            occurred: None,
            hold_age: (self.world.saboteur != Saboteur::NoAge).then_some(age),
            stamp: self.stamp(),
            project: String::new(),
            end_user: String::new(),
            labels: String::new(),
        }
    }
}

type Reply<T> = mpsc::UnboundedSender<Result<T, GateError>>;

impl Run {
    /// The token of the hold, or none when it is denied.
    async fn authorize(
        &self,
        sidecar: usize,
        call: &Call,
        stamp: Option<(String, Duration)>,
    ) -> Result<Option<Vec<u8>>, GateError> {
        let stamp = stamp.as_ref().map(|(instance, monotonic)| Stamp { instance, monotonic: *monotonic });
        self.met(sidecar);
        let now = self.machine.now();
        let tell = |answer: &Answer<'_>| answer.hold.as_ref().map(|hold| hold.token());
        self.gate.authorize(cast::CALLER, &call.question(stamp, Mode::Hold), now, tell).await
    }

    async fn charge(&self, sidecar: usize, asked: ChargeAsk) -> Result<ChargeAnswer, GateError> {
        self.met(sidecar);
        let id = asked.charge_id.clone();
        let answer = self.gate.charge(cast::CALLER, asked, self.machine.now()).await?;
        self.world.checks.lock().answered(&id, self.boot);
        Ok(answer)
    }

    /// Sends an answer back.
    fn reply<T: Send + 'static>(&self, answer: Result<T, GateError>, to: Reply<T>) {
        if let Some(delay) = self.world.travel() {
            tokio::spawn(async move {
                sleep(delay).await;
                let _ = to.send(answer);
            });
        }
    }
}
