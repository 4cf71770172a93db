//! Every list that takes a filter, as the descriptors have them: its pages, its tokens, its filters and orders.

use std::collections::{BTreeMap, BTreeSet};

use tollreeve::pb::tollreeve::v1 as pb;

use crate::harness::{
    both,
    calls::{Place, calls},
    client::{Client, assert_invalid},
    ids::number_of,
    once,
    raw::{Rpc, call, rpcs},
    server::Env,
    wire::{all, get, number, set},
    world::{World, bind, create_account, create_key, create_user, unique},
};

both!(
    pages_of_every_list_show_what_is_there_once_whatever_is_added,
    a_word_finds_what_has_a_word_that_begins_with_it,
    every_list_is_filtered_and_ordered_by_what_it_is_told_to_be,
);

once!(a_token_is_good_for_no_other_list, what_is_no_filter_and_no_order_is_named_by_every_list);

/// A list: its RPC, a request for a page of one, and where the request has its fields.
struct List {
    path: String,
    request: Vec<u8>,
    token: u32,
    filter: u32,
    order: u32,
}

impl List {
    fn asking(&self, token: &str) -> Vec<u8> {
        set(&self.request, &[self.token], token)
    }
}

/// Every list with a filter, of what there is in a place.
fn lists(place: &Place) -> Vec<List> {
    let mut known: BTreeMap<String, Vec<u8>> = calls(place).into_iter().collect();
    known.insert("/tollreeve.v1.IdentityService/ListTenants".into(), Vec::new());
    let has = |rpc: &Rpc, wanted: &str| rpc.fields.iter().any(|field| field == wanted);
    let with_filter = rpcs().into_iter().filter(|rpc| has(rpc, "filter") && has(rpc, "page_size"));
    let lists: Vec<List> = with_filter
        .map(|rpc| {
            let at = |field| number_of(&rpc.path, field).unwrap_or_else(|| panic!("{} has no {field}", rpc.path));
            let request = number(&known[&rpc.path], at("page_size"), 1);
            List { request, token: at("page_token"), filter: at("filter"), order: at("order_by"), path: rpc.path }
        })
        .collect();
    assert!(
        lists.len() >= 10,
        "tenants, workspaces, projects, teams, users, accounts, keys, bindings, budgets, events"
    );
    lists
}

/// Makes one more of everything.
async fn grow(client: &Client, place: &Place) {
    let mut all = calls(place);
    all.retain(|(path, _)| path.contains("/Create"));
    for (path, body) in all {
        // The same binding again is the same one.
        if path.ends_with("/CreateBinding") {
            let member = create_account(client, &place.tenant, &unique("bound"), None).await;
            bind(client, &place.tenant, "roles/reader", &member, &place.tenant).await;
        } else {
            call(client, &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        }
    }
    let tenant_id = unique("tenant");
    let request = pb::CreateTenantRequest { tenant_id, ..pb::CreateTenantRequest::default() };
    client.identity().create_tenant(request).await.expect("a tenant");
}

/// Names of a page, and the token for the next.
async fn page(client: &Client, list: &List, request: Vec<u8>) -> (Vec<String>, String) {
    let answer = call(client, &list.path, request).await.unwrap_or_else(|status| panic!("{}: {status:?}", list.path));
    let names = all(&answer, 1).into_iter().map(|record| get(record, &[1]).expect("a name")).collect();
    (names, get(&answer, &[2]).unwrap_or_default())
}

async fn pages_of_every_list_show_what_is_there_once_whatever_is_added(env: &mut Env) {
    let world = World::new(env).await;
    let place = Place::of(&world).await;
    for _ in 0..2 {
        grow(&env.operator, &place).await;
    }
    for list in lists(&place) {
        let all = number(&list.request, number_of(&list.path, "page_size").expect("a size"), 1000);
        let (there, end) = page(&env.operator, &list, all).await;
        assert!(there.len() >= 3 && end.is_empty(), "{}: {there:?}", list.path);
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (names, next) = page(&env.operator, &list, list.asking(&token)).await;
            assert!(names.len() <= 1, "{}", list.path);
            seen.extend(names);
            if seen.len() == 2 {
                grow(&env.operator, &place).await;
            }
            if next.is_empty() {
                break;
            }
            token = next;
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "{}: none twice", list.path);
        assert!(there.iter().all(|name| once.contains(name)), "{}: {there:?} {seen:?}", list.path);
    }
}

async fn a_token_is_good_for_no_other_list(env: &mut Env) {
    let world = World::new(env).await;
    let other = Place::of(&World::named(env, "globex").await).await;
    let place = Place::of(&world).await;
    // Of everything there is more than a page.
    for place in [&place, &place, &other] {
        grow(&env.operator, place).await;
    }
    let (here, there) = (lists(&place), lists(&other));
    let mut tokens = Vec::new();
    for list in &here {
        tokens.push(page(&env.operator, list, list.request.clone()).await.1);
        assert!(tokens.last().is_some_and(|token| !token.is_empty()), "{}", list.path);
    }
    for (n, (list, elsewhere)) in here.iter().zip(&there).enumerate() {
        let token = &tokens[n];
        let refused = async |request: Vec<u8>| {
            assert_invalid(call(&env.operator, &list.path, request).await, "page_token");
        };
        let time = if list.path.contains("Audit") { "time" } else { "create_time" };
        let other = if list.path.contains("Audit") { "time" } else { "create_time desc" };
        refused(set(&list.asking(token), &[list.order], other)).await;
        refused(set(&list.asking(token), &[list.filter], &format!("{time} > 2020-01-01T00:00:00Z"))).await;
        // Of another tenant's list; the tenants are one list.
        if !list.path.ends_with("ListTenants") {
            refused(elsewhere.asking(token)).await;
        }
        // Of every other noun's.
        for (_, foreign) in tokens.iter().enumerate().filter(|(m, _)| *m != n) {
            refused(list.asking(foreign)).await;
        }
        for at in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
            let with = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            refused(list.asking(&format!("{}{with}{}", &token[..at], &token[at + 1..]))).await;
        }
        for forged in [&token[..token.len() - 4], "bm9uc2Vuc2U", "%%%", &"A".repeat(9_000)] {
            refused(list.asking(forged)).await;
        }
    }
}

async fn what_is_no_filter_and_no_order_is_named_by_every_list(env: &mut Env) {
    let world = World::new(env).await;
    let place = Place::of(&world).await;
    let (long, many) = ("x".repeat(1025), "x ".repeat(17));
    for list in lists(&place) {
        let deep = "(".repeat(500);
        for filter in ["secret = 1", "hash = x", "(a)", "a OR b", "\"", "create_time = soon", &long, &many, &deep] {
            let request = set(&list.request, &[list.filter], filter);
            assert_invalid(call(&env.operator, &list.path, request).await, "filter");
        }
        for order in ["hash", "create_time asc", "create_time, name", "create_time; DROP TABLE users", &long] {
            let request = set(&list.request, &[list.order], order);
            assert_invalid(call(&env.operator, &list.path, request).await, "order_by");
        }
    }
}

async fn a_word_finds_what_has_a_word_that_begins_with_it(env: &mut Env) {
    let world = World::new(env).await;
    let add = async |email: &str, display_name: &str| {
        let user = pb::User { email: email.into(), display_name: display_name.into(), ..pb::User::default() };
        let request = pb::CreateUserRequest { parent: world.tenant.clone(), user: Some(user), ..Default::default() };
        env.operator.identity().create_user(request).await.expect("a user").into_inner().user.expect("a user").name
    };
    let anna = add("anna.smith@example.com", "Anna Smith-Jönsson").await;
    let ben = add("B.Annan@Research.example", "Ben").await;
    let ask = async |filter: &str| {
        let request =
            pb::ListUsersRequest { parent: world.tenant.clone(), filter: filter.into(), ..Default::default() };
        let users = env.operator.identity().list_users(request).await.expect("users").into_inner().users;
        users.into_iter().map(|user| user.name).collect::<Vec<_>>()
    };
    let found: BTreeSet<String> = ask("anna").await.into_iter().collect();
    assert_eq!(found, BTreeSet::from([anna.clone(), ben.clone()]));
    for filter in ["smi", "ANNA AND JÖN", "\"anna smith-j\"", "smith@ex", "@example.com anna", "anna.smith@example.com"]
    {
        assert_eq!(ask(filter).await, [anna.as_str()], "{filter}");
    }
    for filter in ["nna", "\"anna jönsson\"", "%", "a_na", "\"\"", "smith olivia"] {
        assert_eq!(ask(filter).await, Vec::<String>::new(), "{filter}");
    }
    assert_eq!(ask("research state = ACTIVE").await, [ben.as_str()]);
    // By another name, they are found by that one and no more by the old one.
    let rename =
        pb::Workspace { name: world.workspace.clone(), display_name: "Quite New".into(), ..Default::default() };
    let request = pb::UpdateWorkspaceRequest { workspace: Some(rename), ..Default::default() };
    env.operator.identity().update_workspace(request).await.expect("renamed");
    let found = async |filter: &str| {
        let request =
            pb::ListWorkspacesRequest { parent: world.tenant.clone(), filter: filter.into(), ..Default::default() };
        env.operator.identity().list_workspaces(request).await.expect("a list").into_inner().workspaces.len()
    };
    assert_eq!((found("new").await, found("\"quite new\"").await, found("prod").await), (1, 1, 1));
    let rename = pb::Workspace { name: world.workspace.clone(), display_name: "Other".into(), ..Default::default() };
    let request = pb::UpdateWorkspaceRequest { workspace: Some(rename), ..Default::default() };
    env.operator.identity().update_workspace(request).await.expect("renamed");
    assert_eq!((found("new").await, found("other").await), (0, 1));
}

async fn every_list_is_filtered_and_ordered_by_what_it_is_told_to_be(env: &mut Env) {
    let world = World::new(env).await;
    let place = Place::of(&world).await;
    let zoe = create_user(&env.operator, &world.tenant, "Zoe@example.com", "roles/reader", &[]).await;
    let suspend = pb::SuspendUserRequest { name: zoe.clone() };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    let key = pb::Key { owner: world.user.clone(), display_name: "Spare".into(), ..pb::Key::default() };
    let key = create_key(&env.operator, &world.workspace, key).await.name;
    env.operator.keys().disable_key(pb::DisableKeyRequest { name: key.clone() }).await.expect("disabled");
    let by_path: BTreeMap<String, List> = lists(&place).into_iter().map(|list| (list.path.clone(), list)).collect();
    let ask = async |rpc: &str, filter: &str, order: &str| {
        let list = by_path.iter().find(|(path, _)| path.ends_with(rpc)).expect("a list").1;
        let request = set(&set(&list.request, &[list.filter], filter), &[list.order], order);
        let size = number_of(&list.path, "page_size").expect("a size");
        page(&env.operator, list, number(&request, size, 1000)).await.0
    };
    assert_eq!(ask("ListUsers", "state = SUSPENDED", "").await, [zoe.as_str()]);
    assert_eq!(ask("ListUsers", "email = ZOE@example.com", "").await, [zoe.as_str()], "whatever its case");
    assert_eq!(ask("ListUsers", "", "email desc").await[0], zoe);
    // The numbers in the addresses of the others are in the order of their digits.
    let others = ask("ListUsers", "state = ACTIVE", "email").await;
    assert_eq!((others[0].as_str(), others[4].as_str(), others.len()), (world.user.as_str(), world.owner.as_str(), 5));
    assert_eq!(ask("ListUsers", "role = roles/admin", "").await, [place.admin.as_str()]);
    let members: BTreeSet<String> =
        ask("ListUsers", "role = roles/member state = ACTIVE", "").await.into_iter().collect();
    assert_eq!(members, BTreeSet::from([place.leaver.clone(), place.quitter.clone()]));
    let of_team = format!("team = {}", world.team);
    assert_eq!(ask("ListUsers", &of_team, "").await, [world.user.as_str()]);
    assert_eq!(ask("ListUsers", &format!("{of_team} role = roles/owner"), "").await, Vec::<String>::new());
    assert_eq!(ask("ListKeys", "state = DISABLED display_name = Spare", "display_name").await, [key.as_str()]);
    assert_eq!(ask("ListKeys", "expire_time > 2020-01-01T00:00:00Z", "").await, Vec::<String>::new());
    for (filter, many) in [
        ("create_time >= 2026-03-10T12:20:00Z", true),
        ("create_time > 2026-03-10T12:20:00Z", false),
        ("create_time <= 2026-03-10T12:20:00Z", true),
        ("create_time < 2026-03-10T12:20:00Z", false),
        ("create_time = 2026-03-10T12:20:00Z", true),
        ("create_time != 2026-03-10T12:20:00Z", false),
        ("create_time > 1960-01-01T00:00:00Z create_time < 9999-01-01T00:00:00Z", true),
    ] {
        assert_eq!(ask("ListKeys", filter, "").await.len() == 2, many, "{filter}");
    }
    assert_eq!(ask("ListUsers", "state = INVITED", "").await.len(), 1);
    assert_eq!(ask("ListInvitations", "", "email desc").await, [place.invitation.as_str()]);
    assert_eq!(ask("ListInvitations", "email = nobody@example.com", "").await, Vec::<String>::new());
    assert_eq!(ask("ListTeams", "core", "name desc").await, [world.team.as_str()]);
    assert_eq!(ask("ListServiceAccounts", "state = ACTIVE", "name").await, [world.account.as_str()]);
    assert_eq!(ask("ListBudgets", "unit = USD_NANOS window = TOTAL", "").await, [place.budget.as_str()]);
    assert_eq!(ask("ListBudgets", "unit = TOKENS", "").await, Vec::<String>::new());
    let bindings = ask("ListBindings", "", "").await;
    let backwards: Vec<String> = ask("ListBindings", "", "create_time desc").await.into_iter().rev().collect();
    assert!(bindings.contains(&place.binding) && bindings == backwards);
    let events = ask("ListAuditEvents", "", "").await;
    let backwards: Vec<String> = ask("ListAuditEvents", "", "time").await.into_iter().rev().collect();
    assert_eq!(events, backwards, "the newest first unless told otherwise");
    assert_eq!(ask("ListAuditEvents", "action = keys.disable", "").await.len(), 1);
    assert_eq!(ask("ListAuditEvents", &format!("resource = {key} action != keys.create"), "").await.len(), 1);
    assert_eq!(ask("ListAuditEvents", "actor = tenants/acme/users/nobody", "").await, Vec::<String>::new());
    assert_eq!(ask("ListAuditEvents", "time >= 2020-01-01T00:00:00Z", "").await, events);
}
