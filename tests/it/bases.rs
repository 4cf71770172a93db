//! Tokens that rest on what can end before they do: from the acknowledgement on that it has, they are worth nothing.

use std::time::Duration;

use tollreeve::{
    app::{
        AppError,
        caller::{Caller, Origin},
        context::Audit,
        tokens,
    },
    domain::{
        bindings::Principal,
        id::{PublicKeyId, SessionId, TenantId},
        time::Clock as _,
        tokens::Basis,
    },
    engine::ended_bases::MARGIN,
    pb::tollreeve::v1::{self as pb, authorize_request::Credential},
    store,
};
use tonic::Code;

use crate::harness::{
    both,
    client::{Client, assert_refused},
    eventually, postgres,
    server::Env,
    world::{World, codes},
};

both!(
    a_token_is_refused_by_the_first_call_after_its_basis_has_ended_and_others_go_on,
    what_has_ended_is_known_after_a_restart_until_no_token_rests_on_it,
    who_calls_by_what_has_ended_meanwhile_changes_nothing,
);

const HOUR: Duration = Duration::from_hours(1);

fn principal(user: &str) -> Principal {
    let id = user.rsplit('/').next().unwrap_or_default();
    Principal::User(id.parse().expect("a user's name"))
}

/// The owner of a world's tenant, as use cases get them.
fn owner(env: &Env, world: &World, basis: Option<Basis>) -> (Caller, TenantId) {
    let principal = principal(&world.owner);
    let (tenant, name) = env.server.app().gate.active(principal).expect("an active user");
    (Origin::default().proven(principal, basis, tenant, name.to_string()), tenant)
}

/// Ends something by a change of the world's tenant.
async fn end(env: &Env, world: &World, basis: Basis) {
    let (caller, _) = owner(env, world, None);
    let slug = world.tenant.trim_start_matches("tenants/").parse().expect("a slug");
    let app = env.server.app();
    let mut work = app.change(&caller, &slug, &world.tenant).await.expect("begins");
    tokens::end(&mut work, basis, env.clock.now().after(HOUR)).await.expect("ended");
    work.commit(Audit::new::<()>("tests.end", &world.tenant, None, None)).await.expect("acknowledged");
}

/// Whether the bearer is let in.
async fn enters(client: &Client) -> bool {
    let answer = client.access().list_permissions(pb::ListPermissionsRequest::default()).await;
    if answer.is_err() {
        assert_refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
        return false;
    }
    true
}

/// Whether a token is a good credential of an end client.
async fn credits(world: &World, token: &str) -> bool {
    let credential = Some(Credential::AccessToken(token.to_owned()));
    let answer = world.authorize(pb::AuthorizeRequest { credential, ..world.ask() }).await;
    if answer.decision() == pb::Decision::Deny {
        assert_eq!(codes(&answer), [pb::DenialCode::KeyNotFound]);
        return false;
    }
    true
}

async fn a_token_is_refused_by_the_first_call_after_its_basis_has_ended_and_others_go_on(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    for round in 0..20u8 {
        let session = Basis::Session(SessionId::from_bits(u128::from(round)));
        let other = Basis::Session(SessionId::from_bits(1_000 + u128::from(round)));
        // Another kind of the same number is another thing.
        let key = Basis::PublicKey(PublicKeyId::from_bits(u128::from(round)));
        let going = env.token_on(user, Some(session));
        let staying = [Some(other), Some(key), None].map(|basis| env.token_on(user, basis));
        let holder = |token: &str| env.operator.with_token(Some(token));
        // Used while it is good, so that the server remembers it.
        assert!(enters(&holder(&going)).await && credits(&world, &going).await);
        end(env, &world, session).await;
        assert!(!enters(&holder(&going)).await, "round {round}");
        assert!(!credits(&world, &going).await, "round {round}");
        assert!(!enters(&holder(&env.token_on(user, Some(session)))).await, "round {round}: a new one neither");
        for token in &staying {
            assert!(enters(&holder(token)).await && credits(&world, token).await, "round {round}");
        }
    }
}

async fn what_has_ended_is_known_after_a_restart_until_no_token_rests_on_it(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    let session = Basis::Session(SessionId::from_bits(7));
    let token = env.token_on(user, Some(session));
    end(env, &world, session).await;
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    let world = world.through(old.server.addr());
    let holder = old.operator.with_token(Some(&token));
    assert!(!enters(&holder).await && !credits(&world, &token).await);
    let rows = async || {
        let mut tx = old.server.app().db.read().await.expect("begins");
        store::ended_bases::chunk(&mut tx, "", 10).await.expect("rows").len()
    };
    // An hour in which a token may be good, and the margin.
    for (span, left) in [(HOUR + MARGIN - Duration::from_secs(1), 1), (Duration::from_secs(1), 0)] {
        old.clock.advance(span);
        old.sweep().await;
        tokens::forget(old.server.app()).await.expect("forgotten");
        assert_eq!(rows().await, left);
        // A token of a test outlives what a token may: it shows what memory knows.
        assert_eq!(enters(&holder).await, left == 0);
    }
    old.end().await;
}

async fn who_calls_by_what_has_ended_meanwhile_changes_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let session = Basis::Session(SessionId::from_bits(7));
    let (caller, _) = owner(env, &world, Some(session));
    let slug = world.tenant.trim_start_matches("tenants/").parse().expect("a slug");
    let app = env.server.app();
    app.change(&caller, &slug, &world.tenant).await.expect("while it is good");
    end(env, &world, session).await;
    let refused = app.change(&caller, &slug, &world.tenant).await.err();
    assert!(matches!(refused, Some(AppError::NotFound(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_ends_another_refuses_from_the_acknowledgement_on() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    let second = first.beside().await;
    let there = world.through(second.server.addr());
    let user = principal(&world.user);
    for round in 0..20u8 {
        let session = Basis::Session(SessionId::from_bits(u128::from(round)));
        let token = first.token_on(user, Some(session));
        let holder = second.operator.with_token(Some(&token));
        eventually("the second server knows the user", async || enters(&holder).await.then_some(())).await;
        assert!(credits(&there, &token).await);
        end(&first, &world, session).await;
        assert!(!enters(&holder).await && !credits(&there, &token).await, "round {round}");
        let staying = first.token_on(user, None);
        assert!(enters(&second.operator.with_token(Some(&staying))).await && credits(&there, &staying).await);
    }
    second.end().await;
    first.end().await;
}
