//! What Authorize asks and answers, in the engine's own words.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::domain::{
    bindings::Principal,
    keys::KeyState,
    money::{Nanos, Unit},
    permission::Permission,
    prices::Usage,
    role::Role,
    time::Timestamp,
};

/// Longest hold.
pub const MAX_HOLD: Duration = Duration::from_mins(15);
/// How long a hold lives when nobody says.
pub const DEFAULT_HOLD: Duration = Duration::from_mins(2);

/// The credential of an end client.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// An API key, as presented.
    ApiKey(&'a str),
    /// Somebody whose access token was good; `None` when it was not.
    Token(Option<Principal>),
}

/// What Authorize is to do beside deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decide, hold nothing.
    CheckOnly,
    /// Hold the whole estimate, or refuse.
    Hold,
    /// Hold the estimate, or as much of its output as there is room for.
    Clamp,
}

/// One question. Texts are bounded by whoever parsed them.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Idempotency key; empty for none.
    pub request_id: &'a str,
    /// Whose call it is.
    pub credential: Credential<'a>,
    /// Address of the end client, if it was given and can be read.
    pub client_ip: Option<IpAddr>,
    /// Origin of the end client's call; empty for none.
    pub origin: &'a str,
    /// What the end client wants to do.
    pub permission: Permission,
    /// Provider; empty for any.
    pub provider: &'a str,
    /// Model.
    pub model: &'a str,
    /// Endpoint; empty for none.
    pub endpoint: &'a str,
    /// Environment that the sidecar serves; empty for any.
    pub environment: &'a str,
    /// Slug of the project; empty for the key's own.
    pub project: &'a str,
    /// The end client's own user; empty for none.
    pub end_user: &'a str,
    /// Upper bounds of what the call will use.
    pub estimate: Usage,
    /// What it will cost at most, when the caller knows better than the price list.
    pub cost: Option<Nanos>,
    /// What to do beside deciding.
    pub mode: Mode,
    /// How long the hold is to live: 1 s to [`MAX_HOLD`].
    pub ttl: Duration,
    /// Answer from state at least this fresh.
    pub min_revision: i64,
}

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
pub struct Denial {
    /// The reason.
    pub code: DenialCode,
    /// What it is about: a resource name, or empty.
    pub scope: Arc<str>,
    /// The budget that refuses, as it stands, and what was asked of it.
    pub budget: Option<(BudgetView, i64)>,
    /// A detail for the message: the model, address, permission at fault.
    pub detail: String,
}

/// Who the credential belongs to.
#[derive(Clone, Debug)]
pub struct PrincipalView {
    /// Resource name of the tenant.
    pub tenant: Arc<str>,
    /// Resource name of the workspace, if there is one.
    pub workspace: Option<Arc<str>>,
    /// Resource name of the project, if there is one.
    pub project: Option<Arc<str>>,
    /// Resource names of the owner's teams.
    pub teams: Vec<Arc<str>>,
    /// Who owns the credential.
    pub owner: Principal,
    /// Resource name of the owner.
    pub owner_name: Arc<str>,
    /// Resource name of the key; empty for an access token.
    pub key: String,
    /// The workspace's environment.
    pub environment: Option<Arc<str>>,
    /// Roles that the owner holds here.
    pub roles: Vec<Role>,
}

/// Where a budget stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetView {
    /// Resource name.
    pub name: Arc<str>,
    /// Resource name of what it limits.
    pub scope: Arc<str>,
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

impl BudgetView {
    /// What is left; never negative.
    #[must_use]
    pub fn remaining(&self) -> i64 {
        self.limit.saturating_sub(self.spent).saturating_sub(self.held).max(0)
    }
}

/// What was held.
#[derive(Clone, Debug)]
pub struct HoldView {
    /// The authenticated token.
    pub token: Vec<u8>,
    /// Budget, unit, amount.
    pub amounts: Vec<(Arc<str>, Unit, i64)>,
    /// When it ends.
    pub expires: Timestamp,
    /// Output tokens that it covers.
    pub granted_output: i64,
}

/// Something the caller should know although the call is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A soft budget is over its limit.
    SoftLimitExceeded(Arc<str>),
    /// The price list does not know the model.
    PriceUnknown,
    /// The estimate was clamped.
    Clamped,
}

/// Facts about the key.
#[derive(Clone, Copy, Debug)]
pub struct KeyFacts {
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Where it stands.
    pub state: KeyState,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Every reason against it; none for an allowed call.
    pub denials: Vec<Denial>,
    /// Whose the credential is, when the caller may know.
    pub principal: Option<PrincipalView>,
    /// What was held.
    pub hold: Option<HoldView>,
    /// The budgets that applied, widest first.
    pub budgets: Vec<BudgetView>,
    /// What else to know.
    pub warnings: Vec<Warning>,
    /// Facts about the key.
    pub key: Option<KeyFacts>,
    /// Revision of the state that decided.
    pub revision: i64,
    /// Names the decision in logs.
    pub decision_id: String,
}
