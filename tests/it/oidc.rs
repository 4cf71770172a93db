//! Signing in by another's word: ID tokens of the issuers that a server is set up for.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{assert_invalid, assert_refused},
    issuer::{Issuer, Signer},
    server::Env,
    world::{World, create_user},
};

both!(
    a_user_signs_in_by_the_word_of_an_issuer,
    who_was_known_once_is_known_by_the_subject_alone,
    a_word_that_is_not_good_lets_nobody_in,
    new_keys_of_an_issuer_are_taken_and_the_known_ones_outlive_it,
    only_who_may_do_all_that_an_owner_may_names_a_provider,
);

/// When every test begins, in seconds since 1970.
const NOW: i64 = 1_773_145_200;

/// A server that an issuer is known to, and a tenant whose users may sign in by it.
struct Scene {
    env: Env,
    world: World,
    issuer: Issuer,
    signer: Signer,
    provider: String,
}

impl Scene {
    async fn new(env: &Env) -> Self {
        let issuer = Issuer::start().await;
        let env = env.another_with(|_, options| options.oidc_issuers = Some(vec![issuer.url.clone()])).await;
        let world = World::new(&env).await;
        let signer = Signer::new(Algorithm::RS256, "first");
        issuer.publish(&[&signer]);
        let request = create(&world, &issuer.url);
        let made = env.operator.sessions().create_identity_provider(request).await.expect("a provider").into_inner();
        let provider = made.identity_provider.expect("a provider").name;
        Self { env, world, issuer, signer, provider }
    }

    fn claims(&self, subject: &str, email: &str) -> Value {
        json!({ "iss": self.issuer.url, "sub": subject, "aud": "front-end", "exp": NOW + 300, "iat": NOW,
            "email": email, "email_verified": true, "nonce": "n-0S6" })
    }

    async fn try_sign_in(&self, id_token: String) -> Result<pb::SessionTokens, Status> {
        let request =
            pb::SignInWithIdTokenRequest { identity_provider: self.provider.clone(), id_token, nonce: "n-0S6".into() };
        let mut anybody = self.env.operator.with_token(None).sessions();
        Ok(anybody.sign_in_with_id_token(request).await?.into_inner().tokens.expect("tokens"))
    }

    async fn sign_in(&self, subject: &str, email: &str) -> Result<String, Status> {
        let tokens = self.try_sign_in(self.signer.sign(&self.claims(subject, email))).await?;
        let name = tokens.session.expect("a session").name;
        Ok(name.split("/sessions/").next().unwrap_or_default().to_owned())
    }
}

fn create(world: &World, issuer: &str) -> pb::CreateIdentityProviderRequest {
    let provider = pb::IdentityProvider {
        issuer: issuer.to_owned(),
        audience: "front-end".into(),
        ..pb::IdentityProvider::default()
    };
    pb::CreateIdentityProviderRequest {
        parent: world.tenant.clone(),
        identity_provider_id: "okta".into(),
        identity_provider: Some(provider),
    }
}

fn assert_not_in<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_refused(answer, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn a_user_signs_in_by_the_word_of_an_issuer(env: &mut Env) {
    let scene = Scene::new(env).await;
    assert_eq!(scene.sign_in("1", "DEV@example.com").await.expect("in"), scene.world.user);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        // Another server has not seen the keys yet.
        let other = Signer::new(algorithm, "other");
        let scene = Scene::new(env).await;
        scene.issuer.publish(&[&scene.signer, &other]);
        let tokens = scene.try_sign_in(other.sign(&scene.claims("1", "dev@example.com"))).await.expect("in");
        let me = scene.env.operator.with_token(Some(&tokens.access_token));
        let request = pb::GetTenantRequest { name: scene.world.tenant.clone() };
        me.identity().get_tenant(request).await.expect("let in");
        scene.env.end().await;
    }
    let list = pb::ListAuditEventsRequest { parent: scene.world.tenant.clone(), page_size: 1, ..Default::default() };
    let events = scene.env.operator.audit().list_audit_events(list).await.expect("events").into_inner().events;
    assert_eq!((events[0].action.as_str(), &events[0].actor), ("sessions.signIn", &scene.world.user));
    assert!(events[0].after.contains("\"by\":\"okta\""), "{}", events[0].after);
    assert_eq!(scene.issuer.asked(), 2, "its keys are kept");
    scene.env.end().await;
}

async fn who_was_known_once_is_known_by_the_subject_alone(env: &mut Env) {
    let scene = Scene::new(env).await;
    let world = &scene.world;
    assert_eq!(scene.sign_in("1", "dev@example.com").await.expect("in"), world.user);
    // Their address has changed at the issuer, or is somebody else's there.
    assert_eq!(scene.sign_in("1", "olivia@example.com").await.expect("in"), world.user);
    assert_not_in(scene.sign_in("2", "dev@example.com").await);
    assert_eq!(scene.sign_in("3", "olivia@example.com").await.expect("in"), world.owner);
    let mut unproven = scene.claims("4", "dev@example.com");
    unproven["email_verified"] = json!(false);
    assert_not_in(scene.try_sign_in(scene.signer.sign(&unproven)).await);
    assert_not_in(scene.sign_in("5", "nobody@example.com").await);
    // Many at once, by two subjects, for somebody who was not known before: one of the two.
    create_user(&scene.env.operator, &world.tenant, "new@example.com", "roles/member", &[]).await;
    let tries = (0..8).map(|n| scene.sign_in(if n % 2 == 0 { "6" } else { "7" }, "new@example.com"));
    let outcomes = futures_util::future::join_all(tries).await;
    let of = |odd: usize| outcomes.iter().skip(odd).step_by(2).all(Result::is_ok);
    let none = |odd: usize| outcomes.iter().skip(odd).step_by(2).all(Result::is_err);
    assert!((of(0) && none(1)) || (none(0) && of(1)), "{outcomes:?}");
    scene
        .env
        .operator
        .identity()
        .suspend_user(pb::SuspendUserRequest { name: world.user.clone() })
        .await
        .expect("done");
    assert_not_in(scene.sign_in("1", "dev@example.com").await);
    scene.env.end().await;
}

async fn a_word_that_is_not_good_lets_nobody_in(env: &mut Env) {
    let scene = Scene::new(env).await;
    let stranger = Signer::new(Algorithm::EdDSA, "first");
    assert_not_in(scene.try_sign_in(stranger.sign(&scene.claims("1", "dev@example.com"))).await);
    let changes = [
        ("iss", json!("https://accounts.example")),
        ("aud", json!("another-front-end")),
        ("exp", json!(NOW - 60)),
        ("iat", json!(NOW - 3_600)),
        ("nonce", json!("another")),
        ("nonce", Value::Null),
    ];
    for (field, value) in changes {
        let mut claims = scene.claims("1", "dev@example.com");
        claims[field] = value;
        assert_not_in(scene.try_sign_in(scene.signer.sign(&claims)).await);
    }
    for nonsense in ["x", "a.b.c", "e30.e30.e30"] {
        assert_not_in(scene.try_sign_in(nonsense.to_owned()).await);
    }
    assert_invalid(scene.try_sign_in(String::new()).await, "id_token");
    assert_invalid(scene.try_sign_in("x".repeat(8193)).await, "id_token");
    let mut anybody = scene.env.operator.with_token(None).sessions();
    for identity_provider in ["tenants/acme/identityProviders/nobody", "tenants/nowhere/identityProviders/okta"] {
        let id_token = scene.signer.sign(&scene.claims("1", "dev@example.com"));
        let request = pb::SignInWithIdTokenRequest {
            identity_provider: identity_provider.into(),
            id_token,
            nonce: String::new(),
        };
        assert_not_in(anybody.sign_in_with_id_token(request).await);
    }
    let gone = pb::DeleteIdentityProviderRequest { name: scene.provider.clone() };
    scene.sign_in("1", "dev@example.com").await.expect("in");
    scene.env.operator.sessions().delete_identity_provider(gone).await.expect("deleted");
    assert_not_in(scene.sign_in("1", "dev@example.com").await);
    scene.env.end().await;
}

async fn new_keys_of_an_issuer_are_taken_and_the_known_ones_outlive_it(env: &mut Env) {
    let scene = Scene::new(env).await;
    scene.sign_in("1", "dev@example.com").await.expect("in");
    assert_eq!(scene.issuer.asked(), 2);
    // Somebody invents keys: the issuer is not asked for each of them.
    let stranger = Signer::new(Algorithm::EdDSA, "invented");
    for _ in 0..10 {
        assert_not_in(scene.try_sign_in(stranger.sign(&scene.claims("1", "dev@example.com"))).await);
    }
    assert!(scene.issuer.asked() <= 4, "{}", scene.issuer.asked());
    scene.issuer.go_away();
    scene.sign_in("1", "dev@example.com").await.expect("by the keys that are known");
    // A server that knows none has to say so.
    let Scene { env, world, issuer, signer, provider } = scene;
    let scene = Scene { env: env.restart().await, world, issuer, signer, provider };
    let refused = scene.sign_in("1", "dev@example.com").await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let second = Signer::new(Algorithm::ES256, "second");
    scene.issuer.publish(&[&second]);
    scene.env.clock.advance(Duration::from_secs(1));
    scene.try_sign_in(second.sign(&scene.claims("1", "dev@example.com"))).await.expect("by the new one");
    assert_not_in(scene.sign_in("1", "dev@example.com").await);
    scene.env.end().await;
}

async fn only_who_may_do_all_that_an_owner_may_names_a_provider(env: &mut Env) {
    let scene = Scene::new(env).await;
    let world = &scene.world;
    let admin = create_user(&scene.env.operator, &world.tenant, "admin@example.com", "roles/admin", &[]).await;
    let admin = scene.env.operator.with_token(Some(&scene.env.user_token(&admin)));
    let owner = scene.env.operator.with_token(Some(&scene.env.user_token(&world.owner)));
    let another =
        pb::CreateIdentityProviderRequest { identity_provider_id: "google".into(), ..create(world, &scene.issuer.url) };
    let refused = admin.sessions().create_identity_provider(another.clone()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    let gone = pb::DeleteIdentityProviderRequest { name: scene.provider.clone() };
    let refused = admin.sessions().delete_identity_provider(gone.clone()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    owner.sessions().create_identity_provider(another.clone()).await.expect("a provider");
    let refused = owner.sessions().create_identity_provider(another).await;
    assert_refused(refused, Code::AlreadyExists, "RESOURCE_EXISTS");
    let list = pb::ListIdentityProvidersRequest { parent: world.tenant.clone() };
    let all = admin.sessions().list_identity_providers(list).await.expect("a list").into_inner().identity_providers;
    let mut names: Vec<&str> = all.iter().map(|one| one.name.rsplit('/').next().unwrap_or_default()).collect();
    names.sort_unstable();
    assert_eq!(names, ["google", "okta"]);
    let get = pb::GetIdentityProviderRequest { name: scene.provider.clone() };
    let one = admin.sessions().get_identity_provider(get).await.expect("one").into_inner().identity_provider;
    assert_eq!(one.as_ref(), all.iter().find(|one| one.name == scene.provider));
    for (issuer, audience, field) in [
        ("https://accounts.example", "front-end", "identity_provider.issuer"),
        ("http://accounts.example", "front-end", "identity_provider.issuer"),
        ("", "front-end", "identity_provider.issuer"),
        (&scene.issuer.url, "", "identity_provider.audience"),
    ] {
        let mut request = create(world, issuer);
        request.identity_provider_id = "other".into();
        request.identity_provider.as_mut().expect("a provider").audience = audience.into();
        assert_invalid(owner.sessions().create_identity_provider(request).await, field);
    }
    owner.sessions().delete_identity_provider(gone.clone()).await.expect("deleted");
    let refused = owner.sessions().delete_identity_provider(gone).await;
    assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
    scene.env.end().await;
}
