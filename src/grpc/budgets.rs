//! `BudgetService`, and what messages of budgets mean.

use tonic::Request;

use super::{
    parse::{self, FieldError, invalid},
    services::{Answer, Management},
};
use crate::{
    app::{
        budgets::{
            self, BudgetDeleted, BudgetEdit, BudgetUpdate, CreateBudget, DeleteBudget, EditBudget, GetBudget,
            ListBudgets, NamedBudget,
        },
        summaries,
    },
    domain::{
        budgets::{Course, OnExpiry, Thresholds},
        calendar::Calendar,
        listing::{Field, Kind, WORDS},
        money::{MAX_AMOUNT, Unit},
        window::Window,
        zone::Zone,
    },
    pb::tollreeve::v1::{self as pb, budget_service_server::BudgetService, *},
};

/// What lists of budgets can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "unit", kind: Kind::Choice(&["USD_NANOS", "REQUESTS", "TOKENS"]), sorts: false },
    Field { name: "window", kind: Kind::Choice(&["HOUR", "DAY", "WEEK", "MONTH", "TOTAL"]), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
];

/// Longest name for people, in characters.
const MAX_DISPLAY_NAME: usize = 128;

#[tonic::async_trait]
impl BudgetService for Management {
    async fn create_budget(&self, request: Request<CreateBudgetRequest>) -> Answer<CreateBudgetResponse> {
        self.run_intended(request, budgets::create).await
    }

    async fn get_budget(&self, request: Request<GetBudgetRequest>) -> Answer<GetBudgetResponse> {
        self.run(request, budgets::get).await
    }

    async fn list_budgets(&self, request: Request<ListBudgetsRequest>) -> Answer<ListBudgetsResponse> {
        self.run(request, budgets::list).await
    }

    async fn update_budget(&self, request: Request<UpdateBudgetRequest>) -> Answer<UpdateBudgetResponse> {
        self.run_intended(request, budgets::edit).await
    }

    async fn delete_budget(&self, request: Request<DeleteBudgetRequest>) -> Answer<DeleteBudgetResponse> {
        self.run_intended(request, budgets::delete).await
    }

    async fn pause_budget(&self, request: Request<PauseBudgetRequest>) -> Answer<PauseBudgetResponse> {
        self.run_intended(request, budgets::edit).await
    }

    async fn resume_budget(&self, request: Request<ResumeBudgetRequest>) -> Answer<ResumeBudgetResponse> {
        self.run_intended(request, budgets::edit).await
    }

    async fn move_budget(&self, request: Request<MoveBudgetRequest>) -> Answer<MoveBudgetResponse> {
        self.run_intended(request, budgets::edit).await
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
            Window::Week => Self::Week,
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
        Ok(pb::Window::Week) => Ok(Window::Week),
        Ok(pb::Window::Month) => Ok(Window::Month),
        Ok(pb::Window::Total) => Ok(Window::Total),
        Ok(pb::Window::Unspecified) => Err(invalid(field, "is required")),
        Err(_) => Err(invalid(field, "is not a window")),
    }
}

/// None of them: the usual ones.
fn thresholds(field: &str, percents: &[i32]) -> Result<Thresholds, FieldError> {
    if percents.is_empty() {
        return Ok(Thresholds::default());
    }
    // What does not fit is no percentage either.
    let percents: Vec<u16> = percents.iter().map(|percent| u16::try_from(*percent).unwrap_or_default()).collect();
    Thresholds::try_from(percents).map_err(|error| invalid(field, error))
}

fn course(budget: &pb::Budget, window: Window) -> Result<Course, FieldError> {
    let zone = match budget.time_zone.as_str() {
        "" => Zone::UTC,
        name => name.parse().map_err(|error| invalid("budget.time_zone", error))?,
    };
    let last = Calendar::last_anchor(window);
    let anchor = parse::within("budget.anchor_day", budget.anchor_day.into(), 0, last.into())?.max(1);
    let thresholds = thresholds("budget.thresholds", &budget.thresholds)?;
    Ok(Course { zone, anchor: u8::try_from(anchor).unwrap_or(last), thresholds, paused: false })
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
            hard: budget.binds(),
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
            time_zone: budget.course.zone.to_string(),
            anchor_day: budget.course.anchor.into(),
            paused: budget.course.paused,
            thresholds: budget.course.thresholds.iter().map(i32::from).collect(),
        }
    }
}

impl TryFrom<CreateBudgetRequest> for CreateBudget {
    type Error = FieldError;

    fn try_from(request: CreateBudgetRequest) -> Result<Self, FieldError> {
        let budget = parse::present("budget", request.budget)?;
        let window = window("budget.window", budget.window)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            scope: parse::required("budget.scope", &budget.scope)?,
            unit: unit("budget.unit", budget.unit)?,
            window,
            limit: parse::within("budget.limit", budget.limit, 0, MAX_AMOUNT)?,
            hard: budget.hard.unwrap_or(true),
            on_expiry: on_expiry("budget.on_expiry", budget.on_expiry)?.unwrap_or_default(),
            course: course(&budget, window)?,
            display_name: parse::bounded("budget.display_name", budget.display_name, MAX_DISPLAY_NAME)?,
        })
    }
}

/// Fields of an update that are not of the budget.
const FIXED: &[&str] = &["name", "etag", "request_id", "validate_only", "update_mask"];

impl TryFrom<UpdateBudgetRequest> for EditBudget {
    type Error = FieldError;

    fn try_from(request: UpdateBudgetRequest) -> Result<Self, FieldError> {
        let name = parse::required("name", &request.name)?;
        let ends = on_expiry("on_expiry", request.on_expiry)?;
        let set = [
            ("limit", request.limit.is_some()),
            ("on_expiry", ends.is_some()),
            ("display_name", request.display_name.is_some()),
            ("hard", request.hard.is_some()),
            ("thresholds", !request.thresholds.is_empty()),
        ];
        let limit = request.limit.map(|limit| parse::within("limit", limit, 0, MAX_AMOUNT)).transpose()?;
        let display_name = parse::bounded("display_name", request.display_name.unwrap_or_default(), MAX_DISPLAY_NAME)?;
        let percents = thresholds("thresholds", &request.thresholds)?;
        let [limited, ended, renamed, hardened, told] = parse::masked(request.update_mask, set, FIXED)?;
        if limited && limit.is_none() {
            return Err(invalid("limit", "is required"));
        }
        let update = BudgetUpdate {
            limit: limit.filter(|_| limited),
            on_expiry: ended.then(|| ends.unwrap_or_default()),
            display_name: renamed.then_some(display_name),
            hard: hardened.then(|| request.hard.unwrap_or(true)),
            thresholds: told.then_some(percents),
        };
        Ok(Self { name, version: parse::version(&request.etag), edit: BudgetEdit::Update(Box::new(update)) })
    }
}

impl TryFrom<MoveBudgetRequest> for EditBudget {
    type Error = FieldError;

    fn try_from(request: MoveBudgetRequest) -> Result<Self, FieldError> {
        let (name, version) = (parse::required("name", &request.name)?, parse::version(&request.etag));
        Ok(Self { name, version, edit: BudgetEdit::Move(parse::required("scope", &request.scope)?) })
    }
}

impl TryFrom<DeleteBudgetRequest> for DeleteBudget {
    type Error = FieldError;

    fn try_from(request: DeleteBudgetRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

intended!(
    CreateBudgetRequest,
    UpdateBudgetRequest,
    DeleteBudgetRequest,
    PauseBudgetRequest,
    ResumeBudgetRequest,
    MoveBudgetRequest
);

asks_for_edit! {
    EditBudget {}
    with etag {
        PauseBudgetRequest => BudgetEdit::Pause;
        ResumeBudgetRequest => BudgetEdit::Resume;
    }
}

impl From<BudgetDeleted> for DeleteBudgetResponse {
    fn from(BudgetDeleted(revision): BudgetDeleted) -> Self {
        Self { revision }
    }
}

asks_by_name! {
    GetBudgetRequest => GetBudget;
}

asks_for_listing! {
    ListBudgetsRequest => ListBudgets by FIELDS;
}

answers_one! {
    NamedBudget as budget: read GetBudgetResponse;
    changed CreateBudgetResponse, UpdateBudgetResponse, PauseBudgetResponse, ResumeBudgetResponse, MoveBudgetResponse;
}

answers_page!(NamedBudget as budgets: ListBudgetsResponse);
