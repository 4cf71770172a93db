//! Decides a model call and holds its cost on every budget that applies, all or none.

use std::{borrow::Cow, sync::Arc, time::Duration};

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{
    Gate,
    accounts::{Account, Room},
    answer::{Answer, BudgetView, Denial, DenialCode, HoldView, KeyFacts, PrincipalView, Warning},
    error::GateError,
    grants::Want,
    holds::{Hold, HoldRef, Line, Lines, Shard, Whose},
    journal::GrantAsk,
    key_table::KeyRow,
    periods::Accounts,
    price_book::HeldPrice,
    question::{Mode, Question},
    state::{BudgetRow, State},
    subject::{Applying, Subject, denial},
};
use crate::domain::{
    bindings::Principal,
    meters::Metered,
    money::{Nanos, Unit},
    permission::Permission,
    prices::{Ceiling, Price, Usage},
    time::Timestamp,
};

/// What a look at the state came to.
pub(super) enum Step<R> {
    /// What was made of the answer.
    Done(R),
    /// The database has to be asked for room first.
    Cold(Vec<Want>),
}

/// When a decision looks at the state, and how.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// The one reading of the clock.
    pub(super) now: Timestamp,
    /// How old what is known is, when it is older than it should be.
    pub(super) stale: Option<Duration>,
    /// Whether it waits for what others were asked to give back.
    pub(super) patient: bool,
}

/// The budgets of a decision, locked, widest scope first.
struct Locked<'s>(SmallVec<[Place<'s>; 6]>);

struct Place<'s> {
    at: u32,
    row: &'s BudgetRow,
    accounts: Option<MutexGuard<'s, Accounts>>,
}

impl<'s> Locked<'s> {
    fn lock(state: &'s State, applying: &[u32]) -> Self {
        let mut places: SmallVec<[Place<'s>; 6]> =
            applying.iter().map(|at| Place { at: *at, row: state.budgets.at(*at), accounts: None }).collect();
        // In the order of their indexes, whoever locks; that is mostly the order that they are in.
        if applying.is_sorted() {
            places.iter_mut().for_each(|place| place.accounts = Some(place.row.accounts.lock()));
        } else {
            let mut order: SmallVec<[usize; 6]> = (0..places.len()).collect();
            order.sort_unstable_by_key(|position| places[*position].at);
            for position in order {
                places[position].accounts = Some(places[position].row.accounts.lock());
            }
        }
        Self(places)
    }

    /// Calls `each` with every budget and the account of its current period.
    fn each(&mut self, now: Timestamp, mut each: impl FnMut(u32, &'s BudgetRow, &mut Account)) {
        for Place { at, row, accounts } in &mut self.0 {
            if let Some(accounts) = accounts {
                each(*at, row, row.current(accounts, now));
            }
        }
    }
}

/// What a call takes of a budget.
pub(super) fn amount_of(unit: Unit, usage: &Usage, cost: Nanos) -> i64 {
    match unit {
        Unit::Usd => cost.0,
        Unit::Requests => usage.requests,
        Unit::Tokens => usage.tokens(),
    }
}

/// Where a budget stands; `keep` borrows its names or keeps them.
pub(super) fn view<'s, Name>(
    row: &'s BudgetRow,
    account: &Account,
    keep: impl Fn(&'s Arc<str>) -> Name,
) -> BudgetView<Name> {
    BudgetView {
        name: keep(&row.name),
        scope: keep(&row.scope_name),
        unit: row.terms.unit,
        limit: row.terms.limit,
        spent: account.total_spent(),
        held: account.total_held(),
        resets_at: account.ends(),
        hard: row.terms.hard,
    }
}

/// What a call will cost at most, and by which price.
struct Cost<'s> {
    usage: Usage,
    metered: &'s Metered,
    nanos: Nanos,
    /// Set when the cost comes from it.
    price: Option<&'s Price>,
    /// What a charge of the hold goes by.
    held: HeldPrice,
}

impl<'s> Cost<'s> {
    fn of(state: &'s State, asked: &'s Question<'_>, subject: &Subject<'s>) -> Self {
        let (usage, metered) = (asked.estimate, &asked.metered);
        let listed = state.price(subject.tenant, (asked.provider, asked.model), &usage, metered);
        let ceiling = || subject.workspace.and_then(|workspace| workspace.ceiling.as_deref());
        let price = listed.or_else(ceiling);
        let held = match (listed, price) {
            (Some(price), _) => HeldPrice::Listed(price.id),
            (None, Some(price)) => HeldPrice::Ceiling(Ceiling { input: price.input, output: price.output }),
            (None, None) => HeldPrice::Unknown,
        };
        match asked.cost {
            Some(nanos) => Self { usage, metered, nanos, price: None, held },
            None => {
                Self { usage, metered, nanos: price.map_or(Nanos(0), |price| price.cost(&usage, metered)), price, held }
            }
        }
    }

    /// Whether nobody knows what it will cost.
    const fn is_unknown(&self, asked: &Question<'_>) -> bool {
        asked.cost.is_none() && self.price.is_none()
    }

    /// The same call with fewer output tokens.
    fn clamped(&self, output: i64) -> Self {
        let usage = Usage { output, ..self.usage };
        let nanos = self.price.map_or(self.nanos, |price| price.cost(&usage, self.metered));
        Self { usage, nanos, ..*self }
    }
}

impl<J> Gate<J> {
    /// Decides from what is in memory; gives what `tell` makes of the answer, which is built once and never moved.
    pub(super) fn decide<R>(
        &self,
        state: &State,
        caller: Principal,
        asked: &Question<'_>,
        look: Look,
        tell: &impl Fn(&Answer<'_>) -> R,
    ) -> Result<Step<R>, GateError> {
        let Look { now, .. } = look;
        if asked.min_revision > state.revision {
            return Err(GateError::RevisionAhead { have: state.revision, asked: asked.min_revision });
        }
        let caller_at = state.pack(caller).ok_or(GateError::Forbidden(Permission::GateAuthorize))?;
        let (found, owner, key) = match state.identify(state.actor(caller_at), asked.credential) {
            Ok(found) => found,
            Err(code) => {
                let denials = vec![denial(code, "", "")];
                return Ok(Step::Done(tell(&Answer { denials, ..Answer::new(state.revision, self.next_decision()) })));
            }
        };
        let cost = Cost::of(state, asked, &found);
        found.owner.last_use.note(now);
        if let Some(key) = found.key {
            key.last_use.note(now);
        }
        let tagged = found.tagged(state, asked.project);
        let subject = tagged.unwrap_or(found.without_project());
        let applying = state.applying(&subject, asked.end_user);
        // Of all of them before the first is locked, for a lock waits for what it locks.
        applying.iter().for_each(|at| state.budgets.at(*at).touch());
        let mut denials = subject.denials(state, asked, now);
        if tagged.is_none() {
            let workspace = found.workspace.map_or(&*found.tenant.name, |workspace| &*workspace.name);
            denials.push(denial(DenialCode::ProjectUnknown, workspace, asked.project));
        }
        if cost.is_unknown(asked) && applying.iter().any(|at| state.budgets.at(*at).terms.unit == Unit::Usd) {
            denials.push(denial(DenialCode::PriceUnknown, "", asked.model));
        }
        let whose = Whose { place: subject.place, owner, caller: caller_at, key };
        let decision = Deciding { gate: self, state, caller, asked, subject, whose, applying, look, now, tell };
        if denials.is_empty() { decision.hold(cost) } else { Ok(decision.refuse(denials, &cost)) }
    }
}

/// One decision on its way, past the question whose call it is.
struct Deciding<'s, J, F> {
    gate: &'s Gate<J>,
    state: &'s State,
    caller: Principal,
    asked: &'s Question<'s>,
    subject: Subject<'s>,
    whose: Whose,
    applying: Applying,
    look: Look,
    now: Timestamp,
    tell: &'s F,
}

impl<'s, J, R, F: Fn(&Answer<'_>) -> R> Deciding<'s, J, F> {
    /// An answer about this subject, with nothing else in it yet.
    fn answer(&self) -> Answer<'s> {
        Answer {
            principal: Some(PrincipalView { state: self.state, subject: self.subject }),
            key: KeyFacts::of(&self.subject),
            ..Answer::new(self.state.revision, self.gate.next_decision())
        }
    }

    fn tell(&self, answer: &Answer<'_>) -> Step<R> {
        Step::Done((self.tell)(answer))
    }

    /// Refuses, and adds what the budgets would have said, as far as it is known in memory.
    fn refuse(&self, mut denials: Vec<Denial<'s>>, cost: &Cost<'_>) -> Step<R> {
        let mut answer = self.answer();
        Locked::lock(self.state, &self.applying).each(self.now, |_, row, account| {
            if account.slice != 0 {
                let amount = amount_of(row.terms.unit, &cost.usage, cost.nanos);
                let limit = row.terms.hard.then_some(row.terms.limit);
                if account.room_as_known(amount, self.seconds(), limit, self.now) == Room::Short {
                    denials.push(shortage(row, account, amount));
                }
                answer.budgets.push(view(row, account, AsRef::as_ref));
            }
        });
        answer.denials = denials;
        self.tell(&answer)
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.asked.ttl.as_secs()).unwrap_or(i64::MAX)
    }

    fn room(&self, row: &BudgetRow, account: &Account, amount: i64) -> Room {
        let limit = row.terms.hard.then_some(row.terms.limit);
        account.room(amount, self.seconds(), limit, self.now)
    }

    /// Holds on all budgets, or refuses, or says what the database must be asked for.
    fn hold(&self, mut cost: Cost<'s>) -> Result<Step<R>, GateError> {
        let (spread, request) = self.request_fingerprints();
        // Held from the look for an earlier hold of the request until this one is in: the same request twice at once
        // makes one hold.
        let shard = (self.asked.mode != Mode::CheckOnly).then(|| self.gate.holds.shard_of_request(spread));
        if let Some((at, known)) = shard.as_ref().and_then(|shard| shard.by_request(request)) {
            if known.body != self.body_fingerprint() {
                return Err(GateError::IdempotencyConflict("request_id"));
            }
            let known = known.clone();
            drop(shard);
            return Ok(self.again(at, known));
        }
        let mut locked = Locked::lock(self.state, &self.applying);
        let mut warnings = Vec::new();
        let mut short = self.shortages(&mut locked, &cost)?;
        if self.asked.mode == Mode::Clamp && !short.wants.is_empty() {
            // What there is to clamp to is known only when the database has been asked.
            return Ok(Step::Cold(short.wants));
        }
        if let (false, Some(output)) = (short.denials.is_empty(), self.clamp(&mut locked, &cost)) {
            cost = cost.clamped(output);
            warnings.push(Warning::Clamped);
            short = self.shortages(&mut locked, &cost)?;
        }
        if !short.denials.is_empty() {
            let mut answer = self.answer();
            self.put_budgets(&mut answer, locked);
            answer.denials = short.denials;
            return Ok(self.tell(&answer));
        }
        if !short.wants.is_empty() {
            return Ok(Step::Cold(short.wants));
        }
        if shard.as_ref().is_some_and(|shard| shard.is_full()) {
            return Err(GateError::Overloaded);
        }
        Ok(self.admit(shard, locked, request, &cost, warnings))
    }

    fn shortages(&self, locked: &mut Locked<'s>, cost: &Cost<'_>) -> Result<Shortages<'s>, GateError> {
        let mut found = Shortages::default();
        let mut overflow = false;
        locked.each(self.now, |at, row, account| {
            let amount = amount_of(row.terms.unit, &cost.usage, cost.nanos);
            if !self.look.patient {
                account.recalled();
            }
            overflow |= account.total_spent().checked_add(account.total_held()).is_none();
            match self.room(row, account, amount) {
                Room::Enough => {}
                Room::Short => found.denials.push(shortage(row, account, amount)),
                Room::Ask { need, want, recall } => found.wants.push(Want {
                    at,
                    ask: GrantAsk {
                        budget: row.budget.id,
                        period: account.period,
                        need,
                        want,
                        promised: self.seconds(),
                        recall,
                    },
                    recalling: account.is_recalling(),
                }),
            }
        });
        if overflow {
            return Err(GateError::Unavailable("the books of a budget are beyond all bounds".to_owned()));
        }
        Ok(found)
    }

    /// The most output tokens that every hard budget has room for, if that is fewer than asked for and at least one.
    fn clamp(&self, locked: &mut Locked<'s>, cost: &Cost<'_>) -> Option<i64> {
        if self.asked.mode != Mode::Clamp {
            return None;
        }
        let mut output = cost.usage.output;
        locked.each(self.now, |_, row, account| {
            if !row.terms.hard {
                return;
            }
            let left = account.left(row.terms.limit);
            let affordable = match row.terms.unit {
                Unit::Usd => {
                    cost.price.and_then(|price| price.affordable_output(&cost.usage, cost.metered, Nanos(left)))
                }
                Unit::Tokens => Some(left - cost.usage.all_input()),
                Unit::Requests => None,
            };
            output = output.min(affordable.unwrap_or(output));
        });
        (1..cost.usage.output).contains(&output).then_some(output)
    }

    fn admit(
        &self,
        shard: Option<MutexGuard<'_, Shard>>,
        mut locked: Locked<'s>,
        request: u128,
        cost: &Cost<'_>,
        warnings: Vec<Warning<'s>>,
    ) -> Step<R> {
        let mut answer = self.answer();
        answer.warnings = warnings;
        let mut lines = Lines::new();
        let holds = shard.is_some();
        locked.each(self.now, |at, row, account| {
            if holds {
                let amount = amount_of(row.terms.unit, &cost.usage, cost.nanos);
                account.hold(amount);
                lines.push(Line { budget: at, period: account.period, slice: account.slice, held: amount, amount });
                if account.is_low() {
                    account.topping_up = true;
                    self.gate.grants.top_up(at, row.budget.id, account, self.now);
                }
            }
            let shown = view(row, account, AsRef::as_ref);
            if !shown.hard && shown.spent.saturating_add(shown.held) > shown.limit {
                answer.warnings.push(Warning::SoftLimitExceeded(shown.name));
            }
            answer.budgets.push(shown);
        });
        drop(locked);
        if cost.is_unknown(self.asked) {
            answer.warnings.push(Warning::PriceUnknown);
        } else if cost.price.is_some() && matches!(cost.held, HeldPrice::Ceiling(_)) {
            answer.warnings.push(Warning::PriceCeiling);
        }
        answer.warnings.extend(self.look.stale.map(Warning::Stale));
        if let Some(mut shard) = shard {
            let hold = Hold {
                request,
                body: self.body_fingerprint(),
                issued: self.now,
                expires: self.now.after(self.asked.ttl),
                price: cost.held,
                granted_output: cost.usage.output,
                whose: self.whose,
                lines,
                pending: 0,
                ending: false,
                over: false,
            };
            let at = shard.insert(hold.clone());
            drop(shard);
            answer.hold = Some(self.hold_view(at, hold));
        }
        self.tell(&answer)
    }

    /// Adds where every budget stands.
    fn put_budgets(&self, answer: &mut Answer<'s>, mut locked: Locked<'s>) {
        locked.each(self.now, |_, row, account| answer.budgets.push(view(row, account, AsRef::as_ref)));
    }

    /// The answer to a request that was answered before and whose hold lives.
    fn again(&self, at: HoldRef, known: Hold) -> Step<R> {
        let mut answer = self.answer();
        self.put_budgets(&mut answer, Locked::lock(self.state, &self.applying));
        answer.hold = Some(self.hold_view(at, known));
        self.tell(&answer)
    }

    fn hold_view(&self, at: HoldRef, hold: Hold) -> HoldView<'s> {
        HoldView {
            expires: hold.expires,
            granted_output: hold.granted_output,
            at,
            issued: hold.issued,
            price: hold.price,
            lines: hold.lines,
            whose: PrincipalView { state: self.state, subject: self.subject },
            asked: self.asked,
            caller: self.caller,
            boot: self.gate.boot,
            key: &self.gate.hold_key,
        }
    }

    /// What spreads holds over their parts, and the request's fingerprint: 0 when it has no id.
    fn request_fingerprints(&self) -> (u128, u128) {
        let asked = self.asked;
        if asked.request_id.is_empty() {
            let spread = self.gate.holds.fingerprint((self.now, self.subject.owner.principal(), asked.model));
            return (spread.into(), 0);
        }
        let half = |salt: u8| u128::from(self.gate.holds.fingerprint((salt, self.caller, asked.request_id)));
        let request = (half(1) << 64 | half(2)).max(1);
        (request, request)
    }

    fn body_fingerprint(&self) -> u64 {
        let asked = self.asked;
        let key = self.subject.key.map(KeyRow::id);
        self.gate.holds.fingerprint((
            (key, self.subject.owner.principal(), asked.client_ip, asked.origin, asked.permission, asked.provider),
            (asked.model, asked.endpoint, asked.environment, asked.project, asked.end_user, asked.estimate),
            (asked.cost.map(|cost| cost.0), asked.mode, asked.ttl, &asked.metered),
        ))
    }
}

/// What stands in a decision's way.
#[derive(Default)]
struct Shortages<'s> {
    denials: Vec<Denial<'s>>,
    wants: Vec<Want>,
}

fn shortage<'s>(row: &'s BudgetRow, account: &Account, amount: i64) -> Denial<'s> {
    let code = match (row.budget.credit, row.terms.unit) {
        (true, _) => DenialCode::CreditExhausted,
        (false, Unit::Requests) => DenialCode::QuotaExhausted,
        (false, _) => DenialCode::BudgetExhausted,
    };
    let scope = Cow::Borrowed(&*row.scope_name);
    Denial { code, scope, budget: Some((view(row, account, AsRef::as_ref), amount)), detail: String::new() }
}
