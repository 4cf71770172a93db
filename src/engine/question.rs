//! What Authorize asks and answers, in the engine's own words.

use std::{borrow::Cow, fmt, net::IpAddr, time::Duration};

use smallvec::SmallVec;

use crate::domain::{
    bindings::Principal,
    id::KeyId,
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

/// Who the credential belongs to.
#[derive(Clone, Debug)]
pub struct PrincipalView<'s> {
    /// Resource name of the tenant.
    pub tenant: &'s str,
    /// Resource name of the workspace, if there is one.
    pub workspace: Option<&'s str>,
    /// Resource name of the project, if there is one.
    pub project: Option<&'s str>,
    /// Resource names of the owner's teams.
    pub teams: SmallVec<[&'s str; 4]>,
    /// Who owns the credential.
    pub owner: Principal,
    /// Resource name of the owner.
    pub owner_name: &'s str,
    /// The key, in the workspace; none with an access token.
    pub key: Option<KeyId>,
    /// The workspace's environment.
    pub environment: Option<&'s str>,
    /// Roles that the owner holds here.
    pub roles: SmallVec<[Role; 4]>,
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

/// What was held.
#[derive(Clone, Debug)]
pub struct HoldView<'s> {
    /// The authenticated token.
    pub token: Vec<u8>,
    /// Budget, unit, amount.
    pub amounts: SmallVec<[(&'s str, Unit, i64); 6]>,
    /// When it ends.
    pub expires: Timestamp,
    /// Output tokens that it covers.
    pub granted_output: i64,
}

/// Something the caller should know although the call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning<'s> {
    /// A soft budget is over its limit.
    SoftLimitExceeded(&'s str),
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
#[derive(Clone, Debug)]
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
