//! Takes a charge in: what it costs, where it goes, what it takes of its hold. And what it was when it is durable.

use std::{pin::Pin, time::Duration};

use smallvec::SmallVec;

use super::{
    Gate,
    answer::BudgetView,
    authorize::amount_of,
    error::GateError,
    expiry::Ended,
    extension::extended,
    hold_token::OwnClaims,
    holds::HoldRef,
    journal::{Entry, HoldUse, Journal, Outcome},
    key_table::KeyRow,
    places::Placed,
    posting::{Amount, post, post_elsewhere},
    price_book::{HeldPrice, cost_of},
    state::{Place, State},
    subject::Subject,
    timing::WORST_CHARGE,
    writer::UnderWay,
};
use crate::domain::{
    bindings::Principal,
    meters::{Metered, Tier},
    money::{Nanos, Unit},
    names::KeyName,
    permission::Permission,
    prices::Usage,
    time::Timestamp,
    window::Period,
};

/// What a charge belongs to.
#[derive(Clone, Debug)]
pub enum ChargeSubject {
    /// A hold, by its token.
    Hold(Vec<u8>),
    /// A key, as presented.
    ApiKey(String),
    /// A key, by name.
    Key(KeyName),
}

/// What a call cost, as the sidecar says. Texts and counts are bounded by whoever parsed them.
#[derive(Clone, Debug)]
pub struct ChargeAsk {
    /// Idempotency key.
    pub charge_id: String,
    /// Tells whether another charge of the same id is the same.
    pub body_hash: String,
    /// What it belongs to.
    pub subject: ChargeSubject,
    /// How the call ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it used beside that.
    pub metered: Metered,
    /// In which tier it was served; `None` for the hold's.
    pub tier: Option<Tier>,
    /// What it cost, when the sidecar knows better than the price list.
    pub cost: Option<Nanos>,
    /// Who served it; empty for the hold's.
    pub served_provider: String,
    /// What served it; empty for the hold's.
    pub served_model: String,
    /// Whether the call is over.
    pub last: bool,
    /// With a call that goes on: how much longer the hold is to live.
    pub extend: Option<Duration>,
    /// When it happened.
    pub occurred: Option<Timestamp>,
    /// Age of the hold by the sidecar's clock.
    pub hold_age: Option<Duration>,
    /// What the sidecar's clock showed: its run, and the time since some moment in the past.
    pub stamp: Option<(String, Duration)>,
    /// Without a hold: slug of the project.
    pub project: String,
    /// Without a hold: the end client's own user.
    pub end_user: String,
    /// Labels as JSON; empty without any.
    pub labels: String,
}

/// How a charge was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeStatus {
    /// Within its hold, or within what was left.
    Applied,
    /// Recorded before.
    Replayed,
    /// Its hold had ended before.
    AppliedLate,
    /// A hard budget had no room for all of it.
    AppliedOverrun,
}

/// What became of a charge.
#[derive(Clone, Debug)]
pub struct ChargeAnswer {
    /// How it was applied.
    pub status: ChargeStatus,
    /// What was charged, in nanos.
    pub charged: i64,
    /// What the hold gave back, in nanos.
    pub released: i64,
    /// What passed a limit, in nanos.
    pub overrun: i64,
    /// Where the budgets stand now.
    pub balances: Vec<BudgetView<std::sync::Arc<str>>>,
    /// Budget and percentage of each threshold that it crossed.
    pub crossings: Vec<(std::sync::Arc<str>, u16)>,
    /// Its position in the ledger.
    pub seq: i64,
    /// Whether it was charged at the ceiling of its workspace; not known of one that was recorded before.
    pub at_ceiling: bool,
    /// The hold's new token and end, when it was extended.
    pub extended: Option<(Vec<u8>, Timestamp)>,
}

/// What a charge takes of one budget, while it is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Index of the budget.
    pub(super) budget: u32,
    /// The period it counts in.
    pub(super) period: Period,
    /// Taken out of its hold.
    pub(super) moved: i64,
    /// Reserved beside it.
    pub(super) reserved: i64,
}

/// A charge on its way.
pub(super) struct Prepared {
    pub(super) entry: Entry,
    pub(super) taken: SmallVec<[Taken; 6]>,
    pub(super) hold: Option<HoldRef>,
    pub(super) ends_hold: bool,
    /// The hold with its new end, and when memory lets it go.
    pub(super) extend: Option<Box<(OwnClaims, Timestamp)>>,
    /// The hold whose end it is.
    pub(super) ended: Option<Box<Ended>>,
}

/// How far a charge has come at once.
enum Begun<'g> {
    UnderWay(UnderWay),
    /// The ledger must be asked first.
    Cold(Pin<Box<dyn Future<Output = Result<UnderWay, GateError>> + Send + 'g>>),
}

/// What a charge stands on, resolved.
struct Basis<'s> {
    subject: Subject<'s>,
    claims: Option<OwnClaims>,
    end_user: String,
}

impl<J: Journal> Gate<J> {
    /// Records a charge; answers when it is durable.
    ///
    /// It is taken in at once, unless the ledger must be asked first: what is awaited is small, for thousands wait.
    ///
    /// # Errors
    /// [`GateError`]; nothing was recorded, except that [`GateError::InDoubt`] leaves it open: the same charge id
    /// again tells.
    pub fn charge(
        &self,
        caller: Principal,
        asked: ChargeAsk,
        now: Timestamp,
    ) -> impl Future<Output = Result<ChargeAnswer, GateError>> + Send + '_ {
        let begun = self.begin_charge(caller, asked, now);
        async move {
            let under_way = match begun? {
                Begun::UnderWay(under_way) => under_way,
                Begun::Cold(prepared) => prepared.await?,
            };
            under_way.answer().await
        }
    }

    fn begin_charge(&self, caller: Principal, mut asked: ChargeAsk, now: Timestamp) -> Result<Begun<'_>, GateError> {
        let claims = self.claims(caller, &asked)?;
        self.hear(&mut asked, claims.as_ref(), now)?;
        if let Some(located) = self.located(claims.as_ref()).filter(|_| asked.extend.is_none()) {
            let prepare = || self.prepare(caller, asked, claims, &located, now);
            return Ok(Begun::UnderWay(self.write(prepare)?));
        }
        Ok(Begun::Cold(Box::pin(async move {
            let located = self.locate(claims.as_ref()).await?;
            let mut asked = asked;
            if let (Some(claims), Some(span)) = (&claims, asked.extend.filter(|_| !asked.last)) {
                if self.holds_here(claims) {
                    self.promise(claims.hold, span, now).await?;
                } else if !self.extend_elsewhere(claims, &asked, span, now).await? {
                    asked.extend = None;
                }
            }
            self.write(|| self.prepare(caller, asked, claims, &located, now))
        })))
    }

    /// Reads a charge's hold token.
    fn claims(&self, caller: Principal, asked: &ChargeAsk) -> Result<Option<OwnClaims>, GateError> {
        let ChargeSubject::Hold(token) = &asked.subject else { return Ok(None) };
        let claims = self.hold_key.verify(token).ok_or(GateError::HoldToken("is not one that this server gave"))?;
        if claims.caller != caller {
            return Err(GateError::HoldToken("was given to another caller"));
        }
        Ok(Some(claims))
    }

    /// Whether a hold is in memory.
    fn holds_here(&self, claims: &OwnClaims) -> bool {
        claims.boot == self.boot && self.holds.shard_of(claims.hold).get(claims.hold).is_some()
    }

    /// The budgets of a hold that is not in memory; `None` when the ledger must be asked for something of it.
    fn located(&self, claims: Option<&OwnClaims>) -> Option<Vec<Placed>> {
        if claims.is_some_and(|claims| self.read().prices.lacks(claims.price)) { None } else { self.placed(claims) }
    }

    /// The same, as far as its slices are known; `None` when one of them is not.
    fn placed(&self, claims: Option<&OwnClaims>) -> Option<Vec<Placed>> {
        match claims.filter(|claims| !self.holds_here(claims)) {
            Some(claims) => claims.lines.iter().map(|(slice, _)| self.places.get(*slice)).collect(),
            None => Some(Vec::new()),
        }
    }

    /// The same, with the ledger's help. Slices that are nowhere are left out.
    async fn locate(&self, claims: Option<&OwnClaims>) -> Result<Vec<Placed>, GateError> {
        // Another took the place of its price before this server began.
        if let Some(HeldPrice::Listed(id)) =
            claims.map(|claims| claims.price).filter(|price| self.read().prices.lacks(*price))
            && let Some(price) = self.journal.price(id).await?
        {
            self.write_state().prices.put(price);
        }
        if let Some(located) = self.placed(claims) {
            return Ok(located);
        }
        let slices: Vec<i64> = claims.into_iter().flat_map(|claims| &claims.lines).map(|(slice, _)| *slice).collect();
        let located = self.journal.locate(&slices).await?;
        for found in &located {
            self.places.put(found.slice, found.budget, found.period);
        }
        Ok(located)
    }

    fn prepare(
        &self,
        caller: Principal,
        mut asked: ChargeAsk,
        claims: Option<OwnClaims>,
        located: &[Placed],
        now: Timestamp,
    ) -> Result<Prepared, GateError> {
        let state = self.read_at(now);
        let basis = Self::basis(&state, caller, &asked, claims)?;
        asked.metered.tier = asked.tier.or_else(|| Some(basis.claims.as_ref()?.tier)).unwrap_or_default();
        let (cost, price) = cost_of(&state, &asked, &basis.subject, basis.claims.as_ref());
        let mut prepared = Prepared {
            entry: entry_of(&state, &basis, caller, &mut asked, (cost, price), now),
            taken: SmallVec::new(),
            hold: None,
            ends_hold: false,
            extend: None,
            ended: None,
        };
        let at = asked.occurred.unwrap_or(now).min(now);
        match basis.claims {
            Some(claims) => self.post_hold(&state, &asked, claims, located, cost, now, &mut prepared),
            None => {
                for index in state.applying(&basis.subject, &basis.end_user) {
                    let row = state.budgets.at(index);
                    // Credit is drawn on when a charge is recorded: what has expired by then pays for nothing.
                    let at = if row.budget.turns.is_empty() { at } else { now };
                    let period = row.budget.period(at);
                    let amount = amount_of(row.terms.unit, &asked.usage, cost);
                    post(&state, index, period, Amount::alone(amount), now, &mut prepared);
                }
            }
        }
        Ok(prepared)
    }

    fn basis<'s>(
        state: &'s State,
        caller: Principal,
        asked: &ChargeAsk,
        claims: Option<OwnClaims>,
    ) -> Result<Basis<'s>, GateError> {
        let forbidden = GateError::Forbidden(Permission::GateCharge);
        let caller_row = state.find_actor(caller).ok_or(forbidden.clone())?;
        let may = |place: Place| state.may(caller_row, Permission::GateCharge, place);
        let subject = match (&asked.subject, &claims) {
            (ChargeSubject::Hold(_), Some(claims)) => subject_of(state, claims)?,
            (ChargeSubject::Hold(_), None) => return Err(GateError::HoldToken("is missing")),
            (ChargeSubject::ApiKey(text), _) => {
                let unknown = || GateError::NotFound("the API key".to_owned());
                let row = state.keys.row(state.find_key(text).map_err(|_| unknown())?.at);
                let place = state.key_place(row);
                if !may(place) && !state.may(caller_row, Permission::GateAuthorize, place) {
                    return Err(unknown());
                }
                state.subject_of_key(row)
            }
            (ChargeSubject::Key(name), _) => {
                let unknown = || GateError::NotFound(name.to_string());
                let row = state.keys.by_id(name.key).ok_or_else(unknown)?;
                let subject = state.subject_of_key(row);
                if subject.key_name() != name.to_string() || !may(state.key_place(row)) {
                    return Err(unknown());
                }
                subject
            }
        };
        if !may(subject.place) {
            return Err(forbidden);
        }
        let subject = subject.tagged(state, &asked.project).ok_or_else(|| GateError::Invalid {
            field: "project",
            why: "there is no such project in the key's workspace".to_owned(),
        })?;
        let end_user = claims.as_ref().map_or_else(|| asked.end_user.clone(), |claims| claims.end_user.to_string());
        Ok(Basis { subject, claims, end_user })
    }

    /// Takes the amounts out of the hold, or, when it has ended, out of what is left.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that decides where a charge goes")]
    fn post_hold(
        &self,
        state: &State,
        asked: &ChargeAsk,
        claims: OwnClaims,
        located: &[Placed],
        cost: Nanos,
        now: Timestamp,
        prepared: &mut Prepared,
    ) {
        let life = claims.expires.since(claims.issued);
        let grace = Duration::from_secs(u64::try_from(self.holds.grace_secs()).unwrap_or_default());
        let late_there = asked.hold_age.is_some_and(|age| age > life + grace.saturating_sub(WORST_CHARGE));
        let mut shard = self.holds.shard_of(claims.hold);
        if let Some(hold) = shard.get(claims.hold).filter(|hold| claims.boot == self.boot && !hold.over) {
            prepared.hold = Some(claims.hold);
            hold.pending += 1;
            // The first charge that ends the hold takes all of it; one that comes at the same time finds nothing left.
            prepared.ends_hold = asked.last && !hold.ending;
            hold.ending |= asked.last;
            prepared.entry.late = late_there;
            let mut held_usd = 0;
            for line in &mut hold.lines {
                let row = state.budgets.at(line.budget);
                let amount = amount_of(row.terms.unit, &asked.usage, cost);
                let moved = if asked.last { line.amount } else { amount.min(line.amount) }.max(0);
                if row.terms.unit == Unit::Usd {
                    held_usd = held_usd.max(moved);
                }
                line.amount -= moved;
                let held = claims.lines.iter().find(|(slice, _)| *slice == line.slice).map_or(moved, |(_, held)| *held);
                post(state, line.budget, line.period, Amount { charged: amount, moved, held }, now, prepared);
            }
            prepared.entry.released = if asked.last { (held_usd - cost.0).max(0) } else { 0 };
            prepared.extend = extended(asked, claims, now);
            return;
        }
        drop(shard);
        // The hold is gone from this server's memory. One of another run is still set aside in that run's slice.
        let known = asked.stamp.is_some() && asked.hold_age.is_some() && self.lease.is_shared();
        let ended = claims.boot == self.boot || late_there || (!known && self.is_over(Some(&claims), now));
        prepared.entry.late = ended;
        prepared.entry.released = if ended || !asked.last { 0 } else { (claims.usd - cost.0).max(0) };
        for (slice, held) in &claims.lines {
            let Some(place) = located.iter().find(|place| place.slice == *slice) else { continue };
            let Some(index) = state.budgets.find(place.budget.bits()) else { continue };
            let amount = amount_of(state.budgets.at(index).terms.unit, &asked.usage, cost);
            if ended {
                post(state, index, place.period, Amount::alone(amount), now, prepared);
            } else {
                post_elsewhere(state, index, *place, amount, *held, now, prepared);
            }
        }
        prepared.extend = extended(asked, claims, now);
    }
}

/// Whose call a hold was made for.
fn subject_of<'s>(state: &'s State, claims: &OwnClaims) -> Result<Subject<'s>, GateError> {
    let unknown = || GateError::HoldToken("speaks of something that does not exist any more");
    let subject = if let Some(row) = state.keys.by_id(claims.key) {
        state.subject_of_key(row).without_project()
    } else {
        let owner = state.find_actor(claims.owner).ok_or_else(unknown)?;
        state.subject_of_owner(owner, state.workspaces.find(claims.workspace.bits()))
    };
    let project = state.projects.find(claims.project.bits());
    Ok(project.map_or(subject, |at| subject.within(state, at)))
}

/// The texts of `asked` move into the entry.
fn entry_of(
    state: &State,
    basis: &Basis<'_>,
    caller: Principal,
    asked: &mut ChargeAsk,
    (cost, price): (Nanos, i64),
    now: Timestamp,
) -> Entry {
    let (claims, subject) = (basis.claims.as_ref(), &basis.subject);
    let or = |own: &mut String, hold: Option<&str>| {
        if own.is_empty() { hold.unwrap_or_default().to_owned() } else { std::mem::take(own) }
    };
    Entry {
        tenant: subject.tenant.id,
        charge_id: std::mem::take(&mut asked.charge_id),
        body_hash: std::mem::take(&mut asked.body_hash),
        workspace: subject.workspace.map(|workspace| workspace.id),
        project: subject.project.map(|project| project.id),
        key: subject.key.map(KeyRow::id),
        owner: subject.owner.principal(),
        teams: state.teams_of(subject.owner),
        caller,
        end_user: basis.end_user.clone(),
        provider: or(&mut asked.served_provider, claims.map(|claims| &*claims.provider)),
        model: or(&mut asked.served_model, claims.map(|claims| &*claims.model)),
        price,
        outcome: asked.outcome,
        late: false,
        usage: asked.usage,
        metered: std::mem::take(&mut asked.metered),
        cost: cost.0,
        released: 0,
        hold: claims.map(|claims| HoldUse {
            run: claims.boot,
            hold: claims.hold,
            issued: claims.issued,
            ends: asked.last,
        }),
        occurred: asked.occurred.unwrap_or(now),
        recorded: now,
        labels: std::mem::take(&mut asked.labels),
        postings: Vec::with_capacity(claims.map_or(0, |claims| claims.lines.len())),
    }
}
