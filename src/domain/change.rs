//! What a change feed carries: each change of state that a decision depends on, as the whole record after it.

use serde::{Deserialize, Serialize};

use super::{
    bindings::Binding,
    budgets::Budget,
    id::{BindingId, BudgetId, RoleId, TeamId},
    keys::Key,
    peppers::Rehashed,
    price_versions::DatedPrice,
    projects::Project,
    roles::CustomRole,
    service_accounts::ServiceAccount,
    signing_keys::SigningKey,
    teams::Team,
    tenants::Tenant,
    time::Timestamp,
    tokens::Basis,
    users::{FormerUser, User},
    workspaces::Workspace,
};

/// One change. Applying it twice is the same as once, so that a snapshot and the feed can overlap.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "record", rename_all = "snake_case")]
pub enum Change {
    /// A tenant is new or different.
    Tenant(Tenant),
    /// A workspace is new or different.
    Workspace(Workspace),
    /// A project is new or different.
    Project(Project),
    /// A team is new or different.
    Team(Team),
    /// A team is gone; nobody is bound to it and nothing limits it. Its members were not told one by one.
    TeamDeleted(TeamId),
    /// A user is new or different.
    User(User),
    /// A user was removed; nothing is bound to them and nothing limits them. Keys may still be theirs, and are refused.
    UserDeleted(FormerUser),
    /// A service account is new or different.
    ServiceAccount(ServiceAccount),
    /// A tenant's own role is new or different: so is what everybody may do who is bound to it.
    Role(CustomRole),
    /// A tenant's own role is gone; nobody is bound to it.
    RoleDeleted(RoleId),
    /// A binding is new.
    Binding(Binding),
    /// A binding is gone.
    BindingDeleted(BindingId),
    /// A key is new or different.
    Key(Box<Key>),
    /// A secret of a key is stored under another pepper; nothing else of the key is different.
    KeyRehashed(Rehashed),
    /// A budget is new or different.
    Budget(Budget),
    /// A budget is gone.
    BudgetDeleted(BudgetId),
    /// Prices of a version, each from its moment on.
    Prices(Vec<DatedPrice>),
    /// A key that tokens are signed with is new, or retires.
    SigningKey(SigningKey),
    /// What tokens rest on has ended, and they with it.
    BasisEnded {
        /// What.
        basis: Basis,
        /// When the last token that may rest on it has ended: from then on nobody needs to know.
        until: Timestamp,
    },
}

/// A change at its place in the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedEvent {
    /// 1, 2, 3 and so on, in commit order.
    pub revision: i64,
    /// What changed, in order. One transaction is one event, whole or not at all.
    pub changes: Vec<Change>,
}
