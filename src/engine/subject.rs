//! Whose call it is, and every reason but money why it may not be made.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{
    key_table::{KeyRow, NO_INDEX},
    question::{Credential, Denial, DenialCode, PrincipalView, Question},
    state::{ActorRow, BudgetList, ProjectRow, State, TenantRow, WorkspaceRow},
};
use crate::domain::{
    bindings::Scope,
    key_secret::{KeyHash, Pepper, Presented},
    keys::KeyState,
    permission::Permission,
    role::Role,
    time::Timestamp,
};

/// Whose call it is.
#[derive(Clone, Copy)]
pub struct Subject<'s> {
    /// The tenant.
    pub tenant: &'s TenantRow,
    /// The workspace; none with an access token.
    pub workspace: Option<&'s WorkspaceRow>,
    /// The project that the call is tagged with.
    pub project: Option<&'s ProjectRow>,
    /// The owner of the credential.
    pub owner: &'s ActorRow,
    /// The key; none with an access token.
    pub key: Option<&'s KeyRow>,
}

/// Indexes of budgets that apply to a call, widest scope first.
pub type Applying = SmallVec<[u32; 8]>;

impl State {
    /// The key that a text is, if the caller may serve its tenant. An unknown id costs as much as a wrong secret.
    ///
    /// # Errors
    /// The denial that the caller is told.
    pub fn find_key(&self, text: &str, pepper: &Pepper, caller: &ActorRow) -> Result<&KeyRow, DenialCode> {
        let presented = Presented::parse(text).ok_or(DenialCode::KeyMalformed)?;
        let found = self.keys.by_public_id(&presented.public_id);
        let stored = found.map_or(KeyHash([0; 32]), |row| row.hash);
        let genuine = pepper.verify(&presented, &stored);
        let row = found.filter(|_| genuine).ok_or(DenialCode::KeyNotFound)?;
        let scope = self.key_scope(row);
        if self.may(caller, Permission::GateAuthorize, scope) || self.may(caller, Permission::GateCharge, scope) {
            Ok(row)
        } else {
            Err(DenialCode::KeyNotFound)
        }
    }

    /// The workspace of a key, as a scope.
    #[must_use]
    pub fn key_scope(&self, row: &KeyRow) -> Scope {
        let workspace = self.workspaces.at(row.workspace);
        Scope::Workspace(self.tenants.at(workspace.tenant).id, workspace.id)
    }

    /// Whose call it is when it is made with this key, with the project that the key has of its own.
    #[must_use]
    pub fn subject_of_key<'s>(&'s self, row: &'s KeyRow) -> Subject<'s> {
        let workspace = self.workspaces.at(row.workspace);
        Subject {
            tenant: self.tenants.at(workspace.tenant),
            workspace: Some(workspace),
            project: (row.project != NO_INDEX).then(|| self.projects.at(row.project)),
            owner: self.actor(row.owner),
            key: Some(row),
        }
    }

    /// Whose call it is.
    ///
    /// # Errors
    /// The denial that the caller is told when the credential is none that it may know of.
    pub fn identify(
        &self,
        caller: &ActorRow,
        credential: Credential<'_>,
        pepper: &Pepper,
    ) -> Result<Subject<'_>, DenialCode> {
        match credential {
            Credential::ApiKey(text) => Ok(self.subject_of_key(self.find_key(text, pepper, caller)?)),
            Credential::Token(principal) => {
                let owner = principal.and_then(|p| self.find_actor(p)).ok_or(DenialCode::KeyNotFound)?;
                let tenant = self.tenants.at(owner.tenant);
                if !self.may(caller, Permission::GateAuthorize, Scope::Tenant(tenant.id)) {
                    return Err(DenialCode::KeyNotFound);
                }
                Ok(Subject { tenant, workspace: None, project: None, owner, key: None })
            }
        }
    }

    /// Every budget that applies to a call, widest scope first.
    #[must_use]
    pub fn applying(&self, subject: &Subject<'_>, end_user: &str) -> Applying {
        let mut all = Applying::new();
        let mut add = |list: &BudgetList| all.extend_from_slice(list);
        add(&subject.tenant.budgets);
        subject.workspace.map(|workspace| &workspace.budgets).into_iter().for_each(&mut add);
        subject.project.map(|project| &project.budgets).into_iter().for_each(&mut add);
        subject.owner.teams.iter().for_each(|team| add(&self.teams.at(*team).budgets));
        add(&subject.owner.budgets);
        if let Some(key) = subject.key.filter(|key| key.budgeted) {
            self.key_budgets.get(&key.id().bits()).into_iter().for_each(&mut add);
        }
        if !end_user.is_empty() && !subject.tenant.end_users.is_empty() {
            subject.tenant.end_users.get(end_user).into_iter().for_each(&mut add);
        }
        all
    }
}

impl<'s> Subject<'s> {
    /// Tags the call with a project of its workspace. `None`: there is no such project.
    #[must_use]
    pub fn tagged(self, state: &'s State, slug: &str) -> Option<Self> {
        if slug.is_empty() {
            return Some(self);
        }
        let at = *self.workspace?.projects.get(slug)?;
        Some(Self { project: Some(state.projects.at(at)), ..self })
    }

    /// The narrowest scope that the call is in.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.workspace, self.project) {
            (Some(workspace), Some(project)) => Scope::Project(self.tenant.id, workspace.id, project.id),
            (Some(workspace), None) => Scope::Workspace(self.tenant.id, workspace.id),
            (None, _) => Scope::Tenant(self.tenant.id),
        }
    }

    /// Resource name of the key; empty without one.
    #[must_use]
    pub fn key_name(&self) -> String {
        match (self.workspace, self.key) {
            (Some(workspace), Some(key)) => format!("{}/keys/{}", workspace.name, key.id()),
            _ => String::new(),
        }
    }

    /// For the caller to see.
    #[must_use]
    pub fn view(&self, state: &'s State) -> PrincipalView<'s> {
        let mut roles: SmallVec<[Role; 4]> = state.roles_on(self.owner, self.scope()).collect();
        roles.sort_unstable();
        roles.dedup();
        PrincipalView {
            tenant: &self.tenant.name,
            workspace: self.workspace.map(|workspace| &*workspace.name),
            project: self.project.map(|project| &*project.name),
            teams: self.owner.teams.iter().map(|team| &*state.teams.at(*team).name).collect(),
            owner: self.owner.principal,
            owner_name: &self.owner.name,
            key: self.key.map(KeyRow::id),
            environment: self.workspace.map(|workspace| &*workspace.environment),
            roles,
        }
    }

    /// Every reason but money why the call may not be made.
    #[must_use]
    pub fn denials(&self, state: &State, asked: &Question<'_>, now: Timestamp) -> Vec<Denial<'s>> {
        let mut denials = Vec::new();
        let key_name = || self.key_name();
        if let Some(key) = self.key {
            match key.state {
                KeyState::Revoked => denials.push(denial(DenialCode::KeyRevoked, key_name(), "")),
                KeyState::Disabled => denials.push(denial(DenialCode::KeyDisabled, key_name(), "")),
                KeyState::Active => {}
            }
            if key.expires <= now.micros() {
                denials.push(denial(DenialCode::KeyExpired, key_name(), ""));
            }
        }
        if self.tenant.suspended {
            denials.push(denial(DenialCode::TenantSuspended, &*self.tenant.name, ""));
        }
        if let Some(workspace) = self.workspace.filter(|workspace| workspace.suspended) {
            denials.push(denial(DenialCode::WorkspaceSuspended, &*workspace.name, ""));
        }
        if !self.owner.active {
            denials.push(denial(DenialCode::UserSuspended, &*self.owner.name, ""));
        }
        if let Some(rules) = self.key.and_then(|key| state.keys.rules(key)) {
            if !rules.admits_ip(asked.client_ip) {
                let ip = asked.client_ip.map(|ip| ip.to_string()).unwrap_or_default();
                denials.push(denial(DenialCode::IpBlocked, key_name(), &ip));
            }
            if !rules.admits_origin(asked.origin) {
                denials.push(denial(DenialCode::OriginBlocked, key_name(), asked.origin));
            }
            if !rules.admits_model(asked.model) {
                denials.push(denial(DenialCode::ModelNotAllowed, key_name(), asked.model));
            }
            if !rules.admits_endpoint(asked.endpoint) {
                denials.push(denial(DenialCode::EndpointNotAllowed, key_name(), asked.endpoint));
            }
            if !rules.admits_permission(asked.permission) {
                denials.push(denial(DenialCode::PermissionDenied, key_name(), asked.permission.as_str()));
            }
        }
        if let Some(workspace) = self.workspace
            && !asked.environment.is_empty()
            && *workspace.environment != *asked.environment
        {
            denials.push(denial(DenialCode::EnvironmentMismatch, &*workspace.name, &workspace.environment));
        }
        let held = state.permissions_on(self.owner, self.scope());
        if !held.has(asked.permission) {
            denials.push(denial(DenialCode::PermissionDenied, &*self.owner.name, asked.permission.as_str()));
        }
        denials
    }
}

/// A reason that is not about money.
#[must_use]
pub fn denial<'s>(code: DenialCode, scope: impl Into<Cow<'s, str>>, detail: &str) -> Denial<'s> {
    Denial { code, scope: scope.into(), budget: None, detail: detail.to_owned() }
}
