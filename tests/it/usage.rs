//! Usage as callers are told it: sums by time and by whom, the log of charges, and who may see what.

use std::{collections::BTreeMap, time::Duration};

use tollreeve::{
    domain::time::Clock as _,
    pb::tollreeve::v1::{self as pb, UsageGranularity as By, UsageGrouping as Group},
};
use tonic::Code;

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    desk::Desk,
    once,
    server::Env,
    world::{
        NewKey, World, account_token, bind, create_key, create_project, create_user, create_workspace, on_hold, on_key,
    },
};

both!(
    usage_is_told_by_every_grouping_under_names,
    usage_is_told_by_every_span,
    usage_is_told_of_what_is_asked_for_alone,
    pages_of_usage_make_up_the_whole_in_every_order,
    who_may_see_only_their_own_usage_is_told_that,
    a_team_keeps_what_its_members_used_when_they_leave_it,
    the_log_lists_every_charge_newest_first_by_whom_and_where,
    lists_tell_how_many_calls_were_made_this_month,
);

once!(a_question_about_usage_that_cannot_be_names_its_field);

const HOUR: Duration = Duration::from_hours(1);

fn asked(world: &World, by: By, group_by: &[Group]) -> pb::QueryUsageRequest {
    pb::QueryUsageRequest {
        parent: world.tenant.clone(),
        start_time: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 }),
        granularity: by.into(),
        group_by: group_by.iter().map(|group| (*group).into()).collect(),
        page_size: 1000,
        ..pb::QueryUsageRequest::default()
    }
}

async fn query(client: &Client, request: pb::QueryUsageRequest) -> Vec<pb::UsageRow> {
    client.usage().query_usage(request).await.expect("usage").into_inner().rows
}

/// A charge of a model, of 10 input and 5 output tokens.
fn call(key: &NewKey, model: &str, cost: i64) -> pb::ChargeRequest {
    let usage = pb::Usage { input_tokens: 10, output_tokens: 5, reasoning_tokens: 2, ..pb::Usage::default() };
    pb::ChargeRequest {
        usage: Some(usage),
        served_provider: "azure".into(),
        served_model: model.into(),
        ..on_key(key, cost)
    }
}

/// A second user with a key in another workspace, and charges of both: in each of 60 hours one of each.
async fn busy(env: &Env, world: &mut World) -> (String, NewKey) {
    let workspace = create_workspace(&env.operator, &world.tenant, "lab", "staging").await;
    let project = create_project(&env.operator, &workspace, "probe").await;
    let user = create_user(&env.operator, &world.tenant, "ann@example.com", "roles/member", &[]).await;
    let key = pb::Key { owner: user.clone(), project, ..pb::Key::default() };
    let key = create_key(&env.operator, &workspace, key).await;
    for hour in 0..60 {
        if hour % 20 == 0 {
            // Tokens are good for a day.
            let token = account_token(&env.operator, &world.account).await;
            world.sidecar = env.operator.with_token(Some(&token));
        }
        world.charge(call(&world.key, ["gpt-4o", "o3"][hour % 2], 7)).await;
        world.charge(call(&key, "gpt-4o", 3)).await;
        env.clock.advance(HOUR);
    }
    (user, key)
}

async fn usage_is_told_by_every_grouping_under_names(env: &mut Env) {
    let mut world = World::new(env).await;
    let (user, key) = busy(env, &mut world).await;
    let total = &query(&env.operator, asked(&world, By::Total, &[])).await;
    assert_eq!((total.len(), total[0].charges, total[0].requests, total[0].cost_nanos), (1, 120, 120, 600));
    assert_eq!((total[0].input_tokens, total[0].output_tokens, total[0].reasoning_tokens), (1200, 600, 240));
    let cost = |rows: &[pb::UsageRow], name: fn(&pb::UsageRow) -> &String| -> Vec<(String, i64)> {
        rows.iter().map(|row| (name(row).clone(), row.cost_nanos)).collect()
    };
    let rows = async |group| {
        let request = pb::QueryUsageRequest { order_by: "spend desc".into(), ..asked(&world, By::Total, &[group]) };
        query(&env.operator, request).await
    };
    let lab = format!("{}/workspaces/lab", world.tenant);
    let both = |one: &str, other: &str| vec![(one.to_owned(), 420), (other.to_owned(), 180)];
    assert_eq!(cost(&rows(Group::Workspace).await, |row| &row.workspace), both(&world.workspace, &lab));
    let probe = format!("{lab}/projects/probe");
    assert_eq!(cost(&rows(Group::Project).await, |row| &row.project), both(&world.project, &probe));
    assert_eq!(cost(&rows(Group::Owner).await, |row| &row.owner), both(&world.user, &user));
    assert_eq!(cost(&rows(Group::Key).await, |row| &row.key), both(&world.key.name, &key.name));
    assert_eq!(cost(&rows(Group::Team).await, |row| &row.team), [(world.team.clone(), 420)]);
    assert_eq!(cost(&rows(Group::Model).await, |row| &row.model), [("gpt-4o".into(), 390), ("o3".into(), 210)]);
    assert_eq!(cost(&rows(Group::Provider).await, |row| &row.provider), [("azure".into(), 600)]);
}

async fn usage_is_told_by_every_span(env: &mut Env) {
    let mut world = World::new(env).await;
    busy(env, &mut world).await;
    for (by, spans) in [(By::Hour, 60), (By::Day, 3), (By::Month, 1), (By::Total, 1)] {
        let whole = pb::QueryUsageRequest { start_time: None, ..asked(&world, by, &[]) };
        for group in [&[][..], &[Group::Key], &[Group::Workspace, Group::Model], &[Group::Team]] {
            let request = pb::QueryUsageRequest {
                group_by: group.iter().map(|group| (*group).into()).collect(),
                ..whole.clone()
            };
            let rows = query(&env.operator, request).await;
            let sum: i64 = rows.iter().map(|row| row.cost_nanos).sum();
            assert_eq!(sum, if group == [Group::Team] { 420 } else { 600 }, "{by:?} {group:?}");
            if group.is_empty() {
                assert!(rows.len() == spans || by == By::Day && rows.len() == spans + 1, "{by:?} {}", rows.len());
                assert!(rows.is_sorted_by_key(|row| row.start_time.map(|time| time.seconds)), "{rows:?}");
                assert!(rows.windows(2).all(|two| two[0].end_time == two[1].start_time), "{rows:?}");
            }
        }
    }
}

async fn usage_is_told_of_what_is_asked_for_alone(env: &mut Env) {
    let mut world = World::new(env).await;
    busy(env, &mut world).await;
    // Filters, of what was used by callers and of what was used where; and a range that cuts days.
    let only = |change: fn(&World, &mut pb::QueryUsageRequest)| {
        let mut request = asked(&world, By::Total, &[]);
        change(&world, &mut request);
        request
    };
    for (request, cost) in [
        (only(|world, it| it.workspace.clone_from(&world.workspace)), 420),
        (only(|world, it| it.parent.clone_from(&world.workspace)), 420),
        (only(|world, it| it.project.clone_from(&world.project)), 420),
        (only(|world, it| it.owner.clone_from(&world.user)), 420),
        (only(|world, it| it.key.clone_from(&world.key.name)), 420),
        (only(|world, it| it.team.clone_from(&world.team)), 420),
        (only(|world, it| (it.team.clone_from(&world.team), it.group_by = vec![Group::Owner.into()]).1), 420),
        (only(|_, it| it.model = "o3".into()), 210),
    ] {
        let rows = query(&env.operator, request.clone()).await;
        assert_eq!(rows.iter().map(|row| row.cost_nanos).collect::<Vec<_>>(), [cost], "{request:?}");
    }
    assert_eq!(query(&env.operator, only(|_, it| it.provider = "nobody".into())).await, []);
    let now = env.clock.now().micros() / 3_600_000_000;
    for (low, high) in [(60, 0), (59, 1), (40, 10), (30, 29), (50, 3)] {
        let at = |back: i64| Some(prost_types::Timestamp { seconds: (now - back) * 3600, nanos: 0 });
        for by in [By::Hour, By::Day, By::Month, By::Total] {
            let request =
                pb::QueryUsageRequest { start_time: at(low), end_time: at(high), ..asked(&world, by, &[Group::Model]) };
            let sum: i64 = query(&env.operator, request).await.iter().map(|row| row.cost_nanos).sum();
            assert_eq!(sum, (low - high) * 10, "{by:?} {low} {high}");
        }
    }
}

async fn pages_of_usage_make_up_the_whole_in_every_order(env: &mut Env) {
    let mut world = World::new(env).await;
    busy(env, &mut world).await;
    for order_by in ["time", "time desc", "spend", "spend desc"] {
        let request = pb::QueryUsageRequest {
            order_by: order_by.into(),
            ..asked(&world, By::Day, &[Group::Workspace, Group::Key, Group::Model])
        };
        let whole = query(&env.operator, request.clone()).await;
        assert!(whole.len() > 8, "{}", whole.len());
        let mut paged = Vec::new();
        let mut page = pb::QueryUsageRequest { page_size: 2, ..request };
        loop {
            let answer = env.operator.usage().query_usage(page.clone()).await.expect("a page").into_inner();
            paged.extend(answer.rows);
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        assert_eq!(paged, whole, "{order_by}");
        let key = |row: &pb::UsageRow| match order_by {
            "time" => row.start_time.expect("a time").seconds,
            "time desc" => -row.start_time.expect("a time").seconds,
            "spend" => row.cost_nanos,
            _ => -row.cost_nanos,
        };
        assert!(whole.is_sorted_by_key(key), "{order_by}: {whole:?}");
        // Of another question it is no token.
        let other = pb::QueryUsageRequest { model: "o3".into(), ..page };
        if !other.page_token.is_empty() {
            assert_invalid(env.operator.usage().query_usage(other).await, "page_token");
        }
    }
}

async fn who_may_see_only_their_own_usage_is_told_that(env: &mut Env) {
    let mut world = World::new(env).await;
    let (ann, key) = busy(env, &mut world).await;
    let as_user = |name: &str| env.operator.with_token(Some(&env.user_token(name)));
    let (dev, owner, member) = (as_user(&world.user), as_user(&world.owner), as_user(&ann));
    let request = asked(&world, By::Total, &[]);
    let told = async |client: &Client| {
        query(client, request.clone()).await.iter().map(|row| row.cost_nanos).collect::<Vec<_>>()
    };
    assert_eq!((told(&owner).await, told(&dev).await, told(&member).await), (vec![600], vec![420], vec![180]));
    let of = |owner: &str| pb::QueryUsageRequest { owner: owner.to_owned(), ..request.clone() };
    assert_eq!(query(&dev, of(&world.user)).await[0].cost_nanos, 420);
    assert_refused(dev.usage().query_usage(of(&ann)).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nor by what somebody else's key would tell.
    let theirs = pb::QueryUsageRequest { key: key.name.clone(), ..request.clone() };
    assert_eq!(query(&dev, theirs).await, []);
    assert_refused(
        world.sidecar.usage().query_usage(request.clone()).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
    let log = |owner: &str| pb::ListChargesRequest {
        parent: world.tenant.clone(),
        owner: owner.to_owned(),
        page_size: 1000,
        ..pb::ListChargesRequest::default()
    };
    let charges = dev.usage().list_charges(log("")).await.expect("a log").into_inner().charges;
    assert!(charges.len() == 60 && charges.iter().all(|charge| charge.owner == world.user), "{}", charges.len());
    assert_refused(dev.usage().list_charges(log(&ann)).await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(world.sidecar.usage().list_charges(log("")).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // Who may see a workspace sees what was used there, and nothing of the tenant but their own.
    bind(&env.operator, &world.tenant, "roles/analyst", &ann, &world.workspace).await;
    let there = pb::QueryUsageRequest { parent: world.workspace.clone(), ..request.clone() };
    assert_eq!((query(&member, there).await[0].cost_nanos, told(&member).await), (420, vec![180]));
    let project = pb::QueryUsageRequest {
        parent: format!("{}/workspaces/lab", world.tenant),
        project: world.project.clone(),
        ..request.clone()
    };
    let status = owner.usage().query_usage(project).await.expect_err("it lies elsewhere");
    assert_eq!(status.code(), Code::NotFound);
    // Who was removed is still told of.
    let gone = pb::DeleteUserRequest { name: ann.clone(), ..pb::DeleteUserRequest::default() };
    env.operator.identity().delete_user(gone).await.expect("removed");
    assert_eq!(query(&owner, of(&ann)).await[0].cost_nanos, 180);
    let request = pb::QueryUsageRequest { order_by: "spend desc".into(), ..asked(&world, By::Total, &[Group::Owner]) };
    let rows = query(&owner, request).await;
    assert_eq!(rows.iter().map(|row| row.owner.clone()).collect::<Vec<_>>(), [world.user.clone(), ann]);
}

async fn a_team_keeps_what_its_members_used_when_they_leave_it(env: &mut Env) {
    let world = World::new(env).await;
    let hold = world.hold(world.ask()).await;
    world.charge(on_hold(&hold, 100)).await;
    let members = pb::RemoveTeamMembersRequest {
        name: world.team.clone(),
        users: vec![world.user.clone()],
        ..pb::RemoveTeamMembersRequest::default()
    };
    env.operator.identity().remove_team_members(members).await.expect("removed");
    world.charge(call(&world.key, "gpt-4o", 7)).await;
    let rows = query(&env.operator, asked(&world, By::Total, &[Group::Team])).await;
    assert_eq!(rows.iter().map(|row| (row.team.as_str(), row.cost_nanos)).collect::<Vec<_>>(), [(&*world.team, 100)]);
    let request = pb::DeleteTeamRequest { name: world.team.clone(), ..pb::DeleteTeamRequest::default() };
    env.operator.identity().delete_team(request).await.expect("deleted");
    let rows = query(&env.operator, asked(&world, By::Total, &[Group::Team])).await;
    assert!(rows[0].team.starts_with(&format!("{}/teams/team_", world.tenant)), "{rows:?}");
}

async fn the_log_lists_every_charge_newest_first_by_whom_and_where(env: &mut Env) {
    let mut world = World::new(env).await;
    let (ann, key) = busy(env, &mut world).await;
    let request =
        pb::ListChargesRequest { parent: world.tenant.clone(), page_size: 1000, ..pb::ListChargesRequest::default() };
    let log = async |request: &pb::ListChargesRequest| {
        env.operator.usage().list_charges(request.clone()).await.expect("a log").into_inner()
    };
    let whole = log(&request).await.charges;
    assert_eq!(whole.len(), 120);
    assert!(whole.is_sorted_by_key(|charge| -charge.ledger_seq), "newest first");
    let first = &whole[0];
    assert_eq!((&first.key, &first.owner, &first.model, first.cost_nanos), (&key.name, &ann, &"gpt-4o".into(), 3));
    assert_eq!(
        (first.usage.as_ref().map(|usage| usage.input_tokens), first.outcome()),
        (Some(10), pb::Outcome::Success)
    );
    let only = |change: fn(&World, &mut pb::ListChargesRequest)| {
        let mut request = request.clone();
        change(&world, &mut request);
        request
    };
    for (asked, count) in [
        (only(|world, it| it.owner.clone_from(&world.user)), 60),
        (only(|world, it| it.key.clone_from(&world.key.name)), 60),
        (only(|world, it| it.project.clone_from(&world.project)), 60),
        (only(|world, it| it.parent.clone_from(&world.workspace)), 60),
        (only(|_, it| it.model = "o3".into()), 30),
        (only(|world, it| (it.owner.clone_from(&world.user), it.model = "gpt-4o".into()).1), 30),
    ] {
        let found = log(&asked).await.charges;
        assert_eq!(found.len(), count, "{asked:?}");
        let mut paged = Vec::new();
        let mut page = pb::ListChargesRequest { page_size: 7, ..asked };
        loop {
            let answer = log(&page).await;
            paged.extend(answer.charges);
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        assert_eq!(paged, found);
    }
    let (start_time, end_time) = (whole[99].record_time, whole[19].record_time);
    let part = log(&pb::ListChargesRequest { start_time, end_time, ..request.clone() }).await.charges;
    // Two an hour, at one time.
    assert_eq!((part.first(), part.last()), (whole.get(20), whole.get(99)));
}

async fn a_question_about_usage_that_cannot_be_names_its_field(env: &mut Env) {
    let world = World::new(env).await;
    let good = || asked(&world, By::Day, &[]);
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for (request, field) in [
        (pb::QueryUsageRequest { start_time: time(1_767_225_601), ..good() }, "start_time"),
        (pb::QueryUsageRequest { end_time: time(-3600), ..good() }, "end_time"),
        (pb::QueryUsageRequest { end_time: time(1_767_225_600), ..good() }, "end_time"),
        (pb::QueryUsageRequest { start_time: time(0), ..good() }, "end_time"),
        (pb::QueryUsageRequest { granularity: By::Hour.into(), ..good() }, "end_time"),
        (pb::QueryUsageRequest { granularity: 9, ..good() }, "granularity"),
        (pb::QueryUsageRequest { group_by: vec![0], ..good() }, "group_by"),
        (pb::QueryUsageRequest { group_by: vec![1, 1], ..good() }, "group_by"),
        (pb::QueryUsageRequest { group_by: vec![3, 4], ..good() }, "group_by"),
        (pb::QueryUsageRequest { group_by: vec![3], owner: world.user.clone(), ..good() }, "group_by"),
        (pb::QueryUsageRequest { order_by: "cost".into(), ..good() }, "order_by"),
        (pb::QueryUsageRequest { page_size: -1, ..good() }, "page_size"),
        (pb::QueryUsageRequest { model: "m".repeat(257), ..good() }, "model"),
        (pb::QueryUsageRequest { provider: "p".repeat(65), ..good() }, "provider"),
    ] {
        assert_invalid(env.operator.usage().query_usage(request).await, field);
    }
    let request = pb::ListChargesRequest {
        parent: world.tenant.clone(),
        start_time: time(10),
        end_time: time(9),
        ..pb::ListChargesRequest::default()
    };
    assert_invalid(env.operator.usage().list_charges(request).await, "end_time");
}

async fn lists_tell_how_many_calls_were_made_this_month(env: &mut Env) {
    let world = World::new(env).await;
    let idle = world.another_key(pb::Key { owner: world.user.clone(), ..pb::Key::default() }).await;
    for _ in 0..3 {
        world.charge(call(&world.key, "gpt-4o", 7)).await;
    }
    let as_user = |name: &str| env.operator.with_token(Some(&env.user_token(name)));
    let (owner, dev) = (as_user(&world.owner), as_user(&world.user));
    let keys = async |client: &Client| {
        let request = pb::ListKeysRequest { parent: world.workspace.clone(), ..pb::ListKeysRequest::default() };
        let keys = client.keys().list_keys(request).await.expect("keys").into_inner().keys;
        keys.into_iter().map(|key| (key.name, key.month_requests)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(keys(&owner).await, BTreeMap::from([(world.key.name.clone(), Some(3)), (idle.name, Some(0))]));
    let users = pb::ListUsersRequest { parent: world.tenant.clone(), ..pb::ListUsersRequest::default() };
    let users = owner.identity().list_users(users).await.expect("users").into_inner().users;
    let of = |name: &str| users.iter().find(|user| user.name == name).expect("there").month_requests;
    assert_eq!((of(&world.user), of(&world.owner)), (Some(3), Some(0)));
    let teams = async |client: &Client| {
        let request = pb::ListTeamsRequest { parent: world.tenant.clone(), ..pb::ListTeamsRequest::default() };
        let team = client.identity().list_teams(request).await.expect("teams").into_inner().teams.remove(0);
        let request = pb::SummarizeTeamsRequest { parent: world.tenant.clone() };
        let sum = client.identity().summarize_teams(request).await.expect("a summary").into_inner();
        [(team.month_requests, team.month_cost_nanos), (sum.month_requests, sum.month_cost_nanos)]
    };
    assert_eq!(teams(&owner).await, [(Some(3), Some(21)); 2]);
    assert_eq!(teams(&dev).await, [(None, None); 2], "who may not see everybody's usage");
    // Another month.
    env.clock.advance(HOUR * 24 * 31);
    let owner = as_user(&world.owner);
    let request = pb::GetKeyRequest { name: world.key.name.clone() };
    assert_eq!(
        owner.keys().get_key(request).await.expect("a key").into_inner().key.expect("it").month_requests,
        Some(0)
    );
    assert_eq!(teams_of(&owner, &world).await, [(Some(0), Some(0))]);
}

async fn teams_of(client: &Client, world: &World) -> Vec<(Option<i64>, Option<i64>)> {
    let request = pb::ListTeamsRequest { parent: world.tenant.clone(), ..pb::ListTeamsRequest::default() };
    let teams = client.identity().list_teams(request).await.expect("teams").into_inner().teams;
    teams.into_iter().map(|team| (team.month_requests, team.month_cost_nanos)).collect()
}

#[tokio::test]
async fn usage_is_drawn_and_exported_by_commands() {
    let desk = Desk::new().await;
    desk.world.charge(call(&desk.world.key, "=1+1", 1_500_000_000)).await;
    desk.world.charge(call(&desk.world.key, "gpt-4o", 3_000_000_000)).await;
    let chart = desk.run("usage --by day --group project,model --order-by spend").await.well();
    let lines: Vec<&str> = chart.lines().collect();
    assert!(lines[0].starts_with("FROM (UTC)") && lines[0].contains("PROJECT") && lines.len() == 3, "{chart}");
    assert!(
        lines[1].contains("search") && lines[1].contains("██████████░░░░░░░░░░") && lines[1].contains("$1.50"),
        "{chart}"
    );
    assert!(lines[2].contains("████████████████████") && lines[2].contains("$3.00"), "{chart}");
    let csv = desk.run("usage --by month --group workspace,model --csv").await.well();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("start,end,workspace,") && lines.len() == 3, "{csv}");
    let row = format!(",{},,,,,,'=1+1,1,1,10,0,0,5,2,1.50", desk.world.workspace);
    assert!(lines[1].ends_with(&row), "{csv}");
    let log = desk.run("requests --page-size 1").await.well();
    assert!(log.contains("gpt-4o") && !log.contains("=1+1") && log.contains(&desk.world.user), "{log}");
    desk.run("usage --from 2026-11-01T00:30:00Z").await.badly(65, &["start_time"]);
    desk.run("usage --group nonsense").await.badly(64, &[]);
    desk.process.kill().await;
}
