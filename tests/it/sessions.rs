//! Signing in, staying signed in and leaving: who gets a session, what carries it on, and what ends it at once.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::mail::sending;
use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused, reason},
    eventually,
    random::Random,
    server::Env,
    smtp::Smtp,
    world::{World, create_user},
};

both!(
    a_user_signs_in_by_a_password_that_they_set_themselves,
    whoever_is_not_who_they_say_is_told_nothing,
    a_session_that_is_ended_is_refused_by_the_next_call,
    a_suspended_user_is_refused_and_so_is_what_they_have_to_carry_on,
    a_refresh_token_is_used_once_and_a_copy_ends_the_session,
    of_many_refreshes_at_once_one_token_lives_and_nobody_is_taken_for_a_thief,
    a_session_ends_when_nobody_carries_it_on,
    one_more_session_than_a_user_may_have_ends_the_one_unused_for_longest,
    another_password_ends_every_session,
    a_reset_is_good_once_for_an_hour_and_for_who_may_have_it_made,
    a_reset_is_mailed_to_who_has_the_address_and_nobody_is_told_whether_there_is_one,
    guessing_is_slowed_down_and_nobody_is_locked_out,
    failures_are_on_record_once_a_minute,
    sessions_of_others_take_a_permission,
    no_password_and_no_token_is_in_the_database,
);

const EMAIL: &str = "dev@example.com";
const PASSWORD: &str = "correct horse battery";

fn anybody(env: &Env) -> Client {
    env.operator.with_token(None)
}

/// A token by which a user can set their password.
pub async fn reset_token(by: &Client, user: &str) -> String {
    let request = pb::CreatePasswordResetRequest { user: user.into() };
    by.sessions().create_password_reset(request).await.expect("a reset").into_inner().reset_token
}

pub async fn try_reset(env: &Env, reset_token: String, password: &str) -> Result<(), Status> {
    let request = pb::ResetPasswordRequest { reset_token, new_password: password.into() };
    anybody(env).sessions().reset_password(request).await.map(drop)
}

/// Gives a user the password that all have here.
pub async fn give_password(env: &Env, user: &str) {
    try_reset(env, reset_token(&env.operator, user).await, PASSWORD).await.expect("a password");
}

async fn try_sign_in(env: &Env, tenant: &str, email: &str, password: &str) -> Result<pb::SessionTokens, Status> {
    let request = pb::SignInRequest { tenant: tenant.into(), email: email.into(), password: password.into() };
    let answer = anybody(env).sessions().sign_in(request).await?;
    Ok(answer.into_inner().tokens.expect("tokens"))
}

pub async fn sign_in(env: &Env, world: &World) -> pb::SessionTokens {
    try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await.expect("signed in")
}

pub async fn try_refresh(env: &Env, refresh_token: &str) -> Result<pb::SessionTokens, Status> {
    let request = pb::RefreshSessionRequest { refresh_token: refresh_token.into() };
    let answer = anybody(env).sessions().refresh_session(request).await?;
    Ok(answer.into_inner().tokens.expect("tokens"))
}

/// Somebody who has signed in.
fn with(env: &Env, tokens: &pb::SessionTokens) -> Client {
    env.operator.with_token(Some(&tokens.access_token))
}

fn name_of(tokens: &pb::SessionTokens) -> String {
    tokens.session.as_ref().expect("a session").name.clone()
}

/// Whether a caller is let in.
async fn acts(client: &Client, world: &World) -> bool {
    match client.identity().get_tenant(pb::GetTenantRequest { name: world.tenant.clone() }).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
            false
        }
    }
}

async fn sessions_of(client: &Client, user: &str) -> Vec<pb::Session> {
    let request = pb::ListSessionsRequest { parent: user.into() };
    client.sessions().list_sessions(request).await.expect("a list").into_inner().sessions
}

async fn a_user_signs_in_by_a_password_that_they_set_themselves(env: &mut Env) {
    let world = World::new(env).await;
    let refused = try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    give_password(env, &world.user).await;
    let tokens = try_sign_in(env, &world.tenant, "DEV@Example.com", PASSWORD).await.expect("in any case");
    let session = tokens.session.clone().expect("a session");
    assert!(session.name.starts_with(&format!("{}/sessions/ses_", world.user)), "{session:?}");
    assert_eq!(session.source, "127.0.0.1");
    assert!(session.user_agent.contains("tonic") && session.end_time.is_none(), "{session:?}");
    let seconds = |at: &Option<prost_types::Timestamp>| at.as_ref().map_or(0, |at| at.seconds);
    assert_eq!(seconds(&session.expire_time) - seconds(&session.create_time), 7 * 86_400);
    assert_eq!(seconds(&tokens.access_expire_time) - seconds(&session.create_time), 300);
    let me = with(env, &tokens);
    assert!(acts(&me, &world).await);
    assert_eq!(sessions_of(&me, &world.user).await, [session]);
    // The token ends; the session goes on.
    env.clock.advance(Duration::from_mins(5));
    assert!(!acts(&me, &world).await);
    let tokens = try_refresh(env, &tokens.refresh_token).await.expect("carried on");
    assert!(acts(&with(env, &tokens), &world).await);
}

async fn whoever_is_not_who_they_say_is_told_nothing(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let other = World::named(env, "globex").await;
    let mut answers = Vec::new();
    let tries = [
        (world.tenant.as_str(), EMAIL, "correct horse batterz"),
        (world.tenant.as_str(), "nobody@example.com", PASSWORD),
        (world.tenant.as_str(), "olivia@example.com", PASSWORD),
        (world.tenant.as_str(), "not an address", PASSWORD),
        (other.tenant.as_str(), EMAIL, PASSWORD),
        ("tenants/nowhere", EMAIL, PASSWORD),
    ];
    for (tenant, email, password) in tries {
        let status = try_sign_in(env, tenant, email, password).await.expect_err("refused");
        answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(answers[0].0, Code::Unauthenticated);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    for (nonsense, field) in [("", "password"), (&"x".repeat(1025), "password")] {
        assert_invalid(try_sign_in(env, &world.tenant, EMAIL, nonsense).await, field);
    }
    assert_invalid(try_sign_in(env, "nonsense", EMAIL, PASSWORD).await, "tenant");
    assert_invalid(try_sign_in(env, &world.tenant, "", PASSWORD).await, "email");
    for nonsense in ["x", "tr_refresh_", "tr_refresh_AAAA", &"y".repeat(1000)] {
        assert_refused(try_refresh(env, nonsense).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
        assert_refused(try_reset(env, nonsense.into(), PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }
}

async fn a_session_that_is_ended_is_refused_by_the_next_call(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let [first, second, third] = [sign_in(env, &world).await, sign_in(env, &world).await, sign_in(env, &world).await];
    let [me, also_me] = [with(env, &first), with(env, &second)];
    assert!(acts(&me, &world).await && acts(&also_me, &world).await);
    // One signs oneself out.
    let revoke = pb::RevokeSessionRequest { name: name_of(&first) };
    let ended = me.sessions().revoke_session(revoke.clone()).await.expect("ended").into_inner();
    assert!(ended.session.is_some_and(|session| session.end_time.is_some()));
    assert!(!acts(&me, &world).await);
    let asked = pb::AuthorizeRequest {
        credential: Some(pb::authorize_request::Credential::AccessToken(first.access_token.clone())),
        ..world.ask()
    };
    assert_eq!(world.authorize(asked).await.decision(), pb::Decision::Deny, "nor for model calls");
    assert_refused(try_refresh(env, &first.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert!(acts(&also_me, &world).await, "the others go on");
    assert_eq!(sessions_of(&also_me, &world.user).await.len(), 2);
    // Again changes nothing.
    let again = also_me.sessions().revoke_session(revoke).await.expect("it is over").into_inner();
    assert!(again.session.is_some_and(|session| session.end_time.is_some()));
    let all = pb::RevokeAllSessionsRequest { parent: world.user.clone() };
    let ended = env.operator.sessions().revoke_all_sessions(all.clone()).await.expect("ended").into_inner();
    assert_eq!(ended.sessions.len(), 2);
    assert!(!acts(&also_me, &world).await && !acts(&with(env, &third), &world).await);
    let ended = env.operator.sessions().revoke_all_sessions(all).await.expect("nothing to end").into_inner();
    assert!(ended.sessions.is_empty());
    let nobodys = pb::RevokeSessionRequest { name: name_of(&first).replace("ses_0", "ses_1") };
    let refused = env.operator.sessions().revoke_session(nobodys).await;
    assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
}

async fn a_suspended_user_is_refused_and_so_is_what_they_have_to_carry_on(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let tokens = sign_in(env, &world).await;
    let suspend = pb::SuspendUserRequest { name: world.user.clone() };
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    assert!(!acts(&with(env, &tokens), &world).await);
    assert_refused(try_refresh(env, &tokens.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let refused = try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let reactivate = pb::ReactivateUserRequest { name: world.user.clone() };
    env.operator.identity().reactivate_user(reactivate).await.expect("active");
    assert!(!acts(&with(env, &tokens), &world).await, "what they had is over");
    assert_refused(try_refresh(env, &tokens.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert!(acts(&with(env, &sign_in(env, &world).await), &world).await);
}

async fn a_refresh_token_is_used_once_and_a_copy_ends_the_session(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let first = sign_in(env, &world).await;
    let lost = try_refresh(env, &first.refresh_token).await.expect("carried on");
    // The reply was lost: the same again. What was lost is good no longer, and whoever shows it is no thief.
    let second = try_refresh(env, &first.refresh_token).await.expect("carried on again");
    assert_refused(try_refresh(env, &lost.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let third = try_refresh(env, &second.refresh_token).await.expect("carried on");
    assert!(acts(&with(env, &third), &world).await);
    // Whoever still has the first one has a copy.
    assert_refused(try_refresh(env, &first.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert!(!acts(&with(env, &third), &world).await);
    assert_refused(try_refresh(env, &third.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 1, ..Default::default() };
    let event = env.operator.audit().list_audit_events(list).await.expect("events").into_inner().events.remove(0);
    assert_eq!((event.action.as_str(), event.resource), ("sessions.revoke", name_of(&first)));
    assert!(event.reason.contains("copy"), "{}", event.reason);
}

async fn of_many_refreshes_at_once_one_token_lives_and_nobody_is_taken_for_a_thief(env: &mut Env) {
    let mut random = Random::fresh("of_many_refreshes_at_once");
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let mut newest = sign_in(env, &world).await;
    for _ in 0..25 {
        let env = &*env;
        let calls = (0..random.within(2, 8)).map(|_| try_refresh(env, &newest.refresh_token));
        let answers = futures_util::future::join_all(calls).await;
        let tokens: Vec<_> = answers.into_iter().map(|answer| answer.expect("no thief")).collect();
        let mut alive = Vec::new();
        for tokens in &tokens {
            assert!(acts(&with(env, tokens), &world).await);
            if let Ok(next) = try_refresh(env, &tokens.refresh_token).await {
                alive.push(next);
            }
        }
        assert_eq!(alive.len(), 1, "of {}", tokens.len());
        newest = alive.remove(0);
    }
    assert_eq!(sessions_of(&with(env, &newest), &world.user).await.len(), 1);
}

async fn a_session_ends_when_nobody_carries_it_on(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let idle = sign_in(env, &world).await;
    let mut kept = sign_in(env, &world).await;
    let (week, moment) = (Duration::from_hours(7 * 24), Duration::from_secs(1));
    for _ in 0..4 {
        env.clock.advance(week - moment);
        kept = try_refresh(env, &kept.refresh_token).await.expect("carried on");
    }
    assert_refused(try_refresh(env, &idle.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    assert_eq!(sessions_of(&with(env, &kept), &world.user).await.len(), 1, "only those that live");
    // A month after its beginning it ends, and the token that was given last with it.
    env.clock.advance(Duration::from_hours(2 * 24));
    kept = try_refresh(env, &kept.refresh_token).await.expect("carried on for four seconds");
    assert!(acts(&with(env, &kept), &world).await);
    env.clock.advance(4 * moment);
    assert!(!acts(&with(env, &kept), &world).await);
    assert_refused(try_refresh(env, &kept.refresh_token).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn one_more_session_than_a_user_may_have_ends_the_one_unused_for_longest(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        env.clock.advance(Duration::from_secs(1));
        all.push(sign_in(env, &world).await);
    }
    env.clock.advance(Duration::from_secs(1));
    all[0] = try_refresh(env, &all[0].refresh_token).await.expect("carried on");
    let newest = sign_in(env, &world).await;
    assert!(!acts(&with(env, &all[1]), &world).await);
    assert!(acts(&with(env, &all[0]), &world).await && acts(&with(env, &all[2]), &world).await);
    assert_eq!(sessions_of(&with(env, &newest), &world.user).await.len(), 20);
}

async fn another_password_ends_every_session(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let [here, elsewhere] = [sign_in(env, &world).await, sign_in(env, &world).await];
    let change = |password: &str, new_password: &str| pb::ChangePasswordRequest {
        password: password.into(),
        new_password: new_password.into(),
    };
    let mut me = with(env, &here).sessions();
    let refused = me.change_password(change("not the right one", "another good one 2")).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    for weak in ["short", "aaaaaaaaaaaaaaaa", "dev@example.com"] {
        assert_invalid(me.change_password(change(PASSWORD, weak)).await, "new_password");
    }
    assert!(acts(&with(env, &elsewhere), &world).await, "nothing has happened yet");
    let changed = me.change_password(change(PASSWORD, "another good one 2")).await.expect("changed").into_inner();
    let new = changed.tokens.expect("a new session's tokens");
    assert!(acts(&with(env, &new), &world).await);
    assert!(!acts(&with(env, &here), &world).await && !acts(&with(env, &elsewhere), &world).await);
    let refused = try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    try_sign_in(env, &world.tenant, EMAIL, "another good one 2").await.expect("by the new one");
    let refused = env.operator.sessions().change_password(change(PASSWORD, "another good one 3")).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_reset_is_good_once_for_an_hour_and_for_who_may_have_it_made(env: &mut Env) {
    let world = World::new(env).await;
    let [one, two] = [reset_token(&env.operator, &world.user).await, reset_token(&env.operator, &world.user).await];
    assert_invalid(try_reset(env, one.clone(), "weak").await, "new_password");
    try_reset(env, one.clone(), PASSWORD).await.expect("set");
    let tokens = sign_in(env, &world).await;
    for used in [one, two] {
        let refused = try_reset(env, used, "another good one 2").await;
        assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    }
    let late = reset_token(&env.operator, &world.user).await;
    env.clock.advance(Duration::from_hours(1));
    assert_refused(try_reset(env, late, PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    // Of many at once one is used.
    let again = reset_token(&env.operator, &world.user).await;
    let env = &*env;
    let passwords: Vec<_> = (0..8).map(|n| format!("the good one number {n}")).collect();
    let set = passwords.iter().map(|password| try_reset(env, again.clone(), password));
    let set: Vec<_> = futures_util::future::join_all(set).await;
    let won: Vec<_> = set.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(won.len(), 1, "{set:?}");
    try_sign_in(env, &world.tenant, EMAIL, &passwords[won[0]]).await.expect("by the one that won");
    assert!(!acts(&with(env, &tokens), &world).await, "every session has ended");
    // Whoever could set an owner's password would own the tenant.
    let admin = create_user(&env.operator, &world.tenant, "admin@example.com", "roles/admin", &[]).await;
    let admin = env.operator.with_token(Some(&env.user_token(&admin)));
    reset_token(&admin, &world.user).await;
    let request = pb::CreatePasswordResetRequest { user: world.owner.clone() };
    let refused = admin.sessions().create_password_reset(request).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    let suspend = pb::SuspendUserRequest { name: world.user.clone() };
    let token = reset_token(&env.operator, &world.user).await;
    env.operator.identity().suspend_user(suspend).await.expect("suspended");
    assert_refused(try_reset(env, token, PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn a_reset_is_mailed_to_who_has_the_address_and_nobody_is_told_whether_there_is_one(env: &mut Env) {
    let ask = async |env: &Env, tenant: &str, email: &str| {
        let request = pb::RequestPasswordResetRequest { tenant: tenant.into(), email: email.into() };
        anybody(env).sessions().request_password_reset(request).await.map(tonic::Response::into_inner)
    };
    assert_refused(ask(env, "tenants/acme", EMAIL).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let smtp = Smtp::start().await;
    let own = sending(env, &smtp).await;
    let world = World::new(&own).await;
    let idle = create_user(&own.operator, &world.tenant, "idle@example.com", "roles/member", &[]).await;
    own.operator.identity().suspend_user(pb::SuspendUserRequest { name: idle }).await.expect("suspended");
    let nothing = pb::RequestPasswordResetResponse {};
    for (tenant, email) in [
        ("tenants/nowhere", EMAIL),
        (world.tenant.as_str(), "nobody@example.com"),
        (world.tenant.as_str(), "idle@example.com"),
        (world.tenant.as_str(), "DEV@example.com"),
    ] {
        assert_eq!(ask(&own, tenant, email).await.expect("the same for all"), nothing);
    }
    let mail = smtp.to(EMAIL).await;
    assert_eq!(smtp.mails().len(), 1, "nobody else is sent any");
    assert_invalid(try_reset(&own, mail.token(), "weak").await, "new_password");
    try_reset(&own, mail.token(), PASSWORD).await.expect("set");
    sign_in(&own, &world).await;
    let refused = try_reset(&own, mail.token(), PASSWORD).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
    // Whoever asks again and again fills nobody's mailbox.
    for _ in 0..20 {
        ask(&own, &world.tenant, EMAIL).await.expect("the same for all");
    }
    let mails = smtp.taken(3).await.len();
    assert!(mails < 10, "{mails} of twenty");
    own.end().await;
}

async fn guessing_is_slowed_down_and_nobody_is_locked_out(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    for email in [EMAIL, "nobody@example.com"] {
        // At once: none of them is let in because the others are not yet known to be wrong.
        let guesses = (0..20).map(|_| try_sign_in(env, &world.tenant, email, "a guess of mine"));
        let mut heard = 0;
        for refused in futures_util::future::join_all(guesses).await {
            let refused = refused.expect_err("a guess");
            if reason(&refused) == "CREDENTIALS_INVALID" {
                heard += 1;
                continue;
            }
            let delay = refused.get_error_details().retry_info().and_then(|info| info.retry_delay).expect("a delay");
            assert!(delay <= Duration::from_secs(16), "{delay:?}");
            assert_refused(Err::<(), _>(refused), Code::ResourceExhausted, "THROTTLED");
        }
        // Each second one more, then every second, fourth, eighth: if the machine is that slow.
        assert!((5..10).contains(&heard), "{heard} of twenty");
    }
    // Whoever waits is heard; time here is the machine's own.
    eventually("they are heard", async || try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await.ok()).await;
    try_sign_in(env, &world.tenant, EMAIL, PASSWORD).await.expect("and all is forgotten");
}

async fn failures_are_on_record_once_a_minute(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    for (email, resource) in [(EMAIL, &world.user), ("nobody@example.com", &world.tenant)] {
        for _ in 0..3 {
            try_sign_in(env, &world.tenant, email, "a guess of mine").await.expect_err("refused");
        }
        let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 5, ..Default::default() };
        let recorded = eventually("it is on record", async || {
            let list = env.operator.audit().list_audit_events(list.clone()).await.expect("events").into_inner();
            let failures = list.events.into_iter().filter(|event| event.action == "sessions.fail");
            let of_them: Vec<_> = failures.filter(|event| event.resource == *resource).collect();
            (!of_them.is_empty()).then_some(of_them)
        })
        .await;
        assert_eq!((recorded.len(), recorded[0].actor.as_str()), (1, "anonymous"));
        assert!(recorded[0].after.contains("\"failures\":1"), "{}", recorded[0].after);
        assert!(!recorded[0].after.contains("nobody"), "what was typed may be a password");
    }
}

async fn sessions_of_others_take_a_permission(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let tokens = sign_in(env, &world).await;
    let other = create_user(&env.operator, &world.tenant, "other@example.com", "roles/member", &[]).await;
    let other = env.operator.with_token(Some(&env.user_token(&other)));
    let list = pb::ListSessionsRequest { parent: world.user.clone() };
    let refused = other.sessions().list_sessions(list.clone()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    let revoke = pb::RevokeSessionRequest { name: name_of(&tokens) };
    let refused = other.sessions().revoke_session(revoke.clone()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    let elsewhere = World::named(env, "globex").await;
    let stranger = env.operator.with_token(Some(&env.user_token(&elsewhere.owner)));
    for refused in [
        stranger.sessions().list_sessions(list).await.map(drop),
        stranger.sessions().revoke_session(revoke).await.map(drop),
    ] {
        assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    // Nor by one's own id in another tenant, or by another's session under one's own name.
    let id = elsewhere.owner.rsplit('/').next().unwrap_or_default();
    let mine = format!("{}/users/{id}", world.tenant);
    let refused = stranger.sessions().list_sessions(pb::ListSessionsRequest { parent: mine.clone() }).await;
    assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
    let session = name_of(&tokens).rsplit('/').next().unwrap_or_default().to_owned();
    let theirs = pb::RevokeSessionRequest { name: format!("{}/sessions/{session}", elsewhere.owner) };
    assert_refused(stranger.sessions().revoke_session(theirs).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert!(acts(&with(env, &tokens), &world).await);
}

async fn no_password_and_no_token_is_in_the_database(env: &mut Env) {
    let world = World::new(env).await;
    let reset = reset_token(&env.operator, &world.user).await;
    try_reset(env, reset.clone(), PASSWORD).await.expect("set");
    let tokens = sign_in(env, &world).await;
    let next = try_refresh(env, &tokens.refresh_token).await.expect("carried on");
    let books = env.books().await;
    let hashes: Vec<(String,)> = books.rows("SELECT hash FROM passwords").await;
    assert!(hashes[0].0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashes[0].0);
    let sessions: Vec<(String,)> =
        books.rows("SELECT id || source || user_agent || nonce || nonce_before FROM sessions").await;
    let events: Vec<(String,)> = books.rows("SELECT before || after || reason FROM audit_events").await;
    let feed: Vec<(String,)> = books.rows("SELECT body FROM feed_events").await;
    let secrets = [PASSWORD, &reset, &tokens.access_token, &tokens.refresh_token, &next.refresh_token, &hashes[0].0];
    for (text,) in sessions.iter().chain(&events).chain(&feed) {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}
