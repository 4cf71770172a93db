//! The keys that tokens are signed with: one follows another, and others can check tokens by them.

use std::time::Duration;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollreeve::{
    app::signing_keys::rotate,
    domain::{bindings::Principal, time::Clock as _},
    engine::tokens::TokenKeys,
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
    a_new_key_is_the_newest_whatever_the_clock_says,
    a_file_that_holds_another_key_than_its_name_says_is_told,
);

/// What a part of a token says.
pub fn said(token: &str, part: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).expect("a part")).expect("Base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

pub fn principal(user: &str) -> Principal {
    Principal::User(user.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a user's name"))
}

pub async fn enters(client: &Client) -> bool {
    let answer = client.access().list_permissions(pb::ListPermissionsRequest::default()).await;
    if answer.is_err() {
        assert_refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
        return false;
    }
    true
}

/// Puts a new key in the place of the others, as the command does; gives its name once it is in force.
pub async fn follow(env: &Env, at_once: bool) -> String {
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

pub async fn kids(client: &Client) -> Vec<String> {
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

/// What a token says, signed with the first key under another header.
pub fn again(env: &Env, token: &str, more: Value) -> String {
    let file = std::fs::read(env.config.keys_dir.join("token-signing.key")).expect("the key");
    let pair = Ed25519KeyPair::from_pkcs8(&file).expect("a key");
    let mut header = json!({"alg": "EdDSA", "typ": "at+jwt"});
    header.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let message = format!("{}.{}", part(header.to_string()), part(said(token, 1).to_string()));
    format!("{message}.{}", part(pair.sign(message.as_bytes())))
}

async fn a_token_from_before_keys_had_names_is_good(env: &mut Env) {
    let world = World::new(env).await;
    let nameless = env.operator.with_token(Some(&again(env, &env.token(principal(&world.user)), json!({}))));
    assert!(enters(&nameless).await);
    let other = again(env, &env.token(principal(&world.user)), json!({"kid": "another"}));
    assert!(!enters(&env.operator.with_token(Some(&other))).await);
    follow(env, false).await;
    assert!(enters(&nameless).await);
    follow(env, true).await;
    assert!(!enters(&nameless).await);
}

async fn a_new_key_is_the_newest_whatever_the_clock_says(env: &mut Env) {
    let world = World::new(env).await;
    let (app, user) = (env.server.app(), principal(&world.user));
    // Made where it is an hour earlier than here.
    let past = env.clock.now().before(Duration::from_hours(1));
    let key = keyring::make_signing_key(&env.config.keys_dir, past).expect("a key");
    let revision = rotate(&app.db, &key, past, false).await.expect("rotated");
    app.feed.in_force(revision, true).await.expect("in force");
    assert_eq!(kids(&env.operator).await.last(), Some(&key.kid));
    env.clock.advance(Duration::from_secs(6));
    signed_with(env, &key.kid, user).await;
}

async fn a_file_that_holds_another_key_than_its_name_says_is_told(env: &mut Env) {
    use std::os::unix::fs::PermissionsExt as _;
    let kid = follow(env, false).await;
    let folder = &env.config.keys_dir;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let now = env.clock.now();
    let fresh = || {
        let tokens = TokenKeys::default();
        env.server.app().tokens.good(now).into_iter().for_each(|key| tokens.put(key).expect("a key"));
        tokens
    };
    assert!(keyring::look(folder, &fresh(), now).expect("good files"));
    let file = folder.join(format!("token-signing-{kid}.key"));
    let stranger = Ed25519KeyPair::generate().expect("a key").to_pkcs8v1().expect("encodes");
    for wrong in [stranger.as_ref(), b"no key".as_slice()] {
        std::fs::write(&file, wrong).expect("written");
        let told = keyring::look(folder, &fresh(), now).expect_err("another key").to_string();
        assert!(told.contains(&kid) && told.contains("does not hold a key"), "{told}");
    }
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
