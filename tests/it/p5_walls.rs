//! Walls hold: no caller learns that another tenant's object exists.

use std::collections::BTreeSet;

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode, charge_request::Subject};
use tonic::{Code, Status};

use crate::harness::{
    both,
    calls::{Place, calls, every_call, restore},
    client::{Client, fields},
    ids::ids_of,
    once,
    raw::{call, rpcs, texts_of},
    server::Env,
    world::{World, codes, on_hold, on_key},
};

both!(
    what_another_tenant_has_answers_as_what_nobody_has,
    a_foreign_id_under_ones_own_name_is_an_unknown_one,
    no_text_of_any_request_tells_a_foreign_name_from_nobodys,
);

once!(
    a_reference_to_what_another_tenant_has_answers_as_one_to_nothing,
    a_malformed_name_is_told_by_its_field,
    a_key_of_another_tenant_is_not_found,
    a_list_shows_nothing_of_others,
);

/// All that a caller sees of a refusal, with the names that they sent replaced by what these stand for.
/// The names are of the same length throughout, so that the rest of the bytes is the same or not.
fn seen(status: &Status, sent: &Place) -> (Code, String, String) {
    let mut message = status.message().to_owned();
    let mut details = String::from_utf8_lossy(status.details()).into_owned();
    let names = [
        (&sent.key, "KEY"),
        (&sent.project, "PROJECT"),
        (&sent.workspace, "WORKSPACE"),
        (&sent.team, "TEAM"),
        (&sent.user, "USER"),
        (&sent.public_key, "PUBLIC KEY"),
        (&sent.admin, "ADMIN"),
        (&sent.leaver, "LEAVER"),
        (&sent.quitter, "QUITTER"),
        (&sent.disbanded, "DISBANDED"),
        (&sent.account, "ACCOUNT"),
        (&sent.binding, "BINDING"),
        (&sent.budget, "BUDGET"),
        (&sent.role, "ROLE"),
        (&sent.template, "TEMPLATE"),
        (&sent.invitation, "INVITATION"),
        (&sent.event, "EVENT"),
        (&sent.doomed, "DOOMED"),
        (&sent.tenant, "TENANT"),
    ];
    for (name, kind) in names {
        message = message.replace(name.as_str(), kind);
        details = details.replace(name.as_str(), kind);
    }
    (status.code(), message, details)
}

async fn refused(client: &Client, path: &str, body: Vec<u8>, sent: &Place) -> (Code, String, String) {
    let status = call(client, path, body).await.expect_err(path);
    let headers: Vec<_> = status.metadata().keys().map(|key| format!("{key:?}")).collect();
    assert!(headers.iter().all(|header| !header.contains("tenant")), "{headers:?}");
    seen(&status, sent)
}

/// The RPCs that speak of something by name must each have a case.
fn assert_complete(place: &Place) {
    let known: BTreeSet<String> = calls(place).into_iter().map(|(path, _)| path).collect();
    for rpc in rpcs() {
        if rpc.fields.iter().any(|field| field == "name" || field == "parent") {
            assert!(known.contains(&rpc.path), "there is no case for {}: add one to harness/calls.rs", rpc.path);
        }
    }
}

async fn what_another_tenant_has_answers_as_what_nobody_has(env: &mut Env) {
    let world = World::new(env).await;
    let foreign = Place::of(&World::named(env, "globex").await).await;
    assert_complete(&foreign);
    let nowhere = foreign.moved_to("tenants/nobody");
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    for caller in [&owner, &user, &world.sidecar] {
        for ((path, there), (_, not_there)) in calls(&foreign).into_iter().zip(calls(&nowhere)) {
            let first = refused(caller, &path, there, &foreign).await;
            let second = refused(caller, &path, not_there, &nowhere).await;
            assert_eq!(first, second, "{path}");
            assert_eq!(first.0, Code::NotFound, "{path}");
        }
    }
}

async fn a_foreign_id_under_ones_own_name_is_an_unknown_one(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let foreign = Place::of(&other).await;
    // The other tenant's ids, all of them under this tenant's name; and ids of nobody.
    let borrowed = foreign.moved_to(&world.tenant);
    let unknown = |name: &str| {
        let (head, id) = name.split_at(name.len() - 6);
        format!("{head}{}", if id == "000000" { "111111" } else { "000000" })
    };
    let nobody = Place {
        user: unknown(&borrowed.user),
        admin: unknown(&borrowed.admin),
        leaver: unknown(&borrowed.leaver),
        quitter: unknown(&borrowed.quitter),
        binding: unknown(&borrowed.binding),
        key: unknown(&borrowed.key),
        budget: unknown(&borrowed.budget),
        invitation: unknown(&borrowed.invitation),
        public_key: unknown(&borrowed.public_key),
        ..borrowed.clone()
    };
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let by_id = ["User", "Binding", "Key", "Budget", "Invitation"];
    for ((path, theirs), (_, nobodys)) in calls(&borrowed).into_iter().zip(calls(&nobody)) {
        let rpc = path.rsplit('/').next().unwrap_or_default();
        if rpc.starts_with("Create") || rpc.starts_with("Add") || !by_id.iter().any(|kind| rpc.ends_with(kind)) {
            continue;
        }
        let first = refused(&owner, &path, theirs, &borrowed).await;
        assert_eq!(first, refused(&owner, &path, nobodys, &nobody).await, "{path}");
        assert_eq!(first.0, Code::NotFound, "{path}");
    }
    // Everything of theirs is untouched.
    let state = env.operator.identity().get_user(pb::GetUserRequest { name: foreign.user }).await.expect("the user");
    assert_eq!(state.into_inner().user.map(|user| user.state()), Some(pb::UserState::Active));
    other.hold(other.ask()).await;
}

/// Every text of every request, as the descriptors have them, with a name of each kind: so a new field cannot be forgotten.
async fn no_text_of_any_request_tells_a_foreign_name_from_nobodys(env: &mut Env) {
    let world = World::new(env).await;
    let foreign = Place::of(&World::named(env, "globex").await).await;
    let nowhere = foreign.moved_to("tenants/nobody");
    let kinds = |place: &Place| {
        let end_user = format!("{}/endUsers/mia", place.tenant);
        let Place {
            tenant,
            workspace,
            project,
            team,
            user,
            account,
            public_key,
            binding,
            key,
            budget,
            role,
            template,
            event,
            ..
        } = place.clone();
        let below = [workspace, project, team, user, account, public_key, binding, key, budget, role, template, event];
        [vec![tenant, end_user], below.to_vec()].concat()
    };
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let mut unknown = BTreeSet::new();
    for (path, body) in every_call(&world).await {
        for field in texts_of(&path) {
            for (theirs, nobodys) in kinds(&foreign).into_iter().zip(kinds(&nowhere)) {
                let ask = async |name: &str| {
                    let mut body = body.clone();
                    field.append(name, &mut body);
                    call(&owner, &path, body).await
                };
                // What is taken as a text like any other is no reference; nor is the id of a request, used once before.
                let Err(first) = ask(&theirs).await else { continue };
                if first.code() == Code::AlreadyExists {
                    continue;
                }
                let second = ask(&nobodys).await.expect_err(&path);
                assert_eq!(seen(&first, &foreign), seen(&second, &nowhere), "{path} {field:?} {theirs}");
                if first.code() == Code::NotFound {
                    unknown.insert(path.clone());
                    // Or what the request is about is gone, whatever stands here.
                    let told = !first.message().contains(&theirs) || ids_of(&path).iter().any(|id| field.is(&id.way));
                    assert!(told, "{path}: the comment of {field:?} does not show the names that it takes");
                }
            }
        }
        restore(&world).await;
    }
    assert!(unknown.len() > 50, "most requests refer to something: {unknown:?}");
}

async fn a_reference_to_what_another_tenant_has_answers_as_one_to_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let foreign = Place::of(&World::named(env, "globex").await).await;
    let nowhere = foreign.moved_to("tenants/nobody");
    let own = Place::of(&world).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let mixed = |there: &Place| {
        let cases = [
            Place { user: there.user.clone(), ..own.clone() },
            Place { project: there.project.clone(), ..own.clone() },
            Place { account: there.account.clone(), ..own.clone() },
            Place { account: there.team.clone(), ..own.clone() },
        ];
        cases.to_vec()
    };
    let creates = ["CreateKey", "CreateBinding", "CreateBudget"];
    let mut compared = 0;
    for (theirs, nobodys) in mixed(&foreign).into_iter().zip(mixed(&nowhere)) {
        for ((path, first), (_, second)) in calls(&theirs).into_iter().zip(calls(&nobodys)) {
            if !creates.iter().any(|create| path.ends_with(create)) {
                continue;
            }
            let (Err(first), Err(second)) = (call(&owner, &path, first).await, call(&owner, &path, second).await)
            else {
                continue;
            };
            assert_eq!(seen(&first, &foreign), seen(&second, &nowhere), "{path}");
            assert_eq!(first.code(), Code::NotFound, "{path}");
            compared += 1;
        }
    }
    assert_eq!(compared, 5, "key and owner, key and project, budget and project, binding and member twice");
    for scope in [&foreign.tenant, &foreign.workspace, &foreign.team, &foreign.user, &foreign.key] {
        let ask = async |scope: String| {
            let budget = pb::Budget {
                scope,
                unit: pb::Unit::Tokens.into(),
                window: pb::Window::Day.into(),
                ..pb::Budget::default()
            };
            let request =
                pb::CreateBudgetRequest { parent: world.tenant.clone(), budget: Some(budget), ..Default::default() };
            owner.budgets().create_budget(request).await.expect_err("another tenant's")
        };
        let theirs = ask(scope.clone()).await;
        let nobodys = ask(scope.replacen(&foreign.tenant, &nowhere.tenant, 1)).await;
        assert_eq!(seen(&theirs, &foreign), seen(&nobodys, &nowhere), "{scope}");
    }
    let team = async |team: &str| {
        let user = pb::User { email: "new@example.com".into(), teams: vec![team.into()], ..pb::User::default() };
        let request = pb::CreateUserRequest { parent: world.tenant.clone(), user: Some(user), ..Default::default() };
        owner.identity().create_user(request).await.expect_err("another tenant's team")
    };
    assert_eq!(seen(&team(&foreign.team).await, &foreign), seen(&team(&nowhere.team).await, &nowhere));
}

async fn a_malformed_name_is_told_by_its_field(env: &mut Env) {
    World::new(env).await;
    let bad = ["", "nonsense", "tenants", "tenants/", "tenants/UPPER", "tenants/acme/x/y", "tenants/acme/", "/", "\0"];
    for rpc in rpcs() {
        // In every request, a name or a parent is the first field.
        let Some(field) = rpc.fields.first().filter(|field| *field == "name" || *field == "parent") else { continue };
        // Without a tenant, the built-in roles are listed.
        let optional = rpc.name == "ListRoles";
        for name in bad.into_iter().filter(|name| !(optional && name.is_empty())) {
            let body = pb::GetTenantRequest { name: name.into() };
            let complete = complete(&rpc.name, prost::Message::encode_to_vec(&body));
            let status = call(&env.operator, &rpc.path, complete).await.expect_err(&rpc.path);
            assert_eq!(status.code(), Code::InvalidArgument, "{} {name:?}: {status:?}", rpc.path);
            assert_eq!(fields(&status), [field.as_str()], "{} {name:?}", rpc.path);
        }
    }
}

/// Adds to a body what the request needs beside its name.
fn complete(rpc: &str, named: Vec<u8>) -> Vec<u8> {
    let place = Place {
        tenant: "tenants/acme".into(),
        workspace: "tenants/acme/workspaces/prod".into(),
        project: "tenants/acme/workspaces/prod/projects/search".into(),
        team: "tenants/acme/teams/core".into(),
        user: "tenants/acme/serviceAccounts/edge".into(),
        session: String::new(),
        identity_provider: "tenants/acme/identityProviders/okta".into(),
        account: "tenants/acme/serviceAccounts/edge".into(),
        public_key: String::new(),
        binding: String::new(),
        key: String::new(),
        budget: String::new(),
        role: "tenants/acme/roles/reviewer".into(),
        template: "tenants/acme/roleTemplates/engineer".into(),
        invitation: String::new(),
        event: String::new(),
        admin: String::new(),
        leaver: String::new(),
        quitter: String::new(),
        disbanded: String::new(),
        doomed: "tenants/acme".into(),
        strict: "tenants/acme/workspaces/strict".into(),
        price_version: "tenants/acme/priceVersions/1".into(),
    };
    let good = calls(&place).into_iter().find(|(path, _)| path.ends_with(&format!("/{rpc}"))).expect("a case").1;
    // Of a field that is given twice, the last counts. An empty one is not written, so it is taken out of the good one.
    if named.is_empty() { without_first_field(&good) } else { [good, named].concat() }
}

/// A message without its field 1, which is a short text.
fn without_first_field(message: &[u8]) -> Vec<u8> {
    match message {
        [0x0a, length, rest @ ..] => rest[usize::from(*length)..].to_vec(),
        _ => message.to_vec(),
    }
}

async fn a_key_of_another_tenant_is_not_found(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let budget = other.dollars(&other.tenant, 1_000).await;
    let answer = world.authorize(world.ask_with(&other.key.secret)).await;
    assert_eq!(codes(&answer), [DenialCode::KeyNotFound]);
    assert!(answer.principal.is_none() && answer.budgets.is_empty() && answer.key.is_none());
    let missing = world.authorize(world.ask_with(&nobodys_key())).await;
    assert_eq!(answer.denials, missing.denials, "word by word as for a key that nobody has");
    let theirs = world.try_charge(on_key(&other.key, 5)).await.expect_err("not found");
    let by_name =
        |name: &str| pb::ChargeRequest { subject: Some(Subject::Key(name.to_owned())), ..on_key(&other.key, 5) };
    let named = world.try_charge(by_name(&other.key.name)).await.expect_err("not found");
    assert_eq!((theirs.code(), named.code()), (Code::NotFound, Code::NotFound));
    let nowhere = other.key.name.replace("globex", "nobody");
    let nobodys = world.try_charge(by_name(&nowhere)).await.expect_err("not found");
    assert_eq!(named.message().replace("globex", "nobody"), nobodys.message());
    let details = String::from_utf8_lossy(named.details()).replace("globex", "nobody");
    assert_eq!(details, String::from_utf8_lossy(nobodys.details()));
    let hold = other.hold(other.ask()).await;
    assert_eq!(world.try_charge(on_hold(&hold, 1)).await.expect_err("theirs").code(), Code::InvalidArgument);
    assert_eq!(other.state(&budget).await.spent, 0);
}

/// A well-formed key that nobody has.
fn nobodys_key() -> String {
    let bytes = [9; tollreeve::domain::key_secret::RANDOM_BYTES];
    tollreeve::domain::key_secret::KeySecret::generate("prod", &bytes).expect("a key").expose().to_owned()
}

async fn a_list_shows_nothing_of_others(env: &mut Env) {
    let world = World::new(env).await;
    World::named(env, "globex").await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let request = pb::ListTenantsRequest { page_size: 100, ..pb::ListTenantsRequest::default() };
    let tenants = owner.identity().list_tenants(request.clone()).await.expect("a list").into_inner().tenants;
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["tenants/acme"]);
    let all = env.operator.identity().list_tenants(request).await.expect("a list").into_inner().tenants;
    assert_eq!(all.len(), 3, "the operator sees the system tenant and both");
    let place = Place::of(&world).await;
    for (path, body) in calls(&place).into_iter().filter(|(path, _)| path.contains("/List")) {
        let answer = call(&owner, &path, body).await.expect("a list");
        assert!(!String::from_utf8_lossy(&answer).contains("globex"), "{path}");
    }
}
