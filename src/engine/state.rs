//! Everything that a decision needs, in memory, interned: records refer to each other by index.
//!
//! Built only by [`super::apply`]. One reader-writer lock, split so that readers do not meet, guards the whole: a decision
//! sees one state of it, and a change holds it for the microseconds that one record takes.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{
    aged::Aged, ahead::ask_for, ended_bases::EndedBases, key_table::KeyTable, last_use::LastUse, periods::Accounts,
    price_book::PriceBook, spiffe_ids::SpiffeIds,
};
use crate::domain::{
    bindings::{Binding, Principal, Scope},
    budgets::{Budget, OnExpiry, Thresholds},
    id::{BindingId, BudgetId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    money::Unit,
    peppers::Peppers,
    permission::{Permission, PermissionSet},
    prices::Price,
    role::Role,
    roles::RoleRef,
    time::Timestamp,
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

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every record.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter()
    }
}

/// Indexes of the budgets on one scope.
pub type BudgetList = SmallVec<[u32; 2]>;
/// Roles held, by index, and where: one entry a binding.
pub type Roles = SmallVec<[(Reach, u32); 2]>;

/// Where a role holds: there and on everything below. By index: a decision asks for several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everywhere.
    Platform,
    /// A tenant.
    Tenant(u32),
    /// A workspace.
    Workspace(u32),
    /// A project.
    Project(u32),
}

/// Where a call is, by index; [`super::key_table::NO_INDEX`] where it is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tenant.
    pub tenant: u32,
    /// The workspace.
    pub workspace: u32,
    /// The project.
    pub project: u32,
}

impl Reach {
    /// Whether a role with this reach holds at a place.
    #[must_use]
    pub const fn covers(self, place: Place) -> bool {
        match self {
            Self::Platform => true,
            Self::Tenant(at) => at == place.tenant,
            Self::Workspace(at) => at == place.workspace,
            Self::Project(at) => at == place.project,
        }
    }
}

/// A role. Whoever is bound to it refers to it by index, so what it gives changes for all of them at once.
pub struct RoleRow {
    /// Resource name.
    pub name: Arc<str>,
    /// What it gives.
    pub permissions: PermissionSet,
}

/// Roles: those that every tenant has, the greatest first, then the tenants' own.
pub struct RoleTable(Table<RoleRow>);

impl Default for RoleTable {
    fn default() -> Self {
        let mut table = Table::default();
        for role in Role::ALL {
            let row = RoleRow { name: role.to_string().into(), permissions: role.permissions() };
            table.put(Self::key((*role).into()), |_| (), || row);
        }
        Self(table)
    }
}

impl RoleTable {
    /// Ids are not so great: they begin with a time.
    const fn key(role: RoleRef) -> u128 {
        match role {
            RoleRef::BuiltIn(role) => u128::MAX - role as u128,
            RoleRef::Custom(id) => id.bits(),
        }
    }

    /// The index of a role.
    #[must_use]
    pub fn find(&self, role: RoleRef) -> Option<u32> {
        self.0.find(Self::key(role))
    }

    /// The role at an index that this table gave.
    #[must_use]
    pub fn at(&self, index: u32) -> &RoleRow {
        self.0.at(index)
    }

    /// Changes what a role gives, or puts a new one in.
    pub fn put(&mut self, role: RoleRef, permissions: PermissionSet, name: impl FnOnce() -> Arc<str>) {
        let new = || RoleRow { name: name(), permissions };
        self.0.put(Self::key(role), |row| row.permissions = permissions, new);
    }
}

/// A tenant.
pub struct TenantRow {
    /// Identity.
    pub id: TenantId,
    /// Resource name.
    pub name: Arc<str>,
    /// Everything of it is refused.
    pub suspended: bool,
    /// Whether it has prices of its own.
    pub has_prices: bool,
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
    /// What calls to a model without a price are charged.
    pub ceiling: Option<Box<Price>>,
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
    /// There is no such team any more, whoever is still in it by index.
    pub deleted: bool,
    /// Roles of everybody in it.
    pub roles: Roles,
    /// Budgets on it.
    pub budgets: BudgetList,
}

/// A person or a program. In whole cache lines, as [`BudgetRow`] is.
#[derive(Clone)]
#[repr(align(64))]
pub struct ActorRow {
    id: [u8; 16],
    is_program: bool,
    /// Index of their tenant.
    pub tenant: u32,
    /// Resource name.
    pub name: Arc<str>,
    /// Whether they may act.
    pub active: bool,
    /// When they last did, or a call was made as theirs.
    pub last_use: LastUse,
    /// Indexes of their teams; none for a program.
    pub teams: SmallVec<[u32; 4]>,
    /// Roles of their own.
    pub roles: Roles,
    /// Budgets on them.
    pub budgets: BudgetList,
}

impl ActorRow {
    /// Somebody without roles and budgets yet.
    #[must_use]
    pub fn new(principal: Principal, tenant: u32, name: Arc<str>, active: bool, teams: SmallVec<[u32; 4]>) -> Self {
        let (is_program, bits) = match principal {
            Principal::User(id) => (false, id.bits()),
            Principal::ServiceAccount(id) => (true, id.bits()),
        };
        let id = bits.to_le_bytes();
        Self {
            id,
            is_program,
            tenant,
            name,
            active,
            last_use: LastUse::default(),
            teams,
            roles: Roles::new(),
            budgets: BudgetList::new(),
        }
    }

    /// Identity.
    #[must_use]
    pub const fn principal(&self) -> Principal {
        let bits = u128::from_le_bytes(self.id);
        if self.is_program {
            Principal::ServiceAccount(ServiceAccountId::from_bits(bits))
        } else {
            Principal::User(UserId::from_bits(bits))
        }
    }
}

/// A budget, in whole cache lines with what every decision reads together: many of them nobody has looked at lately.
#[repr(C, align(64))]
pub struct BudgetRow {
    /// What of its record every decision reads.
    pub terms: Terms,
    /// Resource name.
    pub name: Arc<str>,
    /// Resource name of what it limits.
    pub scope_name: Arc<str>,
    /// What is left of it. Lock order: ascending index.
    pub accounts: Mutex<Accounts>,
    /// The whole record.
    pub budget: Box<Budget>,
}

impl BudgetRow {
    /// Asks memory for all of the row.
    pub fn touch(&self) {
        ask_for(&self.terms);
        ask_for(&self.accounts);
        ask_for(&self.budget);
    }
}

/// The terms of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Most that may be spent and held in a period.
    pub limit: i64,
    /// What it counts.
    pub unit: Unit,
    /// Whether it refuses, or only warns: a paused one refuses nothing.
    pub hard: bool,
    /// Whether its thresholds are the usual ones.
    pub usual: bool,
    /// What becomes of a hold on it that is never charged.
    pub on_expiry: OnExpiry,
    /// It has been deleted.
    pub deleted: bool,
}

impl Terms {
    /// Those of a budget that is not deleted.
    #[must_use]
    pub fn of(budget: &Budget) -> Self {
        let Budget { limit, unit, on_expiry, .. } = *budget;
        let usual = budget.course.thresholds == Thresholds::default();
        Self { limit, unit, hard: budget.binds(), usual, on_expiry, deleted: false }
    }
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
    /// What tokens rested on that has ended.
    pub ended: EndedBases,
    /// Whose certificates say what.
    pub spiffe_ids: SpiffeIds,
    /// Roles.
    pub roles: RoleTable,
    /// Bindings, for when they go.
    pub bindings: HashMap<BindingId, Binding>,
    /// When bindings end: those that do, soonest first.
    pub ends: BTreeSet<(Timestamp, BindingId)>,
    /// Under which their secrets are hashed; without any, every key is refused.
    pub peppers: Option<Arc<Peppers>>,
    /// Secrets that were used and are to be stored under the pepper in use.
    pub aged: Aged,
    /// API keys.
    pub keys: KeyTable,
    /// Budgets.
    pub budgets: Table<BudgetRow>,
    /// When credit of which pools expires, soonest first.
    pub turns: BTreeSet<(Timestamp, u32)>,
    /// Budgets whose limits were lowered, and what is set aside for them not given back since.
    pub lowered: Mutex<Vec<u32>>,
    /// Budgets on keys.
    pub key_budgets: HashMap<u128, BudgetList>,
    /// Prices.
    pub prices: PriceBook,
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

    /// What a scope is by index, if everything in it is known.
    #[must_use]
    pub fn reach(&self, scope: Scope) -> Option<Reach> {
        Some(match scope {
            Scope::Platform => Reach::Platform,
            Scope::Tenant(id) => Reach::Tenant(self.tenants.find(id.bits())?),
            Scope::Workspace(_, id) => Reach::Workspace(self.workspaces.find(id.bits())?),
            Scope::Project(_, _, id) => Reach::Project(self.projects.find(id.bits())?),
        })
    }

    /// The index of every role that somebody holds at a place, their own and their teams'.
    pub fn roles_at<'a>(&'a self, actor: &'a ActorRow, place: Place) -> impl Iterator<Item = u32> + 'a {
        let teams = actor.teams.iter().flat_map(|team| self.teams.at(*team).roles.iter());
        actor.roles.iter().chain(teams).filter(move |(reach, _)| reach.covers(place)).map(|(_, role)| *role)
    }

    /// Everything that somebody may do at a place.
    #[must_use]
    pub fn permissions_at(&self, actor: &ActorRow, place: Place) -> PermissionSet {
        self.roles_at(actor, place).fold(PermissionSet::NONE, |set, role| set.with(self.roles.at(role).permissions))
    }

    /// Whether somebody who is active, in an active tenant, holds a permission at a place.
    #[must_use]
    pub fn may(&self, actor: &ActorRow, permission: Permission, place: Place) -> bool {
        self.is_active(actor) && self.permissions_at(actor, place).has(permission)
    }

    /// Whether somebody is active, in an active tenant.
    #[must_use]
    pub fn is_active(&self, actor: &ActorRow) -> bool {
        actor.active && !self.tenants.at(actor.tenant).suspended
    }

    /// The budget with this id, unless it is deleted.
    #[must_use]
    pub fn budget(&self, id: BudgetId) -> Option<(u32, &BudgetRow)> {
        let at = self.budgets.find(id.bits())?;
        Some((at, self.budgets.at(at))).filter(|(_, row)| !row.terms.deleted)
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
