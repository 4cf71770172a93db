//! What goes while somebody signs in by it: the signature was good when it was looked at, and still nobody gets in.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;
use tollreeve::{
    app::{App, Work, context::Audit},
    domain::time::Clock as _,
    pb::tollreeve::v1 as pb,
    store,
};
use tonic::Code;

use crate::{
    assertions::program,
    harness::{
        assertions::{Signer, exchange},
        both,
        client::assert_refused,
        issuer::{self, Issuer},
        server::Env,
        world::World,
    },
    mail::owner,
};

both!(a_key_that_goes_meanwhile_lets_nobody_in, an_identity_provider_that_goes_meanwhile_lets_nobody_in);

/// Long enough for a call to come to where it waits for the tenant. When it does not it is refused all the same.
const A_WHILE: Duration = Duration::from_millis(500);

async fn begun<'a>(app: &'a App, caller: &'a tollreeve::app::caller::Caller) -> Work<'a> {
    app.change(caller, &"acme".parse().expect("a slug"), &"acme").await.expect("may")
}

async fn a_key_that_goes_meanwhile_lets_nobody_in(env: &mut Env) {
    let world = World::new(env).await;
    let program = program(env, &world, Signer::ed25519()).await;
    program.sign_in(env).await.expect("a token");
    let caller = owner(env, &world, false).await;
    let mut work = begun(env.server.app(), &caller).await;
    store::service_account_keys::delete(&mut work.tx, program.kid().parse().expect("an id")).await.expect("deleted");
    let (client, assertion) = (env.operator.clone(), program.assertion(env, |_| ()));
    let asking = tokio::spawn(async move { exchange(&client, assertion).await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!asking.is_finished(), "it waits for the tenant");
    work.commit(Audit::new("serviceAccountKeys.delete", &program.key, None, Some(&"x"))).await.expect("made");
    assert_refused(asking.await.expect("no panic"), Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn an_identity_provider_that_goes_meanwhile_lets_nobody_in(env: &mut Env) {
    let issuer = Issuer::start().await;
    let env = env.another_with(|_, options| options.oidc_issuers = Some(vec![issuer.url.clone()])).await;
    let world = World::new(&env).await;
    let signer = issuer::Signer::new(Algorithm::ES256, "first");
    issuer.publish(&[&signer]);
    let provider = pb::IdentityProvider {
        issuer: issuer.url.clone(),
        audience: "front-end".into(),
        ..pb::IdentityProvider::default()
    };
    let request = pb::CreateIdentityProviderRequest {
        parent: world.tenant.clone(),
        identity_provider_id: "okta".into(),
        identity_provider: Some(provider),
    };
    let made = env.operator.sessions().create_identity_provider(request).await.expect("a provider").into_inner();
    let name = made.identity_provider.expect("a provider").name;
    let now = env.clock.now().micros() / 1_000_000;
    let id_token = signer
        .sign(&json!({ "iss": issuer.url, "sub": "1", "aud": "front-end", "exp": now + 300, "iat": now,
        "email": "dev@example.com", "email_verified": true }));
    let ask = pb::SignInWithIdTokenRequest { identity_provider: name.clone(), id_token, nonce: String::new() };
    let mut anybody = env.operator.with_token(None).sessions();
    anybody.sign_in_with_id_token(ask.clone()).await.expect("in");
    let caller = owner(&env, &world, false).await;
    let mut work = begun(env.server.app(), &caller).await;
    let tenant = work.tenant.id;
    let found = store::identity_providers::by_slug(&mut work.tx, tenant, "okta").await.expect("read").expect("there");
    store::identity_providers::delete(&mut work.tx, found.id).await.expect("deleted");
    let asking = tokio::spawn(async move { anybody.sign_in_with_id_token(ask).await });
    tokio::time::sleep(A_WHILE).await;
    assert!(!asking.is_finished(), "it waits for the tenant");
    work.commit(Audit::new("identityProviders.delete", &name, None, Some(&"x"))).await.expect("made");
    assert_refused(asking.await.expect("no panic"), Code::Unauthenticated, "CREDENTIALS_INVALID");
    let books = env.books().await;
    let rows: Vec<(i64,)> = books.rows("SELECT COUNT(*) FROM external_identities").await;
    assert_eq!(rows, [(0,)]);
    books.close().await;
    env.end().await;
}
