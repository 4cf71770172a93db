//! Use cases of budgets and of credit, which is a budget that is paid in.

use std::sync::Arc;

use super::{
    App, AppError, Changed, Listed, Work, caller::Caller, context::Audit, keys, listing::Paging, projects,
    service_accounts, teams, users,
};
use crate::{
    domain::{
        bindings::Scope,
        budgets::{Budget, BudgetScope, Course, MAX_PER_SCOPE, OnExpiry, Thresholds},
        change::Change,
        keys::KeyState,
        money::Unit,
        names::{BudgetName, BudgetScopeName, EndUserName, Slug, TenantName},
        permission::Permission,
        time::Timestamp,
        window::Window,
    },
    engine::Standing,
    store::{self, listing::Listing, names::Names},
};

/// Asks for a new budget.
#[derive(Debug)]
pub struct CreateBudget {
    /// Where.
    pub parent: TenantName,
    /// What it limits.
    pub scope: BudgetScopeName,
    /// What it counts.
    pub unit: Unit,
    /// Over what span.
    pub window: Window,
    /// Most that may be spent and held in a period.
    pub limit: i64,
    /// Whether it refuses, or only warns.
    pub hard: bool,
    /// What becomes of a hold on it that is never charged.
    pub on_expiry: OnExpiry,
    /// How it is to run.
    pub course: Course,
    /// Its name for people; may be empty.
    pub display_name: String,
}

/// Asks for a budget.
#[derive(Debug)]
pub struct GetBudget {
    /// Which.
    pub name: BudgetName,
}

/// Asks for the budgets of a tenant.
#[derive(Debug)]
pub struct ListBudgets {
    /// Of which tenant.
    pub parent: TenantName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a budget to be changed.
#[derive(Debug)]
pub struct EditBudget {
    /// Which.
    pub name: BudgetName,
    /// The version that the caller has read; `None` for whatever it is.
    pub version: Option<i64>,
    /// What is to be done.
    pub edit: BudgetEdit,
}

/// What can be done to a budget.
#[derive(Debug)]
pub enum BudgetEdit {
    /// Change what is said of it.
    Update(Box<BudgetUpdate>),
    /// Refuse nothing, until it is resumed.
    Pause,
    /// Refuse again what does not fit.
    Resume,
    /// Limit something else.
    Move(BudgetScopeName),
}

/// What is to be said of a budget; `None`: as it is.
#[derive(Debug, Default)]
pub struct BudgetUpdate {
    /// The limit.
    pub limit: Option<i64>,
    /// What becomes of a hold that is never charged.
    pub on_expiry: Option<OnExpiry>,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Whether it refuses.
    pub hard: Option<bool>,
    /// What of the limit is told of when it is spent.
    pub thresholds: Option<Thresholds>,
}

/// Asks for a budget to end.
#[derive(Debug)]
pub struct DeleteBudget {
    /// Which.
    pub name: BudgetName,
    /// The version that the caller has read; `None` for whatever it is.
    pub version: Option<i64>,
}

/// A budget under its name, and where it stands.
#[derive(Debug)]
pub struct NamedBudget {
    /// The name.
    pub name: BudgetName,
    /// Name of what it limits.
    pub scope: String,
    /// The budget.
    pub budget: Budget,
    /// Where it stands; `None` when the ledger could not say after a change that it did make.
    pub standing: Option<Standing>,
}

/// A budget has ended; the revision at which decisions see it.
#[derive(Debug)]
pub struct BudgetDeleted(pub i64);

impl BudgetEdit {
    /// What it is called in the audit log.
    const fn action(&self) -> &'static str {
        match self {
            Self::Update(_) => "budgets.update",
            Self::Pause => "budgets.pause",
            Self::Resume => "budgets.resume",
            Self::Move(_) => "budgets.move",
        }
    }
}

impl BudgetUpdate {
    fn of(self, before: &Budget) -> Budget {
        let Self { limit, on_expiry, display_name, hard, thresholds } = self;
        Budget {
            limit: limit.unwrap_or(before.limit),
            on_expiry: on_expiry.unwrap_or(before.on_expiry),
            display_name: display_name.unwrap_or_else(|| before.display_name.clone()),
            hard: hard.unwrap_or(before.hard),
            course: Course { thresholds: thresholds.unwrap_or(before.course.thresholds), ..before.course },
            ..before.clone()
        }
    }
}

impl NamedBudget {
    fn new(tenant: &Slug, names: &Names, budget: Budget) -> Self {
        let scope = match &budget.scope {
            BudgetScope::EndUser(name) => EndUserName { tenant: tenant.clone(), end_user: name.clone() }.to_string(),
            other => names.of(scope_id(&budget, other)),
        };
        Self { name: BudgetName { tenant: tenant.clone(), budget: budget.id }, scope, budget, standing: None }
    }

    /// With where it stands.
    async fn standing(mut self, app: &App, now: Timestamp) -> Result<Self, AppError> {
        self.standing = Some(app.gate.standing(&self.budget, now).await?);
        Ok(self)
    }

    /// With where it stands, if the ledger says: the change is made either way.
    async fn standing_if_known(mut self, app: &App, now: Timestamp) -> Self {
        self.standing = app.gate.standing(&self.budget, now).await.ok();
        self
    }
}

/// Id of the record that the budget limits; empty for an end user, who has none.
fn scope_id(budget: &Budget, scope: &BudgetScope) -> String {
    match scope {
        BudgetScope::Tenant => budget.tenant.to_string(),
        BudgetScope::Workspace(id) => id.to_string(),
        BudgetScope::Project(id) => id.to_string(),
        BudgetScope::Team(id) => id.to_string(),
        BudgetScope::User(id) => id.to_string(),
        BudgetScope::ServiceAccount(id) => id.to_string(),
        BudgetScope::Key(id) => id.to_string(),
        BudgetScope::EndUser(_) => String::new(),
    }
}

async fn names(work: &mut Work<'_>, budgets: &[Budget]) -> Result<Names, AppError> {
    let ids = budgets.iter().map(|budget| scope_id(budget, &budget.scope)).filter(|id| !id.is_empty()).collect();
    Ok(store::names::names(&mut work.tx, ids).await?)
}

pub(super) async fn named(work: &mut Work<'_>, budget: Budget) -> Result<NamedBudget, AppError> {
    let names = names(work, std::slice::from_ref(&budget)).await?;
    Ok(NamedBudget::new(&work.tenant.slug, &names, budget))
}

/// As [`find_scope`], for a budget to be made there: none is made that could never match a call.
async fn find_open_scope(work: &mut Work<'_>, name: &BudgetScopeName) -> Result<(BudgetScope, Scope), AppError> {
    let found = find_scope(work, name).await?;
    match name {
        BudgetScopeName::Workspace(name) => drop(work.open_workspace(&name.workspace, name).await?),
        BudgetScopeName::Project(name) => drop(projects::find_open(work, name).await?),
        BudgetScopeName::ServiceAccount(name) => drop(service_accounts::find_open(work, name).await?),
        BudgetScopeName::Key(name) => {
            drop(work.open_workspace(&name.workspace, name).await?);
            let (_, key) = keys::find(work, name).await?;
            let dead = if key.state == KeyState::Revoked {
                Some("is revoked")
            } else {
                key.has_expired(work.now).then_some("has expired")
            };
            if let Some(why) = dead {
                return Err(AppError::State(format!("{name} {why}: a budget on it would match no call")));
            }
        }
        // Teams and people that are gone are not found; a deleted tenant changes nothing.
        BudgetScopeName::Team(_)
        | BudgetScopeName::User(_)
        | BudgetScopeName::Tenant(_)
        | BudgetScopeName::EndUser(_) => {}
    }
    Ok(found)
}

/// What a budget is to limit, and the scope on which a permission over it is held.
async fn find_scope(work: &mut Work<'_>, name: &BudgetScopeName) -> Result<(BudgetScope, Scope), AppError> {
    work.own(name.tenant(), name)?;
    let tenant = work.scope();
    Ok(match name {
        BudgetScopeName::Tenant(_) => (BudgetScope::Tenant, tenant),
        BudgetScopeName::Workspace(name) => {
            let workspace = work.workspace(&name.workspace, name).await?;
            (BudgetScope::Workspace(workspace.id), work.workspace_scope(&workspace))
        }
        BudgetScopeName::Project(name) => {
            let project = projects::find(work, name).await?;
            (BudgetScope::Project(project.id), Scope::Project(project.tenant, project.workspace, project.id))
        }
        BudgetScopeName::Team(name) => (BudgetScope::Team(teams::find(work, name).await?.id), tenant),
        BudgetScopeName::User(name) => (BudgetScope::User(users::find(work, name).await?.id), tenant),
        BudgetScopeName::ServiceAccount(name) => {
            (BudgetScope::ServiceAccount(service_accounts::find(work, name).await?.id), tenant)
        }
        BudgetScopeName::Key(name) => {
            let (workspace, key) = keys::find(work, name).await?;
            (BudgetScope::Key(key.id), work.workspace_scope(&workspace))
        }
        BudgetScopeName::EndUser(name) => (BudgetScope::EndUser(name.end_user.clone()), tenant),
    })
}

/// The budget with this name, under it, if the caller may change it and nothing else runs it.
async fn find_to_change(work: &mut Work<'_>, name: &BudgetName) -> Result<NamedBudget, AppError> {
    let found = find(work, name).await?;
    let on = named(work, found).await?;
    let unknown = || AppError::NotFound(name.to_string());
    let scope: BudgetScopeName = on.scope.parse().map_err(|_| unknown())?;
    let (_, scope) = find_scope(work, &scope).await?;
    work.require(Permission::BudgetsWrite, scope)?;
    if on.budget.credit {
        return Err(AppError::State(format!("{name} is a credit pool: only credit changes it")));
    }
    Ok(on)
}

/// The budget with this name, if its tenant is the one at work.
async fn find(work: &mut Work<'_>, name: &BudgetName) -> Result<Budget, AppError> {
    let found = store::budgets::by_id(&mut work.tx, name.budget).await?;
    found.filter(|budget| budget.tenant == work.tenant.id).ok_or_else(|| AppError::NotFound(name.to_string()))
}

/// Adds a budget, unless there are as many on its scope as a decision can look at.
pub(super) async fn add(work: &mut Work<'_>, budget: &Budget) -> Result<(), AppError> {
    require_place(work, budget).await?;
    store::budgets::insert(&mut work.tx, budget).await?;
    work.emit(Change::Budget(budget.clone()));
    Ok(())
}

/// Insists that there are fewer budgets on the scope than a decision can look at.
async fn require_place(work: &mut Work<'_>, budget: &Budget) -> Result<(), AppError> {
    let count = store::budgets::count(&mut work.tx, work.tenant.id, &budget.scope).await?;
    if usize::try_from(count).unwrap_or_default() >= MAX_PER_SCOPE {
        return Err(AppError::State(format!(
            "there are {MAX_PER_SCOPE} budgets on this scope already, which is the most"
        )));
    }
    Ok(())
}

/// Sets a budget's limit in every period that counts against it.
pub(super) async fn limit(work: &mut Work<'_>, before: &Budget, limit: i64) -> Result<Budget, AppError> {
    change(work, before, Budget { limit, ..before.clone() }).await
}

/// Writes a changed budget, under its next version.
async fn change(work: &mut Work<'_>, before: &Budget, after: Budget) -> Result<Budget, AppError> {
    let after = Budget { version: before.version + 1, ..after };
    store::budgets::update(&mut work.tx, &after).await?;
    // What there is to tell of what is spent depends on more than what may be.
    let told = |budget: &Budget| (budget.limit, budget.course.thresholds);
    if after.cap() != before.cap() || told(&after) != told(before) {
        store::slices::set_cap(&mut work.tx, after.id, after.cap()).await?;
    }
    work.emit(Change::Budget(after.clone()));
    Ok(after)
}

/// Commits a change of a budget and tells where it stands.
pub(super) async fn commit(work: Work<'_>, on: NamedBudget, audit: Audit) -> Result<Changed<NamedBudget>, AppError> {
    let (app, now) = (work.app(), work.now);
    let revision = work.commit(audit).await?;
    Ok(Changed { record: on.standing_if_known(app, now).await, revision })
}

/// Ends without a change, and tells where the budget stands.
pub(super) async fn unchanged(work: Work<'_>, on: NamedBudget) -> Result<Changed<NamedBudget>, AppError> {
    let (app, now) = (work.app(), work.now);
    let revision = work.unchanged().await?;
    Ok(Changed { record: on.standing_if_known(app, now).await, revision })
}

/// Creates a budget.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateBudget) -> Result<Changed<NamedBudget>, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let (limits, scope) = find_open_scope(&mut work, &asked.scope).await?;
    work.require(Permission::BudgetsWrite, scope)?;
    if let Some(made) = work.made_before() {
        let name: BudgetName = made.parse().map_err(|_| AppError::NotFound(made.to_owned()))?;
        let budget = find(&mut work, &name).await?;
        let on = named(&mut work, budget).await?;
        return unchanged(work, on).await;
    }
    let budget = Budget {
        id: app.new_id(work.now)?,
        tenant: work.tenant.id,
        scope: limits,
        unit: asked.unit,
        window: asked.window,
        limit: asked.limit,
        hard: asked.hard,
        credit: false,
        turns: Vec::new(),
        on_expiry: asked.on_expiry,
        course: asked.course,
        display_name: asked.display_name,
        created: work.now,
        version: 1,
    };
    add(&mut work, &budget).await?;
    let on = named(&mut work, budget).await?;
    let audit = Audit::new("budgets.create", &on.name, None, Some(&on.budget));
    commit(work, on, audit).await
}

/// Reads a budget and where it stands.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetBudget) -> Result<NamedBudget, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    work.require(Permission::BudgetsRead, work.scope())?;
    let budget = find(&mut work, &asked.name).await?;
    let on = named(&mut work, budget).await?;
    let now = work.now;
    // The ledger may read the database as well: no connection is kept from it.
    drop(work);
    on.standing(&app, now).await
}

/// Lists the budgets of a tenant and where they stand.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListBudgets) -> Result<Listed<NamedBudget>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::BudgetsRead, work.scope())?;
    let paging = Paging::begin(&app, &format!("budgets of {}", work.tenant.id), &asked.listing)?;
    let rows = store::budgets::list(&mut work.tx, work.tenant.id, &asked.listing, paging.after()).await?;
    let names = names(&mut work, &rows).await?;
    let listed = paging.end(rows);
    let (tenant, now) = (work.tenant.slug.clone(), work.now);
    drop(work);
    let mut records = Vec::with_capacity(listed.records.len());
    for budget in listed.records {
        records.push(NamedBudget::new(&tenant, &names, budget).standing(&app, now).await?);
    }
    Ok(Listed { records, next: listed.next })
}

/// Changes a budget as a whole.
pub async fn edit(app: Arc<App>, caller: Caller, asked: EditBudget) -> Result<Changed<NamedBudget>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let before = find_to_change(&mut work, &asked.name).await?;
    if work.is_replay() {
        return unchanged(work, before).await;
    }
    if asked.version.is_some_and(|version| version != before.budget.version) {
        return Err(AppError::Etag);
    }
    let action = asked.edit.action();
    let paused = |paused| Budget { course: Course { paused, ..before.budget.course }, ..before.budget.clone() };
    let after = match asked.edit {
        BudgetEdit::Update(update) => update.of(&before.budget),
        BudgetEdit::Pause => paused(true),
        BudgetEdit::Resume => paused(false),
        BudgetEdit::Move(to) => {
            let (limits, scope) = find_open_scope(&mut work, &to).await?;
            work.require(Permission::BudgetsWrite, scope)?;
            Budget { scope: limits, ..before.budget.clone() }
        }
    };
    if after == before.budget {
        return unchanged(work, before).await;
    }
    if after.scope != before.budget.scope {
        require_place(&mut work, &after).await?;
    }
    let after = change(&mut work, &before.budget, after).await?;
    let audit = Audit::new(action, &asked.name, Some(&before.budget), Some(&after));
    let on = named(&mut work, after).await?;
    commit(work, on, audit).await
}

/// Ends a budget.
pub async fn delete(app: Arc<App>, caller: Caller, asked: DeleteBudget) -> Result<BudgetDeleted, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    if work.is_replay() {
        return Ok(BudgetDeleted(work.unchanged().await?));
    }
    let on = find_to_change(&mut work, &asked.name).await?;
    if asked.version.is_some_and(|version| version != on.budget.version) {
        return Err(AppError::Etag);
    }
    store::budgets::delete(&mut work.tx, on.budget.id).await?;
    work.emit(Change::BudgetDeleted(on.budget.id));
    let revision = work.commit(Audit::new("budgets.delete", &asked.name, Some(&on.budget), None)).await?;
    Ok(BudgetDeleted(revision))
}
