//! What Authorize decides, and every reason that it gives.

use std::time::Duration;

use tollreeve::{
    domain::key_secret::KeySecret,
    pb::tollreeve::v1::{self as pb, DenialCode as Code, authorize_request::Credential},
};

use crate::harness::{
    client::{assert_invalid, assert_refused},
    once,
    server::Env,
    world::{
        COST, World, account_token, codes, create_account, create_key, create_project, create_workspace, on_hold,
        unique,
    },
};

once!(
    a_good_call_is_allowed_and_told_all_that_a_sidecar_needs,
    a_text_that_is_no_key_is_malformed_and_a_key_of_nobody_is_not_found,
    a_key_is_refused_while_it_is_disabled_and_for_good_once_it_is_revoked,
    a_key_is_refused_from_the_moment_it_expires,
    what_is_suspended_refuses_its_keys_by_its_own_reason_until_it_is_reactivated,
    a_key_is_refused_in_another_environment,
    an_unknown_project_is_refused_and_another_one_of_the_workspace_is_taken,
    a_price_that_nobody_knows_refuses_only_where_dollars_are_limited,
    every_reason_is_given_and_not_only_the_first,
    each_unit_refuses_by_its_own_code_and_tells_where_the_budget_stands,
    a_soft_budget_warns_and_lets_pass,
    a_check_holds_nothing,
    the_same_request_again_is_the_same_hold,
    a_request_id_with_another_body_is_refused,
    a_request_id_is_free_again_when_its_hold_is_settled,
    one_request_sent_many_times_at_once_makes_one_hold,
    a_revision_that_is_not_yet_here_is_refused_and_one_that_is_here_is_not,
    an_access_token_is_a_credential_as_well,
    a_caller_without_the_permission_is_told_nothing,
    what_a_question_must_have_is_asked_for_by_name,
);

pub async fn denied(world: &World, asked: pb::AuthorizeRequest) -> Vec<Code> {
    let answer = world.authorize(asked).await;
    assert_eq!(answer.decision(), pb::Decision::Deny);
    assert!(answer.hold.is_none(), "a refusal holds nothing");
    assert!(answer.denials.iter().all(|denial| !denial.message.is_empty()), "every reason is told in words");
    codes(&answer)
}

pub async fn allowed(world: &World, asked: pb::AuthorizeRequest) -> pb::AuthorizeResponse {
    let answer = world.authorize(asked).await;
    assert_eq!(answer.decision(), pb::Decision::Allow, "{:?}", answer.denials);
    answer
}

pub fn targeting(asked: pb::AuthorizeRequest, change: impl FnOnce(&mut pb::Target)) -> pb::AuthorizeRequest {
    let mut target = asked.target.clone().unwrap_or_default();
    change(&mut target);
    pb::AuthorizeRequest { target: Some(target), ..asked }
}

pub fn from(asked: pb::AuthorizeRequest, client_ip: &str, origin: &str) -> pb::AuthorizeRequest {
    let source = pb::Source { client_ip: client_ip.into(), origin: origin.into() };
    pb::AuthorizeRequest { source: Some(source), ..asked }
}

pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn a_good_call_is_allowed_and_told_all_that_a_sidecar_needs(env: &mut Env) {
    let world = World::new(env).await;
    let tenant = world.dollars(&world.tenant, 1_000_000).await;
    let project = world.dollars(&world.project, 500_000).await;
    let answer = allowed(&world, world.ask()).await;
    let principal = answer.principal.expect("who it is");
    assert_eq!((&principal.tenant, &principal.workspace), (&world.tenant, &world.workspace));
    assert_eq!((&principal.project, &principal.key), (&world.project, &world.key.name));
    assert_eq!((principal.teams, principal.environment.as_str()), (vec![world.team.clone()], "production"));
    assert_eq!(principal.owner, Some(pb::principal::Owner::User(world.user.clone())));
    assert_eq!(principal.roles, ["roles/developer"]);
    let hold = answer.hold.expect("a hold");
    let held: Vec<(&str, i64)> = hold.amounts.iter().map(|held| (held.budget.as_str(), held.amount)).collect();
    assert_eq!(held, [(tenant.as_str(), COST), (project.as_str(), COST)], "widest scope first");
    assert_eq!(hold.granted_output_tokens, 100);
    assert!(hold.token.len() <= 2048);
    let expires = hold.expires_at.expect("an end");
    assert_eq!(expires.seconds, 1_773_145_200 + 120, "two minutes unless somebody says");
    let shown: Vec<(i64, i64, i64)> = answer.budgets.iter().map(|b| (b.limit, b.held, b.remaining)).collect();
    assert_eq!(shown, [(1_000_000, COST, 999_700), (500_000, COST, 499_700)]);
    assert_eq!(answer.key.map(|key| key.generation), Some(1));
    assert!(answer.revision > 0 && answer.decision_id.starts_with("dec_"));
}

async fn a_text_that_is_no_key_is_malformed_and_a_key_of_nobody_is_not_found(env: &mut Env) {
    let world = World::new(env).await;
    let mut broken = world.key.secret.clone();
    let last = broken.pop().expect("a character");
    broken.push(if last == 'a' { 'b' } else { 'a' });
    for text in ["", "x", "prod_tr_", &broken, &"k".repeat(10_000), "sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaa"] {
        assert_eq!(denied(&world, world.ask_with(text)).await, [Code::KeyMalformed], "{text}");
    }
    let stranger = KeySecret::generate("prod", &[7; tollreeve::domain::key_secret::RANDOM_BYTES]).expect("a key");
    assert_eq!(denied(&world, world.ask_with(stranger.expose())).await, [Code::KeyNotFound]);
    // A wrong secret under a public id that exists is told in the same words.
    let nobody = world.authorize(world.ask_with(stranger.expose())).await;
    assert!(nobody.principal.is_none() && nobody.budgets.is_empty() && nobody.key.is_none());
}

async fn a_key_is_refused_while_it_is_disabled_and_for_good_once_it_is_revoked(env: &mut Env) {
    let world = World::new(env).await;
    let name = world.key.name.clone();
    let mut keys = env.operator.keys();
    keys.disable_key(pb::DisableKeyRequest { name: name.clone() }).await.expect("disabled");
    assert_eq!(denied(&world, world.ask()).await, [Code::KeyDisabled]);
    keys.enable_key(pb::EnableKeyRequest { name: name.clone() }).await.expect("enabled");
    allowed(&world, world.ask()).await;
    keys.revoke_key(pb::RevokeKeyRequest { name: name.clone(), reason: "leaked".into() }).await.expect("revoked");
    assert_eq!(denied(&world, world.ask()).await, [Code::KeyRevoked]);
    let back = keys.enable_key(pb::EnableKeyRequest { name }).await;
    assert_refused(back, tonic::Code::FailedPrecondition, "STATE_CONFLICT");
    assert_eq!(denied(&world, world.ask()).await, [Code::KeyRevoked]);
}

async fn a_key_is_refused_from_the_moment_it_expires(env: &mut Env) {
    let world = World::new(env).await;
    let end = prost_types::Timestamp { seconds: 1_773_145_200 + 60, nanos: 0 };
    let key = world.another_key(pb::Key { expire_time: Some(end), ..pb::Key::default() }).await;
    env.clock.advance(Duration::from_millis(59_999));
    let answer = allowed(&world, world.ask_with(&key.secret)).await;
    assert_eq!(answer.key.and_then(|key| key.expires_at), Some(end));
    env.clock.advance(Duration::from_millis(1));
    assert_eq!(denied(&world, world.ask_with(&key.secret)).await, [Code::KeyExpired]);
}

async fn what_is_suspended_refuses_its_keys_by_its_own_reason_until_it_is_reactivated(env: &mut Env) {
    let world = World::new(env).await;
    let mut identity = env.operator.identity();
    // The sidecar lives in the system tenant: one of the suspended tenant could not even ask.
    let roving = create_account(&env.operator, "tenants/system", "roving", None).await;
    crate::harness::world::bind(&env.operator, "tenants/system", "roles/sidecar", &roving, "platform").await;
    let token = account_token(&env.operator, &roving).await;
    let world = World { sidecar: env.operator.with_token(Some(&token)), ..world };

    let name = world.tenant.clone();
    identity.suspend_tenant(pb::SuspendTenantRequest { name: name.clone() }).await.expect("suspended");
    assert_eq!(denied(&world, world.ask()).await, [Code::TenantSuspended]);
    identity.reactivate_tenant(pb::ReactivateTenantRequest { name }).await.expect("reactivated");
    allowed(&world, world.ask()).await;

    let name = world.workspace.clone();
    identity.suspend_workspace(pb::SuspendWorkspaceRequest { name: name.clone() }).await.expect("suspended");
    assert_eq!(denied(&world, world.ask()).await, [Code::WorkspaceSuspended]);
    identity.reactivate_workspace(pb::ReactivateWorkspaceRequest { name }).await.expect("reactivated");
    allowed(&world, world.ask()).await;

    let name = world.user.clone();
    identity.suspend_user(pb::SuspendUserRequest { name: name.clone() }).await.expect("suspended");
    assert_eq!(denied(&world, world.ask()).await, [Code::UserSuspended]);
    identity.reactivate_user(pb::ReactivateUserRequest { name }).await.expect("reactivated");
    allowed(&world, world.ask()).await;

    let bot = create_account(&env.operator, &world.tenant, "bot", Some("roles/developer")).await;
    let key = pb::Key { owner: bot.clone(), ..pb::Key::default() };
    let key = create_key(&env.operator, &world.workspace, key).await;
    allowed(&world, world.ask_with(&key.secret)).await;
    identity.suspend_service_account(pb::SuspendServiceAccountRequest { name: bot }).await.expect("suspended");
    assert_eq!(denied(&world, world.ask_with(&key.secret)).await, [Code::UserSuspended]);
}

async fn a_key_is_refused_in_another_environment(env: &mut Env) {
    let world = World::new(env).await;
    let ask = |environment: &str| targeting(world.ask(), |target| target.environment = environment.to_owned());
    allowed(&world, ask("production")).await;
    assert_eq!(denied(&world, ask("staging")).await, [Code::EnvironmentMismatch]);
}

async fn an_unknown_project_is_refused_and_another_one_of_the_workspace_is_taken(env: &mut Env) {
    let world = World::new(env).await;
    let other = create_project(&env.operator, &world.workspace, "other").await;
    let elsewhere = create_workspace(&env.operator, &world.tenant, "test", "staging").await;
    create_project(&env.operator, &elsewhere, "hidden").await;
    let ask = |project: &str| pb::AuthorizeRequest { project: project.into(), ..world.ask() };
    let answer = allowed(&world, ask("other")).await;
    assert_eq!(answer.principal.map(|principal| principal.project), Some(other));
    for unknown in ["nothing", "hidden", "OTHER"] {
        assert_eq!(denied(&world, ask(unknown)).await, [Code::ProjectUnknown], "{unknown}");
    }
}

async fn a_price_that_nobody_knows_refuses_only_where_dollars_are_limited(env: &mut Env) {
    let world = World::new(env).await;
    let ask = || targeting(world.ask(), |target| target.model = "unheard-of".into());
    let answer = allowed(&world, ask()).await;
    let warned: Vec<_> = answer.warnings.iter().map(pb::Warning::code).collect();
    assert_eq!(warned, [pb::WarningCode::PriceUnknown]);
    world.budget(&world.tenant, pb::Unit::Tokens, pb::Window::Day, 1_000_000).await;
    allowed(&world, ask()).await;
    world.dollars(&world.tenant, 1_000_000).await;
    assert_eq!(denied(&world, ask()).await, [Code::PriceUnknown]);
    let estimate = pb::Estimate { cost_nanos: Some(7), ..pb::Estimate::default() };
    allowed(&world, pb::AuthorizeRequest { estimate: Some(estimate), ..ask() }).await;
}

async fn every_reason_is_given_and_not_only_the_first(env: &mut Env) {
    let world = World::new(env).await;
    let allowlist = pb::Allowlist {
        cidrs: texts(&["10.0.0.0/8"]),
        origins: texts(&["a.test"]),
        models: texts(&["o1"]),
        endpoints: texts(&["/v1"]),
        permissions: texts(&["prompts:read"]),
    };
    let end = prost_types::Timestamp { seconds: 1_773_145_200 + 60, nanos: 0 };
    let key = pb::Key { allowlist: Some(allowlist), expire_time: Some(end), ..pb::Key::default() };
    let key = world.another_key(key).await;
    world.dollars(&world.tenant, 200).await;
    world.budget(&world.team, pb::Unit::Requests, pb::Window::Day, 0).await;
    // The budgets' answers are known once somebody has asked.
    assert_eq!(denied(&world, world.ask()).await, [Code::BudgetExhausted, Code::QuotaExhausted]);
    env.clock.advance(Duration::from_mins(2));
    let name = key.name.clone();
    env.operator.keys().disable_key(pb::DisableKeyRequest { name }).await.expect("disabled");
    let suspend = pb::SuspendWorkspaceRequest { name: world.workspace.clone() };
    env.operator.identity().suspend_workspace(suspend).await.expect("suspended");
    let suspend = pb::SuspendUserRequest { name: world.user.clone() };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    let asked = targeting(world.ask_with(&key.secret), |target| target.environment = "staging".into());
    let asked = pb::AuthorizeRequest { project: "nothing".into(), ..from(asked, "192.0.2.1", "b.test") };
    let expected = [
        Code::KeyDisabled,
        Code::KeyExpired,
        Code::WorkspaceSuspended,
        Code::UserSuspended,
        Code::IpBlocked,
        Code::OriginBlocked,
        Code::ModelNotAllowed,
        Code::EndpointNotAllowed,
        Code::EnvironmentMismatch,
        Code::PermissionDenied,
        Code::ProjectUnknown,
        Code::BudgetExhausted,
        Code::QuotaExhausted,
    ];
    assert_eq!(denied(&world, asked).await, expected);
}

async fn each_unit_refuses_by_its_own_code_and_tells_where_the_budget_stands(env: &mut Env) {
    let world = World::new(env).await;
    let cases = [
        (pb::Unit::UsdNanos, Code::BudgetExhausted, 500, COST),
        (pb::Unit::Tokens, Code::BudgetExhausted, 300, 200),
        (pb::Unit::Requests, Code::QuotaExhausted, 1, 1),
    ];
    for (unit, code, limit, needed) in cases {
        let budget = world.budget(&world.user, unit, pb::Window::Hour, limit).await;
        let hold = world.hold(world.ask()).await;
        let answer = world.authorize(world.ask()).await;
        assert_eq!(codes(&answer), [code], "{unit:?}");
        let denial = &answer.denials[0];
        assert_eq!((&denial.budget, &denial.scope, denial.unit()), (&budget, &world.user, unit));
        assert_eq!((denial.limit, denial.spent, denial.held, denial.requested), (limit, 0, needed, needed));
        assert_eq!(denial.resets_at.map(|at| at.seconds), Some(1_773_144_000 + 3600), "the clock hour ends");
        assert!(denial.retry_after.is_some());
        world.charge(on_hold(&hold, 0)).await;
        let name = budget.clone();
        env.operator
            .budgets()
            .delete_budget(pb::DeleteBudgetRequest { name, ..Default::default() })
            .await
            .expect("deleted");
    }
    world.credit(299, None).await;
    assert_eq!(denied(&world, world.ask()).await, [Code::CreditExhausted]);
}

async fn a_soft_budget_warns_and_lets_pass(env: &mut Env) {
    let world = World::new(env).await;
    let budget = pb::Budget {
        scope: world.tenant.clone(),
        unit: pb::Unit::UsdNanos.into(),
        window: pb::Window::Day.into(),
        limit: COST,
        hard: Some(false),
        ..pb::Budget::default()
    };
    let budget = world.create_budget(budget).await;
    assert!(allowed(&world, world.ask()).await.warnings.is_empty(), "at the limit is not over it");
    let answer = allowed(&world, world.ask()).await;
    let warned: Vec<_> = answer.warnings.iter().map(|warning| (warning.code(), warning.resource.as_str())).collect();
    assert_eq!(warned, [(pb::WarningCode::SoftLimitExceeded, budget.as_str())]);
}

async fn a_check_holds_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, COST).await;
    let check = || pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask() };
    for _ in 0..5 {
        assert!(allowed(&world, check()).await.hold.is_none());
    }
    world.hold(world.ask()).await;
    assert_eq!(world.state(&budget).await.held, COST);
    assert_eq!(denied(&world, check()).await, [Code::BudgetExhausted]);
}

async fn the_same_request_again_is_the_same_hold(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let asked = pb::AuthorizeRequest { request_id: "one".into(), ..world.ask() };
    let first = allowed(&world, asked.clone()).await.hold;
    env.clock.advance(Duration::from_secs(5));
    let again = allowed(&world, asked.clone()).await.hold;
    assert_eq!(first, again);
    assert_eq!(world.state(&budget).await.held, COST);
    allowed(&world, pb::AuthorizeRequest { request_id: "two".into(), ..asked.clone() }).await;
    assert_eq!(world.state(&budget).await.held, 2 * COST);
    // Another caller's request of the same id is another request.
    let other = create_account(&env.operator, &world.tenant, "other", Some("roles/sidecar")).await;
    let token = account_token(&env.operator, &other).await;
    let elsewhere = World { sidecar: env.operator.with_token(Some(&token)), ..world.clone() };
    assert_ne!(allowed(&elsewhere, asked).await.hold, first);
    assert_eq!(world.state(&budget).await.held, 3 * COST);
}

async fn a_request_id_with_another_body_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let asked = pb::AuthorizeRequest { request_id: "one".into(), ..world.ask() };
    allowed(&world, asked.clone()).await;
    let bodies = [
        pb::AuthorizeRequest { request_id: "one".into(), ..world.ask_for(COST) },
        targeting(asked.clone(), |target| target.endpoint = "/v1".into()),
        pb::AuthorizeRequest { end_user: "somebody".into(), ..asked.clone() },
        pb::AuthorizeRequest { mode: pb::HoldMode::Clamp.into(), ..asked.clone() },
        from(asked, "192.0.2.1", ""),
    ];
    for body in bodies {
        let answer = world.try_authorize(body).await;
        assert_refused(answer, tonic::Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    }
    assert_eq!(world.state(&budget).await.held, COST);
}

async fn a_request_id_is_free_again_when_its_hold_is_settled(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 10_000).await;
    let asked = pb::AuthorizeRequest { request_id: "one".into(), ..world.ask() };
    let hold = world.hold(asked.clone()).await;
    world.charge(on_hold(&hold, 200)).await;
    assert_ne!(world.hold(asked).await.token, hold.token);
    let state = world.state(&budget).await;
    assert_eq!((state.spent, state.held), (200, COST));
}

async fn one_request_sent_many_times_at_once_makes_one_hold(env: &mut Env) {
    let world = World::new(env).await;
    let budget = world.dollars(&world.tenant, 1_000_000).await;
    let asked = pb::AuthorizeRequest { request_id: unique("request"), ..world.ask() };
    let calls = (0..32).map(|_| {
        let (world, asked) = (world.clone(), asked.clone());
        tokio::spawn(async move { world.hold(asked).await.token })
    });
    let mut tokens = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        tokens.push(call.await.expect("no panic"));
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(world.state(&budget).await.held, COST);
}

async fn a_revision_that_is_not_yet_here_is_refused_and_one_that_is_here_is_not(env: &mut Env) {
    let world = World::new(env).await;
    let at = allowed(&world, world.ask()).await.revision;
    let ask = |min_revision| pb::AuthorizeRequest { min_revision, ..world.ask() };
    for revision in [0, 1, at] {
        allowed(&world, ask(revision)).await;
    }
    for revision in [at + 1, i64::MAX] {
        assert_refused(world.try_authorize(ask(revision)).await, tonic::Code::Unavailable, "REVISION_AHEAD");
    }
    let suspended = env.operator.identity().suspend_user(pb::SuspendUserRequest { name: world.user.clone() }).await;
    let revision = suspended.expect("suspended").into_inner().revision;
    assert_eq!(denied(&world, ask(revision)).await, [Code::UserSuspended]);
}

async fn an_access_token_is_a_credential_as_well(env: &mut Env) {
    let world = World::new(env).await;
    let ask = |token: String| pb::AuthorizeRequest { credential: Some(Credential::AccessToken(token)), ..world.ask() };
    let answer = allowed(&world, ask(env.user_token(&world.user))).await;
    let principal = answer.principal.expect("who it is");
    assert_eq!(principal.owner, Some(pb::principal::Owner::User(world.user.clone())));
    assert_eq!((principal.key.as_str(), principal.workspace.as_str()), ("", ""));
    assert_eq!(denied(&world, ask("not a token".into())).await, [Code::KeyNotFound]);
    let other = World::named(env, "globex").await;
    let foreign = ask(env.user_token(&other.user));
    assert_eq!(denied(&world, foreign).await, [Code::KeyNotFound], "somebody of another tenant");
}

async fn a_caller_without_the_permission_is_told_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let idle = create_account(&env.operator, &world.tenant, "idle", Some("roles/reader")).await;
    let token = account_token(&env.operator, &idle).await;
    let idle = World { sidecar: env.operator.with_token(Some(&token)), ..world.clone() };
    let answer = idle.authorize(idle.ask()).await;
    assert_eq!(codes(&answer), [Code::KeyNotFound]);
    assert!(answer.principal.is_none() && answer.key.is_none() && answer.budgets.is_empty());
}

async fn what_a_question_must_have_is_asked_for_by_name(env: &mut Env) {
    let world = World::new(env).await;
    let estimate = |estimate: pb::Estimate| pb::AuthorizeRequest { estimate: Some(estimate), ..world.ask() };
    let ttl = |seconds, nanos| pb::AuthorizeRequest {
        hold_ttl: Some(prost_types::Duration { seconds, nanos }),
        ..world.ask()
    };
    let cases = [
        ("credential", pb::AuthorizeRequest { credential: None, ..world.ask() }),
        ("target", pb::AuthorizeRequest { target: None, ..world.ask() }),
        ("target.model", targeting(world.ask(), |target| target.model.clear())),
        ("permission", pb::AuthorizeRequest { permission: "fly".into(), ..world.ask() }),
        ("source.client_ip", from(world.ask(), "here", "")),
        ("request_id", pb::AuthorizeRequest { request_id: "a b".into(), ..world.ask() }),
        ("request_id", pb::AuthorizeRequest { request_id: "x".repeat(65), ..world.ask() }),
        ("end_user", pb::AuthorizeRequest { end_user: "x".repeat(129), ..world.ask() }),
        ("mode", pb::AuthorizeRequest { mode: 9, ..world.ask() }),
        ("hold_ttl", ttl(0, 999_999_999)),
        ("hold_ttl", ttl(900, 1)),
        ("hold_ttl", ttl(-5, 0)),
        ("estimate.requests", estimate(pb::Estimate { requests: -1, ..pb::Estimate::default() })),
        ("estimate.input_tokens", estimate(pb::Estimate { input_tokens: 1_000_000_001, ..pb::Estimate::default() })),
        ("estimate.max_output_tokens", estimate(pb::Estimate { max_output_tokens: -1, ..pb::Estimate::default() })),
        ("estimate.cost_nanos", estimate(pb::Estimate { cost_nanos: Some(i64::MAX), ..pb::Estimate::default() })),
    ];
    for (field, asked) in cases {
        assert_invalid(world.try_authorize(asked).await, field);
    }
    world.hold(ttl(900, 0)).await;
}
