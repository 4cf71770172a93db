//! The second wall, proven alone: statements that ask for another tenant's rows, in a transaction as use cases have it, on
//! every table that there is. PostgreSQL only.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, postgres::PgRow};
use tollreeve::{
    app::{
        alerts,
        caller::{Caller, Origin},
        context::Work,
        reviews,
    },
    domain::{
        bindings::Principal,
        id::{Id, TenantId},
        statements::{Closing, Line, Statement},
        time::Clock as _,
        tokens::Basis,
    },
    pb::tollreeve::v1 as pb,
    store::{self, Inserted, StoreError, Tx, connect::Settings, mail::Posted},
};

use crate::harness::{
    calls::every_call,
    postgres,
    process::Process,
    raw::call,
    server::{Env, on_postgres},
    world::{World, create_user, on_hold, on_key},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reaches_another_tenants_rows_for_a_user_above_row_security() {
    on_postgres(nothing_is_reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reaches_another_tenants_rows_for_the_owner_of_the_tables() {
    let Some(cluster) = postgres::shared().await else { return };
    let mut env = Env::start(Some(&cluster.database_of("plain", "").await)).await;
    nothing_is_reached(&mut env).await;
    env.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_says_plainly_that_the_wall_is_off() {
    let Some(cluster) = postgres::shared().await else { return };
    let url = cluster.database_of("above", "BYPASSRLS").await;
    let data = tempfile::tempdir().expect("a folder");
    let process = Process::serve(data.path(), Some(&url), &[]).await;
    let log = process.log();
    assert!(log.contains("the second wall between tenants is off"), "{log}");
    process.kill().await;
    let url = cluster.database().await;
    let process = Process::serve(data.path(), Some(&url), &[]).await;
    let log = process.log();
    assert!(!log.contains("second wall"), "{log}");
    process.kill().await;
}

/// Which rows of a table are a tenant's; `None` when it has none of any tenant.
fn whose(table: &str, columns: &[String], tenant: TenantId) -> Option<String> {
    if columns.iter().any(|column| column == "tenant_id") {
        return Some(format!("tenant_id = '{tenant}'"));
    }
    let of = |records: &str| format!("IN (SELECT id FROM {records} WHERE tenant_id = '{tenant}')");
    Some(match table {
        "tenants" => format!("id = '{tenant}'"),
        "budget_periods" | "slices" => format!("budget_id {}", of("budgets")),
        "requests" => format!("caller {}", of("users")),
        "feed_events" => format!("body LIKE '%{tenant}%'"),
        "prices" | "price_versions" => format!("owner = '{tenant}'"),
        // These tell nothing of anybody.
        "price_head" | "feed_head" | "keyring" | "signing_keys" | "replicas" | "replica_mail" | "_sqlx_migrations" => {
            return None;
        }
        other => panic!("say whose the rows of {other} are, and raise a wall before it: tollreeve_wall in a migration"),
    })
}

/// Every table of the database and its columns.
async fn tables(tx: &mut Tx) -> Vec<(String, Vec<String>)> {
    let sql = "SELECT tables.table_name::TEXT, array_agg(column_name::TEXT ORDER BY ordinal_position)
               FROM information_schema.tables JOIN information_schema.columns USING (table_schema, table_name)
               WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' GROUP BY 1 ORDER BY 1";
    let rows = query(tx, sql).await.expect("tables");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn query(tx: &mut Tx, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    let Tx::Postgres(tx) = tx else { panic!("only PostgreSQL has the wall") };
    sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut **tx).await
}

async fn count(tx: &mut Tx, table: &str, condition: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
    query(tx, &sql).await.unwrap_or_else(|error| panic!("{table}: {error}"))[0].get(0)
}

async fn changed(tx: &mut Tx, sql: String) -> Result<u64, sqlx::Error> {
    let Tx::Postgres(tx) = tx else { panic!("only PostgreSQL has the wall") };
    Ok(sqlx::query(AssertSqlSafe(sql)).execute(&mut **tx).await?.rows_affected())
}

#[track_caller]
fn assert_walled(answer: Result<u64, sqlx::Error>, what: &str) {
    let refused = answer.expect_err(what);
    let code = refused.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    assert_eq!(code.as_deref(), Some("42501"), "{what}: {refused}");
}

/// Fills a tenant: a row in every table that has rows of tenants.
async fn settled(env: &Env, slug: &str, bits: u128) -> World {
    let world = World::named(env, slug).await;
    world.dollars(&world.tenant, 1_000_000).await;
    let hold = world.hold(world.ask()).await;
    world.charge(on_hold(&hold, 5)).await;
    for (path, body) in every_call(&world).await {
        if ["/Create", "/Add", "/Grant", "/Update", "/Apply"].iter().any(|verb| path.contains(verb)) {
            call(&env.operator, &path, body).await.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        }
    }
    let leaver = create_user(&env.operator, &world.tenant, "leaver@example.com", "roles/member", &[]).await;
    let request = pb::DeleteUserRequest { name: leaver, ..pb::DeleteUserRequest::default() };
    env.operator.identity().delete_user(request).await.expect("removed");
    let account = pb::ServiceAccount {
        name: world.account.clone(),
        spiffe_id: format!("spiffe://prod.example/{slug}"),
        ..pb::ServiceAccount::default()
    };
    let request = pb::UpdateServiceAccountRequest {
        service_account: Some(account),
        update_mask: Some(prost_types::FieldMask { paths: vec!["spiffe_id".into()] }),
        ..pb::UpdateServiceAccountRequest::default()
    };
    env.operator.identity().update_service_account(request).await.expect("named by its certificates");
    know_the_owner(env, &world).await;
    // Under an id for the request, by somebody of the tenant.
    let tenant = pb::Tenant { name: world.tenant.clone(), display_name: "Renamed".into(), ..pb::Tenant::default() };
    let request = pb::UpdateTenantRequest {
        tenant: Some(tenant),
        request_id: "once".into(),
        ..pb::UpdateTenantRequest::default()
    };
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    owner.identity().update_tenant(request).await.expect("renamed");
    reviews::write_down_uses(env.server.app()).await.expect("written");
    world.dollars(&world.workspace, 5).await;
    world.charge(on_key(&world.key, 5)).await;
    alerts::tell_due(env.server.app()).await.expect("told");
    let (basis, mut tx) = (Basis::Session(Id::from_bits(bits)), env.server.app().db.begin().await.expect("begins"));
    let (tenant, now) = (id(env, &world).await, env.clock.now());
    store::ended_bases::end(&mut tx, tenant, basis, now).await.expect("ended");
    let taken = store::assertions::insert(&mut tx, tenant, Id::from_bits(bits), "jti", now).await;
    assert_eq!(taken.expect("taken"), store::Inserted::New);
    tx.commit().await.expect("commits");
    a_mail(env, &world).await;
    a_statement(env, &world).await;
    a_node_of_the_audit_log(env, &world).await;
    world
}

/// As if the owner had signed in by an identity provider of the tenant.
async fn know_the_owner(env: &Env, world: &World) {
    let tenant = id(env, world).await;
    let mut tx = env.server.app().db.begin().await.expect("begins");
    let providers = store::identity_providers::all(&mut tx, tenant).await.expect("providers");
    let Principal::User(owner) = caller(world, tenant).principal else { panic!("a user") };
    let linked = store::identity_providers::link(&mut tx, &providers[0], "1", owner, env.clock.now()).await;
    assert_eq!(linked.expect("known"), Inserted::New);
    tx.commit().await.expect("commits");
}

/// A closed statement of the tenant's, with a line.
async fn a_statement(env: &Env, world: &World) {
    let (app, tenant) = (env.server.app(), id(env, world).await);
    let line = Line { number: 1, ..Line::default() };
    let closing = Closing { number: 99, at: env.clock.now(), actor: world.owner.clone(), hash: String::new() };
    let month = "2025-01".parse().expect("a month");
    let statement = Statement { month, lines: 1, totals: line.totals, closing: None };
    let mut tx = app.db.begin().await.expect("begins");
    store::statements::insert(&mut tx, tenant, (&statement, &closing), &[line]).await.expect("put");
    tx.commit().await.expect("made");
}

/// A checkpoint of the tenant's audit log, and a hash of its tree as if it had so many events.
async fn a_node_of_the_audit_log(env: &Env, world: &World) {
    let request = pb::GetAuditCheckpointRequest { parent: world.tenant.clone(), size: None };
    env.operator.audit().get_audit_checkpoint(request).await.expect("signed");
    let mut tx = env.server.app().db.begin().await.expect("begins");
    let sql = "INSERT INTO audit_nodes (tenant_id, level, idx, hash) VALUES ";
    let row = format!("{sql} ('{}', 8, 0, '')", id(env, world).await);
    assert_eq!(changed(&mut tx, row).await.expect("put"), 1);
    tx.commit().await.expect("made");
}

/// Puts a mail of the tenant's into the outbox, of a server that sends none.
async fn a_mail(env: &Env, world: &World) {
    let (app, tenant, now) = (env.server.app(), id(env, world).await, env.clock.now());
    let mail = Posted {
        id: app.new_id(now).expect("an id"),
        tenant,
        about: &world.owner,
        recipient: "somebody@example.com",
        sealed: "sealed",
        created: now,
    };
    let mut tx = app.db.begin().await.expect("begins");
    store::mail::insert(&mut tx, &mail).await.expect("put");
    tx.commit().await.expect("made");
}

/// The owner of a tenant, as use cases get them.
fn caller(world: &World, tenant: TenantId) -> Caller {
    let id = world.owner.rsplit('/').next().unwrap_or_default();
    let principal = Principal::User(id.parse().expect("a user"));
    Origin::default().proven(principal, None, tenant, world.owner.clone())
}

async fn id(env: &Env, world: &World) -> TenantId {
    let mut tx = env.server.app().db.read().await.expect("begins");
    let sql = format!("SELECT id FROM tenants WHERE 'tenants/' || slug = '{}'", world.tenant);
    query(&mut tx, &sql).await.expect("a tenant")[0].get::<String, _>(0).parse().expect("an id")
}

async fn enter<'a>(env: &'a Env, caller: &'a Caller, world: &World) -> Work<'a> {
    let slug = world.tenant.trim_start_matches("tenants/").parse().expect("a slug");
    env.server.app().change(caller, &slug, &world.tenant).await.expect("enters its tenant")
}

async fn nothing_is_reached(env: &mut Env) {
    World::new(env).await;
    let (own, foreign) = (settled(env, "initech", 1).await, settled(env, "globex", 2).await);
    let (here, there) = (id(env, &own).await, id(env, &foreign).await);
    let caller = caller(&own, here);
    let mut tx = env.server.app().db.read().await.expect("begins");
    let tables = tables(&mut tx).await;
    assert!(tables.len() >= 22, "{tables:?}");
    let (mut walled, mut theirs) = (Vec::new(), Vec::new());
    for (table, columns) in &tables {
        let (Some(mine), Some(condition)) = (whose(table, columns, here), whose(table, columns, there)) else {
            continue;
        };
        let sql = format!(
            "SELECT array_agg(ctid::TEXT)::TEXT, (array_agg(to_jsonb({table})::TEXT))[1] FROM {table} WHERE {condition}"
        );
        let row = &query(&mut tx, &sql).await.expect("their rows")[0];
        let rows: String = row.try_get(0).unwrap_or_else(|_| panic!("{table} has no row of theirs: make one"));
        theirs.push((format!("ctid = ANY ('{rows}'::tid[])"), row.get::<String, _>(1)));
        walled.push((
            table.clone(),
            columns.last().expect("a column").clone(),
            columns.contains(&"tenant_id".into()),
            {
                let count = count(&mut tx, table, &mine).await;
                assert!(count > 0, "{table} has no row of one's own");
                (mine, count)
            },
        ));
    }
    drop(tx);
    for ((table, column, has_tenant, (mine, own_rows)), (condition, row)) in walled.iter().zip(&theirs) {
        let mut work = enter(env, &caller, &own).await;
        let tx = &mut work.tx;
        assert_eq!(count(tx, table, condition).await, 0, "{table} is read");
        // Of the feed not even one's own.
        let visible = if table == "feed_events" { 0 } else { *own_rows };
        assert_eq!(count(tx, table, mine).await, visible, "{table}: one's own rows are in sight");
        if table != "feed_events" {
            let copy = row.replace('\'', "''");
            let sql = format!(
                "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(NULL::{table}, '{copy}')"
            );
            assert_walled(changed(&mut work.tx, sql).await, &format!("a row of theirs is added to {table}"));
        }
        drop(work);
        for change in [format!("UPDATE {table} SET {column} = {column}"), format!("DELETE FROM {table}")] {
            let mut work = enter(env, &caller, &own).await;
            match changed(&mut work.tx, format!("{change} WHERE {condition}")).await {
                // Nobody may do that, whosever the rows are.
                refused if table.starts_with("audit_") && refused.is_err() => assert_walled(refused, &change),
                done => assert_eq!(done.expect("nothing to change"), 0, "{change}"),
            }
        }
        if *has_tenant {
            let mut work = enter(env, &caller, &own).await;
            let sql = format!("UPDATE {table} SET tenant_id = '{there}' WHERE {mine}");
            assert_walled(changed(&mut work.tx, sql).await, &format!("a row of {table} is given away"));
        }
    }
    without_the_wall(
        env,
        &own,
        &caller,
        &walled.iter().map(|walled| walled.0.as_str()).zip(&theirs).collect::<Vec<_>>(),
    )
    .await;
    without_the_setting(env).await;
}

/// Every table in turn without its wall: then the same statements do reach them, so the test above can fail.
async fn without_the_wall(env: &Env, own: &World, caller: &Caller, tables: &[(&str, &(String, String))]) {
    for (table, (condition, _)) in tables {
        let mut admin = connection(env).await;
        let alter = async |admin: &mut PgConnection, what: &str| {
            let sql = format!("ALTER TABLE {table} {what} ROW LEVEL SECURITY");
            sqlx::query(AssertSqlSafe(sql)).execute(admin).await.expect("altered");
        };
        alter(&mut admin, "DISABLE").await;
        let mut work = enter(env, caller, own).await;
        // What has changed since, the server's own work on slices, has moved.
        assert!(count(&mut work.tx, table, condition).await > 0, "{table} has no wall, and is not read");
        drop(work);
        alter(&mut admin, "ENABLE").await;
        admin.close().await.expect("closes");
    }
}

/// A transaction that forgets to say whose rows it works on sees none.
async fn without_the_setting(env: &Env) {
    let mut connection = connection(env).await;
    let (above,): (bool,) = sqlx::query_as("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        .fetch_one(&mut connection)
        .await
        .expect("oneself");
    if above {
        sqlx::query("SET ROLE tollreeve_tenant").execute(&mut connection).await.expect("the role");
    }
    let (seen,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM tenants").fetch_one(&mut connection).await.expect("a count");
    assert_eq!(seen, 0);
    connection.close().await.expect("closes");
}

async fn connection(env: &Env) -> PgConnection {
    use secrecy::ExposeSecret as _;
    let Settings::Postgres { url } = &env.config.database else { panic!("only PostgreSQL has the wall") };
    PgConnection::connect(url.expose_secret()).await.expect("connects")
}

/// A role that is gone, or taken from the user, closes the road instead of opening it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_cannot_raise_the_wall_does_not_begin() {
    on_postgres(async |env: &mut Env| {
        let world = World::new(env).await;
        let here = id(env, &world).await;
        let mut tx = env.server.app().db.read().await.expect("begins");
        query(&mut tx, "SELECT set_config('tollreeve.role', 'nobody_has_this_role', TRUE)").await.expect("set");
        assert!(matches!(tx.wall(&[here]).await, Err(StoreError::Unavailable(_))));
        assert!(query(&mut tx, "SELECT 1").await.is_err(), "the transaction is over");
    })
    .await;
}
