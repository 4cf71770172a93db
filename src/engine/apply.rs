//! Applies changes to the state: the only road by which it is built, at the start as well as later.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    accounts::Account,
    key_table::{KeyRow, NO_INDEX},
    periods::Accounts,
    state::{ActorRow, BudgetList, BudgetRow, ProjectRow, Roles, State, TeamRow, TenantRow, Terms, WorkspaceRow},
};
use crate::domain::{
    bindings::{Binding, Member, Principal},
    budgets::{Budget, BudgetScope},
    change::Change,
    credits::{start_of, turn_at},
    id::{BindingId, BudgetId, TeamId},
    keys::Key,
    names::Slug,
    permission::PermissionSet,
    price_versions::DatedPrice,
    projects::Project,
    roles::CustomRole,
    service_accounts::ServiceAccount,
    teams::Team,
    tenants::Tenant,
    time::Timestamp,
    users::{FormerUser, User, UserState},
    window::Period,
    workspaces::Workspace,
};

/// A change refers to something that the state does not have: the state cannot be trusted any more and must be built
/// again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the feed refers to an unknown {0}")]
pub struct ApplyError(pub String);

type Result<T> = std::result::Result<T, ApplyError>;

fn known(at: Option<u32>, what: &impl std::fmt::Debug) -> Result<u32> {
    at.ok_or_else(|| ApplyError(format!("{what:?}")))
}

impl State {
    /// Applies one change.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Tenant(tenant) => self.put_tenant(&tenant),
            Change::Workspace(workspace) => self.put_workspace(&workspace)?,
            Change::Project(project) => self.put_project(&project)?,
            Change::Team(team) => self.put_team(&team)?,
            Change::TeamDeleted(id) => self.drop_team(id),
            Change::User(user) => self.put_user(&user)?,
            Change::UserDeleted(user) => self.drop_user(user)?,
            Change::ServiceAccount(account) => self.put_service_account(&account)?,
            Change::Role(role) => self.put_role(&role)?,
            // Nobody is bound to it: what it gives, it gives to nobody.
            Change::RoleDeleted(id) => self.roles.put(id.into(), PermissionSet::NONE, || "".into()),
            Change::Binding(binding) => self.put_binding(binding)?,
            Change::BindingDeleted(id) => self.drop_binding(id),
            Change::Key(key) => self.put_key(*key)?,
            Change::KeyRehashed(rehashed) => self.keys.rehash(&rehashed),
            Change::Budget(budget) => self.put_budget(budget)?,
            Change::BudgetDeleted(id) => self.drop_budget(id),
            Change::Prices(prices) => prices.into_iter().for_each(|price| self.put_price(price)),
            // Tokens are checked beside the state: see `engine::tokens`.
            Change::SigningKey(_) => {}
            Change::BasisEnded { basis, until } => self.ended.put(basis, until),
        }
        Ok(())
    }

    fn put_tenant(&mut self, tenant: &Tenant) {
        let suspended = !tenant.in_use();
        let new = || TenantRow {
            id: tenant.id,
            name: tenant.name().into(),
            suspended,
            has_prices: false,
            budgets: BudgetList::new(),
            end_users: hashbrown::HashMap::new(),
        };
        self.tenants.put(tenant.id.bits(), |row| row.suspended = suspended, new);
    }

    fn put_workspace(&mut self, workspace: &Workspace) -> Result<()> {
        let tenant = known(self.tenants.find(workspace.tenant.bits()), &workspace.tenant)?;
        let suspended = !workspace.in_use();
        let ceiling = || workspace.policies.unknown_model_ceiling.map(|ceiling| Box::new(ceiling.price()));
        let name = format!("{}/workspaces/{}", self.tenants.at(tenant).name, workspace.slug);
        let new = || WorkspaceRow {
            id: workspace.id,
            tenant,
            name: name.into(),
            environment: workspace.environment.as_str().into(),
            suspended,
            ceiling: ceiling(),
            budgets: BudgetList::new(),
            projects: hashbrown::HashMap::new(),
        };
        let change = |row: &mut WorkspaceRow| (row.suspended, row.ceiling) = (suspended, ceiling());
        self.workspaces.put(workspace.id.bits(), change, new);
        Ok(())
    }

    fn put_project(&mut self, project: &Project) -> Result<()> {
        let workspace = known(self.workspaces.find(project.workspace.bits()), &project.workspace)?;
        let name = format!("{}/projects/{}", self.workspaces.at(workspace).name, project.slug);
        let suspended = !project.in_use();
        let new = || ProjectRow { id: project.id, workspace, name: name.into(), suspended, budgets: BudgetList::new() };
        let at = self.projects.put(project.id.bits(), |row| row.suspended = suspended, new);
        self.workspaces.at_mut(workspace).projects.insert(project.slug.as_str().into(), at);
        Ok(())
    }

    fn put_team(&mut self, team: &Team) -> Result<()> {
        let tenant = known(self.tenants.find(team.tenant.bits()), &team.tenant)?;
        let name = format!("{}/teams/{}", self.tenants.at(tenant).name, team.slug);
        let new = || TeamRow {
            id: team.id,
            name: name.into(),
            deleted: false,
            roles: Roles::new(),
            budgets: BudgetList::new(),
        };
        self.teams.put(team.id.bits(), |_| (), new);
        Ok(())
    }

    /// Its members still refer to it, by index: to look for them would take as long as there are people.
    fn drop_team(&mut self, id: TeamId) {
        if let Some(at) = self.teams.find(id.bits()) {
            self.teams.at_mut(at).deleted = true;
        }
    }

    /// Keys may be theirs, so they stay as somebody who may do nothing.
    fn drop_user(&mut self, user: FormerUser) -> Result<()> {
        let tenant = known(self.tenants.find(user.tenant.bits()), &user.tenant)?;
        let name = format!("{}/users/{}", self.tenants.at(tenant).name, user.id);
        let new = || ActorRow::new(Principal::User(user.id), tenant, name.into(), false, SmallVec::new());
        self.users.put(user.id.bits(), |old| (old.active, old.teams) = (false, SmallVec::new()), new);
        Ok(())
    }

    fn put_user(&mut self, user: &User) -> Result<()> {
        let tenant = known(self.tenants.find(user.tenant.bits()), &user.tenant)?;
        let name = format!("{}/users/{}", self.tenants.at(tenant).name, user.id);
        let teams = self.team_indexes(&user.teams);
        let active = user.state == UserState::Active;
        let row = ActorRow::new(Principal::User(user.id), tenant, name.into(), active, teams);
        self.users.put(user.id.bits(), |old| (old.active, old.teams) = (row.active, row.teams.clone()), || row.clone());
        Ok(())
    }

    fn put_service_account(&mut self, account: &ServiceAccount) -> Result<()> {
        let tenant = known(self.tenants.find(account.tenant.bits()), &account.tenant)?;
        let name = service_account_name(&self.tenants.at(tenant).name, &account.slug);
        let active = account.in_use();
        self.spiffe_ids.put(account.id, account.spiffe_id.as_ref());
        let new = || {
            ActorRow::new(Principal::ServiceAccount(account.id), tenant, name.as_str().into(), active, SmallVec::new())
        };
        self.service_accounts.put(account.id.bits(), |old| old.active = active, new);
        Ok(())
    }

    fn roles_of(&mut self, member: Member) -> Option<&mut Roles> {
        Some(match member {
            Member::User(id) => &mut self.users.at_mut(self.users.find(id.bits())?).roles,
            Member::Team(id) => &mut self.teams.at_mut(self.teams.find(id.bits())?).roles,
            Member::ServiceAccount(id) => {
                &mut self.service_accounts.at_mut(self.service_accounts.find(id.bits())?).roles
            }
        })
    }

    fn put_role(&mut self, role: &CustomRole) -> Result<()> {
        let tenant = known(self.tenants.find(role.tenant.bits()), &role.tenant)?;
        let name = || format!("{}/roles/{}", self.tenants.at(tenant).name, role.slug).into();
        self.roles.put(role.id.into(), role.permissions, name);
        Ok(())
    }

    fn put_binding(&mut self, binding: Binding) -> Result<()> {
        let reach = self.reach(binding.scope).ok_or_else(|| ApplyError(format!("{:?}", binding.scope)))?;
        if self.bindings.insert(binding.id, binding).is_none() {
            let role = known(self.roles.find(binding.role), &binding.role)?;
            let roles = self.roles_of(binding.member).ok_or_else(|| ApplyError(format!("{:?}", binding.member)))?;
            roles.push((reach, role));
        }
        self.ends.extend(binding.expires.map(|at| (at, binding.id)));
        Ok(())
    }

    /// Whether a binding, a secret of a key, or a period of credit has ended that is still here, or a price counts that is not.
    #[must_use]
    pub fn is_behind(&self, now: Timestamp) -> bool {
        self.ends.first().is_some_and(|(at, _)| *at <= now)
            || self.turns.first().is_some_and(|(at, _)| *at <= now)
            || self.keys.is_behind(now)
            || self.prices.is_behind(now)
    }

    /// Drops the bindings and the secrets that have ended, moves pools on whose credit has expired, and lets prices count whose
    /// moment has come.
    pub fn end(&mut self, now: Timestamp) {
        self.prices.turn(now);
        if self.keys.is_behind(now) {
            self.keys.end_secrets(now);
        }
        while let Some((_, id)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.drop_binding(id);
        }
        while let Some((start, at)) = self.turns.first().copied().filter(|(start, _)| *start <= now) {
            self.turns.pop_first();
            self.budgets.at_mut(at).accounts.get_mut().turn(turn_at(start), start);
            // What no call holds of the old period is nobody's: it is given back at once.
            self.lowered.get_mut().push(at);
        }
    }

    /// Notes when credit of a pool expires.
    fn note_turns(&mut self, at: u32) {
        let row = self.budgets.at_mut(at);
        if row.budget.turns.is_empty() {
            return;
        }
        let accounts = row.accounts.get_mut();
        // The window knows only the first period: a pool with others always has an account.
        let newest = match accounts.newest() {
            Some(newest) => newest,
            None => accounts.of(|| row.budget.calendar(), Period(0), row.budget.created).period,
        };
        let ahead = row.budget.turns.iter().filter(|turn| **turn > newest);
        self.turns.extend(ahead.map(|turn| (start_of(*turn), at)));
    }

    fn drop_binding(&mut self, id: BindingId) {
        let Some(binding) = self.bindings.remove(&id) else { return };
        if let Some(at) = binding.expires {
            self.ends.remove(&(at, id));
        }
        let (Some(reach), Some(role)) = (self.reach(binding.scope), self.roles.find(binding.role)) else { return };
        if let Some(roles) = self.roles_of(binding.member)
            && let Some(at) = roles.iter().position(|held| *held == (reach, role))
        {
            // One entry of one binding: another binding of the same role to the same place has its own.
            roles.swap_remove(at);
        }
    }

    fn put_key(&mut self, key: Key) -> Result<()> {
        let mut row = KeyRow::new(key.id, key.hash, key.public_id, key.state);
        row.workspace = known(self.workspaces.find(key.workspace.bits()), &key.workspace)?;
        row.owner = known(self.pack(key.owner), &key.owner)?;
        row.project = match key.project {
            Some(project) => known(self.projects.find(project.bits()), &project)?,
            None => NO_INDEX,
        };
        row.expires = key.refused_from().map_or(i64::MAX, super::super::domain::time::Timestamp::micros);
        self.keys.put(row, &key.allowlist, key.secrets);
        Ok(())
    }

    /// A tenant that is gone needs none.
    fn put_price(&mut self, price: DatedPrice) {
        if let Some(at) = price.owner.and_then(|owner| self.tenants.find(owner.bits())) {
            self.tenants.at_mut(at).has_prices = true;
        }
        self.prices.put(price);
    }

    fn put_budget(&mut self, budget: Budget) -> Result<()> {
        if let Some(at) = self.budgets.find(budget.id.bits()) {
            let row = self.budgets.at_mut(at);
            if row.budget.cap() != budget.cap() {
                if budget.cap() < row.budget.cap() {
                    self.lowered.get_mut().push(at);
                }
                row.accounts.get_mut().iter_mut().for_each(Account::limit_changed);
            }
            row.terms = Terms { deleted: row.terms.deleted, ..Terms::of(&budget) };
            let moved = (row.budget.scope != budget.scope && !row.terms.deleted).then(|| row.budget.scope.clone());
            *row.budget = budget;
            self.note_turns(at);
            return moved.map_or(Ok(()), |from| self.move_budget(at, &from));
        }
        let tenant = known(self.tenants.find(budget.tenant.bits()), &budget.tenant)?;
        let name: Arc<str> = format!("{}/budgets/{}", self.tenants.at(tenant).name, budget.id).into();
        let scope_name = self.budget_scope_name(tenant, &budget.scope)?;
        let (id, scope) = (budget.id, budget.scope.clone());
        let new = || BudgetRow {
            accounts: Accounts::default().into(),
            terms: Terms::of(&budget),
            name,
            scope_name,
            budget: Box::new(budget),
        };
        let at = self.budgets.put(id.bits(), |_| (), new);
        self.note_turns(at);
        self.enlist(tenant, &scope, at);
        Ok(())
    }

    /// Holds that were taken on it refer to it by index, and find it wherever it is.
    fn move_budget(&mut self, at: u32, from: &BudgetScope) -> Result<()> {
        let budget = &self.budgets.at(at).budget;
        let (tenant, to) = (known(self.tenants.find(budget.tenant.bits()), &budget.tenant)?, budget.scope.clone());
        let scope_name = self.budget_scope_name(tenant, &to)?;
        self.budgets.at_mut(at).scope_name = scope_name;
        self.strike(tenant, from, at);
        self.enlist(tenant, &to, at);
        Ok(())
    }

    /// Puts a budget on the list of what it limits.
    fn enlist(&mut self, tenant: u32, scope: &BudgetScope, at: u32) {
        if let Some(list) = self.budget_list(tenant, scope) {
            list.push(at);
        }
        if let BudgetScope::Key(key) = scope {
            self.keys.set_budgeted(*key, true);
        }
    }

    /// Takes a budget off the list of what it limits.
    fn strike(&mut self, tenant: u32, scope: &BudgetScope, at: u32) {
        if let Some(list) = self.budget_list(tenant, scope) {
            list.retain(|listed| *listed != at);
            let empty = list.is_empty();
            if let BudgetScope::Key(key) = scope {
                self.keys.set_budgeted(*key, !empty);
            }
        }
    }

    fn drop_budget(&mut self, id: BudgetId) {
        let Some(at) = self.budgets.find(id.bits()) else { return };
        let row = self.budgets.at_mut(at);
        row.terms.deleted = true;
        let (tenant, scope) = (row.budget.tenant, row.budget.scope.clone());
        let Some(tenant) = self.tenants.find(tenant.bits()) else { return };
        self.strike(tenant, &scope, at);
    }

    fn budget_list(&mut self, tenant: u32, scope: &BudgetScope) -> Option<&mut BudgetList> {
        Some(match scope {
            BudgetScope::Tenant => &mut self.tenants.at_mut(tenant).budgets,
            BudgetScope::Workspace(id) => &mut self.workspaces.at_mut(self.workspaces.find(id.bits())?).budgets,
            BudgetScope::Project(id) => &mut self.projects.at_mut(self.projects.find(id.bits())?).budgets,
            BudgetScope::Team(id) => &mut self.teams.at_mut(self.teams.find(id.bits())?).budgets,
            BudgetScope::User(id) => &mut self.users.at_mut(self.users.find(id.bits())?).budgets,
            BudgetScope::ServiceAccount(id) => {
                &mut self.service_accounts.at_mut(self.service_accounts.find(id.bits())?).budgets
            }
            BudgetScope::Key(id) => self.key_budgets.entry(id.bits()).or_default(),
            BudgetScope::EndUser(name) => {
                self.tenants.at_mut(tenant).end_users.entry(name.as_str().into()).or_default()
            }
        })
    }

    fn budget_scope_name(&self, tenant: u32, scope: &BudgetScope) -> Result<Arc<str>> {
        let tenant_name = &self.tenants.at(tenant).name;
        let unknown = || ApplyError(format!("{scope:?}"));
        Ok(match scope {
            BudgetScope::Tenant => Arc::clone(tenant_name),
            BudgetScope::Workspace(id) => Arc::clone(&self.workspaces.get(id.bits()).ok_or_else(unknown)?.name),
            BudgetScope::Project(id) => Arc::clone(&self.projects.get(id.bits()).ok_or_else(unknown)?.name),
            BudgetScope::Team(id) => Arc::clone(&self.teams.get(id.bits()).ok_or_else(unknown)?.name),
            BudgetScope::User(id) => Arc::clone(&self.user(*id).ok_or_else(unknown)?.name),
            BudgetScope::ServiceAccount(id) => Arc::clone(&self.service_account(*id).ok_or_else(unknown)?.name),
            BudgetScope::Key(id) => {
                let row = self.keys.by_id(*id).ok_or_else(unknown)?;
                format!("{}/keys/{id}", self.workspaces.at(row.workspace).name).into()
            }
            BudgetScope::EndUser(name) => format!("{tenant_name}/endUsers/{name}").into(),
        })
    }
}

fn service_account_name(tenant: &str, slug: &Slug) -> String {
    format!("{tenant}/serviceAccounts/{slug}")
}
