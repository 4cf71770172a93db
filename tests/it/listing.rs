//! Lists: pages that survive what happens meanwhile, filters, orders, and tokens that nobody can make.

use std::{collections::BTreeSet, time::Duration};

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Status;

use crate::harness::{
    both,
    client::{Client, assert_invalid},
    once,
    server::Env,
    world::{World, create_project, create_workspace},
};

both!(
    pages_show_every_record_once_whatever_comes_and_goes,
    a_filter_chooses_and_an_order_sorts,
    a_token_is_good_for_its_own_list_only,
);

once!(what_is_no_filter_and_no_order_is_named, the_tenants_of_a_member_are_their_own);

async fn list(client: &Client, request: &pb::ListProjectsRequest) -> Result<(Vec<String>, String), Status> {
    let answer = client.identity().list_projects(request.clone()).await?.into_inner();
    let ids = answer.projects.iter().map(|project| project.name.rsplit('/').next().unwrap_or_default().to_owned());
    Ok((ids.collect(), answer.next_page_token))
}

async fn rename(client: &Client, project: &str, display_name: &str) {
    let project = pb::Project { name: project.into(), display_name: display_name.into(), ..pb::Project::default() };
    let request = pb::UpdateProjectRequest { project: Some(project), ..Default::default() };
    client.identity().update_project(request).await.expect("renamed");
}

async fn delete(client: &Client, name: &str) {
    let request = pb::DeleteProjectRequest { name: name.into(), ..Default::default() };
    client.identity().delete_project(request).await.expect("deleted");
}

/// A workspace with projects `p-00` to `p-19`, in a random-looking order by display name, four of which have the same.
async fn populated(env: &Env, world: &World) -> String {
    let workspace = create_workspace(&env.operator, &world.tenant, "full", "staging").await;
    for n in 0..20 {
        env.clock.advance(Duration::from_secs(1));
        let name = create_project(&env.operator, &workspace, &format!("p-{n:02}")).await;
        let rank = if n % 5 == 0 { 10 } else { (n * 7) % 20 };
        rename(&env.operator, &name, &format!("Größe {rank:02}")).await;
    }
    workspace
}

async fn pages_show_every_record_once_whatever_comes_and_goes(env: &mut Env) {
    let world = World::new(env).await;
    let workspace = populated(env, &world).await;
    for (round, order_by) in
        ["", "create_time desc", "name", "name desc", "display_name", "display_name desc"].into_iter().enumerate()
    {
        let whole =
            pb::ListProjectsRequest { parent: workspace.clone(), order_by: order_by.into(), ..Default::default() };
        let (before, end) = list(&env.operator, &whole).await.expect("a list");
        assert!(end.is_empty() && before.len() >= 20);
        let mut request = pb::ListProjectsRequest { page_size: 3, ..whole };
        let mut seen: Vec<String> = Vec::new();
        let doomed = before[7].clone();
        loop {
            let (page, next) = list(&env.operator, &request).await.expect("a page");
            let first = seen.is_empty();
            seen.extend(page);
            if next.is_empty() {
                break;
            }
            request.page_token = next;
            if first {
                // Before, after and in what is still to come.
                for (n, display_name) in ["Größe 00", "Größe 99", "Größe 10"].iter().enumerate() {
                    let new =
                        create_project(&env.operator, &workspace, &format!("{}{round}-new", ["a", "z", "p-1"][n]))
                            .await;
                    rename(&env.operator, &new, display_name).await;
                }
                delete(&env.operator, &format!("{workspace}/projects/{doomed}")).await;
                // The last that was shown goes too: the next page begins where it was.
                delete(&env.operator, &format!("{workspace}/projects/{}", seen[2])).await;
            }
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "{order_by}: none twice");
        for id in before.iter().filter(|id| **id != doomed) {
            assert!(once.contains(id), "{order_by}: {id} is missing");
        }
        assert!(!once.contains(&doomed), "{order_by}");
        for id in [&doomed, &seen[2]] {
            let name = format!("{workspace}/projects/{id}");
            let request = pb::UndeleteProjectRequest { name, ..Default::default() };
            env.operator.identity().undelete_project(request).await.expect("back");
        }
    }
}

async fn a_filter_chooses_and_an_order_sorts(env: &mut Env) {
    let world = World::new(env).await;
    let workspace = populated(env, &world).await;
    let project = |n: u32| format!("{workspace}/projects/p-{n:02}");
    delete(&env.operator, &project(3)).await;
    let suspend = pb::SuspendProjectRequest { name: project(4) };
    env.operator.identity().suspend_project(suspend).await.expect("suspended");
    let ask = async |filter: &str, order_by: &str, show_deleted: bool| {
        let request = pb::ListProjectsRequest {
            parent: workspace.clone(),
            filter: filter.into(),
            order_by: order_by.into(),
            show_deleted,
            ..Default::default()
        };
        list(&env.operator, &request).await.expect("a list").0
    };
    assert_eq!(ask("", "", false).await.len(), 19);
    assert_eq!(ask("", "", true).await.len(), 20);
    assert_eq!(ask("state = SUSPENDED", "", false).await, ["p-04"]);
    assert_eq!(ask("state = DELETED", "", true).await, ["p-03"]);
    assert_eq!(ask("state != ACTIVE", "name desc", true).await, ["p-04", "p-03"]);
    assert_eq!(ask("display_name = \"Größe 10\"", "name", false).await, ["p-00", "p-05", "p-10", "p-15"]);
    assert_eq!(ask("gRÖSSe", "", false).await, Vec::<String>::new(), "only the case is folded");
    assert_eq!(ask("GRÖßE AND P-1", "", false).await.len(), 10);
    assert_eq!(ask("p-1 display_name != \"Größe 10\" state = ACTIVE", "", false).await.len(), 8);
    for wild in ["%", "_", "p_0", "\"\\\\\"", "'"] {
        assert_eq!(ask(wild, "", false).await, Vec::<String>::new(), "{wild} stands for itself");
    }
    assert_eq!(ask("create_time >= \"2026-03-10T12:20:00Z\"", "", false).await.len(), 19);
    assert_eq!(ask("create_time > \"2026-03-10T12:20:10Z\"", "", false).await.len(), 10);
    assert_eq!(ask("create_time < 2026-03-10T12:20:02Z", "", false).await, ["p-00"]);
    let sorted = ask("", "display_name", false).await;
    let backwards: Vec<String> = ask("", "display_name desc", false).await.into_iter().rev().collect();
    assert_eq!(sorted, backwards);
    let by_creation = ask("", "", false).await;
    assert_eq!(by_creation, ask("", "create_time", false).await);
    assert_eq!(by_creation, ask("", "name", false).await, "they were made in the order of their names");
    let environment = async |filter: &str| {
        let request =
            pb::ListWorkspacesRequest { parent: world.tenant.clone(), filter: filter.into(), ..Default::default() };
        env.operator.identity().list_workspaces(request).await.expect("a list").into_inner().workspaces.len()
    };
    assert_eq!((environment("environment = staging").await, environment("environment != staging").await), (1, 1));
}

async fn a_token_is_good_for_its_own_list_only(env: &mut Env) {
    let world = World::new(env).await;
    let workspace = populated(env, &world).await;
    let other = create_workspace(&env.operator, &world.tenant, "other", "staging").await;
    let first =
        pb::ListProjectsRequest { parent: workspace, page_size: 2, order_by: "name".into(), ..Default::default() };
    let (_, token) = list(&env.operator, &first).await.expect("a page");
    let next = pb::ListProjectsRequest { page_token: token.clone(), ..first };
    let (page, _) = list(&env.operator, &next).await.expect("the next");
    assert_eq!(page, ["p-02", "p-03"]);
    let larger = pb::ListProjectsRequest { page_size: 5, ..next.clone() };
    assert_eq!(list(&env.operator, &larger).await.expect("a larger page").0.len(), 5);
    let others = [
        pb::ListProjectsRequest { parent: other, ..next.clone() },
        pb::ListProjectsRequest { order_by: "name desc".into(), ..next.clone() },
        pb::ListProjectsRequest { order_by: String::new(), ..next.clone() },
        pb::ListProjectsRequest { filter: "p".into(), ..next.clone() },
        pb::ListProjectsRequest { show_deleted: true, ..next.clone() },
        pb::ListProjectsRequest { page_token: "bm9uc2Vuc2U".into(), ..next.clone() },
        pb::ListProjectsRequest { page_token: token[..token.len() - 4].into(), ..next.clone() },
        pb::ListProjectsRequest { page_token: format!("{token}{token}"), ..next.clone() },
    ];
    for request in others {
        assert_invalid(list(&env.operator, &request).await, "page_token");
    }
    // Whatever single character of it is another, it is none of ours.
    for at in 0..token.len() {
        let with = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        let request = pb::ListProjectsRequest { page_token: forged, ..next.clone() };
        assert_invalid(list(&env.operator, &request).await, "page_token");
    }
    // A list of another noun, with the same question.
    let request = pb::ListWorkspacesRequest {
        parent: world.tenant.clone(),
        order_by: "name".into(),
        page_token: token,
        ..Default::default()
    };
    assert_invalid(env.operator.identity().list_workspaces(request).await, "page_token");
}

async fn what_is_no_filter_and_no_order_is_named(env: &mut Env) {
    let world = World::new(env).await;
    let long = "x".repeat(1025);
    let ask = |filter: &str, order_by: &str| pb::ListProjectsRequest {
        parent: world.workspace.clone(),
        filter: filter.into(),
        order_by: order_by.into(),
        ..Default::default()
    };
    for filter in ["environment = staging", "secret = 1", "state = active", "(a)", "a OR b", "\0", "\"", &long] {
        assert_invalid(list(&env.operator, &ask(filter, "")).await, "filter");
    }
    for order in ["state", "id", "name asc", "name; DROP TABLE projects", &long] {
        assert_invalid(list(&env.operator, &ask("", order)).await, "order_by");
    }
    let negative = pb::ListProjectsRequest { page_size: -1, ..ask("", "") };
    assert_invalid(list(&env.operator, &negative).await, "page_size");
}

async fn the_tenants_of_a_member_are_their_own(env: &mut Env) {
    let world = World::new(env).await;
    World::named(env, "globex").await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let ask = async |client: &Client, filter: &str, order_by: &str| {
        let request = pb::ListTenantsRequest { filter: filter.into(), order_by: order_by.into(), ..Default::default() };
        let answer = client.identity().list_tenants(request).await.expect("a list").into_inner();
        answer.tenants.into_iter().map(|tenant| tenant.name).collect::<Vec<_>>()
    };
    for order in ["", "name desc", "display_name"] {
        assert_eq!(ask(&owner, "", order).await, ["tenants/acme"]);
        assert_eq!(ask(&owner, "globex", order).await, Vec::<String>::new());
    }
    assert_eq!(ask(&env.operator, "", "name desc").await, ["tenants/system", "tenants/globex", "tenants/acme"]);
    assert_eq!(ask(&env.operator, "globex", "").await, ["tenants/globex"]);
}
