//! Whose call it is, and every reason but money why it may not be made.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{
    ahead::ask_for,
    answer::{Denial, DenialCode},
    key_table::{KeyRow, NO_INDEX, SecretFound, SecretUsed},
    question::{Credential, Question},
    state::{ActorRow, BudgetList, Place, ProjectRow, State, TenantRow, WorkspaceRow},
};
use crate::domain::{
    id::TeamId, key_secret::Presented, keys::KeyState, peppers::Rehashed, permission::Permission, time::Timestamp,
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
    /// Which secret of the key it is made with; none when that was not presented.
    pub secret: Option<SecretUsed>,
    /// The narrowest place that the call is in.
    pub place: Place,
}

/// Indexes of budgets that apply to a call, widest scope first.
pub type Applying = SmallVec<[u32; 8]>;

impl State {
    /// The secret that a text is, and of which key. An unknown id costs as much as a wrong secret. Whether the caller may serve its tenant
    /// is still to be asked.
    ///
    /// # Errors
    /// The denial that the caller is told.
    pub fn find_key(&self, text: &str) -> Result<SecretFound, DenialCode> {
        // Memory brings the place in the index while the checksum is looked at; the key's row, and then its owner and
        // allowlist, while the secret is hashed.
        let presented = Presented::parse_with(text, |id| self.keys.touch(id)).ok_or(DenialCode::KeyMalformed)?;
        let peppers = self.peppers.as_ref().ok_or(DenialCode::KeyNotFound)?;
        let (found, is_known) = self.keys.compared_with(&presented.public_id).ok_or(DenialCode::KeyNotFound)?;
        let (stored, row) = (found.hash, self.keys.row(found.at));
        let owner = self.actor(row.owner);
        ask_for(&owner.tenant);
        ask_for(&owner.budgets);
        ask_for(&self.workspaces.at(row.workspace).budgets);
        if row.project != NO_INDEX {
            ask_for(&self.projects.at(row.project).budgets);
        }
        self.keys.touch_rules(row);
        let offered = peppers.hash(&presented);
        // Once more for what is stored under another pepper, be it the key's or that of the other that is looked at.
        let checked = peppers.hash_as(stored, &presented, offered);
        let genuine = checked.unwrap_or(offered.hash).is(&stored.hash) & checked.is_some() & is_known;
        if !genuine {
            return Err(DenialCode::KeyNotFound);
        }
        if stored.pepper < offered.pepper {
            self.aged.note(Rehashed { key: row.id(), public_id: presented.public_id, old: stored, new: offered });
        }
        Ok(found)
    }

    /// The workspace of a key, as a place.
    #[must_use]
    pub fn key_place(&self, row: &KeyRow) -> Place {
        Place { tenant: self.workspaces.at(row.workspace).tenant, workspace: row.workspace, project: NO_INDEX }
    }

    /// Whose call it is when it is made with this key, with the project that the key has of its own.
    #[must_use]
    pub fn subject_of_key<'s>(&'s self, row: &'s KeyRow) -> Subject<'s> {
        let place = self.key_place(row);
        let subject = Subject {
            tenant: self.tenants.at(place.tenant),
            workspace: Some(self.workspaces.at(row.workspace)),
            project: None,
            owner: self.actor(row.owner),
            key: Some(row),
            secret: None,
            place,
        };
        if row.project == NO_INDEX { subject } else { subject.within(self, row.project) }
    }

    /// Whose call it is when it is made without a key, in a workspace if it is in one.
    #[must_use]
    pub fn subject_of_owner<'s>(&'s self, owner: &'s ActorRow, workspace: Option<u32>) -> Subject<'s> {
        Subject {
            tenant: self.tenants.at(owner.tenant),
            workspace: workspace.map(|at| self.workspaces.at(at)),
            project: None,
            owner,
            key: None,
            secret: None,
            place: Place { tenant: owner.tenant, workspace: workspace.unwrap_or(NO_INDEX), project: NO_INDEX },
        }
    }

    /// Whose call it is; and the indexes of that owner, packed, and of the key.
    ///
    /// # Errors
    /// The denial that the caller is told when the credential is none that it may know of.
    pub fn identify(
        &self,
        caller: &ActorRow,
        credential: Credential<'_>,
    ) -> Result<(Subject<'_>, u32, u32), DenialCode> {
        let (subject, owner, key) = match credential {
            Credential::ApiKey(text) => {
                let SecretFound { at, used, .. } = self.find_key(text)?;
                let row = self.keys.row(at);
                (Subject { secret: Some(used), ..self.subject_of_key(row) }, row.owner, at)
            }
            Credential::Token(who) => {
                let good = who.filter(|who| !self.ended.has(who.basis));
                let owner = good.and_then(|who| self.pack(who.principal)).ok_or(DenialCode::KeyNotFound)?;
                (self.subject_of_owner(self.actor(owner), None), owner, NO_INDEX)
            }
        };
        let place = Place { project: NO_INDEX, ..subject.place };
        if self.may(caller, Permission::GateAuthorize, place) {
            Ok((subject, owner, key))
        } else {
            Err(DenialCode::KeyNotFound)
        }
    }

    /// The teams that somebody is in, each once, in the order of their ids.
    #[must_use]
    pub fn teams_of(&self, actor: &ActorRow) -> Vec<TeamId> {
        let teams = actor.teams.iter().map(|team| self.teams.at(*team)).filter(|team| !team.deleted);
        let mut ids: Vec<TeamId> = teams.map(|team| team.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
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
        if let Some(key) = subject.key.filter(|key| key.is_budgeted()) {
            self.key_budgets.get(&key.id().bits()).into_iter().for_each(&mut add);
        }
        if !end_user.is_empty() && !subject.tenant.end_users.is_empty() {
            subject.tenant.end_users.get(end_user).into_iter().for_each(&mut add);
        }
        all
    }
}

impl<'s> Subject<'s> {
    /// The call in a project, by index.
    #[must_use]
    pub fn within(self, state: &'s State, project: u32) -> Self {
        let place = Place { project, ..self.place };
        Self { project: Some(state.projects.at(project)), place, ..self }
    }

    /// The call in no project.
    #[must_use]
    pub const fn without_project(self) -> Self {
        let place = Place { project: NO_INDEX, ..self.place };
        Self { project: None, place, ..self }
    }

    /// Tags the call with a project of its workspace. `None`: there is no such project.
    #[must_use]
    pub fn tagged(self, state: &'s State, slug: &str) -> Option<Self> {
        if slug.is_empty() {
            return Some(self);
        }
        Some(self.within(state, *self.workspace?.projects.get(slug)?))
    }

    /// Resource name of the key; empty without one.
    #[must_use]
    pub fn key_name(&self) -> String {
        match (self.workspace, self.key) {
            (Some(workspace), Some(key)) => format!("{}/keys/{}", workspace.name, key.id()),
            _ => String::new(),
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
        if let Some(project) = self.project.filter(|project| project.suspended) {
            denials.push(denial(DenialCode::ProjectSuspended, &*project.name, ""));
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
        let held = state.permissions_at(self.owner, self.place);
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
