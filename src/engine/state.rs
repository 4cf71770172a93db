//! Everything that a decision needs, in memory, interned: records refer to each other by index.
//!
//! Built only by [`super::apply`]. One reader-writer lock, split so that readers do not meet, guards the whole: a decision
//! sees one state of it, and a change holds it for the microseconds that one record takes.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{accounts::Accounts, key_table::KeyTable};
use crate::domain::{
    bindings::{Binding, Principal, Scope},
    budgets::Budget,
    id::{BindingId, BudgetId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    permission::{Permission, PermissionSet},
    prices::Price,
    role::Role,
};

/// Records of one kind: by index, and by identity.
pub struct Table<T> {
    index: HashMap<u128, u32>,
    rows: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { index: HashMap::new(), rows: Vec::new() }
    }
}

impl<T> Table<T> {
    /// The index of an identity.
    #[must_use]
    pub fn find(&self, bits: u128) -> Option<u32> {
        self.index.get(&bits).copied()
    }

    /// The record at an index that this table gave.
    #[must_use]
    pub fn at(&self, index: u32) -> &T {
        &self.rows[index as usize]
    }

    /// The record at an index that this table gave, to be changed.
    pub fn at_mut(&mut self, index: u32) -> &mut T {
        &mut self.rows[index as usize]
    }

    /// The record of an identity.
    #[must_use]
    pub fn get(&self, bits: u128) -> Option<&T> {
        self.find(bits).map(|at| self.at(at))
    }

    /// Changes the record of an identity, or puts a new one in.
    pub fn put(&mut self, bits: u128, change: impl FnOnce(&mut T), new: impl FnOnce() -> T) -> u32 {
        if let Some(at) = self.find(bits) {
            change(&mut self.rows[at as usize]);
            return at;
        }
        let at = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(new());
        self.index.insert(bits, at);
        at
    }

    /// Every record.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter()
    }
}

/// Indexes of the budgets on one scope.
pub type BudgetList = SmallVec<[u32; 2]>;
/// Roles held, and where.
pub type Roles = SmallVec<[(Scope, Role, BindingId); 2]>;

/// A tenant.
pub struct TenantRow {
    /// Identity.
    pub id: TenantId,
    /// Resource name.
    pub name: Arc<str>,
    /// Everything of it is refused.
    pub suspended: bool,
    /// Budgets on it.
    pub budgets: BudgetList,
    /// Budgets on its clients' own users, by their names.
    pub end_users: HashMap<Box<str>, BudgetList>,
}

/// A workspace.
pub struct WorkspaceRow {
    /// Identity.
    pub id: WorkspaceId,
    /// Index of its tenant.
    pub tenant: u32,
    /// Resource name.
    pub name: Arc<str>,
    /// Its environment.
    pub environment: Arc<str>,
    /// Its keys are refused.
    pub suspended: bool,
    /// Budgets on it, its credit pool among them.
    pub budgets: BudgetList,
    /// Its projects by slug.
    pub projects: HashMap<Box<str>, u32>,
}

/// A project.
pub struct ProjectRow {
    /// Identity.
    pub id: ProjectId,
    /// Index of its workspace.
    pub workspace: u32,
    /// Resource name.
    pub name: Arc<str>,
    /// Calls that are tagged with it are refused.
    pub suspended: bool,
    /// Budgets on it.
    pub budgets: BudgetList,
}

/// A team.
pub struct TeamRow {
    /// Identity.
    pub id: TeamId,
    /// Resource name.
    pub name: Arc<str>,
    /// Roles of everybody in it.
    pub roles: Roles,
    /// Budgets on it.
    pub budgets: BudgetList,
}

/// A person or a program.
#[derive(Clone)]
pub struct ActorRow {
    /// Identity.
    pub principal: Principal,
    /// Index of their tenant.
    pub tenant: u32,
    /// Resource name.
    pub name: Arc<str>,
    /// Whether they may act.
    pub active: bool,
    /// Indexes of their teams; none for a program.
    pub teams: SmallVec<[u32; 4]>,
    /// Roles of their own.
    pub roles: Roles,
    /// Budgets on them.
    pub budgets: BudgetList,
}

/// A budget.
pub struct BudgetRow {
    /// What it says.
    pub budget: Budget,
    /// Resource name.
    pub name: Arc<str>,
    /// Resource name of what it limits.
    pub scope_name: Arc<str>,
    /// What is left of it. Lock order: ascending index.
    pub accounts: Mutex<Accounts>,
    /// It has been deleted.
    pub deleted: bool,
}

/// Everything.
#[derive(Default)]
pub struct State {
    /// The last change that is in it.
    pub revision: i64,
    /// Tenants.
    pub tenants: Table<TenantRow>,
    /// Workspaces.
    pub workspaces: Table<WorkspaceRow>,
    /// Projects.
    pub projects: Table<ProjectRow>,
    /// Teams.
    pub teams: Table<TeamRow>,
    /// People.
    pub users: Table<ActorRow>,
    /// Programs.
    pub service_accounts: Table<ActorRow>,
    /// Bindings, for when they go.
    pub bindings: HashMap<BindingId, Binding>,
    /// API keys.
    pub keys: KeyTable,
    /// Budgets.
    pub budgets: Table<BudgetRow>,
    /// Budgets on keys.
    pub key_budgets: HashMap<u128, BudgetList>,
    /// Prices by id, those that are no longer current among them.
    pub prices: HashMap<i64, Arc<Price>>,
    /// The current price by model and provider.
    pub current_prices: HashMap<Box<str>, SmallVec<[Arc<Price>; 2]>>,
}

/// The top bit of a packed owner tells a program from a person.
const PROGRAM: u32 = 1 << 31;

impl State {
    /// The index of somebody, packed with what they are.
    #[must_use]
    pub fn pack(&self, principal: Principal) -> Option<u32> {
        match principal {
            Principal::User(id) => self.users.find(id.bits()),
            Principal::ServiceAccount(id) => self.service_accounts.find(id.bits()).map(|at| at | PROGRAM),
        }
    }

    /// Somebody by their packed index.
    #[must_use]
    pub fn actor(&self, packed: u32) -> &ActorRow {
        if packed & PROGRAM == 0 { self.users.at(packed) } else { self.service_accounts.at(packed & !PROGRAM) }
    }

    /// Somebody by their identity.
    #[must_use]
    pub fn find_actor(&self, principal: Principal) -> Option<&ActorRow> {
        self.pack(principal).map(|packed| self.actor(packed))
    }

    /// Every role that somebody holds on a scope, their own and their teams'.
    pub fn roles_on<'a>(&'a self, actor: &'a ActorRow, scope: Scope) -> impl Iterator<Item = Role> + 'a {
        let teams = actor.teams.iter().flat_map(|team| self.teams.at(*team).roles.iter());
        actor.roles.iter().chain(teams).filter(move |(at, ..)| at.covers(scope)).map(|(_, role, _)| *role)
    }

    /// Everything that somebody may do on a scope.
    #[must_use]
    pub fn permissions_on(&self, actor: &ActorRow, scope: Scope) -> PermissionSet {
        self.roles_on(actor, scope).fold(PermissionSet::NONE, |set, role| set.with(role.permissions()))
    }

    /// Whether somebody who is active, in an active tenant, holds a permission on a scope.
    #[must_use]
    pub fn may(&self, actor: &ActorRow, permission: Permission, scope: Scope) -> bool {
        self.is_active(actor) && self.permissions_on(actor, scope).has(permission)
    }

    /// Whether somebody is active, in an active tenant.
    #[must_use]
    pub fn is_active(&self, actor: &ActorRow) -> bool {
        actor.active && !self.tenants.at(actor.tenant).suspended
    }

    /// The current price of a model. Without a provider: the dearest of those that have it, so that a hold covers any.
    #[must_use]
    pub fn price(&self, provider: &str, model: &str) -> Option<&Arc<Price>> {
        let prices = self.current_prices.get(model)?;
        if provider.is_empty() {
            prices.iter().max_by_key(|price| (price.output.saturating_add(price.input), price.id))
        } else {
            prices.iter().find(|price| price.provider == provider)
        }
    }

    /// The budget with this id, unless it is deleted.
    #[must_use]
    pub fn budget(&self, id: BudgetId) -> Option<(u32, &BudgetRow)> {
        let at = self.budgets.find(id.bits())?;
        Some((at, self.budgets.at(at))).filter(|(_, row)| !row.deleted)
    }

    /// The indexes of somebody's teams, by identity; unknown ones are left out.
    #[must_use]
    pub fn team_indexes(&self, teams: &[TeamId]) -> SmallVec<[u32; 4]> {
        teams.iter().filter_map(|team| self.teams.find(team.bits())).collect()
    }

    /// A person's row.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<&ActorRow> {
        self.users.get(id.bits())
    }

    /// A program's row.
    #[must_use]
    pub fn service_account(&self, id: ServiceAccountId) -> Option<&ActorRow> {
        self.service_accounts.get(id.bits())
    }
}
