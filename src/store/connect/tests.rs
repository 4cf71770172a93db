//! Opening and refusing databases; a first round of reading what was written.

use std::path::Path;

use super::{Claim, OpenError, Settings};
use crate::{
    domain::{
        bindings::Principal,
        branding::Branding,
        budgets::{Budget, BudgetScope, Course, OnExpiry},
        id::{BudgetId, KeyId, TenantId, UserId, WorkspaceId},
        key_schedule::Schedule,
        key_secret::{KeyHash, PublicId},
        keys::{Allowlist, Key, KeyState, Retiring, Secrets},
        money::Unit,
        names::Slug,
        peppers::PepperVersion,
        policies::Policies,
        tenants::{Lifecycle, Tenant},
        time::Timestamp,
        users::{User, UserState},
        window::Window,
        workspaces::Workspace,
    },
    store::{self, Db, Inserted},
};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn folder() -> (tempfile::TempDir, Settings) {
    let temporary = tempfile::tempdir().expect("a folder");
    let settings = Settings::Sqlite { folder: temporary.path().join("data") };
    (temporary, settings)
}

async fn open(settings: &Settings) -> (Db, Claim) {
    Db::open(settings).await.expect("a database")
}

fn database(temporary: &tempfile::TempDir) -> std::path::PathBuf {
    temporary.path().join("data/tollreeve.db")
}

/// Runs SQL on the file behind the server's back.
async fn tamper(path: &Path, sql: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.expect("a connection");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("a change");
    connection.close().await.expect("a close");
}

fn slug(text: &str) -> Slug {
    text.parse().expect("a slug")
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::new(NOW, [1; 10]),
        slug: slug("acme"),
        display_name: "Acme".into(),
        branding: Branding::default(),
        state: Lifecycle::Active,
        deleted: None,
        created: NOW,
        version: 1,
    }
}

fn workspace(tenant: TenantId) -> Workspace {
    Workspace {
        id: WorkspaceId::new(NOW, [2; 10]),
        tenant,
        slug: slug("prod"),
        display_name: "Production".into(),
        environment: slug("production"),
        policies: Policies::default(),
        state: Lifecycle::Active,
        deleted: None,
        created: NOW,
        version: 1,
    }
}

fn user(tenant: TenantId) -> User {
    User {
        id: UserId::new(NOW, [3; 10]),
        tenant,
        email: "Ann@acme.test".into(),
        display_name: "Ann \"the\" Owner".into(),
        state: UserState::Active,
        teams: Vec::new(),
        created: NOW,
        joined: Some(NOW),
        version: 1,
    }
}

fn rotated(number: u8) -> Secrets {
    let public_id = PublicId::parse(&format!("ABCDEFGHI{number:03}")).expect("a public id");
    let old = Retiring {
        public_id,
        hash: KeyHash([number; 32]).under(PepperVersion::new(number).expect("a version")),
        generation: 1,
        ends: NOW,
    };
    let schedule = Some(Schedule { due: NOW, deadline: NOW });
    Secrets { generation: 2, rotated: Some(NOW), retiring: Some(Box::new(old)), schedule }
}

fn key(workspace: &Workspace, owner: UserId, number: u8, allowlist: Allowlist) -> Key {
    Key {
        id: KeyId::new(NOW, [number; 10]),
        tenant: workspace.tenant,
        workspace: workspace.id,
        owner: Principal::User(owner),
        project: None,
        public_id: PublicId::parse(&format!("abcdefghi{number:03}")).expect("a public id"),
        hash: KeyHash([number; 32]).under(PepperVersion::new(number).expect("a version")),
        display_name: "ключ \"один\"".into(),
        state: KeyState::Active,
        expires: (number > 1).then_some(NOW),
        allowlist,
        created: NOW,
        version: 1,
        description: if number > 1 { "what \"it\" is for".to_owned() } else { String::new() },
        labels: (1..number).map(|n| (format!("k{n}"), "v".to_owned())).collect(),
        secrets: if number > 1 { rotated(number) } else { Secrets::default() },
        deleted: None,
    }
}

fn budget(tenant: TenantId, scope: BudgetScope, number: u8) -> Budget {
    Budget {
        id: BudgetId::new(NOW, [number; 10]),
        tenant,
        scope,
        unit: Unit::Usd,
        window: Window::Month,
        limit: 7,
        hard: true,
        credit: false,
        turns: Vec::new(),
        on_expiry: OnExpiry::ChargeFull,
        course: Course::default(),
        display_name: String::new(),
        created: NOW,
        version: 1,
    }
}

#[tokio::test]
async fn what_was_written_is_read_back_also_after_a_restart() {
    let (_temporary, settings) = folder();
    let (tenant, workspace, user) = (tenant(), workspace(tenant().id), user(tenant().id));
    let list = Allowlist { models: vec!["gpt-4*".into()], ..Allowlist::default() };
    let keys = [key(&workspace, user.id, 1, Allowlist::default()), key(&workspace, user.id, 2, list)];
    let budgets = [
        budget(tenant.id, BudgetScope::Workspace(workspace.id), 1),
        budget(tenant.id, BudgetScope::EndUser("a/b".into()), 2),
    ];
    let (db, lock) = open(&settings).await;
    let mut tx = db.begin().await.expect("begins");
    assert_eq!(store::tenants::insert(&mut tx, &tenant).await.expect("inserts"), Inserted::New);
    assert_eq!(store::tenants::insert(&mut tx, &tenant).await.expect("inserts"), Inserted::Exists);
    assert_eq!(store::workspaces::insert(&mut tx, &workspace).await.expect("inserts"), Inserted::New);
    assert_eq!(store::users::insert(&mut tx, &user).await.expect("inserts"), Inserted::New);
    for key in &keys {
        assert_eq!(store::keys::insert(&mut tx, key).await.expect("inserts"), Inserted::New);
    }
    for budget in &budgets {
        store::budgets::insert(&mut tx, budget).await.expect("inserts");
    }
    tx.commit().await.expect("commits");
    db.close().await;
    drop(lock);

    let (db, _lock) = open(&settings).await;
    let mut tx = db.read().await.expect("begins");
    assert_eq!(store::tenants::by_slug(&mut tx, "acme").await.expect("reads"), Some(tenant));
    assert_eq!(store::users::by_id(&mut tx, user.id).await.expect("reads"), Some(user));
    assert_eq!(store::keys::by_id(&mut tx, keys[1].id).await.expect("reads"), Some(keys[1].clone()));
    let chunk = store::keys::chunk(&mut tx, "", 10).await.expect("reads").expect("a chunk");
    assert!(store::keys::chunk(&mut tx, chunk.last(), 10).await.expect("reads").is_none());
    assert_eq!(chunk.keys().expect("reads"), keys);
    let first = store::keys::chunk(&mut tx, "", 1).await.expect("reads").expect("a chunk");
    let rest = store::keys::chunk(&mut tx, first.last(), 10).await.expect("reads").expect("a chunk");
    assert_eq!([first, rest].map(|chunk| chunk.keys().expect("reads")), [keys[..1].to_vec(), keys[1..].to_vec()]);
    let first = keys[0].id.to_string();
    assert_eq!(store::budgets::chunk(&mut tx, "", 10).await.expect("reads"), budgets);
    let names = store::names::names(&mut tx, vec![first.clone(), workspace.id.to_string()]).await.expect("reads");
    assert_eq!(names.of(first), format!("tenants/acme/workspaces/prod/keys/{}", keys[0].id));
    assert_eq!(names.of(workspace.id), "tenants/acme/workspaces/prod");
}

#[tokio::test]
async fn a_database_is_migrated_once_and_used_by_one_server() {
    let (_temporary, settings) = folder();
    let applied = Db::migrate(&settings).await.expect("migrates");
    let known: Vec<i64> = super::migrations::sqlite().iter().map(|migration| migration.version).collect();
    assert_eq!(applied.iter().map(|migration| migration.version).collect::<Vec<_>>(), known);
    assert_eq!(Db::migrate(&settings).await.expect("migrates"), []);
    let (_db, mut lock) = open(&settings).await;
    assert!(lock.confirm().await.is_ok());
    assert!(matches!(Db::open(&settings).await, Err(OpenError::InUse)));
}

#[tokio::test]
async fn a_newer_or_modified_database_is_refused() {
    let (temporary, settings) = folder();
    Db::migrate(&settings).await.expect("migrates");
    tamper(&database(&temporary), "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 3").await;
    assert!(matches!(Db::open(&settings).await, Err(OpenError::Modified(3))));

    let (temporary, settings) = folder();
    Db::migrate(&settings).await.expect("migrates");
    tamper(&database(&temporary), "INSERT INTO _sqlx_migrations SELECT 99, 'later', 0, TRUE, x'00', 0").await;
    assert!(matches!(Db::open(&settings).await, Err(OpenError::Newer(99))));
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_as_it_is() {
    for sql in ["CREATE TABLE notes (text TEXT)", "PRAGMA application_id = 7"] {
        let (temporary, settings) = folder();
        std::fs::create_dir(temporary.path().join("data")).expect("a folder");
        tamper(&database(&temporary), sql).await;
        let before = std::fs::read(database(&temporary)).expect("the file");
        assert!(matches!(Db::open(&settings).await, Err(OpenError::Foreign(_))), "{sql}");
        assert_eq!(std::fs::read(database(&temporary)).expect("the file"), before);
    }
    let (temporary, settings) = folder();
    std::fs::create_dir(temporary.path().join("data")).expect("a folder");
    std::fs::write(database(&temporary), "not a database, but longer than a header of one would be".repeat(9))
        .expect("writes");
    let refused = Db::open(&settings).await;
    assert!(matches!(refused, Err(OpenError::Foreign(_))), "{refused:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (temporary, settings) = folder();
    let (_db, _lock) = open(&settings).await;
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&temporary.path().join("data")), 0o700);
    for entry in std::fs::read_dir(temporary.path().join("data")).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
