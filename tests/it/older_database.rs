//! A database of an older version: a server that starts on it brings it up to date, and what was given out before stays good.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tollreeve::{
    config::Config,
    domain::{signing_keys::kid_of, time::Clock as _},
    pb::tollreeve::v1 as pb,
    runtime::Server,
    store::connect::Settings,
};

use crate::{
    harness::{both, postgres, server::Env, world::World},
    price_versions::{import, listed, price, roll_back, version},
    signing_keys::{again, enters, follow, kids, principal, said},
    start::execute,
};

both!(
    the_one_key_for_tokens_becomes_the_first_and_what_it_signed_stays_good,
    what_was_imported_before_prices_had_versions_is_one_version_an_import,
);

/// Makes of a database one from before signing keys were in it, when each had one file and tokens did not name it.
async fn from_before_signing_keys(config: &Config) {
    let undo = "DROP TABLE invitations; DROP TABLE mail; ALTER TABLE tenants DROP COLUMN branding;
                DROP TABLE signing_keys; DELETE FROM _sqlx_migrations WHERE version IN (21, 22, 23);";
    let url = match &config.database {
        Settings::Postgres { url } => Some(url.expose_secret()),
        Settings::Sqlite { .. } => None,
    };
    execute(url, &config.data_dir, undo).await;
}

/// Every migration that the database has had.
async fn versions(env: &Env) -> Vec<i64> {
    let books = env.books().await;
    let rows: Vec<(i64,)> = books.rows("SELECT version FROM _sqlx_migrations ORDER BY version").await;
    books.close().await;
    rows.into_iter().map(|row| row.0).collect()
}

async fn the_one_key_for_tokens_becomes_the_first_and_what_it_signed_stays_good(env: &mut Env) {
    let world = World::new(env).await;
    let user = principal(&world.user);
    let (named, known) = (env.token(user), versions(env).await);
    let [mine, theirs] = [user, principal(&world.owner)].map(|who| again(env, &env.token(who), json!({})));
    let kid = said(&named, 0)["kid"].as_str().expect("a name").to_owned();
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart_after(from_before_signing_keys).await;
    assert_eq!(versions(&old).await, known, "it is up to date");
    // The key's name is its thumbprint, so it has the same one in whatever database.
    assert_eq!(kids(&old.operator).await, [kid.as_str()]);
    let keys = old.operator.with_token(None).sign_in().get_jwks(pb::GetJwksRequest {}).await.expect("keys");
    let x = URL_SAFE_NO_PAD.decode(&keys.into_inner().keys[0].x).expect("Base64");
    assert_eq!(kid, kid_of(&x.try_into().expect("32 bytes")));
    for token in [&mine, &theirs, &named, &old.token(user)] {
        assert!(enters(&old.operator.with_token(Some(token))).await, "{token}");
    }
    assert_eq!(said(&old.token(user), 0)["kid"], kid.as_str());
    // It is a key like any other from now on: another follows it, and it retires.
    let second = follow(&old, false).await;
    let old = old.restart().await;
    let mut now = kids(&old.operator).await;
    assert_eq!((now.remove(0), now.remove(0), now.len()), (kid, second, 0));
    let bearers = [&mine, &named].map(|token| old.operator.with_token(Some(token)));
    assert!(enters(&bearers[0]).await && enters(&bearers[1]).await);
    follow(&old, true).await;
    assert!(!enters(&bearers[0]).await && !enters(&bearers[1]).await);
    old.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_servers_that_start_at_once_on_an_older_database_all_have_its_one_key() {
    let Some(cluster) = postgres::shared().await else { return };
    let env = Env::start(Some(&cluster.database().await)).await;
    let world = World::new(&env).await;
    let nameless = again(&env, &env.token(principal(&world.user)), json!({}));
    let clock = env.clock.clone();
    let env = env.restart_after(async |config| {
        from_before_signing_keys(config).await;
        let start = || Server::start(config, clock.clone());
        let (one, two, three) = tokio::join!(start(), start(), start());
        for server in [one, two, three] {
            let server = server.expect("it starts");
            let tokens = &server.app().tokens;
            assert_eq!(tokens.good(clock.now()).len(), 1);
            assert!(tokens.verify(&nameless, clock.now()).is_some());
            server.stop().await.expect("stops in order");
        }
    });
    let env = env.await;
    assert_eq!(kids(&env.operator).await.len(), 1);
    assert!(enters(&env.operator.with_token(Some(&nameless))).await);
    env.end().await;
}

/// Makes of a database one from before prices had versions.
async fn from_before_price_versions(config: &Config) {
    const COLUMNS: &str = "DROP INDEX prices_by_model; DROP INDEX prices_by_version;
        DROP TABLE price_versions; DROP TABLE price_head; ALTER TABLE prices DROP COLUMN owner;
        ALTER TABLE prices DROP COLUMN version; ALTER TABLE prices DROP COLUMN effective;";
    const CURRENT: &str = "ALTER TABLE prices ADD COLUMN current BOOLEAN NOT NULL DEFAULT FALSE;
        UPDATE prices SET current = TRUE WHERE NOT EXISTS (SELECT 1 FROM prices AS later
            WHERE later.provider = prices.provider AND later.model = prices.model AND later.id > prices.id);
        CREATE UNIQUE INDEX one_current_price ON prices (provider, model) WHERE current;
        DELETE FROM _sqlx_migrations WHERE version = 33;";
    let statements: &[&'static str] = match &config.database {
        Settings::Postgres { .. } => {
            &["DROP POLICY wall ON prices", COLUMNS, "SELECT tollreeve_wall('prices', 'TRUE')", CURRENT]
        }
        Settings::Sqlite { .. } => &[COLUMNS, CURRENT],
    };
    let url = match &config.database {
        Settings::Postgres { url } => Some(url.expose_secret()),
        Settings::Sqlite { .. } => None,
    };
    for statement in statements {
        execute(url, &config.data_dir, statement).await;
    }
}

async fn what_was_imported_before_prices_had_versions_is_one_version_an_import(env: &mut Env) {
    import(&env.operator, vec![price("a", 1), price("b", 2)], None).await;
    env.clock.advance(Duration::from_secs(1));
    import(&env.operator, vec![price("a", 5)], None).await;
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart_after(from_before_price_versions).await;
    assert_eq!(listed(&old.operator, None).await, [("a".to_owned(), 5), ("b".to_owned(), 2)]);
    let read = version(&old.operator, 2).await;
    assert_eq!(read.changes, [pb::PriceChange { before: Some(price("a", 1)), after: Some(price("a", 5)) }]);
    let read = read.version.expect("a version");
    assert_eq!((read.set_count, read.actor.as_str(), read.audit_event.as_str()), (1, "", ""));
    assert_eq!(import(&old.operator, vec![price("b", 3)], None).await.version, "priceVersions/3");
    assert_eq!(roll_back(&old.operator, "priceVersions/1", None).await.changed, 2);
    assert_eq!(listed(&old.operator, None).await, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    old.end().await;
}
