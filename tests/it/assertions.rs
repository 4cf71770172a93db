//! Programs sign in with assertions that they sign: good ones are taken once, and what is wrong with any other is not told.
//! What their keys are is in `service_account_keys`.

use std::time::Duration;

use serde_json::{Value, json};
use tollreeve::{domain::time::Clock as _, pb::tollreeve::v1 as pb};
use tonic::{Code, Status};

use crate::harness::{
    assertions::{Program, Signer, exchange},
    both,
    client::{Client, assert_invalid, assert_refused},
    once, postgres,
    server::Env,
    world::{World, create_account, unique},
};

both!(
    an_assertion_is_taken_once_and_its_token_is_the_accounts,
    an_assertion_sent_many_times_at_once_is_taken_once,
    what_is_taken_is_known_after_a_restart_and_forgotten_when_it_is_too_old,
    who_may_not_act_does_not_sign_in_and_is_told_what_a_forger_is,
    an_exchange_is_on_record_as_the_accounts_own_act,
);

once!(assertions_at_the_limits_are_good, a_token_is_asked_for_as_long_as_it_may_be);

/// All that a caller sees of a refusal.
pub fn seen(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Who the bearer of a token is, as the server has them.
pub async fn whoami(client: &Client, tenant: &str) -> Result<String, Status> {
    let (resource, permission) = (tenant.to_owned(), "tenants:read".to_owned());
    let question = pb::AccessQuestion { resource, permission, ..pb::AccessQuestion::default() };
    let request = pb::CheckAccessRequest { question: Some(question) };
    let answer = client.access().check_access(request).await?.into_inner().answer.expect("an answer");
    Ok(answer.explanation.split(' ').next().unwrap_or_default().to_owned())
}

pub async fn program(env: &Env, world: &World, signer: Signer) -> Program {
    let account = create_account(&env.operator, &world.tenant, &unique("program"), Some("roles/developer")).await;
    Program::new(signer, &env.operator, &account).await
}

async fn an_assertion_is_taken_once_and_its_token_is_the_accounts(env: &mut Env) {
    let world = World::new(env).await;
    for signer in [Signer::ed25519(), Signer::p256()] {
        let program = program(env, &world, signer).await;
        let assertion = program.assertion(env, |_| ());
        let answer = exchange(&env.operator, assertion.clone()).await.expect("a token");
        let now = env.clock.now().micros() / 1_000_000;
        assert_eq!(answer.expire_time.map(|time| time.seconds), Some(now + 3_600));
        let bearer = env.operator.with_token(Some(&answer.access_token));
        assert_eq!(whoami(&bearer, &world.tenant).await.as_deref().ok(), Some(program.account.as_str()));
        for _ in 0..2 {
            assert_refused(
                exchange(&env.operator, assertion.clone()).await,
                Code::Unauthenticated,
                "CREDENTIALS_INVALID",
            );
        }
        // The same name under another key is another assertion.
        let other = Program::new(Signer::ed25519(), &env.operator, &program.account).await;
        for program in [&program, &other] {
            let again = program.assertion(env, |claims| claims["jti"] = json!("same"));
            exchange(&env.operator, again).await.expect("a token");
        }
    }
}

async fn an_assertion_sent_many_times_at_once_is_taken_once(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    for _ in 0..4 {
        let assertion = program.assertion(env, |_| ());
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let (client, assertion) = (env.operator.clone(), assertion.clone());
                tokio::spawn(async move { exchange(&client, assertion).await })
            })
            .collect();
        let mut taken = 0;
        for call in calls {
            match call.await.expect("no panic") {
                Ok(_) => taken += 1,
                refused => assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID"),
            }
        }
        assert_eq!(taken, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_that_one_server_took_is_refused_by_another() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    let second = first.beside().await;
    let program = program(&first, &world, Signer::p256()).await;
    for (here, there) in [(&first, &second), (&second, &first)] {
        let assertion = program.assertion(&first, |_| ());
        let token = exchange(&here.operator, assertion.clone()).await.expect("a token").access_token;
        let refused = exchange(&there.operator, assertion).await;
        assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
        let bearer = there.operator.with_token(Some(&token));
        assert_eq!(whoami(&bearer, &world.tenant).await.as_deref().ok(), Some(program.account.as_str()));
    }
    // The other server sees the key go.
    let token = program.sign_in(&first).await.expect("a token");
    let name = program.key.clone();
    let request = pb::DeleteServiceAccountKeyRequest { name, ..pb::DeleteServiceAccountKeyRequest::default() };
    first.operator.identity().delete_service_account_key(request).await.expect("deleted");
    let bearer = second.operator.with_token(Some(&token));
    assert_refused(whoami(&bearer, &world.tenant).await, Code::Unauthenticated, "TOKEN_INVALID");
    second.end().await;
    first.end().await;
}

async fn what_is_taken_is_known_after_a_restart_and_forgotten_when_it_is_too_old(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    let assertion = program.assertion(env, |_| ());
    exchange(&env.operator, assertion.clone()).await.expect("a token");
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    assert_refused(exchange(&old.operator, assertion.clone()).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let books = old.books().await;
    // A minute and the skew of which it may be good, and an hour for clocks that are wrong.
    for (seconds, left) in [(3_600 + 89, 1), (1, 0)] {
        old.clock.advance(Duration::from_secs(seconds));
        tollreeve::app::tokens::forget(old.server.app()).await.expect("forgotten");
        let rows: Vec<(String,)> = books.rows("SELECT jti FROM assertions").await;
        assert_eq!(rows.len(), left);
        let refused = exchange(&old.operator, assertion.clone()).await;
        assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }
    books.close().await;
    old.end().await;
}

async fn who_may_not_act_does_not_sign_in_and_is_told_what_a_forger_is(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    let forged = exchange(&env.operator, "a.b.c".into()).await.expect_err("forged");
    let mut identity = env.operator.identity();
    let (account, tenant) = (program.account.clone(), world.tenant.clone());
    let refused = async || seen(&program.sign_in(env).await.expect_err("refused"));
    identity.suspend_service_account(pb::SuspendServiceAccountRequest { name: account.clone() }).await.expect("off");
    assert_eq!(refused().await, seen(&forged));
    let request = pb::ReactivateServiceAccountRequest { name: account.clone() };
    identity.reactivate_service_account(request).await.expect("on");
    program.sign_in(env).await.expect("a token");
    let request = pb::DeleteServiceAccountRequest { name: account.clone(), ..Default::default() };
    identity.delete_service_account(request).await.expect("deleted");
    assert_eq!(refused().await, seen(&forged));
    let request = pb::UndeleteServiceAccountRequest { name: account, ..Default::default() };
    identity.undelete_service_account(request).await.expect("back");
    program.sign_in(env).await.expect("a token");
    identity.suspend_tenant(pb::SuspendTenantRequest { name: tenant.clone() }).await.expect("off");
    assert_eq!(refused().await, seen(&forged));
    identity.reactivate_tenant(pb::ReactivateTenantRequest { name: tenant.clone() }).await.expect("on");
    let request = pb::DeleteTenantRequest { name: tenant.clone(), ..Default::default() };
    identity.delete_tenant(request).await.expect("deleted");
    assert_eq!(refused().await, seen(&forged));
    let request = pb::UndeleteTenantRequest { name: tenant, ..Default::default() };
    identity.undelete_tenant(request).await.expect("back");
    program.sign_in(env).await.expect("a token");
    // One that holds nothing signs in all the same.
    let idle = create_account(&env.operator, &world.tenant, "idle", None).await;
    Program::new(Signer::p256(), &env.operator, &idle).await.sign_in(env).await.expect("a token");
}

async fn an_exchange_is_on_record_as_the_accounts_own_act(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    let assertion = program.assertion(env, |claims| claims["jti"] = json!("once-upon-a-time"));
    let token = exchange(&env.operator, assertion.clone()).await.expect("a token").access_token;
    exchange(&env.operator, assertion.clone()).await.expect_err("taken");
    let list = pb::ListAuditEventsRequest {
        parent: world.tenant.clone(),
        filter: "action = serviceAccounts.exchangeAssertion".into(),
        ..pb::ListAuditEventsRequest::default()
    };
    let events = env.operator.audit().list_audit_events(list).await.expect("events").into_inner().events;
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((&event.actor, &event.resource), (&program.account, &program.account));
    let after: Value = serde_json::from_str(&event.after).expect("a record");
    assert_eq!((after["key"].as_str(), after["jti"].as_str()), (Some(program.kid()), Some("once-upon-a-time")));
    assert!(event.source.starts_with("127.0.0.1:") && event.user_agent.contains("tonic"), "{event:?}");
    let text = format!("{event:?}");
    assert!(!text.contains(&token) && !text.contains(assertion.rsplit('.').next().expect("a signature")));
}

async fn assertions_at_the_limits_are_good(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::p256()).await;
    let now = env.clock.now().micros() / 1_000_000;
    let times = [(now - 300, now), (now, now + 300), (now + 30, now + 31), (now - 89, now - 29), (now - 1, now)];
    for (iat, exp) in times {
        let good = program.assertion(env, |claims| (claims["iat"], claims["exp"]) = (json!(iat), json!(exp)));
        exchange(&env.operator, good).await.unwrap_or_else(|status| panic!("{} {}: {status:?}", iat - now, exp - now));
    }
    let changes: [fn(&mut Value, i64); 4] = [
        |claims, now| claims["nbf"] = json!(now + 30),
        |claims, now| claims["nbf"] = json!(now - 1_000),
        |claims, _| claims["scope"] = json!({"anything": ["else"]}),
        |claims, _| claims["jti"] = json!("~".repeat(128)),
    ];
    for change in changes {
        exchange(&env.operator, program.assertion(env, |claims| change(claims, now))).await.expect("a token");
    }
    for typ in [json!({}), json!({"typ": "JWT"}), json!({"typ": "jwt"})] {
        let mut header = program.header();
        header.as_object_mut().expect("an object").remove("typ");
        header.as_object_mut().expect("an object").extend(typ.as_object().expect("an object").clone());
        let good = program.signer.sign(header.to_string(), program.claims(env).to_string());
        exchange(&env.operator, good).await.expect("a token");
    }
}

async fn a_token_is_asked_for_as_long_as_it_may_be(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    let mut anybody = env.operator.with_token(None).sign_in();
    for ttl_seconds in [-1, 1, 59, 3_601, i64::MAX] {
        let request = pb::ExchangeAssertionRequest { assertion: program.assertion(env, |_| ()), ttl_seconds };
        assert_invalid(anybody.exchange_assertion(request).await, "ttl_seconds");
    }
    assert_invalid(anybody.exchange_assertion(pb::ExchangeAssertionRequest::default()).await, "assertion");
    let request = pb::ExchangeAssertionRequest { assertion: program.assertion(env, |_| ()), ttl_seconds: 60 };
    let answer = anybody.exchange_assertion(request).await.expect("a token").into_inner();
    let bearer = env.operator.with_token(Some(&answer.access_token));
    env.clock.advance(Duration::from_secs(59));
    whoami(&bearer, &world.tenant).await.expect("still good");
    env.clock.advance(Duration::from_secs(1));
    assert_refused(whoami(&bearer, &world.tenant).await, Code::Unauthenticated, "TOKEN_INVALID");
}
