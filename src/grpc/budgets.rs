//! `BudgetService`, and what messages of budgets mean.

use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        budgets::{self, BudgetDeleted, CreateBudget, DeleteBudget, GetBudget, ListBudgets, NamedBudget, UpdateBudget},
        credits, summaries,
    },
    domain::{
        budgets::OnExpiry,
        listing::{Field, Kind, WORDS},
        money::{MAX_AMOUNT, Unit},
        window::Window,
    },
    pb::tollreeve::v1::{self as pb, budget_service_server::BudgetService, *},
};

/// What lists of budgets can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "unit", kind: Kind::Choice(&["USD_NANOS", "REQUESTS", "TOKENS"]), sorts: false },
    Field { name: "window", kind: Kind::Choice(&["HOUR", "DAY", "MONTH", "TOTAL"]), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// Longest name for people, in characters.
const MAX_DISPLAY_NAME: usize = 128;

#[tonic::async_trait]
impl BudgetService for Management {
    async fn create_budget(&self, request: Request<CreateBudgetRequest>) -> Answer<CreateBudgetResponse> {
        self.run(request, budgets::create).await
    }

    async fn get_budget(&self, request: Request<GetBudgetRequest>) -> Answer<GetBudgetResponse> {
        self.run(request, budgets::get).await
    }

    async fn list_budgets(&self, request: Request<ListBudgetsRequest>) -> Answer<ListBudgetsResponse> {
        self.run(request, budgets::list).await
    }

    async fn update_budget(&self, request: Request<UpdateBudgetRequest>) -> Answer<UpdateBudgetResponse> {
        self.run(request, budgets::update).await
    }

    async fn delete_budget(&self, request: Request<DeleteBudgetRequest>) -> Answer<DeleteBudgetResponse> {
        self.run(request, budgets::delete).await
    }

    async fn grant_credit(&self, request: Request<GrantCreditRequest>) -> Answer<GrantCreditResponse> {
        self.run(request, credits::grant).await
    }

    async fn summarize_charges(&self, request: Request<SummarizeChargesRequest>) -> Answer<SummarizeChargesResponse> {
        self.run(request, summaries::summarize).await
    }
}

impl From<Unit> for pb::Unit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Usd => Self::UsdNanos,
            Unit::Requests => Self::Requests,
            Unit::Tokens => Self::Tokens,
        }
    }
}

impl From<Window> for pb::Window {
    fn from(window: Window) -> Self {
        match window {
            Window::Hour => Self::Hour,
            Window::Day => Self::Day,
            Window::Month => Self::Month,
            Window::Total => Self::Total,
        }
    }
}

impl From<OnExpiry> for pb::OnExpiry {
    fn from(on_expiry: OnExpiry) -> Self {
        match on_expiry {
            OnExpiry::Release => Self::Release,
            OnExpiry::ChargeFull => Self::ChargeFull,
        }
    }
}

/// `None` when it is not said.
fn on_expiry(field: &str, number: i32) -> Result<Option<OnExpiry>, FieldError> {
    match pb::OnExpiry::try_from(number) {
        Ok(pb::OnExpiry::Unspecified) => Ok(None),
        Ok(pb::OnExpiry::Release) => Ok(Some(OnExpiry::Release)),
        Ok(pb::OnExpiry::ChargeFull) => Ok(Some(OnExpiry::ChargeFull)),
        Err(_) => Err(invalid(field, "is not one of this version")),
    }
}

pub(super) fn unit(field: &str, number: i32) -> Result<Unit, FieldError> {
    match pb::Unit::try_from(number) {
        Ok(pb::Unit::UsdNanos) => Ok(Unit::Usd),
        Ok(pb::Unit::Requests) => Ok(Unit::Requests),
        Ok(pb::Unit::Tokens) => Ok(Unit::Tokens),
        Ok(pb::Unit::Unspecified) => Err(invalid(field, "is required")),
        Err(_) => Err(invalid(field, "is not a unit")),
    }
}

pub(super) fn window(field: &str, number: i32) -> Result<Window, FieldError> {
    match pb::Window::try_from(number) {
        Ok(pb::Window::Hour) => Ok(Window::Hour),
        Ok(pb::Window::Day) => Ok(Window::Day),
        Ok(pb::Window::Month) => Ok(Window::Month),
        Ok(pb::Window::Total) => Ok(Window::Total),
        Ok(pb::Window::Unspecified) => Err(invalid(field, "is required")),
        Err(_) => Err(invalid(field, "is not a window")),
    }
}

impl From<NamedBudget> for pb::Budget {
    fn from(named: NamedBudget) -> Self {
        let budget = named.budget;
        let name = named.name.to_string();
        let state = named.standing.map(|standing| BudgetState {
            name: name.clone(),
            scope: named.scope.clone(),
            unit: pb::Unit::from(budget.unit).into(),
            limit: budget.limit,
            spent: standing.spent,
            held: standing.held,
            remaining: budget.limit.saturating_sub(standing.spent).saturating_sub(standing.held).max(0),
            resets_at: standing.resets_at.map(parse::to_wire),
            hard: budget.hard,
        });
        Self {
            name,
            scope: named.scope,
            unit: pb::Unit::from(budget.unit).into(),
            window: pb::Window::from(budget.window).into(),
            limit: budget.limit,
            hard: Some(budget.hard),
            display_name: budget.display_name,
            state,
            create_time: Some(parse::to_wire(budget.created)),
            etag: parse::etag(budget.version),
            credit: budget.credit,
            on_expiry: pb::OnExpiry::from(budget.on_expiry).into(),
        }
    }
}

impl TryFrom<CreateBudgetRequest> for CreateBudget {
    type Error = FieldError;

    fn try_from(request: CreateBudgetRequest) -> Result<Self, FieldError> {
        let budget = parse::present("budget", request.budget)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            scope: parse::required("budget.scope", &budget.scope)?,
            unit: unit("budget.unit", budget.unit)?,
            window: window("budget.window", budget.window)?,
            limit: parse::within("budget.limit", budget.limit, 0, MAX_AMOUNT)?,
            hard: budget.hard.unwrap_or(true),
            on_expiry: on_expiry("budget.on_expiry", budget.on_expiry)?.unwrap_or_default(),
            display_name: parse::bounded("budget.display_name", budget.display_name, MAX_DISPLAY_NAME)?,
        })
    }
}

impl TryFrom<UpdateBudgetRequest> for UpdateBudget {
    type Error = FieldError;

    fn try_from(request: UpdateBudgetRequest) -> Result<Self, FieldError> {
        Ok(Self {
            name: parse::required("name", &request.name)?,
            limit: parse::within("limit", request.limit, 0, MAX_AMOUNT)?,
            on_expiry: on_expiry("on_expiry", request.on_expiry)?,
            version: parse::version(&request.etag),
        })
    }
}

impl From<BudgetDeleted> for DeleteBudgetResponse {
    fn from(BudgetDeleted(revision): BudgetDeleted) -> Self {
        Self { revision }
    }
}

asks_by_name! {
    GetBudgetRequest => GetBudget;
    DeleteBudgetRequest => DeleteBudget;
}

asks_for_listing! {
    ListBudgetsRequest => ListBudgets by FIELDS;
}

answers_one! {
    NamedBudget as budget: read GetBudgetResponse;
    changed CreateBudgetResponse, UpdateBudgetResponse, GrantCreditResponse;
}

answers_page!(NamedBudget as budgets: ListBudgetsResponse);
