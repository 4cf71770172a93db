//! The keys that tokens are signed with: one follows another, and others can check tokens by them.

use std::time::Duration;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollreeve::{
    app::signing_keys::rotate,
    domain::{bindings::Principal, time::Clock as _},
    pb::tollreeve::v1 as pb,
    runtime::keyring,
};
use tonic::Code;

use crate::harness::{
    assertions::part,
    both,
    client::{Client, assert_refused},
    eventually, postgres,
    process::{Process, command, run},
    server::Env,
    world::World,
};

both!(
    a_key_follows_another_and_what_was_signed_stays_good_to_its_end,
    a_key_that_retires_at_once_takes_its_tokens_with_it,
    a_server_starts_without_the_private_half_of_what_has_retired,
    whoever_has_the_public_keys_can_check_a_token,
    a_token_from_before_keys_had_names_is_good,
);

/// What a part of a token says.
fn said(token: &str, part: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).expect("a part")).expect("Base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn principal(user: &str) -> Principal {
    Principal::User(user.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a user's name"))
}

async fn enters(client: &Client) -> bool {
    let answer = client.access().list_permissions(pb::ListPermissionsRequest::default()).await;
    if answer.is_err() {
        assert_refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
        return false;
    }
    true
}

/// Puts a new key in the place of the others, as the command does; gives its name once it is in force.
async fn follow(env: &Env, at_once: bool) -> String {
    let (app, now) = (env.server.app(), env.clock.now());
    let key = keyring::make_signing_key(&env.config.keys_dir, now).expect("a key");
    let revision = rotate(&app.db, &key, now, at_once).await.expect("rotated");
    app.feed.in_force(revision, true).await.expect("in force");
    key.kid
}

/// Waits until a server has found the private half of a key and signs with it.
async fn signed_with(env: &Env, kid: &str, user: Principal) -> String {
    eventually("the new key signs", async || {
        let token = env.token(user);
        (said(&token, 0)["kid"] == kid).then_some(token)
    })
    .await
}

async fn kids(client: &Client) -> Vec<String> {
    let keys = client.with_token(None).sign_in().get_jwks(pb::GetJwksRequest {}).await.expect("keys").into_inner().keys;
    keys.into_iter().map(|key| key.kid).collect()
}

async fn a_key_follows_another_and_what_was_signed_stays_good_to_its_end(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    let old = env.token(user);
    let first = said(&old, 0)["kid"].as_str().expect("a name").to_owned();
    assert_eq!(kids(&env.operator).await, [first.as_str()]);
    let second = follow(env, false).await;
    assert_eq!(kids(&env.operator).await, [first.as_str(), second.as_str()]);
    // Until every server knows it for certain, nothing is signed with it.
    assert_eq!(said(&env.token(user), 0)["kid"], first.as_str());
    env.clock.advance(Duration::from_secs(6));
    let new = signed_with(env, &second, user).await;
    let [old, new] = [old, new].map(|token| env.operator.with_token(Some(&token)));
    assert!(enters(&old).await && enters(&new).await);
    // A day, which is as long as a token is good, and ten minutes.
    env.clock.advance(Duration::from_secs(86_400 + 600 - 7));
    assert!(enters(&old).await && enters(&new).await);
    env.clock.advance(Duration::from_secs(1));
    assert!(!enters(&old).await && enters(&new).await);
    assert_eq!(kids(&new).await, [second]);
}

async fn a_key_that_retires_at_once_takes_its_tokens_with_it(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    let bearer = env.operator.with_token(Some(&env.token(user)));
    assert!(enters(&bearer).await);
    let second = follow(env, true).await;
    assert!(!enters(&bearer).await, "by the first call after it");
    assert_eq!(kids(&env.operator).await, [second.as_str()]);
    let token = eventually("there is a key to sign with", async || {
        let issued = env.server.app().tokens.issue(user, None, env.clock.now(), Duration::from_hours(1));
        issued.ok().map(|(token, _)| token)
    })
    .await;
    assert_eq!(said(&token, 0)["kid"], second.as_str());
    assert!(enters(&env.operator.with_token(Some(&token))).await);
}

async fn a_server_starts_without_the_private_half_of_what_has_retired(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    let second = follow(env, true).await;
    let files = env.config.keys_dir.clone();
    std::fs::remove_file(files.join("token-signing.key")).expect("removed");
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    let token = old.token(user);
    assert_eq!(said(&token, 0)["kid"], second.as_str());
    assert!(enters(&old.operator).await && enters(&old.operator.with_token(Some(&token))).await);
    old.end().await;
}

async fn whoever_has_the_public_keys_can_check_a_token(env: &mut Env) {
    let world = World::new(env).await;
    follow(env, false).await;
    let token = env.token(principal(&world.user));
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut anybody = env.operator.with_token(None).sign_in();
    let keys = anybody.get_jwks(pb::GetJwksRequest {}).await.expect("keys").into_inner().keys;
    assert_eq!(keys.len(), 2);
    let header = said(&token, 0);
    let key = keys.iter().find(|key| header["kid"] == key.kid.as_str()).expect("its key");
    let told = (key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str());
    assert_eq!(told, ("OKP", "Ed25519", "EdDSA", "sig"));
    let x = URL_SAFE_NO_PAD.decode(&key.x).expect("Base64");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("Base64");
    UnparsedPublicKey::new(&ED25519, x).verify(message.as_bytes(), &signature).expect("it is good");
}

async fn a_token_from_before_keys_had_names_is_good(env: &mut Env) {
    let world = World::new(env).await;
    let file = std::fs::read(env.config.keys_dir.join("token-signing.key")).expect("the key");
    let pair = Ed25519KeyPair::from_pkcs8(&file).expect("a key");
    let claims = said(&env.token(principal(&world.user)), 1);
    let sign = |header: Value| {
        let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        format!("{message}.{}", part(pair.sign(message.as_bytes())))
    };
    let nameless = env.operator.with_token(Some(&sign(json!({"alg": "EdDSA", "typ": "at+jwt"}))));
    assert!(enters(&nameless).await);
    let other = sign(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "another"}));
    assert!(!enters(&env.operator.with_token(Some(&other))).await);
    follow(env, false).await;
    assert!(enters(&nameless).await);
    follow(env, true).await;
    assert!(!enters(&nameless).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retires_at_once_is_refused_by_every_server() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    let second = first.beside().await;
    let user = principal(&world.user);
    let bearer = second.operator.with_token(Some(&first.token(user)));
    assert!(enters(&bearer).await);
    let kid = follow(&first, true).await;
    assert!(!enters(&bearer).await);
    assert_eq!(kids(&second.operator).await, [kid.as_str()]);
    let token = eventually("there is a key to sign with", async || {
        let issued = second.server.app().tokens.issue(user, None, second.clock.now(), Duration::from_hours(1));
        issued.ok().map(|(token, _)| token)
    })
    .await;
    assert!(enters(&first.operator.with_token(Some(&token))).await);
    second.end().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_listed_and_follow_each_other_by_commands() {
    let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
    let process = Process::serve(folder.path(), None, &[]).await;
    let ask = async |words: &[&str]| {
        let mut command = command(words);
        command.arg("--data-dir").arg(folder.path());
        let output = run(command).await;
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let bearer = async || Client::new(process.addr, Some(&ask(&["operator-token"]).await));
    let old = bearer().await;
    assert!(enters(&old).await);
    let kid = ask(&["signing-keys", "rotate"]).await;
    let table = ask(&["signing-keys", "list"]).await;
    assert!(table.contains("RETIRES") && table.contains(&kid) && table.lines().count() == 3, "{table}");
    assert!(enters(&old).await && enters(&bearer().await).await);
    let last = ask(&["signing-keys", "rotate", "--now"]).await;
    eventually("the old keys have retired", async || (!enters(&old).await).then_some(())).await;
    assert_eq!(kids(&old).await, [last]);
    assert!(enters(&bearer().await).await);
    process.kill().await;
}
