//! Random schedules of calls, charges, ends of holds and changes of limits, against a ledger so naive that it cannot be
//! wrong: a list of what is held and a sum of what is spent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tollreeve::{
    domain::{
        bindings::{Binding, Member, Principal, Scope},
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        change::{Change, FeedEvent},
        id::{BudgetId, Id, TenantId, UserId},
        key_secret::Pepper,
        meters::Metered,
        money::{Nanos, Unit},
        peppers::Peppers,
        prices::Usage,
        role::Role,
        service_accounts::ServiceAccount,
        tenants::{Lifecycle, Tenant},
        time::Clock as _,
        users::{User, UserState},
        window::Window,
    },
    engine::{
        Gate, GateParts,
        answer::{Answer, DenialCode},
        charge::{ChargeAsk, ChargeStatus, ChargeSubject},
        error::GateError,
        hold_token::HoldKey,
        journal::{Journal, Outcome},
        lease::Lease,
        question::{Credential, Mode, Question},
        timing::Timing,
    },
    store::{self, Db},
};

use crate::harness::{
    books::Books,
    clock::{MockClock, START},
    ledger::{Stored, joined},
    model_journal::ModelJournal,
    postgres,
    random::Random,
    server::options,
    world::unique,
};

/// How long a hold stays after its end, in seconds.
const GRACE: i64 = 60;
const CALLER: Principal = Principal::ServiceAccount(Id::from_bits(2));
const USERS: [u128; 3] = [10, 11, 12];

/// A ledger that can be told of another limit.
trait Limited: Journal {
    async fn set_limit(&self, budget: &Budget);
}

impl Limited for ModelJournal {
    async fn set_limit(&self, budget: &Budget) {
        self.set_cap(budget.id, budget.cap());
    }
}

impl Limited for Stored {
    async fn set_limit(&self, budget: &Budget) {
        let mut tx = self.1.begin().await.expect("begins");
        store::budgets::update(&mut tx, budget).await.expect("updated");
        store::slices::set_cap(&mut tx, budget.id, budget.cap()).await.expect("set");
        tx.commit().await.expect("commits");
    }
}

/// A hold as the naive ledger has it.
struct Held {
    token: Vec<u8>,
    /// The second in which it is gone for good.
    gone: i64,
    amounts: BTreeMap<BudgetId, i64>,
}

/// A schedule on its way.
struct Schedule<J> {
    gate: Arc<Gate<J>>,
    journal: J,
    clock: Arc<MockClock>,
    random: Random,
    tenant: TenantId,
    budgets: Vec<Budget>,
    held: Vec<Held>,
    spent: BTreeMap<BudgetId, i64>,
    /// Whether the ledger fails now and then.
    failing: bool,
    admitted: usize,
    refused: usize,
}

fn tenant() -> Tenant {
    Tenant {
        id: Id::from_bits(1),
        slug: "acme".parse().expect("a slug"),
        display_name: "Acme".into(),
        branding: tollreeve::domain::branding::Branding::default(),
        state: Lifecycle::Active,
        deleted: None,
        created: START,
        version: 1,
    }
}

/// One budget over all and one for each user; all in dollars, one of them soft, and some charge holds in full at their end.
fn budgets(random: &mut Random) -> Vec<Budget> {
    let budget = |n: u128, scope, limit, hard| Budget {
        id: Id::from_bits(100 + n),
        tenant: Id::from_bits(1),
        scope,
        unit: Unit::Usd,
        window: Window::Total,
        limit,
        hard,
        credit: false,
        turns: Vec::new(),
        on_expiry: OnExpiry::default(),
        course: Course::default(),
        display_name: String::new(),
        created: START,
        version: 1,
    };
    let of_users = USERS.map(|user| (user, BudgetScope::User(UserId::from_bits(user))));
    let mut all = vec![budget(0, BudgetScope::Tenant, random.within(500, 5_000), true)];
    for (user, scope) in of_users {
        all.push(budget(user, scope, random.within(100, 3_000), user != USERS[2]));
    }
    all.iter_mut().filter(|_| random.once_in(2)).for_each(|budget| budget.on_expiry = OnExpiry::ChargeFull);
    all
}

fn people() -> Vec<Change> {
    let (tenant, created, version) = (Id::from_bits(1), START, 1);
    let sidecar = ServiceAccount {
        id: Id::from_bits(2),
        tenant,
        slug: "edge".parse().expect("a slug"),
        display_name: String::new(),
        state: Lifecycle::Active,
        deleted: None,
        spiffe_id: None,
        created,
        version,
    };
    let scope = Scope::Tenant(tenant);
    let member = Member::ServiceAccount(sidecar.id);
    let mut changes = vec![Change::ServiceAccount(sidecar)];
    changes.push(Change::Binding(Binding {
        id: Id::from_bits(50),
        tenant,
        role: Role::Sidecar.into(),
        member,
        scope,
        created,
        expires: None,
    }));
    for bits in USERS {
        let user = User {
            id: Id::from_bits(bits),
            tenant,
            email: format!("{bits}@example.com"),
            display_name: String::new(),
            state: UserState::Active,
            teams: Vec::new(),
            created,
            joined: Some(created),
            version,
        };
        let member = Member::User(user.id);
        changes.push(Change::User(user));
        let id = Id::from_bits(1_000 + bits);
        changes.push(Change::Binding(Binding {
            id,
            tenant,
            role: Role::Member.into(),
            member,
            scope,
            created,
            expires: None,
        }));
    }
    changes
}

impl<J: Limited + Clone> Schedule<J> {
    fn new(journal: J, budgets: Vec<Budget>, random: Random, failing: bool) -> Self {
        let clock = Arc::new(MockClock::new());
        let (gate, queues) = Gate::new(GateParts {
            journal: journal.clone(),
            peppers: Peppers::first(Pepper::new(&[1; 32])),
            hold_key: HoldKey::new(&[2; 32]),
            boot: Id::from_bits(77),
            timing: Timing::new(Duration::from_secs(GRACE.unsigned_abs()), Duration::ZERO),
            lease: Lease::for_good(),
            meter: Arc::new(()),
            clock: clock.clone(),
        });
        tokio::spawn(gate.run_grants(queues.grants));
        tokio::spawn(gate.run_charges(queues.charges));
        let budget_changes = budgets.iter().cloned().map(Change::Budget);
        let all = std::iter::once(Change::Tenant(tenant())).chain(people()).chain(budget_changes);
        gate.load(all.collect()).expect("fits together");
        gate.loaded(1);
        let spent = budgets.iter().map(|budget| (budget.id, 0)).collect();
        let (held, tenant) = (Vec::new(), Id::from_bits(1));
        Self { gate, journal, clock, random, tenant, budgets, held, spent, failing, admitted: 0, refused: 0 }
    }

    async fn run(mut self, steps: usize) -> (usize, usize) {
        for _ in 0..steps {
            match self.random.within(0, 99) {
                0..50 => self.call().await,
                50..80 => self.charge().await,
                80..90 => self.time_passes().await,
                _ => self.limit().await,
            }
            self.compare().await;
        }
        (self.admitted, self.refused)
    }

    /// What the naive ledger has as held on a budget.
    fn held_on(&self, budget: BudgetId) -> i64 {
        self.held.iter().filter_map(|held| held.amounts.get(&budget)).sum()
    }

    fn left(&self, budget: &Budget) -> i64 {
        budget.limit - self.spent[&budget.id] - self.held_on(budget.id)
    }

    async fn call(&mut self) {
        let user = *self.random.pick(&USERS);
        let cost = if self.random.once_in(10) { 0 } else { self.random.within(1, 400) };
        let ttl = self.random.within(1, 120);
        let asked = question(user, cost, ttl);
        let now = self.clock.now();
        let tell = |answer: &Answer<'_>| {
            let hold = answer.hold.as_ref().map(|hold| (hold.token(), hold.expires));
            (hold, answer.denials.iter().map(|denial| denial.code).collect::<Vec<_>>())
        };
        let (hold, denials) = match self.gate.authorize(CALLER, &asked, now, tell).await {
            Ok(told) => told,
            Err(GateError::Unavailable(_)) if self.failing => return,
            Err(error) => panic!("{error}"),
        };
        let applying: Vec<&Budget> = self.budgets.iter().filter(|b| [100, 100 + user].contains(&b.id.bits())).collect();
        let hard = || applying.iter().filter(|budget| budget.hard && cost > 0);
        if let Some((token, expires)) = hold {
            for budget in hard() {
                assert!(cost <= self.left(budget), "{cost} admitted with {} left of {budget:?}", self.left(budget));
            }
            let amounts = applying.iter().map(|budget| (budget.id, cost)).collect();
            let gone = (expires.micros().div_euclid(1_000_000)) + 1 + GRACE;
            self.held.push(Held { token, gone, amounts });
            self.admitted += 1;
        } else {
            assert!(denials.iter().all(|code| *code == DenialCode::BudgetExhausted), "{denials:?}");
            let short = hard().any(|budget| cost > self.left(budget));
            let lefts: Vec<i64> = hard().map(|budget| self.left(budget)).collect();
            assert!(short, "{cost} refused with {lefts:?} left");
            self.refused += 1;
        }
    }

    async fn charge(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let last_index = i64::try_from(self.held.len()).expect("few") - 1;
        let at = usize::try_from(self.random.within(0, last_index)).expect("an index");
        let cost = if self.random.once_in(6) { self.random.within(0, 900) } else { self.random.within(0, 200) };
        let ends = !self.random.once_in(4);
        let asked = charge(self.held[at].token.clone(), cost, ends);
        let again = asked.clone();
        let now = self.clock.now();
        let status = match self.gate.charge(CALLER, asked, now).await {
            Ok(answer) => answer.status,
            Err(GateError::Unavailable(_)) if self.failing => return,
            Err(error) => panic!("{error}"),
        };
        assert_ne!(status, ChargeStatus::Replayed);
        for (budget, amount) in &mut self.held[at].amounts {
            *amount -= cost.min(*amount);
            *self.spent.get_mut(budget).expect("known") += cost;
        }
        if ends {
            self.held.remove(at);
        }
        if self.random.once_in(5) {
            self.clock.advance(Duration::from_micros(1));
            match self.gate.charge(CALLER, again, self.clock.now()).await {
                Ok(answer) => assert_eq!(answer.status, ChargeStatus::Replayed),
                Err(error) => assert!(self.failing, "{error}"),
            }
        }
    }

    async fn time_passes(&mut self) {
        let most = if self.random.once_in(4) { 400 } else { 40 };
        self.clock.advance(Duration::from_secs(self.random.within(1, most).unsigned_abs()));
        while let Err(error) = self.gate.sweep(self.clock.now()).await {
            assert!(self.failing, "{error}");
        }
        let now = self.clock.now().micros().div_euclid(1_000_000);
        let ended = self.held.extract_if(.., |held| held.gone <= now);
        for (budget, amount) in ended.flat_map(|held| held.amounts) {
            if self.budgets.iter().any(|known| known.id == budget && known.on_expiry == OnExpiry::ChargeFull) {
                *self.spent.get_mut(&budget).expect("known") += amount;
            }
        }
    }

    async fn limit(&mut self) {
        let at = usize::try_from(self.random.within(0, 3)).expect("an index");
        let limit = self.random.within(0, 6_000);
        let version = self.budgets[at].version + 1;
        self.budgets[at] = Budget { limit, version, ..self.budgets[at].clone() };
        self.journal.set_limit(&self.budgets[at]).await;
        let revision = self.gate.revision() + 1;
        let changes = vec![Change::Budget(self.budgets[at].clone())];
        self.gate.apply(FeedEvent { revision, changes }).expect("applied");
    }

    /// Memory says what the naive ledger says; and so do the books, as to what is spent.
    async fn compare(&self) {
        let now = self.clock.now();
        for budget in &self.budgets {
            let books = self.journal.books(budget.id, budget.calendar().period(now)).await.expect("the books");
            assert_eq!(books.spent, self.spent[&budget.id], "{:?} of {}", budget.scope, self.tenant);
            assert!(books.reserved >= self.held_on(budget.id), "what is held is set aside");
            let standing = self.gate.standing(budget, now).await.expect("where it stands");
            assert_eq!(standing.spent, books.spent);
            if standing.held != books.reserved {
                assert_eq!(standing.held, self.held_on(budget.id), "{:?}", budget.scope);
            }
        }
    }
}

fn question(user: u128, cost: i64, ttl: i64) -> Question<'static> {
    Question {
        stamp: None,
        request_id: "",
        credential: Credential::Token(Some(Principal::User(UserId::from_bits(user)).into())),
        client_ip: None,
        origin: "",
        permission: tollreeve::domain::permission::Permission::ModelsInvoke,
        provider: "",
        model: "m",
        endpoint: "",
        environment: "",
        project: "",
        end_user: "",
        estimate: Usage { requests: 1, ..Usage::default() },
        metered: Metered::default(),
        cost: Some(Nanos(cost)),
        mode: Mode::Hold,
        ttl: Duration::from_secs(ttl.unsigned_abs()),
        min_revision: 0,
    }
}

fn charge(token: Vec<u8>, cost: i64, last: bool) -> ChargeAsk {
    ChargeAsk {
        stamp: None,
        charge_id: unique("charge"),
        body_hash: "the same".into(),
        subject: ChargeSubject::Hold(token),
        outcome: Outcome::Success,
        usage: Usage { requests: 1, ..Usage::default() },
        metered: Metered::default(),
        tier: None,
        cost: Some(Nanos(cost)),
        served_provider: String::new(),
        served_model: String::new(),
        last,
        extend: None,
        occurred: None,
        hold_age: None,
        project: String::new(),
        end_user: String::new(),
        labels: String::new(),
    }
}

#[tokio::test]
async fn random_schedules_agree_with_a_naive_ledger_in_memory() {
    let mut random = Random::fresh("random_schedules_agree_with_a_naive_ledger_in_memory");
    let (mut admitted, mut refused) = (0, 0);
    for schedule in 0..400 {
        let failing = schedule % 4 == 3;
        let journal = ModelJournal::default();
        let budgets = budgets(&mut random);
        budgets.iter().for_each(|budget| journal.set_cap(budget.id, budget.cap()));
        journal.fail_every(if failing { 7 } else { 0 });
        let (yes, no) =
            Schedule::new(journal.clone(), budgets, random.fork(), failing).run(if failing { 30 } else { 100 }).await;
        journal.check();
        admitted += yes;
        refused += no;
    }
    assert!(admitted > 1_000 && refused > 1_000, "{admitted} admitted, {refused} refused");
}

async fn on_a_database(test: &str, database_url: Option<String>) {
    let mut random = Random::fresh(test);
    for _ in 0..4 {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let url = match &database_url {
            Some(_) => Some(postgres::shared().await.expect("it runs").database().await),
            None => None,
        };
        let settings = options(folder.path(), url.as_deref()).validate().expect("good settings").database;
        let (db, exclusive) = Db::open(&settings).await.expect("opens");
        let budgets = budgets(&mut random);
        let mut tx = db.begin().await.expect("begins");
        let _ = store::tenants::insert(&mut tx, &tenant()).await.expect("a tenant");
        for budget in &budgets {
            store::budgets::insert(&mut tx, budget).await.expect("a budget");
        }
        tx.commit().await.expect("commits");
        let ledger = joined(&db, 77).await;
        Schedule::new(Stored(ledger, db.clone(), Arc::default()), budgets, random.fork(), false).run(80).await;
        let books = Books::open(&settings).await;
        books.check().await;
        books.close().await;
        db.close().await;
        drop(exclusive);
    }
}

#[tokio::test]
async fn random_schedules_agree_with_a_naive_ledger_on_sqlite() {
    on_a_database("random_schedules_agree_with_a_naive_ledger_on_sqlite", None).await;
}

#[tokio::test]
async fn random_schedules_agree_with_a_naive_ledger_on_postgres() {
    if postgres::shared().await.is_some() {
        on_a_database("random_schedules_agree_with_a_naive_ledger_on_postgres", Some(String::new())).await;
    }
}
