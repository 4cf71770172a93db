//! One pepper follows another: secrets go over to it as they are used, what is derived from the old one stays good, and without
//! a pepper a database is worth nothing.

use std::time::Duration;

use tollreeve::{
    app::peppers::rotate,
    config::{Config, peppers::parse},
    domain::{
        key_secret::KeyHash,
        peppers::{PepperVersion, Rehashed},
        time::Clock as _,
    },
    pb::tollreeve::v1::{self as pb, DenialCode},
    runtime::{
        Server,
        peppers::{Source, next},
    },
    store,
};

use crate::{
    harness::{
        both,
        client::Client,
        eventually, postgres,
        process::{Process, command, run},
        server::Env,
        world::{NewKey, World, codes, invite, token_of},
    },
    invitations::accept,
    sessions::{give_password, reset_token, sign_in, try_refresh, try_reset},
    start::{execute, url_of},
};

both!(
    a_secret_goes_over_to_the_next_pepper_when_it_is_used_and_without_its_pepper_it_is_refused,
    what_is_derived_from_a_pepper_outlives_the_next_one,
    a_stolen_database_authorizes_nothing,
    a_secret_that_was_replaced_meanwhile_is_not_stored_anew,
    peppers_from_the_settings_wait_until_every_server_has_them,
);

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
    codes(&world.authorize(asked).await)
}

/// Lets another pepper follow, as the command does, and waits until a server uses it.
async fn follow(env: &Env) -> PepperVersion {
    let (app, now) = (env.server.app(), env.clock.now());
    let since = now.after(Duration::from_secs(10));
    let pepper = next(&app.db, &Source::of(&env.config), since).await.expect("read").expect("there is one");
    rotate(&app.db, &pepper, now).await.expect("rotated");
    env.clock.advance(Duration::from_secs(10));
    in_use(env, pepper.version).await;
    pepper.version
}

async fn in_use(env: &Env, version: PepperVersion) {
    let seen = async || (env.server.app().peppers().in_use() == version).then_some(());
    eventually("the next pepper is in use", seen).await;
}

/// How many secrets are stored under each pepper.
async fn counts(env: &Env) -> Vec<(u8, i64)> {
    let (app, now) = (env.server.app(), env.clock.now());
    let mut tx = app.db.read().await.expect("begins");
    let counts = store::keys::count_by_pepper(&mut tx, now).await.expect("counted");
    counts.into_iter().map(|(version, count)| (version.number(), count)).collect()
}

/// Asks with a secret until as many are stored under each pepper.
async fn used(env: &Env, world: &World, secrets: &[&str], wanted: &[(u8, i64)]) {
    eventually("what is used is stored under the next pepper", async || {
        for secret in secrets {
            assert_eq!(refusal(world, secret).await, []);
        }
        (counts(env).await == wanted).then_some(())
    })
    .await;
}

fn file(config: &Config, version: u8) -> std::path::PathBuf {
    let name = if version == 1 { "api-key-pepper.key".to_owned() } else { format!("api-key-pepper-{version}.key") };
    config.keys_dir.join(name)
}

async fn a_secret_goes_over_to_the_next_pepper_when_it_is_used_and_without_its_pepper_it_is_refused(env: &mut Env) {
    let mine = std::mem::replace(env, env.another().await);
    let world = World::new(&mine).await;
    let unused = world.another_key(pb::Key::default()).await;
    let rotation = pb::RotateKeyRequest {
        name: world.key.name.clone(),
        overlap: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..pb::RotateKeyRequest::default()
    };
    let newest = mine.operator.keys().rotate_key(rotation).await.expect("rotated").into_inner().secret;
    assert_eq!(counts(&mine).await, [(1, 3)]);
    assert_eq!(follow(&mine).await.number(), 2);
    let later = world.another_key(pb::Key::default()).await;
    assert_eq!(counts(&mine).await, [(1, 3), (2, 1)]);
    let etag = async || {
        let asked = pb::GetKeyRequest { name: world.key.name.clone() };
        mine.operator.keys().get_key(asked).await.expect("the key").into_inner().key.expect("the key").etag
    };
    let before = etag().await;
    // Both secrets of the one that was rotated, the newest and the one before it.
    used(&mine, &world, &[&world.key.secret, &newest], &[(1, 1), (2, 3)]).await;
    assert_eq!(etag().await, before, "nobody can see a difference");
    // What was told of a key stays told: it is its secret alone that is stored anew.
    let disable = pb::DisableKeyRequest { name: later.name.clone() };
    mine.operator.keys().disable_key(disable).await.expect("disabled");
    assert_eq!(follow(&mine).await.number(), 3);
    let disabled = async || {
        assert_eq!(refusal(&world, &later.secret).await, [DenialCode::KeyDisabled]);
        (counts(&mine).await == [(1, 1), (2, 2), (3, 1)]).then_some(())
    };
    eventually("the secret of a disabled key goes over", disabled).await;
    assert_eq!(refusal(&world, &later.secret).await, [DenialCode::KeyDisabled]);
    let again = mine.restart_after(async |config| std::fs::remove_file(file(config, 1)).expect("removed")).await;
    let world = world.through(again.server.addr());
    assert_eq!(again.server.app().gate.unchecked(), 1);
    assert_eq!(refusal(&world, &unused.secret).await, [DenialCode::KeyNotFound]);
    assert_eq!(refusal(&world, &later.secret).await, [DenialCode::KeyDisabled]);
    used(&again, &world, &[&world.key.secret, &newest], &[(1, 1), (3, 3)]).await;
    // A version that is removed while the server runs, too.
    std::fs::remove_file(file(&again.config, 2)).expect("removed");
    let gone = async || (again.server.app().peppers().versions().count() == 1).then_some(());
    eventually("the server has seen it", gone).await;
    assert_eq!(refusal(&world, &newest).await, []);
    again.end().await;
}

async fn what_is_derived_from_a_pepper_outlives_the_next_one(env: &mut Env) {
    let world = World::new(env).await;
    give_password(env, &world.user).await;
    let tokens = sign_in(env, &world).await;
    let reset = reset_token(&env.operator, &world.owner).await;
    let invited = invite(&env.operator, &world.tenant).await;
    let create = pb::CreateKeyRequest {
        parent: world.workspace.clone(),
        key: Some(pb::Key { owner: world.user.clone(), ..pb::Key::default() }),
        request_id: "once".into(),
        ..pb::CreateKeyRequest::default()
    };
    let made = env.operator.keys().create_key(create.clone()).await.expect("a key").into_inner();
    let list = |page_token: String| pb::ListKeysRequest {
        parent: world.workspace.clone(),
        page_size: 1,
        page_token,
        ..pb::ListKeysRequest::default()
    };
    let page = env.operator.keys().list_keys(list(String::new())).await.expect("a page").into_inner();
    follow(env).await;
    follow(env).await;
    let next = env.operator.keys().list_keys(list(page.next_page_token)).await.expect("the next page").into_inner();
    assert_eq!(next.keys.len(), 1);
    let again = env.operator.keys().create_key(create).await.expect("the same").into_inner();
    assert_eq!((&again.secret, &again.key), (&made.secret, &made.key));
    assert_eq!(refusal(&world, &again.secret).await, []);
    try_refresh(env, &tokens.refresh_token).await.expect("carried on");
    try_reset(env, reset, "another long passphrase").await.expect("a password");
    accept(&env.operator.with_token(None), &token_of(&invited)).await.expect("joined");
}

async fn a_stolen_database_authorizes_nothing(env: &mut Env) {
    let mine = std::mem::replace(env, env.another().await);
    let world = World::new(&mine).await;
    give_password(&mine, &world.user).await;
    let tokens = sign_in(&mine, &world).await;
    let (clock, url) = (mine.clock.clone(), url_of(&mine));
    // What tells the key files from others: whoever has the database can take it out.
    let forge = async |config: &Config| {
        execute(url.as_deref(), &config.data_dir, "DELETE FROM keyring; DELETE FROM signing_keys").await;
    };
    let again = mine
        .restart_after(async |config| {
            let theirs = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
            let copy = Config { keys_dir: theirs.path().join("keys"), ..config.clone() };
            let refused = Server::start(&copy, clock.clone()).await.err().expect("refused").to_string();
            assert!(refused.contains("api-key-pepper.key is missing"), "{refused}");
            forge(&copy).await;
            let server = Server::start(&copy, clock.clone()).await.expect("starts");
            let operator =
                Client::new(server.addr(), Some(&server.operator_token(Duration::from_hours(1)).expect("one")));
            let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask() };
            let answer = operator.gate().authorize(asked).await.expect("an answer").into_inner();
            assert_eq!(codes(&answer), [DenialCode::KeyNotFound]);
            let refresh = pb::RefreshSessionRequest { refresh_token: tokens.refresh_token.clone() };
            operator.with_token(None).sessions().refresh_session(refresh).await.expect_err("not a token of theirs");
            server.stop().await.expect("stops");
            forge(&copy).await;
        })
        .await;
    let world = world.through(again.server.addr());
    let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask() };
    let answer = again.operator.gate().authorize(asked).await.expect("an answer").into_inner();
    assert_eq!(codes(&answer), [], "it is the pepper that makes the difference");
    again.end().await;
}

async fn a_secret_that_was_replaced_meanwhile_is_not_stored_anew(env: &mut Env) {
    let world = World::new(env).await;
    let app = env.server.app();
    let id = world.key.name.rsplit('/').next().expect("an id").parse().expect("an id");
    let stored = async || {
        let mut tx = app.db.read().await.expect("begins");
        store::keys::by_id(&mut tx, id).await.expect("read").expect("the key")
    };
    let before = stored().await;
    let late = Rehashed {
        key: id,
        public_id: before.public_id,
        old: before.hash,
        new: KeyHash([7; 32]).under(PepperVersion::LAST),
    };
    let rotation = pb::RotateKeyRequest {
        name: world.key.name.clone(),
        overlap: Some(prost_types::Duration::default()),
        ..pb::RotateKeyRequest::default()
    };
    env.operator.keys().rotate_key(rotation).await.expect("rotated");
    let after = stored().await;
    let mut tx = app.db.begin().await.expect("begins");
    assert!(!store::keys::rehash(&mut tx, &late).await.expect("asked"), "the rotation has won");
    let wrong = Rehashed { public_id: after.public_id, ..late.clone() };
    assert!(!store::keys::rehash(&mut tx, &wrong).await.expect("asked"), "it is stored as something else");
    let good = Rehashed { old: after.hash, ..wrong };
    assert!(store::keys::rehash(&mut tx, &good).await.expect("asked"));
    assert!(!store::keys::rehash(&mut tx, &good).await.expect("asked"), "once is enough");
    tx.rollback().await.expect("taken back");
    assert_eq!(stored().await, after);
}

async fn peppers_from_the_settings_wait_until_every_server_has_them(env: &mut Env) {
    let given = |numbers: &[u8]| {
        let texts: Vec<String> = numbers.iter().map(|n| format!("{n}={}", format!("{n:02x}").repeat(32))).collect();
        texts.join(",")
    };
    let mine = env.another_with(|_, options| options.peppers = Some(given(&[1]).into())).await;
    assert!(!file(&mine.config, 1).exists(), "no file is made");
    let world = World::new(&mine).await;
    let source = Source::of(&mine.config);
    assert_eq!(next(&mine.server.app().db, &source, mine.clock.now()).await.expect("read"), None);
    let with = async |mine: Env, numbers: &[u8]| {
        let peppers = parse(&given(numbers).into()).expect("good");
        mine.restart_with(|config| config.peppers = Some(peppers)).await
    };
    let mine = with(mine, &[1, 2]).await;
    let world = world.through(mine.server.addr());
    assert_eq!(mine.server.app().peppers().in_use(), PepperVersion::FIRST, "another server may not have it yet");
    assert_eq!(follow(&mine).await.number(), 2);
    used(&mine, &world, &[&world.key.secret], &[(2, 1)]).await;
    let mine = with(mine, &[2]).await;
    assert_eq!(refusal(&world.through(mine.server.addr()), &world.key.secret).await, []);
    mine.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_used_everywhere_at_once_goes_over_once_and_works_on() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&first).await;
    let second = first.beside().await;
    let keys: Vec<NewKey> = futures_util::future::join_all((0..8).map(|_| world.another_key(pb::Key::default()))).await;
    let version = follow(&first).await;
    in_use(&second, version).await;
    let there = world.through(second.server.addr());
    let secrets: Vec<&str> = keys.iter().map(|key| key.secret.as_str()).collect();
    let both = futures_util::future::join(
        used(&first, &world, &secrets, &[(1, 1), (2, 8)]),
        used(&second, &there, &secrets, &[(1, 1), (2, 8)]),
    );
    both.await;
    for key in &keys {
        assert_eq!((refusal(&world, &key.secret).await, refusal(&there, &key.secret).await), (vec![], vec![]));
    }
    second.end().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peppers_are_listed_and_follow_each_other_by_commands() {
    let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
    let process = Process::serve(folder.path(), None, &[]).await;
    let ask = async |words: &[&str]| {
        let mut command = command(words);
        command.arg("--data-dir").arg(folder.path());
        let output = run(command).await;
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(ask(&["peppers", "rotate"]).await, "2");
    let table = ask(&["peppers", "list"]).await;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["VERSION", "STATE", "HERE", "SECRETS"], "{table}");
    assert_eq!(rows[1], ["1", "in", "use", "yes", "0"], "{table}");
    assert_eq!((rows[2][0], rows[2][1], rows[2].len()), ("2", "from", 5), "{table}");
    assert!(folder.path().join("keys/api-key-pepper-2.key").exists());
    process.kill().await;
}
