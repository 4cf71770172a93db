//! What Authorize answers, in the engine's own words.
//!
//! Views borrow from the state that decided and are written out while it is still locked: nothing is copied before.

use std::{borrow::Cow, fmt, time::Duration};

use smallvec::SmallVec;

use super::{
    hold_token::{HoldClaims, HoldKey},
    holds::{HoldRef, Line, Lines},
    key_table::{KeyRow, SecretUsed},
    price_book::HeldPrice,
    question::Question,
    state::State,
    subject::Subject,
};
use crate::domain::{
    bindings::Principal,
    id::{BootId, KeyId, ProjectId, WorkspaceId},
    keys::KeyState,
    money::Unit,
    time::Timestamp,
};

/// Why a model call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialCode {
    /// The text is not a key.
    KeyMalformed,
    /// No such key, or not for this caller.
    KeyNotFound,
    /// Switched off for now.
    KeyDisabled,
    /// Its last day has passed.
    KeyExpired,
    /// Ended for good.
    KeyRevoked,
    /// The tenant is suspended.
    TenantSuspended,
    /// The workspace is suspended.
    WorkspaceSuspended,
    /// The project is suspended.
    ProjectSuspended,
    /// The owner may not act.
    UserSuspended,
    /// The address is not on the key's list.
    IpBlocked,
    /// The origin is not on the key's list.
    OriginBlocked,
    /// The model is not on the key's list.
    ModelNotAllowed,
    /// The endpoint is not on the key's list.
    EndpointNotAllowed,
    /// The key is for another environment.
    EnvironmentMismatch,
    /// The key or its owner's roles do not give the permission.
    PermissionDenied,
    /// No such project in the workspace.
    ProjectUnknown,
    /// A budget in dollars or tokens has not enough left.
    BudgetExhausted,
    /// The workspace's credit has not enough left.
    CreditExhausted,
    /// A budget in requests has not enough left.
    QuotaExhausted,
    /// Dollars are limited and the price is not known.
    PriceUnknown,
}

/// One reason for a refusal.
#[derive(Clone, Debug)]
pub struct Denial<'s> {
    /// The reason.
    pub code: DenialCode,
    /// What it is about: a resource name, or empty.
    pub scope: Cow<'s, str>,
    /// The budget that refuses, as it stands, and what was asked of it.
    pub budget: Option<(BudgetView<&'s str>, i64)>,
    /// A detail for the message: the model, address, permission at fault.
    pub detail: String,
}

/// Whose a credential is, for a caller that may know.
#[derive(Clone, Copy)]
pub struct PrincipalView<'s> {
    pub(super) state: &'s State,
    pub(super) subject: Subject<'s>,
}

impl<'s> PrincipalView<'s> {
    /// Resource name of the tenant.
    #[must_use]
    pub fn tenant(&self) -> &'s str {
        &self.subject.tenant.name
    }

    /// Resource name of the workspace, if there is one.
    #[must_use]
    pub fn workspace(&self) -> Option<&'s str> {
        self.subject.workspace.map(|workspace| &*workspace.name)
    }

    /// The workspace's environment.
    #[must_use]
    pub fn environment(&self) -> Option<&'s str> {
        self.subject.workspace.map(|workspace| &*workspace.environment)
    }

    /// Resource name of the project, if there is one.
    #[must_use]
    pub fn project(&self) -> Option<&'s str> {
        self.subject.project.map(|project| &*project.name)
    }

    /// Resource names of the owner's teams.
    pub fn teams(&self) -> impl Iterator<Item = &'s str> {
        let Self { state, subject } = *self;
        subject
            .owner
            .teams
            .iter()
            .map(|team| state.teams.at(*team))
            .filter(|team| !team.deleted)
            .map(|team| &*team.name)
    }

    /// Who owns the credential.
    #[must_use]
    pub const fn owner(&self) -> Principal {
        self.subject.owner.principal()
    }

    /// Resource name of the owner.
    #[must_use]
    pub fn owner_name(&self) -> &'s str {
        &self.subject.owner.name
    }

    /// The key, in the workspace; none with an access token.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.subject.key.map(KeyRow::id)
    }

    /// Resource names of the roles that the owner holds here: those that every tenant has first, the greatest of them first.
    pub fn roles(&self) -> impl Iterator<Item = &'s str> {
        let mut held: SmallVec<[u32; 4]> = self.state.roles_at(self.subject.owner, self.subject.place).collect();
        held.sort_unstable();
        held.dedup();
        let state = self.state;
        held.into_iter().map(move |role| &*state.roles.at(role).name)
    }
}

/// Where a budget stands. With names that are borrowed, or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetView<Name> {
    /// Resource name.
    pub name: Name,
    /// Resource name of what it limits.
    pub scope: Name,
    /// Its unit.
    pub unit: Unit,
    /// Its limit.
    pub limit: i64,
    /// Settled in the period.
    pub spent: i64,
    /// Held, or set aside.
    pub held: i64,
    /// When the period ends.
    pub resets_at: Option<Timestamp>,
    /// Whether it refuses.
    pub hard: bool,
}

impl<Name> BudgetView<Name> {
    /// What is left; never negative.
    #[must_use]
    pub fn remaining(&self) -> i64 {
        self.limit.saturating_sub(self.spent).saturating_sub(self.held).max(0)
    }
}

/// What was held, for whoever asked.
pub struct HoldView<'s> {
    /// When it ends.
    pub expires: Timestamp,
    /// Output tokens that it covers.
    pub granted_output: i64,
    pub(super) at: HoldRef,
    pub(super) issued: Timestamp,
    pub(super) price: HeldPrice,
    pub(super) lines: Lines,
    pub(super) whose: PrincipalView<'s>,
    pub(super) asked: &'s Question<'s>,
    pub(super) caller: Principal,
    pub(super) boot: BootId,
    pub(super) key: &'s HoldKey,
}

impl<'s> HoldView<'s> {
    /// Budget, unit and amount of everything that is held.
    pub fn amounts(&self) -> impl Iterator<Item = (&'s str, Unit, i64)> {
        let budgets = &self.whose.state.budgets;
        self.lines.iter().map(move |line| {
            let row = budgets.at(line.budget);
            (&*row.name, row.terms.unit, line.amount)
        })
    }

    /// Makes the authenticated token with which it is settled.
    #[must_use]
    pub fn token(&self) -> Vec<u8> {
        let PrincipalView { state, subject } = &self.whose;
        let dollars = |line: &&Line| state.budgets.at(line.budget).terms.unit == Unit::Usd;
        self.key.sign(&HoldClaims {
            boot: self.boot,
            hold: self.at,
            caller: self.caller,
            owner: subject.owner.principal(),
            key: subject.key.map_or(KeyId::from_bits(0), KeyRow::id),
            workspace: subject.workspace.map_or(WorkspaceId::from_bits(0), |workspace| workspace.id),
            project: subject.project.map_or(ProjectId::from_bits(0), |project| project.id),
            price: self.price,
            issued: self.issued,
            expires: self.expires,
            usd: self.lines.iter().filter(dollars).map(|line| line.amount).max().unwrap_or_default(),
            provider: self.asked.provider.into(),
            model: self.asked.model.into(),
            end_user: self.asked.end_user.into(),
            lines: self.lines.iter().map(|line| (line.slice, line.amount)).collect(),
            tier: self.asked.metered.tier,
        })
    }
}

/// Something the caller should know although the call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning<'s> {
    /// A soft budget is over its limit.
    SoftLimitExceeded(&'s str),
    /// The price list does not know the model.
    PriceUnknown,
    /// The price list does not know the model, and it is held at the ceiling of its workspace.
    PriceCeiling,
    /// The estimate was clamped.
    Clamped,
    /// The answer comes from what was known so long ago: the database cannot be reached.
    Stale(Duration),
}

/// Facts about the key.
#[derive(Clone, Copy, Debug)]
pub struct KeyFacts {
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Where it stands.
    pub state: KeyState,
    /// Which of its secrets was used.
    pub secret: SecretUsed,
}

impl KeyFacts {
    /// Those of the key that a call is made with, if it is made with one.
    #[must_use]
    pub fn of(subject: &Subject<'_>) -> Option<Self> {
        let (key, secret) = (subject.key?, subject.secret?);
        let expires = (key.expires != i64::MAX).then(|| Timestamp::from_micros(key.expires));
        Some(Self { expires, state: key.state, secret })
    }
}

/// Names a decision: the run of the server, and a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionId {
    /// Bits of the run.
    pub run: u64,
    /// The count.
    pub count: u64,
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dec_{:016x}{:08x}", self.run, self.count)
    }
}

/// The answer. Names are borrowed from the state that decided: nothing is copied before it is written out.
pub struct Answer<'s> {
    /// Every reason against it; none for an allowed call.
    pub denials: Vec<Denial<'s>>,
    /// Whose the credential is, when the caller may know.
    pub principal: Option<PrincipalView<'s>>,
    /// What was held.
    pub hold: Option<HoldView<'s>>,
    /// The budgets that applied, widest first.
    pub budgets: SmallVec<[BudgetView<&'s str>; 6]>,
    /// What else to know.
    pub warnings: Vec<Warning<'s>>,
    /// Facts about the key.
    pub key: Option<KeyFacts>,
    /// Revision of the state that decided.
    pub revision: i64,
    /// Names the decision in logs.
    pub id: DecisionId,
}

impl Answer<'_> {
    /// One that says nothing yet.
    #[must_use]
    pub fn new(revision: i64, id: DecisionId) -> Self {
        Self {
            denials: Vec::new(),
            principal: None,
            hold: None,
            budgets: SmallVec::new(),
            warnings: Vec::new(),
            key: None,
            revision,
            id,
        }
    }
}
