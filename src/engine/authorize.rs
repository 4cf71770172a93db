//! Decides a model call and holds its cost on every budget that applies, all or none.

use std::{borrow::Cow, sync::Arc};

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{
    Gate,
    accounts::{Account, Accounts, Room},
    error::GateError,
    grants::Want,
    hold_token::HoldClaims,
    holds::{Hold, HoldRef, Line, Lines, Shard},
    journal::GrantAsk,
    question::{Answer, BudgetView, DecisionId, Denial, DenialCode, HoldView, KeyFacts, Mode, Question, Warning},
    state::{BudgetRow, State},
    subject::{Applying, Subject, denial},
};
use crate::domain::{
    bindings::Principal,
    id::{KeyId, ProjectId, WorkspaceId},
    money::{Nanos, Unit},
    permission::Permission,
    prices::{Price, Usage},
    time::Timestamp,
};

/// What a look at the state came to.
#[expect(clippy::large_enum_variant, reason = "one lives for a moment; a box would cost more than the room")]
pub(super) enum Step<'s> {
    /// The answer.
    Done(Answer<'s>),
    /// The database has to be asked for room first.
    Cold(Vec<Want>),
}

/// The budgets of a decision, locked: position by position widest scope first, locked in the order of their indexes.
struct Locked<'s> {
    rows: SmallVec<[(u32, &'s BudgetRow); 8]>,
    accounts: SmallVec<[Option<MutexGuard<'s, Accounts>>; 8]>,
}

impl<'s> Locked<'s> {
    fn lock(state: &'s State, applying: &[u32]) -> Self {
        let rows: SmallVec<[(u32, &BudgetRow); 8]> = applying.iter().map(|at| (*at, state.budgets.at(*at))).collect();
        let mut order: SmallVec<[usize; 8]> = (0..rows.len()).collect();
        order.sort_unstable_by_key(|position| rows[*position].0);
        let mut accounts: SmallVec<[Option<MutexGuard<'s, Accounts>>; 8]> = rows.iter().map(|_| None).collect();
        for position in order {
            accounts[position] = Some(rows[position].1.accounts.lock());
        }
        Self { rows, accounts }
    }

    /// Calls `each` with every budget and the account of its current period.
    fn each(&mut self, now: Timestamp, mut each: impl FnMut(u32, &'s BudgetRow, &mut Account)) {
        for ((at, row), accounts) in self.rows.iter().zip(&mut self.accounts) {
            if let Some(accounts) = accounts {
                each(*at, row, accounts.current(row.budget.window, now));
            }
        }
    }
}

type Budgets<'s> = SmallVec<[BudgetView<&'s str>; 6]>;

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
        unit: row.budget.unit,
        limit: row.budget.limit,
        spent: account.total_spent(),
        held: account.total_held(),
        resets_at: account.ends,
        hard: row.budget.hard,
    }
}

/// What a call will cost at most, and by which price.
struct Cost<'s> {
    usage: Usage,
    nanos: Nanos,
    /// Set when the cost comes from the price list.
    price: Option<&'s Arc<Price>>,
    unknown: bool,
}

impl<'s> Cost<'s> {
    fn of(state: &'s State, asked: &Question<'_>) -> Self {
        let price = state.price(asked.provider, asked.model);
        let usage = asked.estimate;
        match (asked.cost, price) {
            (Some(nanos), _) => Self { usage, nanos, price: None, unknown: false },
            (None, Some(price)) => Self { usage, nanos: price.cost(&usage), price: Some(price), unknown: false },
            (None, None) => Self { usage, nanos: Nanos(0), price: None, unknown: true },
        }
    }

    /// The same call with fewer output tokens.
    fn clamped(&self, output: i64) -> Self {
        let usage = Usage { output, ..self.usage };
        let nanos = self.price.map_or(self.nanos, |price| price.cost(&usage));
        Self { usage, nanos, ..*self }
    }
}

impl<J> Gate<J> {
    /// Decides from what is in memory.
    pub(super) fn decide<'s>(
        &'s self,
        state: &'s State,
        caller: Principal,
        asked: &'s Question<'s>,
        now: Timestamp,
    ) -> Result<Step<'s>, GateError> {
        if asked.min_revision > state.revision {
            return Err(GateError::RevisionAhead { have: state.revision, asked: asked.min_revision });
        }
        let caller_row = state.find_actor(caller).ok_or(GateError::Forbidden(Permission::GateAuthorize))?;
        let untold = |code| Ok(Step::Done(refused(state, None, vec![denial(code, "", "")])));
        let found = match state.identify(caller_row, asked.credential, &self.pepper) {
            Ok(found) => found,
            Err(code) => return untold(code),
        };
        let scope = Subject { project: None, ..found }.scope();
        if !state.may(caller_row, Permission::GateAuthorize, scope) {
            return untold(DenialCode::KeyNotFound);
        }
        let tagged = found.tagged(state, asked.project);
        let subject = tagged.unwrap_or(Subject { project: None, ..found });
        let mut denials = subject.denials(state, asked, now);
        if tagged.is_none() {
            let workspace = found.workspace.map_or(&*found.tenant.name, |workspace| &*workspace.name);
            denials.push(denial(DenialCode::ProjectUnknown, workspace, asked.project));
        }
        let applying = state.applying(&subject, asked.end_user);
        let cost = Cost::of(state, asked);
        if cost.unknown && applying.iter().any(|at| state.budgets.at(*at).budget.unit == Unit::Usd) {
            denials.push(denial(DenialCode::PriceUnknown, "", asked.model));
        }
        let decision = Deciding { gate: self, state, caller, asked, subject, applying, now };
        if denials.is_empty() { decision.hold(cost) } else { Ok(decision.refuse(denials, &cost)) }
    }
}

fn refused<'s>(state: &'s State, subject: Option<&Subject<'s>>, denials: Vec<Denial<'s>>) -> Answer<'s> {
    Answer {
        denials,
        principal: subject.map(|subject| subject.view(state)),
        hold: None,
        budgets: Budgets::new(),
        warnings: Vec::new(),
        key: subject.and_then(|subject| subject.key).map(|key| KeyFacts {
            expires: (key.expires != i64::MAX).then(|| Timestamp::from_micros(key.expires)),
            state: key.state,
        }),
        revision: state.revision,
        id: DecisionId::default(),
    }
}

/// One decision on its way, past the question whose call it is.
struct Deciding<'s, J> {
    gate: &'s Gate<J>,
    state: &'s State,
    caller: Principal,
    asked: &'s Question<'s>,
    subject: Subject<'s>,
    applying: Applying,
    now: Timestamp,
}

impl<'s, J> Deciding<'s, J> {
    /// Refuses, and adds what the budgets would have said, as far as it is known in memory.
    fn refuse(&self, mut denials: Vec<Denial<'s>>, cost: &Cost<'_>) -> Step<'s> {
        let mut locked = Locked::lock(self.state, &self.applying);
        let mut budgets = Budgets::new();
        locked.each(self.now, |_, row, account| {
            if account.slice != 0 {
                let amount = amount_of(row.budget.unit, &cost.usage, cost.nanos);
                if self.room(row, account, amount) == Room::Short {
                    denials.push(shortage(row, account, amount));
                }
                budgets.push(view(row, account, AsRef::as_ref));
            }
        });
        Step::Done(Answer { budgets, ..refused(self.state, Some(&self.subject), denials) })
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.asked.ttl.as_secs()).unwrap_or(i64::MAX)
    }

    fn room(&self, row: &BudgetRow, account: &Account, amount: i64) -> Room {
        let limit = row.budget.hard.then_some(row.budget.limit);
        account.room(amount, self.seconds(), limit, self.now)
    }

    /// Holds on all budgets, or refuses, or says what the database must be asked for.
    fn hold(&self, cost: Cost<'s>) -> Result<Step<'s>, GateError> {
        let (spread, request) = self.request_fingerprints();
        // Held from the look for an earlier hold of the request until this one is in: the same request twice at once
        // makes one hold.
        let mut shard = (self.asked.mode != Mode::CheckOnly).then(|| self.gate.holds.shard_of_request(spread));
        if let Some((at, known)) = shard.as_ref().and_then(|shard| shard.by_request(request)) {
            if known.body != self.body_fingerprint() {
                return Err(GateError::IdempotencyConflict("request_id"));
            }
            let (at, known) = (at, known.clone());
            drop(shard);
            return Ok(Step::Done(self.again(at, &known)));
        }
        let mut locked = Locked::lock(self.state, &self.applying);
        let mut warnings = Vec::new();
        let mut cost = cost;
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
            let budgets = self.views(&mut locked);
            return Ok(Step::Done(Answer { budgets, ..refused(self.state, Some(&self.subject), short.denials) }));
        }
        if !short.wants.is_empty() {
            return Ok(Step::Cold(short.wants));
        }
        if shard.as_ref().is_some_and(|shard| shard.is_full()) {
            return Err(GateError::Overloaded);
        }
        Ok(Step::Done(self.admit(shard.as_deref_mut(), locked, request, &cost, warnings)))
    }

    fn shortages(&self, locked: &mut Locked<'s>, cost: &Cost<'_>) -> Result<Shortages<'s>, GateError> {
        let mut found = Shortages::default();
        let mut overflow = false;
        locked.each(self.now, |at, row, account| {
            let amount = amount_of(row.budget.unit, &cost.usage, cost.nanos);
            overflow |= account.total_spent().checked_add(account.total_held()).is_none();
            match self.room(row, account, amount) {
                Room::Enough => {}
                Room::Short => found.denials.push(shortage(row, account, amount)),
                Room::Ask { need, want } => found.wants.push(Want {
                    at,
                    ask: GrantAsk {
                        budget: row.budget.id,
                        period: account.period,
                        need,
                        want,
                        promised: self.seconds(),
                    },
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
            if !row.budget.hard {
                return;
            }
            let left = account.left(row.budget.limit);
            let affordable = match row.budget.unit {
                Unit::Usd => cost.price.and_then(|price| price.affordable_output(&cost.usage, Nanos(left))),
                Unit::Tokens => Some(left - cost.usage.all_input()),
                Unit::Requests => None,
            };
            output = output.min(affordable.unwrap_or(output));
        });
        (1..cost.usage.output).contains(&output).then_some(output)
    }

    fn admit(
        &self,
        shard: Option<&mut Shard>,
        mut locked: Locked<'s>,
        request: u128,
        cost: &Cost<'_>,
        mut warnings: Vec<Warning<'s>>,
    ) -> Answer<'s> {
        let mut lines = Lines::new();
        let mut budgets = Budgets::new();
        let holds = shard.is_some();
        locked.each(self.now, |at, row, account| {
            let amount = amount_of(row.budget.unit, &cost.usage, cost.nanos);
            if holds {
                account.hold(amount);
                lines.push(Line { budget: at, period: account.period, slice: account.slice, amount });
                if account.is_low() {
                    account.topping_up = true;
                    self.gate.grants.top_up(at, row.budget.id, account, self.now);
                }
            }
            let shown = view(row, account, AsRef::as_ref);
            if !shown.hard && shown.spent.saturating_add(shown.held) > shown.limit {
                warnings.push(Warning::SoftLimitExceeded(shown.name));
            }
            budgets.push(shown);
        });
        drop(locked);
        if cost.unknown {
            warnings.push(Warning::PriceUnknown);
        }
        let hold = shard.map(|shard| {
            let hold = Hold {
                request,
                body: self.body_fingerprint(),
                issued: self.now,
                expires: self.now.after(self.asked.ttl),
                price: cost.price.map_or(0, |price| price.id),
                granted_output: cost.usage.output,
                lines,
                pending: 0,
                ending: false,
            };
            let at = shard.insert(hold.clone());
            self.hold_view(at, &hold)
        });
        Answer { hold, budgets, warnings, ..refused(self.state, Some(&self.subject), Vec::new()) }
    }

    /// Where every budget stands.
    fn views(&self, locked: &mut Locked<'s>) -> Budgets<'s> {
        let mut budgets = Budgets::new();
        locked.each(self.now, |_, row, account| budgets.push(view(row, account, AsRef::as_ref)));
        budgets
    }

    /// The answer to a request that was answered before and whose hold lives.
    fn again(&self, at: HoldRef, known: &Hold) -> Answer<'s> {
        let budgets = self.views(&mut Locked::lock(self.state, &self.applying));
        let hold = Some(self.hold_view(at, known));
        Answer { hold, budgets, ..refused(self.state, Some(&self.subject), Vec::new()) }
    }

    fn hold_view(&self, at: HoldRef, hold: &Hold) -> HoldView<'s> {
        let row = |line: &Line| self.state.budgets.at(line.budget);
        let usd = hold.lines.iter().filter(|line| row(line).budget.unit == Unit::Usd).map(|line| line.amount).max();
        let claims = HoldClaims {
            boot: self.gate.boot,
            hold: at,
            caller: self.caller,
            owner: self.subject.owner.principal,
            key: self.subject.key.map_or(KeyId::from_bits(0), super::key_table::KeyRow::id),
            workspace: self.subject.workspace.map_or(WorkspaceId::from_bits(0), |workspace| workspace.id),
            project: self.subject.project.map_or(ProjectId::from_bits(0), |project| project.id),
            price: hold.price,
            issued: hold.issued,
            expires: hold.expires,
            usd: usd.unwrap_or_default(),
            provider: self.asked.provider.into(),
            model: self.asked.model.into(),
            end_user: self.asked.end_user.into(),
            lines: hold.lines.iter().map(|line| (line.slice, line.amount)).collect(),
        };
        HoldView {
            token: self.gate.hold_key.sign(&claims),
            amounts: hold.lines.iter().map(|line| (&*row(line).name, row(line).budget.unit, line.amount)).collect(),
            expires: hold.expires,
            granted_output: hold.granted_output,
        }
    }

    /// What spreads holds over their parts, and the request's fingerprint: 0 when it has no id.
    fn request_fingerprints(&self) -> (u128, u128) {
        let asked = self.asked;
        if asked.request_id.is_empty() {
            let spread = self.gate.holds.fingerprint((self.now, self.subject.owner.principal, asked.model));
            return (spread.into(), 0);
        }
        let half = |salt: u8| u128::from(self.gate.holds.fingerprint((salt, self.caller, asked.request_id)));
        let request = (half(1) << 64 | half(2)).max(1);
        (request, request)
    }

    fn body_fingerprint(&self) -> u64 {
        let asked = self.asked;
        let key = self.subject.key.map(super::key_table::KeyRow::id);
        self.gate.holds.fingerprint((
            (key, self.subject.owner.principal, asked.client_ip, asked.origin, asked.permission, asked.provider),
            (asked.model, asked.endpoint, asked.environment, asked.project, asked.end_user, asked.estimate),
            (asked.cost.map(|cost| cost.0), asked.mode, asked.ttl),
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
    let code = match (row.budget.credit, row.budget.unit) {
        (true, _) => DenialCode::CreditExhausted,
        (false, Unit::Requests) => DenialCode::QuotaExhausted,
        (false, _) => DenialCode::BudgetExhausted,
    };
    let scope = Cow::Borrowed(&*row.scope_name);
    Denial { code, scope, budget: Some((view(row, account, AsRef::as_ref), amount)), detail: String::new() }
}
