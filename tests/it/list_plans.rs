//! How PostgreSQL finds a page of 50 out of 100,000, as the server asks it and behind the wall between tenants: by a range
//! of an index. The plans are those that were carried out, as PostgreSQL logs them.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::harness::{
    calls::{Place, calls},
    eventually,
    ids::number_of,
    postgres::Cluster,
    raw::{Rpc, call, rpcs},
    server::Env,
    wire::{get, set},
    world::{World, create_workspace},
};

/// Records of each noun.
const MANY: u32 = 100_000;

/// Every plan is logged. The server's own statements are few.
const SETTINGS: [&str; 5] = [
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_format=json",
    "log_line_prefix=",
    "fsync=on",
];

/// The tables with as many rows.
const FILLED: [&str; 13] = [
    "tenants",
    "workspaces",
    "projects",
    "teams",
    "users",
    "team_members",
    "service_accounts",
    "invitations",
    "api_keys",
    "last_used",
    "bindings",
    "budgets",
    "search_words",
];

/// Each list, its orders beside that of creation, and filters that choose few and many.
const LISTS: [(&str, &[&str], &[&str]); 13] = [
    ("ListTenants", &["name", "display_name desc"], &["state = SUSPENDED", "state = ACTIVE"]),
    ("ListWorkspaces", &["name desc", "display_name"], &["state = SUSPENDED", "state = ACTIVE"]),
    ("ListProjects", &["name", "display_name desc"], &["state = SUSPENDED", "state = ACTIVE"]),
    ("ListTeams", &["name desc", "display_name"], &["create_time > 2020-01-01T00:00:00Z"]),
    (
        "ListUsers",
        &["email", "display_name desc", "state", "last_use_time desc", "last_use_time"],
        &["state = SUSPENDED", "state = ACTIVE", "role = roles/reader", "common", "common state = SUSPENDED"],
    ),
    ("ListTeamMembers", &["email desc", "display_name", "last_use_time desc"], &["state = ACTIVE", "common"]),
    ("ListServiceAccounts", &["name", "display_name"], &["state = SUSPENDED", "state = ACTIVE"]),
    ("ListInvitations", &["email desc"], &["email = 7@example.com", "create_time > 2020-01-01T00:00:00Z"]),
    (
        "ListKeys",
        &["display_name"],
        &[
            "state = REVOKED",
            "state = ACTIVE",
            "owner = tenants/acme/serviceAccounts/edge",
            "last_use_time > 2020-01-01T00:00:00Z",
        ],
    ),
    ("ListBindings", &["create_time desc"], &["create_time > 2020-01-01T00:00:00Z"]),
    ("ListBudgets", &["display_name desc"], &["unit = TOKENS"]),
    (
        "ListCreditEntries",
        &["create_time desc"],
        &["kind = PURCHASE", "kind = GRANT", "reference = r7", "create_time > 2020-01-01T00:00:00Z"],
    ),
    (
        "ListAuditEvents",
        &["time"],
        &["action = rare.act", "actor = common", "resource = r7", "time > 2020-01-01T00:00:00Z"],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_a_range_of_an_index_for_every_list_order_and_filter() {
    let Some(cluster) = Cluster::start(&SETTINGS).await else { return };
    let url = cluster.database().await;
    let env = Env::start(Some(&url)).await;
    let world = World::new(&env).await;
    let place = Place::of(&world).await;
    create_workspace(&env.operator, &world.tenant, "small", "staging").await;
    populate(&url).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let has = |rpc: &Rpc, wanted: &str| rpc.fields.iter().any(|field| field == wanted);
    let listing = rpcs().into_iter().filter(|rpc| has(rpc, "filter") && has(rpc, "page_size"));
    for rpc in listing {
        let (_, orders, filters) =
            LISTS.iter().find(|list| list.0 == rpc.name).unwrap_or_else(|| panic!("{}", rpc.name));
        let request = calls(&place).into_iter().find(|(path, _)| *path == rpc.path).map(|(_, body)| body);
        let request = request.unwrap_or_default();
        let at = |field| [number_of(&rpc.path, field).expect("a field")];
        let asked = orders.iter().map(|order| ("", *order)).chain(filters.iter().map(|filter| (*filter, "")));
        for (filter, order) in asked.chain([("", "")]) {
            let mut request = set(&set(&request, &at("filter"), filter), &at("order_by"), order);
            // All tenants are listed by the operator, everything else by an owner, behind the wall.
            let caller = if rpc.name == "ListTenants" { &env.operator } else { &owner };
            for page in ["the first", "the next"] {
                let before = cluster.log().len();
                let answer =
                    call(caller, &rpc.path, request.clone()).await.unwrap_or_else(|s| panic!("{}: {s:?}", rpc.path));
                let token = get(&answer, &[2]).unwrap_or_default();
                let asked = page_plans(&cluster, before).await;
                for plan in plans(&cluster.log()[before..]) {
                    assert!(!reads_all(&plan["Plan"]), "{} {page} by {filter:?} {order:?}: {plan:#}", rpc.name);
                }
                for plan in asked {
                    let nodes = nodes(&plan["Plan"]);
                    let bad =
                        nodes.iter().find(|node| ["Seq Scan", "Sort", "Incremental Sort"].contains(&node.as_str()));
                    assert!(bad.is_none(), "{} {page} by {filter:?} {order:?}: {plan:#}", rpc.name);
                    assert!(nodes.iter().any(|node| node.contains("Index")), "{}: {plan:#}", rpc.name);
                    let walled = plan["Plan"].to_string().contains("WHEN '*'");
                    assert!(walled || rpc.name == "ListTenants", "{}: {plan:#}", rpc.name);
                }
                if token.is_empty() {
                    break;
                }
                request = set(&request, &at("page_token"), &token);
            }
        }
        search(&env, &cluster, &rpc.path, &request, "rareword").await;
    }
    let users = calls(&place).into_iter().find(|(path, _)| path.ends_with("/ListUsers")).expect("a list");
    let keys = calls(&place).into_iter().find(|(path, _)| path.ends_with("/ListKeys")).expect("a list");
    for filter in ["rotation_due_time < 2020-01-01T00:00:00Z", "expire_time < 2020-01-01T00:00:00Z"] {
        search(&env, &cluster, &keys.0, &keys.1, filter).await;
    }
    let of_tenant = set(&keys.1, &[number_of(&keys.0, "parent").expect("a parent")], &world.tenant);
    for filter in ["", "environment = staging", "state = REVOKED", "rareword"] {
        search(&env, &cluster, &keys.0, &of_tenant, filter).await;
    }
    let team = format!("team = {} common role = roles/reader", world.team);
    for filter in ["role = roles/developer", &team] {
        search(&env, &cluster, &users.0, &users.1, filter).await;
    }
    env.end().await;
}

/// A search for what is rare, such as a word, goes by an index and by the ids that it gives.
async fn search(env: &Env, cluster: &Cluster, path: &str, request: &[u8], wanted: &str) {
    let filter = [number_of(path, "filter").expect("a filter")];
    let before = cluster.log().len();
    if call(&env.operator, path, set(request, &filter, wanted)).await.is_err() {
        return;
    }
    for plan in page_plans(cluster, before).await {
        assert!(!nodes(&plan["Plan"]).iter().any(|node| node == "Seq Scan"), "{path}: {plan:#}");
    }
}

/// Whether a plan looks at every row of one of the tables that are filled here.
fn reads_all(plan: &Value) -> bool {
    let filled = plan["Relation Name"].as_str().is_some_and(|name| FILLED.contains(&name));
    let inner = plan["Plans"].as_array().into_iter().flatten();
    filled && plan["Node Type"] == "Seq Scan" || inner.into_iter().any(reads_all)
}

/// The plans of a page that the log has from a place on: of all that was asked for it.
async fn page_plans(cluster: &Cluster, before: usize) -> Vec<Value> {
    eventually("the plan is logged", async || {
        let plans = of_page(plans(&cluster.log()[before..]));
        (!plans.is_empty()).then_some(plans)
    })
    .await
}

/// All plans of a log.
fn plans(log: &str) -> Vec<Value> {
    let plans = log.split("plan:\n").skip(1).filter_map(|rest| {
        let json: String = rest.lines().take_while(|line| line.starts_with('\t')).collect::<Vec<_>>().join("\n");
        serde_json::from_str::<Value>(&json).ok()
    });
    plans.collect()
}

/// The plans of what is asked with a limit and in an order, the server's own apart, and of what is asked of other tables by
/// whoever searches.
fn of_page(plans: Vec<Value>) -> Vec<Value> {
    let asked = plans.into_iter().filter(|plan: &Value| {
        let text = plan["Query Text"].as_str().unwrap_or_default();
        let own = ["feed_events", "retires <=", "warns <=", "WHERE due "].iter().any(|own| text.contains(own));
        let probe = ["SELECT record ", "SELECT member ", "SELECT user_id "].iter().any(|probe| text.starts_with(probe));
        probe || text.contains(" ORDER BY ") && text.contains(" LIMIT ") && !own
    });
    asked.collect()
}

/// The kinds of all nodes of a plan.
fn nodes(plan: &Value) -> Vec<String> {
    let mut found = vec![plan["Node Type"].as_str().unwrap_or_default().to_owned()];
    for inner in plan["Plans"].as_array().into_iter().flatten() {
        found.extend(nodes(inner));
    }
    found
}

/// Fills every list, past the server: what it keeps in memory is of no account here.
async fn populate(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let id = |prefix: &str| format!("'{prefix}_' || lpad(to_hex(n), 26, '0')");
    let ten = "(SELECT id FROM tenants WHERE slug = 'acme')";
    let ws = "(SELECT id FROM workspaces WHERE slug = 'prod')";
    let user = "(SELECT min(id) FROM users)";
    // One in a hundred is not as the others are.
    let state = "CASE n % 100 WHEN 0 THEN 'suspended' ELSE 'active' END";
    let key_state = "CASE n % 100 WHEN 0 THEN 'revoked' ELSE 'active' END";
    let name = "'Name ' || md5(n::TEXT)";
    let fills = [
        format!("tenants (id, slug, display_name, state, created, version) SELECT {}, 't' || n, {name}, {state}, n, 1", id("ten")),
        format!("workspaces (id, tenant_id, slug, display_name, environment, state, created, version)
                 SELECT {}, {ten}, 'w' || n, {name}, 'staging', {state}, n, 1", id("ws")),
        format!("projects (id, tenant_id, workspace_id, slug, display_name, state, created, version)
                 SELECT {}, {ten}, {ws}, 'p' || n, {name}, {state}, n, 1", id("proj")),
        format!("teams (id, tenant_id, slug, display_name, description, created, version)
                 SELECT {}, {ten}, 't' || n, {name}, '', n, 1", id("team")),
        format!("users (id, tenant_id, email, email_folded, display_name, state, teams, created, version)
                 SELECT {}, {ten}, n || '@example.com', n || '@example.com', {name}, {state}, '[]', n, 1", id("user")),
        format!("team_members (team_id, user_id, tenant_id) SELECT {}, {}, {ten}", id("team"), id("user")),
        // One team has everybody.
        format!("team_members (team_id, user_id, tenant_id) SELECT (SELECT id FROM teams WHERE slug = 'core'), {}, {ten}", id("user")),
        format!("last_used (id, tenant_id, used) SELECT {}, {ten}, NULLIF(n % 3, 0) * n", id("user")),
        format!("service_accounts (id, tenant_id, slug, display_name, state, created, version)
                 SELECT {}, {ten}, 's' || n, {name}, {state}, n, 1", id("sa")),
        format!("invitations (id, tenant_id, user_id, email, email_folded, role, template_id, template, teams, inviter, inviter_tenant, state, created, expires, version)
                 SELECT {0}, {ten}, {1}, n || '@example.com', n || '@example.com', 'member', '', '', '[]', {user}, {ten},
                     CASE n % 2 WHEN 0 THEN 'accepted' ELSE 'pending' END, n, n, 1", id("inv"), id("user")),
        format!("api_keys (id, tenant_id, workspace_id, owner, public_id, hash, display_name, state, allowlist, created, version)
                 SELECT {}, {ten}, {ws}, {}, lpad(n::TEXT, 12, '0'), md5(n::TEXT) || md5(n::TEXT), {name}, {key_state}, '', n, 1", id("key"), id("user")),
        format!("last_used (id, tenant_id, used) SELECT {}, {ten}, n", id("key")),
        format!("bindings (id, tenant_id, role, member, scope_tenant, created)
                 SELECT {0}, {ten}, 'reader', {1}, {ten}, n", id("bind"), id("user")),
        format!("budgets (id, tenant_id, scope_kind, scope_ref, unit, span, amount, hard, credit, display_name, created, version, deleted)
                 SELECT {}, {ten}, 'end_user', 'e' || n, 'tokens', 'day', 5, TRUE, FALSE, {name}, n, 1, FALSE", id("bud")),
        format!("credit_entries (tenant_id, workspace_id, reference, budget_id, amount, actor, created, seq, kind)
                 SELECT {ten}, {ws}, 'r' || n, (SELECT min(id) FROM budgets), 1, '', 2000000000000000, n,
                     CASE n % 100 WHEN 0 THEN 'purchase' ELSE 'grant' END"),
        format!("audit_events (tenant_id, seq, at, actor, action, resource, before, after, source, user_agent, request_id, reason, revision)
                 SELECT {ten}, 1000 + n, 2000000000000000, 'common', CASE n % 1000 WHEN 0 THEN 'rare.act' ELSE 'users.create' END,
                 'r' || n, '', '', '', '', '', '', 0"),
        // A word for each record of each list, so that what is rare is rare, and one that every user has.
        format!("search_words (tenant_id, list, word, record) SELECT {ten}, 'users of ' || {ten}, 'common', {}", id("user")),
        format!("search_words (tenant_id, list, word, record)
                 SELECT {ten}, noun || ' of ' || whose, md5(n::TEXT), n::TEXT
                 FROM (VALUES ('tenants', 'all'), ('users', {ten}), ('projects', {ws})) AS lists (noun, whose), generate_series(1, {MANY}) AS n"),
    ];
    for fill in fills {
        let series = if fill.contains("generate_series") {
            String::new()
        } else {
            format!(" FROM generate_series(1, {MANY}) AS n")
        };
        connection.execute(AssertSqlSafe(format!("INSERT INTO {fill}{series}"))).await.expect("rows");
    }
    connection.execute("VACUUM ANALYZE").await.expect("counted");
    connection.close().await.expect("closes");
}
