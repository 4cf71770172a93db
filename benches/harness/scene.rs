//! Made-up customers: tenants with people, teams and projects, five hard budgets on every call, and any number of keys.

use tollreeve::domain::{
    bindings::{Binding, Member, Principal, Scope},
    budgets::{Budget, BudgetScope, Course, OnExpiry},
    change::Change,
    id::{Id, KeyId, Kind, ProjectId, TeamId, TenantId, UserId, WorkspaceId},
    key_secret::{KeySecret, Presented, RANDOM_BYTES},
    keys::{Allowlist, Key, KeyState, Secrets},
    money::Unit,
    names::Slug,
    peppers::Peppers,
    permission::{Permission, PermissionSet},
    policies::Policies,
    price_versions::DatedPrice,
    prices::Price,
    projects::Project,
    role::Role,
    roles::CustomRole,
    service_accounts::ServiceAccount,
    teams::Team,
    tenants::{Lifecycle, Tenant},
    time::Timestamp,
    users::{User, UserState},
    window::Window,
    workspaces::Workspace,
};

/// What calls ask for.
pub const MODEL: &str = "gpt-4o";
/// Who serves it.
pub const PROVIDER: &str = "azure";
/// When everything was made.
const CREATED: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
/// So much that nobody reaches it.
const PLENTY: i64 = 1_000_000_000_000_000_000;
const TEAMS: usize = 10;
const USERS: usize = 50;
/// Roles of its own that a tenant with many bindings has.
const OWN_ROLES: usize = 50;

/// The customers of a platform.
pub struct Scene {
    /// Who asks for decisions on every tenant.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub caller: Principal,
    sidecar: ServiceAccount,
    keys_per_tenant: usize,
    tenants: Vec<Customer>,
    peppers: Peppers,
    listed: bool,
}

/// A tenant, as its keys refer to it.
struct Customer {
    id: TenantId,
    workspace: WorkspaceId,
    teams: Vec<TeamId>,
    projects: Vec<ProjectId>,
    users: Vec<UserId>,
}

impl Scene {
    /// Customers for `keys` keys.
    pub fn new(keys: usize, keys_per_tenant: usize, peppers: Peppers) -> Self {
        let mut ids = Ids(0);
        let mut customer = || Customer {
            id: ids.next(),
            workspace: ids.next(),
            teams: (0..TEAMS).map(|_| ids.next()).collect(),
            projects: (0..TEAMS).map(|_| ids.next()).collect(),
            users: (0..USERS).map(|_| ids.next()).collect(),
        };
        let tenants: Vec<Customer> = (0..keys.div_ceil(keys_per_tenant)).map(|_| customer()).collect();
        let sidecar = ServiceAccount {
            id: ids.next(),
            tenant: tenants[0].id,
            slug: slug("edge", 0),
            display_name: "Sidecars".to_owned(),
            state: Lifecycle::Active,
            deleted: None,
            spiffe_id: None,
            created: CREATED,
            version: 1,
        };
        Self {
            caller: Principal::ServiceAccount(sidecar.id),
            sidecar,
            keys_per_tenant,
            tenants,
            peppers,
            listed: false,
        }
    }

    /// Everything but the keys and the budgets, each after what it refers to.
    pub fn places(&self) -> Vec<Change> {
        let mut all = Vec::new();
        for (n, customer) in self.tenants.iter().enumerate() {
            customer.places(n, &mut all);
        }
        all.push(Change::ServiceAccount(self.sidecar.clone()));
        all.push(Change::Binding(Binding {
            id: Id::from_bits(1),
            tenant: self.sidecar.tenant,
            role: Role::Sidecar.into(),
            member: Member::ServiceAccount(self.sidecar.id),
            scope: Scope::Platform,
            created: CREATED,
            expires: None,
        }));
        let price = Price {
            id: 1,
            provider: PROVIDER.to_owned(),
            model: MODEL.to_owned(),
            input: 2_500_000_000,
            output: 10_000_000_000,
            ..Price::default()
        };
        let (effective, created) = (CREATED, CREATED);
        let price = DatedPrice { price, removed: false, owner: None, version: 1, effective, created };
        all.push(Change::Prices(vec![price]));
        all
    }

    /// Further people, teams and roles of the first tenant, and so many bindings on them and on those who were there before:
    /// of the tenant's own roles, on the tenant and below, every third one with an end.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub fn bindings(&self, count: usize) -> Vec<Change> {
        let Customer { id: tenant, workspace, ref projects, .. } = self.tenants[0];
        let (mut ids, mut all) = (Ids(1 << 42), Vec::new());
        let mut roles = Vec::new();
        for n in 0..OWN_ROLES {
            let permissions = PermissionSet::of(&[Permission::ModelsInvoke, Permission::ALL[n]]);
            let (id, slug) = (ids.next(), slug("role", n));
            let (display_name, description) = (slug.to_string(), String::new());
            roles.push(id);
            let (created, version) = (CREATED, 1);
            all.push(Change::Role(CustomRole {
                id,
                tenant,
                slug,
                display_name,
                description,
                permissions,
                created,
                version,
            }));
        }
        // Two bindings for each, with those who were there before among them.
        let more = Customer {
            id: tenant,
            workspace,
            teams: (0..count / 8).map(|_| ids.next()).collect(),
            projects: Vec::new(),
            users: (0..count * 3 / 8).map(|_| ids.next()).collect(),
        };
        more.people(1, &mut all);
        let users = self.tenants[0].users.iter().chain(&more.users).map(|id| Member::User(*id));
        let teams = self.tenants[0].teams.iter().chain(&more.teams).map(|id| Member::Team(*id));
        let members: Vec<Member> = users.chain(teams).collect();
        for n in 0..count {
            all.push(Change::Binding(Binding {
                id: ids.next(),
                tenant,
                role: roles[n % OWN_ROLES].into(),
                member: members[n % members.len()],
                scope: match n % 4 {
                    0 => Scope::Tenant(tenant),
                    1 | 2 => Scope::Workspace(tenant, workspace),
                    _ => Scope::Project(tenant, workspace, projects[n % TEAMS]),
                },
                created: CREATED,
                expires: n.is_multiple_of(3).then(|| CREATED.after(std::time::Duration::from_hours(24 * 365))),
            }));
        }
        all
    }

    /// Every budget.
    pub fn budgets(&self) -> Vec<Change> {
        let mut ids = Ids(1 << 40);
        let mut all = Vec::new();
        for customer in &self.tenants {
            let mut add =
                |scope, unit, window| all.push(Change::Budget(budget(ids.next(), customer.id, scope, unit, window)));
            add(BudgetScope::Tenant, Unit::Usd, Window::Month);
            add(BudgetScope::Workspace(customer.workspace), Unit::Requests, Window::Day);
            customer.projects.iter().for_each(|id| add(BudgetScope::Project(*id), Unit::Usd, Window::Day));
            customer.teams.iter().for_each(|id| add(BudgetScope::Team(*id), Unit::Usd, Window::Month));
            customer.users.iter().for_each(|id| add(BudgetScope::User(*id), Unit::Tokens, Window::Day));
        }
        all
    }

    /// The same, each key with an allowlist of ten entries, no two keys with the same.
    #[must_use]
    #[allow(dead_code, reason = "not every benchmark has them")]
    pub fn with_allowlists(self) -> Self {
        Self { listed: true, ..self }
    }

    /// Ten entries, of which the last of each list allows what is asked for.
    fn allowlist(n: usize) -> Allowlist {
        let range = |text: String| text.parse().expect("a range");
        let own = |part: usize| range(format!("10.{}.{}.{}/32", n >> 14 & 255, n >> 6 & 255, (n & 63) << 2 | part));
        Allowlist {
            cidrs: vec![own(0), own(1), own(2), range("192.0.2.0/24".to_owned())],
            origins: vec![format!("app-{n}.example.org"), "*.example.com".to_owned()],
            models: vec![format!("own-{n}-*"), "gpt-4*".to_owned()],
            endpoints: vec![format!("/v1/own/{n}/*"), "/v1/*/completions".to_owned()],
            permissions: None,
        }
    }

    /// The `n`th key, and its text.
    pub fn key(&self, n: usize) -> (Key, KeySecret) {
        let customer = &self.tenants[n / self.keys_per_tenant];
        let mut random = Random::new(n as u64 + 1);
        let secret = loop {
            let mut bytes = [0; RANDOM_BYTES];
            bytes.fill_with(|| random.next().to_le_bytes()[3]);
            if let Some(secret) = KeySecret::generate("prod", &bytes) {
                break secret;
            }
        };
        let hash = self.peppers.hash(&Presented::parse(secret.expose()).expect("a key"));
        let key = Key {
            id: key_id(n),
            tenant: customer.id,
            workspace: customer.workspace,
            owner: Principal::User(customer.users[n % USERS]),
            project: Some(customer.projects[n / USERS % TEAMS]),
            public_id: secret.public_id,
            hash,
            display_name: format!("Key {n}"),
            state: KeyState::Active,
            expires: None,
            allowlist: if self.listed { Self::allowlist(n) } else { Allowlist::default() },
            created: CREATED,
            version: 1,
            description: String::new(),
            labels: std::collections::BTreeMap::new(),
            secrets: Secrets::default(),
            deleted: None,
        };
        (key, secret)
    }
}

impl Customer {
    fn places(&self, n: usize, all: &mut Vec<Change>) {
        let (id, workspace, created, version) = (self.id, self.workspace, CREATED, 1);
        let (state, display_name) = (Lifecycle::Active, "Name".to_owned());
        let named = || display_name.clone();
        all.push(Change::Tenant(Tenant {
            id,
            slug: slug("customer", n),
            display_name: named(),
            branding: tollreeve::domain::branding::Branding::default(),
            state,
            deleted: None,
            created,
            version,
        }));
        all.push(Change::Workspace(Workspace {
            id: workspace,
            tenant: id,
            slug: slug("production", 0),
            display_name: named(),
            environment: slug("production", 0),
            policies: Policies::default(),
            state,
            deleted: None,
            created,
            version,
        }));
        for (n, project) in self.projects.iter().enumerate() {
            let slug = slug("project", n);
            all.push(Change::Project(Project {
                id: *project,
                tenant: id,
                workspace,
                slug,
                display_name: named(),
                state,
                deleted: None,
                created,
                version,
            }));
        }
        self.people(0, all);
    }

    /// The teams and the people, each of them a developer; in groups, so that no two teams have one name.
    fn people(&self, group: usize, all: &mut Vec<Change>) {
        let (id, created, version) = (self.id, CREATED, 1);
        let named = || "Name".to_owned();
        for (n, team) in self.teams.iter().enumerate() {
            let (slug, description) = (slug("team", group << 32 | n), String::new());
            let team = Team { id: *team, tenant: id, slug, display_name: named(), description, created, version };
            all.push(Change::Team(team));
        }
        for (n, user) in self.users.iter().enumerate() {
            all.push(Change::User(User {
                id: *user,
                tenant: id,
                email: format!("user-{group}-{n}@example.com"),
                display_name: named(),
                state: UserState::Active,
                teams: vec![self.teams[n % self.teams.len()]],
                created,
                joined: Some(created),
                version,
            }));
            all.push(Change::Binding(Binding {
                id: Id::from_bits(user.bits()),
                tenant: id,
                role: Role::Developer.into(),
                member: Member::User(*user),
                scope: Scope::Tenant(id),
                created,
                expires: None,
            }));
        }
    }
}

fn budget(
    id: Id<tollreeve::domain::id::BudgetKind>,
    tenant: TenantId,
    scope: BudgetScope,
    unit: Unit,
    window: Window,
) -> Budget {
    Budget {
        id,
        tenant,
        scope,
        unit,
        window,
        limit: PLENTY,
        hard: true,
        credit: false,
        on_expiry: OnExpiry::default(),
        course: Course::default(),
        turns: Vec::new(),
        display_name: "Budget".to_owned(),
        created: CREATED,
        version: 1,
    }
}

fn slug(word: &str, n: usize) -> Slug {
    format!("{word}-{n}").parse().expect("a slug")
}

fn key_id(n: usize) -> KeyId {
    Ids(1 << 41 | n as u64).next()
}

/// Ids that sort by the order in which they were made, as those of real records do.
struct Ids(u64);

impl Ids {
    fn next<K: Kind>(&mut self) -> Id<K> {
        self.0 += 1;
        let noise = Random::new(self.0).next();
        Id::from_bits(u128::from(self.0) << 64 | u128::from(noise))
    }
}

/// Numbers that look random and are the same in every run (xorshift*).
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
