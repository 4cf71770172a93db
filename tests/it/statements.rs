//! Statements of months: drafts, and what they say for ever once they are closed.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use sqlx::Connection as _;
use tollreeve::{
    domain::{
        id::{BootId, Id},
        statements::{Line, csv, hash},
        time::{Clock as _, Timestamp},
    },
    engine::journal::{Entry, Journal as _},
    pb::tollreeve::v1::{self as pb, StatementState},
    store::{self, connect::Settings},
};
use tonic::Code;

use super::usage_sums::undone;
use crate::harness::{
    both,
    client::{assert_invalid, assert_refused},
    clock::{MockClock, START},
    desk::Desk,
    ledger::{entry_with, joined_by},
    server::Env,
    world::{World, bind, create_key, create_project, create_user, create_workspace, on_hold, on_key},
};

both!(
    a_month_is_closed_once_and_its_statement_says_the_same_for_ever,
    a_month_that_is_not_over_is_a_draft,
    a_workspace_and_a_team_have_their_parts_of_it,
    what_is_written_when_its_month_is_closed_counts_in_the_month_that_runs,
    the_rows_of_a_closed_statement_cannot_be_changed,
);

const MARCH: &str = "tenants/acme/statements/2026-03";
const APRIL: &str = "tenants/acme/statements/2026-04";

/// The clock, so many days and hours after the beginning of April.
fn april(env: &Env, hours: u64) {
    let begin = Timestamp::from_micros(1_775_001_600_000_000);
    env.clock.set(begin.after(Duration::from_hours(hours)));
}

/// The world, whose sidecar has a token that lasts for months.
async fn world(env: &Env) -> World {
    let world = World::new(env).await;
    World { sidecar: world.operator.clone(), ..world }
}

async fn get(world: &World, request: pb::GetStatementRequest) -> pb::Statement {
    let answer = world.operator.usage().get_statement(request).await.expect("a statement");
    answer.into_inner().statement.expect("a statement")
}

async fn statement(world: &World, name: &str) -> pb::Statement {
    get(world, pb::GetStatementRequest { name: name.into(), ..Default::default() }).await
}

async fn close(world: &World, name: &str) -> Result<pb::Statement, tonic::Status> {
    let request = pb::CloseStatementRequest { name: name.into(), ..Default::default() };
    let answer = world.operator.usage().close_statement(request).await?;
    Ok(answer.into_inner().statement.expect("a statement"))
}

/// All lines of a statement, page by page.
async fn lines(world: &World, name: &str) -> Vec<pb::StatementLine> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            pb::ListStatementLinesRequest { parent: name.into(), page_size: 2, page_token, ..Default::default() };
        let page = world.operator.usage().list_statement_lines(request).await.expect("lines").into_inner();
        all.extend(page.lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

fn cost(statement: &pb::Statement) -> i64 {
    statement.totals.expect("totals").cost_nanos
}

async fn call(world: &World, secret: &str, cost: i64) {
    let hold = world.hold(pb::AuthorizeRequest { ..world.ask_with(secret) }).await;
    world.charge(on_hold(&hold, cost)).await;
}

async fn closings(world: &World) -> usize {
    let filter = "action = statements.close".into();
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter, ..Default::default() };
    world.operator.audit().list_audit_events(list).await.expect("a list").into_inner().events.len()
}

async fn a_month_is_closed_once_and_its_statement_says_the_same_for_ever(env: &mut Env) {
    let world = world(env).await;
    call(&world, &world.key.secret, 70).await;
    call(&world, &world.key.secret, 30).await;
    world.charge(on_key(&world.key, 5)).await;
    let draft = statement(&world, MARCH).await;
    assert_eq!((draft.state(), cost(&draft), draft.number), (StatementState::Draft, 105, 0));
    april(env, 1);
    let closed = close(&world, MARCH).await.expect("closed");
    assert_eq!((closed.state(), cost(&closed), closed.number), (StatementState::Closed, 105, 1));
    assert_eq!(closed.totals, draft.totals);
    assert_eq!((closed.totals.expect("totals").charges, closed.line_count), (3, draft.line_count));
    // What the sums say, a line at a time; and the hash is that of the lines.
    let first = lines(&world, MARCH).await;
    let by_place = first.iter().filter(|line| line.team.is_empty()).map(|line| line.totals.expect("totals"));
    assert_eq!(by_place.map(|totals| totals.cost_nanos).sum::<i64>(), 105);
    assert!(first.iter().any(|line| line.team == world.team), "{first:?}");
    let text = csv(&first.iter().cloned().map(Line::from).collect::<Vec<_>>());
    assert_eq!(closed.sha256, hash(&text));
    // More is charged, what is named in it is deleted, and it is closed again.
    call(&world, &world.key.secret, 1000).await;
    let delete = pb::DeleteProjectRequest { name: world.project.clone(), ..Default::default() };
    world.operator.identity().delete_project(delete).await.expect("deleted");
    assert_eq!(close(&world, MARCH).await.expect("as it is"), closed);
    assert_eq!(closings(&world).await, 1);
    assert_eq!(statement(&world, MARCH).await, closed);
    assert_eq!(lines(&world, MARCH).await, first);
    assert_eq!(cost(&statement(&world, APRIL).await), 1000);
    // Another month has the next number, and the newest comes first.
    april(env, 24 * 40);
    assert_eq!(close(&world, APRIL).await.expect("closed").number, 2);
    let list = pb::ListStatementsRequest { parent: world.tenant.clone(), page_size: 1, ..Default::default() };
    let page = world.operator.usage().list_statements(list.clone()).await.expect("a list").into_inner();
    let rest = pb::ListStatementsRequest { page_token: page.next_page_token.clone(), ..list };
    let rest = world.operator.usage().list_statements(rest).await.expect("a list").into_inner();
    assert_eq!((page.statements[0].name.as_str(), &rest.statements), (APRIL, &vec![closed]));
    assert_eq!(rest.next_page_token, "");
}

async fn a_month_that_is_not_over_is_a_draft(env: &mut Env) {
    let world = world(env).await;
    call(&world, &world.key.secret, 70).await;
    assert_refused(close(&world, MARCH).await, Code::FailedPrecondition, "STATE_CONFLICT");
    april(env, 0);
    assert_refused(close(&world, MARCH).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let dry = pb::CloseStatementRequest { name: MARCH.into(), validate_only: true, ..Default::default() };
    april(env, 1);
    world.operator.usage().close_statement(dry).await.expect("it could be closed");
    assert_eq!(statement(&world, MARCH).await.state(), StatementState::Draft);
    close(&world, MARCH).await.expect("closed");
    // A month without anything is closed as well.
    let empty = close(&world, "tenants/acme/statements/2025-12").await.expect("closed");
    assert_eq!((empty.line_count, cost(&empty), empty.number), (0, 0, 2));
    for bad in ["2026-13", "2026-1", "march"] {
        assert_invalid(close(&world, &format!("tenants/acme/statements/{bad}")).await, "name");
    }
}

async fn a_workspace_and_a_team_have_their_parts_of_it(env: &mut Env) {
    let world = world(env).await;
    let other = create_workspace(&world.operator, &world.tenant, "lab", "development").await;
    let project = create_project(&world.operator, &other, "trial").await;
    let key = pb::Key { owner: world.account.clone(), project, ..pb::Key::default() };
    let key = create_key(&world.operator, &other, key).await;
    call(&world, &world.key.secret, 70).await;
    world.charge(on_key(&key, 9)).await;
    for closed in [false, true] {
        if closed {
            april(env, 1);
            close(&world, MARCH).await.expect("closed");
        }
        let part = async |workspace: &str, team: &str| {
            let request =
                pb::GetStatementRequest { name: MARCH.into(), workspace: workspace.into(), team: team.into() };
            cost(&get(&world, request).await)
        };
        assert_eq!((part(&world.workspace, "").await, part(&other, "").await), (70, 9), "{closed}");
        assert_eq!((part("", &world.team).await, part(&other, &world.team).await), (70, 0), "{closed}");
        assert_eq!(part("", "").await, 79, "{closed}");
    }
    // Who pays for a workspace sees what it used, and nothing else.
    let bill = create_user(&world.operator, &world.tenant, "bill@example.com", "roles/member", &[]).await;
    bind(&world.operator, &world.tenant, "roles/billing_manager", &bill, &other).await;
    let bill = World { operator: world.operator.with_token(Some(&env.user_token(&bill))), ..world.clone() };
    let request = pb::GetStatementRequest { name: MARCH.into(), workspace: other.clone(), ..Default::default() };
    assert_eq!(cost(&get(&bill, request.clone()).await), 9);
    for workspace in ["", world.workspace.as_str()] {
        let request = pb::GetStatementRequest { workspace: workspace.into(), ..request.clone() };
        let refused = bill.operator.usage().get_statement(request).await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    }
}

async fn what_is_written_when_its_month_is_closed_counts_in_the_month_that_runs(env: &mut Env) {
    let world = world(env).await;
    call(&world, &world.key.secret, 70).await;
    april(env, 24);
    let db = &env.server.app().db;
    let tenant = {
        let mut tx = db.read().await.expect("begins");
        store::tenants::by_slug(&mut tx, "acme").await.expect("read").expect("a tenant").id
    };
    // A server that took charges in during March, and stood still.
    let clock = Arc::new(MockClock::new());
    clock.set(env.clock.now());
    let ledger = joined_by(db, 77, clock).await;
    let late = |id: &str, cost| Entry {
        tenant,
        charge_id: id.into(),
        cost,
        recorded: START,
        occurred: START,
        ..entry_with(Vec::new())
    };
    let before = late("before", 5);
    ledger.charge(&[&before]).await.expect("written");
    // On SQLite it has taken the server's place; on PostgreSQL a change would wait for it.
    let boot: BootId = Id::from_bits(77);
    let works: &str = format!("UPDATE replicas SET state = 1 WHERE boot_id = '{boot}'").leak();
    let rests: &str = format!(
        "UPDATE replicas SET state = 1 WHERE boot_id <> '{boot}'; UPDATE replicas SET state = 3 WHERE boot_id = '{boot}'"
    )
    .leak();
    undone(&env.config, rests).await;
    assert_eq!(cost(&close(&world, MARCH).await.expect("closed")), 75);
    undone(&env.config, works).await;
    let (after, other) = (late("after", 11), late("other", 13));
    ledger.charge(&[&after, &other]).await.expect("written");
    // Once more, as a server does that does not know what has become of it.
    ledger.charge(&[&after]).await.expect("written");
    let sums = async |start: i64, end: i64| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let request = pb::QueryUsageRequest {
            parent: world.tenant.clone(),
            start_time: at(start),
            end_time: at(end),
            ..Default::default()
        };
        let rows = world.operator.usage().query_usage(request).await.expect("sums").into_inner().rows;
        rows.iter().map(|row| row.cost_nanos).sum::<i64>()
    };
    let (march, april, may) = (1_772_323_200, 1_775_001_600, 1_777_593_600);
    assert_eq!((sums(march, april).await, sums(april, may).await), (75, 24));
    assert_eq!(cost(&statement(&world, MARCH).await), 75);
    let list = pb::ListChargesRequest {
        parent: world.tenant.clone(),
        end_time: Some(prost_types::Timestamp { seconds: april, nanos: 0 }),
        ..Default::default()
    };
    let charges = world.operator.usage().list_charges(list).await.expect("a list").into_inner().charges;
    assert_eq!(charges.iter().map(|charge| charge.cost_nanos).sum::<i64>(), 75);
    undone(&env.config, rests).await;
}

async fn the_rows_of_a_closed_statement_cannot_be_changed(env: &mut Env) {
    let world = world(env).await;
    call(&world, &world.key.secret, 70).await;
    april(env, 1);
    close(&world, MARCH).await.expect("closed");
    for sql in [
        "UPDATE statements SET cost = 1",
        "DELETE FROM statements",
        "UPDATE statement_lines SET cost = 1",
        "DELETE FROM statement_lines",
        "INSERT INTO statement_lines SELECT tenant_id, month, 99, team, workspace, project, provider, model, charges,
             requests, tokens, cost FROM statement_lines WHERE number = 1",
    ] {
        let refused = match &env.config.database {
            Settings::Postgres { url } => {
                let mut connection = sqlx::PgConnection::connect(url.expose_secret()).await.expect("connects");
                let outcome = sqlx::raw_sql(sql).execute(&mut connection).await.map(drop);
                connection.close().await.expect("closes");
                outcome
            }
            Settings::Sqlite { .. } => {
                let file = sqlx::sqlite::SqliteConnectOptions::new().filename(env.config.data_dir.join("tollreeve.db"));
                let mut connection = sqlx::SqliteConnection::connect_with(&file).await.expect("opens");
                let outcome = sqlx::raw_sql(sql).execute(&mut connection).await.map(drop);
                connection.close().await.expect("closes");
                outcome
            }
        };
        let refused = refused.expect_err(sql).to_string();
        assert!(refused.contains("a closed statement does not change"), "{sql}: {refused}");
    }
    assert_eq!(cost(&statement(&world, MARCH).await), 70);
}

#[tokio::test]
async fn a_statement_is_shown_closed_and_exported_by_commands() {
    let desk = Desk::new().await;
    let shown = desk.run("statements show 2026-01 --output json").await.json();
    assert_eq!(shown["statement"]["state"], "STATEMENT_STATE_DRAFT");
    desk.run("statements close 2026-01").await.badly(64, &["--yes"]);
    let closed = desk.run("statements close 2026-01 --yes").await.well();
    assert!(closed.starts_with("closed\n"), "{closed}");
    let table = desk.run("statements list").await.well();
    assert!(table.contains("tenants/acme/statements/2026-01"), "{table}");
    let text = desk.run("statements export 2026-01").await.well();
    let shown = desk.run("statements show tenants/acme/statements/2026-01 --output json").await.json();
    assert_eq!(shown["statement"]["sha256"], hash(&text));
    desk.run("statements show 2026-14").await.badly(65, &["2026-11"]);
}
