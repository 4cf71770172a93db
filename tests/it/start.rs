//! What a start refuses, and how the program ends.

use std::{path::Path, process::Command, sync::Arc};

use sqlx::{Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tollreeve::{pb::tollreeve::v1 as pb, runtime::Server};

use crate::harness::{
    both,
    client::Client,
    clock::MockClock,
    eventually, postgres,
    process::{Process, command, program, run},
    server::{Env, options},
    world::{World, create_project},
};

both!(
    a_second_server_has_a_postgres_with_the_first_and_no_sqlite,
    a_start_without_its_key_files_or_with_others_is_refused,
    a_database_of_a_later_version_is_refused,
);

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder")
}

/// The address of the PostgreSQL database that a test uses, if it does.
pub fn url_of(env: &Env) -> Option<String> {
    use secrecy::ExposeSecret as _;
    match &env.config.database {
        tollreeve::store::connect::Settings::Postgres { url } => Some(url.expose_secret().to_owned()),
        tollreeve::store::connect::Settings::Sqlite { .. } => None,
    }
}

/// Why a start ends, and its exit code.
async fn refusal(command: Command) -> (i32, String) {
    let output = run(command).await;
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn assert_says((code, text): (i32, String), expected: i32, words: &str) {
    assert!(code == expected && text.contains(words), "exit code {code}: {text}");
}

pub async fn execute(url: Option<&str>, folder: &Path, statement: &str) {
    try_execute(url, folder, statement).await.expect("done");
}

pub async fn try_execute(url: Option<&str>, folder: &Path, statement: &str) -> sqlx::Result<()> {
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    if let Some(url) = url {
        let mut connection = PgConnection::connect(url).await.expect("connects");
        statement.execute(&mut connection).await?;
        connection.close().await
    } else {
        let file = SqliteConnectOptions::new().filename(folder.join("tollreeve.db")).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&file).await.expect("opens");
        statement.execute(&mut connection).await?;
        connection.close().await
    }
}

async fn a_second_server_has_a_postgres_with_the_first_and_no_sqlite(env: &mut Env) {
    let world = World::new(env).await;
    let clock = Arc::new(MockClock::new());
    for _ in 0..3 {
        let second = Server::start(&env.config, clock.clone()).await;
        if url_of(env).is_some() {
            second.expect("starts").stop().await.expect("stops in order");
        } else {
            let refused = second.err().expect("refused");
            assert!(refused.to_string().contains("another Tollreeve server"), "{refused}");
        }
    }
    // The first goes on as if nothing had been.
    create_project(&env.operator, &world.workspace, "later").await;
    world.hold(world.ask()).await;
}

async fn a_start_without_its_key_files_or_with_others_is_refused(env: &mut Env) {
    let url = url_of(env);
    let data = folder();
    let database = match &url {
        Some(_) => Some(postgres::shared().await.expect("it runs").database().await),
        None => None,
    };
    let settings = || options(data.path(), database.as_deref()).validate().expect("good settings");
    let clock = Arc::new(MockClock::new());
    Server::start(&settings(), clock.clone()).await.expect("starts").stop().await.expect("stops");
    let keys = settings().keys_dir;
    for name in ["api-key-pepper.key", "hold-token.key", "token-signing.key"] {
        let (file, aside) = (keys.join(name), keys.join("aside"));
        std::fs::rename(&file, &aside).expect("moved");
        let refused = Server::start(&settings(), clock.clone()).await.err().expect("refused").to_string();
        assert!(refused.contains(name) && refused.contains("is missing"), "{refused}");
        std::fs::write(&file, [7; 32]).expect("written");
        let refused = Server::start(&settings(), clock.clone()).await.err().expect("refused").to_string();
        assert!(refused.contains(name) && refused.contains("is not the file"), "{refused}");
        std::fs::rename(&aside, &file).expect("moved back");
    }
    Server::start(&settings(), clock).await.expect("starts again").stop().await.expect("stops");
}

async fn a_database_of_a_later_version_is_refused(env: &mut Env) {
    let data = folder();
    let database = match url_of(env) {
        Some(_) => Some(postgres::shared().await.expect("it runs").database().await),
        None => None,
    };
    let settings = options(data.path(), database.as_deref()).validate().expect("good settings");
    Server::start(&settings, Arc::new(MockClock::new())).await.expect("starts").stop().await.expect("stops");
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 SELECT 99, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    execute(database.as_deref(), data.path(), later).await;
    let refused = refusal(program(data.path(), database.as_deref(), &[])).await;
    assert_says(refused, 1, "newer than this program");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let data = folder();
    execute(None, data.path(), "CREATE TABLE notes (text TEXT)").await;
    let before = std::fs::read(data.path().join("tollreeve.db")).expect("read");
    assert_says(refusal(program(data.path(), None, &[])).await, 1, "tables of another program");
    assert_eq!(std::fs::read(data.path().join("tollreeve.db")).expect("read"), before);
    let data = folder();
    std::fs::write(data.path().join("tollreeve.db"), "This is a letter, and no database at all. ".repeat(100))
        .expect("written");
    assert_says(refusal(program(data.path(), None, &[])).await, 1, "not one of SQLite");
    if let Some(cluster) = postgres::shared().await {
        let database = cluster.database().await;
        execute(Some(&database), data.path(), "CREATE TABLE notes (text TEXT)").await;
        assert_says(refusal(program(folder().path(), Some(&database), &[])).await, 1, "the table notes");
    }
}

#[tokio::test]
async fn a_database_that_may_lose_a_commit_is_refused() {
    let Some(shared) = postgres::shared().await else { return };
    let database = shared.database().await;
    // Of this database alone: others of the cluster are in use.
    let unsafe_here = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
    END $$";
    execute(Some(&database), Path::new(""), unsafe_here).await;
    let refused = refusal(program(folder().path(), Some(&database), &[])).await;
    assert_says(refused, 1, "synchronous_commit is off");
    for setting in ["fsync=off", "full_page_writes=off"] {
        let cluster = postgres::Cluster::start(&[setting]).await.expect("installed");
        let refused = refusal(program(folder().path(), Some(&cluster.url("postgres")), &[])).await;
        assert_says(refused, 1, &setting.replace("=off", " is off"));
    }
}

#[tokio::test]
async fn a_setting_that_is_unknown_or_cannot_be_ends_the_start_with_64() {
    let data = folder();
    let serve = || program(data.path(), None, &[]);
    let mut unknown = serve();
    unknown.env("TOLLREEVE_LISTEM", "127.0.0.1:1");
    assert_says(refusal(unknown).await, 64, "TOLLREEVE_LISTEM");
    let file = data.path().join("tollreeve.toml");
    std::fs::write(&file, "threads = 1\nthread = 2\n").expect("written");
    let mut unknown = serve();
    unknown.arg("--config").arg(&file);
    assert_says(refusal(unknown).await, 64, "thread");
    let mut far = command(&["serve", "--listen", "0.0.0.0:0", "--data-dir"]);
    far.arg(data.path());
    assert_says(refusal(far).await, 64, "plain text");
    let mut none = command(&["serve", "--threads", "0", "--data-dir"]);
    none.arg(data.path());
    assert_says(refusal(none).await, 64, "threads");
    assert!(!data.path().join("tollreeve.db").exists(), "nothing was begun");
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let addr = taken.local_addr().expect("an address").to_string();
    let data = folder();
    let mut serve = command(&["serve", "--listen", &addr, "--data-dir"]);
    serve.arg(data.path());
    assert_says(refusal(serve).await, 1, &addr);
}

#[tokio::test]
async fn migrate_brings_a_database_up_to_date_once() {
    let mut databases = vec![None];
    if let Some(cluster) = postgres::shared().await {
        databases.push(Some(cluster.database().await));
    }
    for database in databases {
        let data = folder();
        let migrate = async || {
            let mut migrate = command(&["migrate", "--data-dir"]);
            migrate.arg(data.path());
            if let Some(url) = &database {
                migrate.args(["--database-url", url]);
            }
            let output = run(migrate).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let first = migrate().await;
        assert!(first.starts_with("0001 identity\n0002 access\n"), "{first}");
        assert_eq!(migrate().await, "the database is up to date\n");
        let process = Process::serve(data.path(), database.as_deref(), &[]).await;
        process.kill().await;
    }
}

#[tokio::test]
async fn a_signal_ends_the_server_in_order_and_operator_token_lets_one_in() {
    let data = folder();
    let process = Process::serve(data.path(), None, &[]).await;
    let mut ask = command(&["operator-token", "--data-dir"]);
    ask.arg(data.path());
    let output = run(ask).await;
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let operator = Client::new(process.addr, Some(&token));
    let world = World::made_by(&operator, "acme").await;
    world.hold(world.ask_for(5)).await;
    let id = process.id().to_string();
    let mut kill = Command::new("kill");
    kill.args(["-TERM", &id]);
    assert!(run(kill).await.status.success());
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let again = Process::serve(data.path(), None, &[]).await;
    let operator = Client::new(again.addr, Some(&token));
    let tenant = pb::GetTenantRequest { name: world.tenant };
    operator.identity().get_tenant(tenant).await.expect("what was made is there");
    again.kill().await;
}

#[tokio::test]
async fn start_dev_is_ready_for_a_first_call() {
    let database = match postgres::shared().await {
        Some(shared) => Some(shared.database().await),
        None => None,
    };
    for url in [None].into_iter().chain(database.map(Some)) {
        first_call(url.as_deref()).await;
    }
}

/// A first call with what `start-dev` leaves in the data folder, whatever the database.
async fn first_call(url: Option<&str>) {
    let data = folder();
    let mut start = command(&["start-dev", "--listen", "127.0.0.1:0", "--log", "info", "--log-format", "json"]);
    start.arg("--data-dir").arg(data.path());
    start.args(url.map(|url| format!("--database-url={url}")));
    let process = Process::start(start).await.expect("starts");
    let key = eventually("the demo is made", async || {
        std::fs::read_to_string(data.path().join("demo.key")).ok().filter(|key| !key.is_empty())
    })
    .await;
    let token = std::fs::read_to_string(data.path().join("operator.token")).expect("a token");
    let server = format!("http://{}", process.addr);
    let mut ask = command(&["authorize", "--api-key", &key, "--model", "gpt-4o", "--server", &server]);
    ask.args(["--input-tokens", "374", "--max-output-tokens", "256"]).env("TOLLREEVE_TOKEN", token);
    let output = run(ask).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    process.kill().await;
}
