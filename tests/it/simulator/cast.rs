//! Who plays: a tenant, its users, a gateway's sidecars, and few budgets, so that calls meet on them.

use tollreeve::domain::{
    bindings::{Binding, Member, Principal, Scope},
    budgets::{Budget, BudgetScope, Course, OnExpiry},
    change::Change,
    id::{Id, UserId},
    money::Unit,
    role::Role,
    service_accounts::ServiceAccount,
    tenants::{Lifecycle, Tenant},
    users::{User, UserState},
    window::Window,
};

use crate::harness::{clock::START, random::Random};

/// The sidecars' principal.
pub const CALLER: Principal = Principal::ServiceAccount(Id::from_bits(2));
pub const USERS: [u128; 3] = [10, 11, 12];

/// One budget over all, and one for each of two users.
pub fn budgets(random: &mut Random) -> Vec<Budget> {
    let mut budget = |n: u128, scope, limit: (i64, i64)| Budget {
        id: Id::from_bits(100 + n),
        tenant: Id::from_bits(1),
        scope,
        unit: Unit::Usd,
        window: Window::Total,
        limit: random.within(limit.0, limit.1),
        hard: true,
        credit: false,
        turns: Vec::new(),
        on_expiry: if random.once_in(2) { OnExpiry::ChargeFull } else { OnExpiry::Release },
        course: Course::default(),
        display_name: String::new(),
        created: START,
        version: 1,
    };
    let of = |user| BudgetScope::User(UserId::from_bits(user));
    vec![
        budget(0, BudgetScope::Tenant, (2_000, 30_000)),
        budget(USERS[0], of(USERS[0]), (500, 10_000)),
        budget(USERS[1], of(USERS[1]), (500, 10_000)),
    ]
}

pub fn user(bits: u128, state: UserState) -> User {
    User {
        id: Id::from_bits(bits),
        tenant: Id::from_bits(1),
        email: format!("{bits}@example.com"),
        display_name: String::new(),
        state,
        teams: Vec::new(),
        created: START,
        joined: Some(START),
        version: 1,
    }
}

/// Everything that there is at the beginning.
pub fn everything(budgets: &[Budget]) -> Vec<Change> {
    let (tenant, created, version) = (Id::from_bits(1), START, 1);
    let mut changes = vec![
        Change::Tenant(Tenant {
            id: tenant,
            slug: "acme".parse().expect("a slug"),
            display_name: "Acme".into(),
            branding: tollreeve::domain::branding::Branding::default(),
            state: Lifecycle::Active,
            deleted: None,
            created,
            version,
        }),
        Change::ServiceAccount(ServiceAccount {
            id: Id::from_bits(2),
            tenant,
            slug: "edge".parse().expect("a slug"),
            display_name: String::new(),
            state: Lifecycle::Active,
            deleted: None,
            spiffe_id: None,
            created,
            version,
        }),
    ];
    let scope = Scope::Tenant(tenant);
    let mut bind = |n: u128, role: Role, member| {
        let id = Id::from_bits(1_000 + n);
        changes.push(Change::Binding(Binding { id, tenant, role: role.into(), member, scope, created, expires: None }));
    };
    bind(2, Role::Sidecar, Member::ServiceAccount(Id::from_bits(2)));
    let mut people = Vec::new();
    for bits in USERS {
        people.push(Change::User(user(bits, UserState::Active)));
    }
    for bits in USERS {
        bind(bits, Role::Member, Member::User(UserId::from_bits(bits)));
    }
    changes.splice(2..2, people);
    changes.extend(budgets.iter().cloned().map(Change::Budget));
    changes
}
