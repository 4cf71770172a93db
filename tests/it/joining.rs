//! Joining with a password: it is theirs at once, and only who has a good link makes the server hash one.

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use crate::{
    harness::{
        both,
        client::{Client, assert_invalid, assert_refused},
        server::Env,
        world::{World, token_of},
    },
    invitations::{accept, cancel, create, to},
};

both!(
    whoever_joins_with_a_password_signs_in_by_it_at_once,
    a_password_that_cannot_be_leaves_the_invitation_as_it_is,
    of_many_who_join_at_once_the_password_of_the_one_who_did_is_good,
    no_password_of_who_joins_is_kept_but_as_its_hash,
);

const EMAIL: &str = "mia@example.com";
const PASSWORD: &str = "correct horse battery";

async fn join(client: &Client, token: &str, password: &str) -> Result<pb::User, Status> {
    let request = pb::AcceptInvitationRequest { token: token.into(), password: password.into(), ..Default::default() };
    Ok(client.with_token(None).identity().accept_invitation(request).await?.into_inner().user.expect("a user"))
}

async fn sign_in(env: &Env, world: &World, password: &str) -> Result<pb::SessionTokens, Status> {
    let request = pb::SignInRequest { tenant: world.tenant.clone(), email: EMAIL.into(), password: password.into() };
    let answer = env.operator.with_token(None).sessions().sign_in(request).await?;
    Ok(answer.into_inner().tokens.expect("tokens"))
}

async fn whoever_joins_with_a_password_signs_in_by_it_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let made = create(&env.operator, &world.tenant, to(EMAIL)).await.expect("invited");
    assert_refused(sign_in(env, &world, PASSWORD).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let joined = join(&env.operator, &token_of(&made), PASSWORD).await.expect("joined");
    assert_eq!((&joined.name, joined.state()), (&made.user, pb::UserState::Active));
    let tokens = sign_in(env, &world, PASSWORD).await.expect("signed in");
    let mia = env.operator.with_token(Some(&tokens.access_token));
    mia.identity().get_tenant(pb::GetTenantRequest { name: world.tenant.clone() }).await.expect("they act");
    // The link is used: nobody sets another one by it.
    let refused = join(&env.operator, &token_of(&made), "another horse battery").await;
    assert_refused(refused, Code::NotFound, "INVITATION_INVALID");
    assert_refused(sign_in(env, &world, "another horse battery").await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    // Without one, there is none, until it is reset.
    let other = create(&env.operator, &world.tenant, to("noa@example.com")).await.expect("invited");
    accept(&env.operator, &token_of(&other)).await.expect("joined");
    let request =
        pb::SignInRequest { tenant: world.tenant.clone(), email: "noa@example.com".into(), password: PASSWORD.into() };
    let refused = env.operator.with_token(None).sessions().sign_in(request).await;
    assert_refused(refused, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn a_password_that_cannot_be_leaves_the_invitation_as_it_is(env: &mut Env) {
    let world = World::new(env).await;
    let made = create(&env.operator, &world.tenant, to(EMAIL)).await.expect("invited");
    let token = token_of(&made);
    let long = "0123456789abc".repeat(10);
    let longest = "x1y2z".repeat(20_000);
    for bad in ["short", "hunter2hunt", "aaaaaaaaaaaaaaaa", "MIA@example.com1", &long, &longest] {
        let refused = join(&env.operator, &token, bad).await.expect_err("no password");
        assert!(!refused.message().contains(bad), "{refused:?}");
        assert_invalid(Err::<(), _>(refused), "password");
    }
    let get = pb::GetInvitationRequest { name: made.name.clone() };
    let found = env.operator.identity().get_invitation(get).await.expect("there").into_inner().invitation;
    assert_eq!(found.expect("an invitation").state(), pb::InvitationState::Pending);
    // A link that is good for nothing is told as such, whatever the password is.
    let gone = create(&env.operator, &world.tenant, to("gone@example.com")).await.expect("invited");
    cancel(&env.operator, &gone.name).await.expect("cancelled");
    let never = accept(&env.operator, "x").await.expect_err("none");
    for (token, password) in
        [("x", "short"), ("x", PASSWORD), (&*token_of(&gone), "short"), (&*token_of(&gone), PASSWORD)]
    {
        let refused = join(&env.operator, token, password).await.expect_err("none");
        let told = (refused.code(), refused.message(), refused.details());
        assert_eq!(told, (never.code(), never.message(), never.details()));
    }
    join(&env.operator, &token, PASSWORD).await.expect("the link is good still");
    sign_in(env, &world, PASSWORD).await.expect("signed in");
}

async fn of_many_who_join_at_once_the_password_of_the_one_who_did_is_good(env: &mut Env) {
    let world = World::new(env).await;
    let made = create(&env.operator, &world.tenant, to(EMAIL)).await.expect("invited");
    let calls: Vec<_> = (0..12)
        .map(|n| {
            let (client, token, password) = (env.operator.clone(), token_of(&made), format!("{PASSWORD} {n}"));
            tokio::spawn(async move { join(&client, &token, &password).await.map(|_| password) })
        })
        .collect();
    let mut won = Vec::new();
    for call in calls {
        match call.await.expect("no panic") {
            Ok(password) => won.push(password),
            Err(refused) => assert_refused(Err::<(), _>(refused), Code::NotFound, "INVITATION_INVALID"),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    sign_in(env, &world, &won[0]).await.expect("theirs is the one");
}

async fn no_password_of_who_joins_is_kept_but_as_its_hash(env: &mut Env) {
    let world = World::new(env).await;
    let made = create(&env.operator, &world.tenant, to(EMAIL)).await.expect("invited");
    join(&env.operator, &token_of(&made), PASSWORD).await.expect("joined");
    let books = env.books().await;
    let hashes: Vec<(String,)> = books.rows("SELECT hash FROM passwords").await;
    assert!(hashes.len() == 1 && hashes[0].0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashes:?}");
    let kept: Vec<(String,)> =
        books.rows("SELECT before || after || reason FROM audit_events UNION ALL SELECT body FROM feed_events").await;
    assert!(kept.iter().all(|row| !row.0.contains(PASSWORD) && !row.0.contains(&hashes[0].0)), "{kept:?}");
    let accepted: Vec<(String,)> =
        books.rows("SELECT after FROM audit_events WHERE action = 'invitations.accept'").await;
    assert!(accepted.len() == 1 && accepted[0].0.contains("\"password\":{\"changed\":"), "{accepted:?}");
    books.close().await;
}
