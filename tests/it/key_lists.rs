//! Lists of keys: of a workspace, and of every workspace of a tenant.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Code;

use crate::{
    harness::{
        both,
        client::{Client, assert_invalid, assert_refused},
        server::Env,
        world::{World, bind, create_key, create_user, create_workspace},
    },
    people::as_user,
};

both!(
    keys_of_a_tenant_are_found_by_workspace_environment_and_words,
    keys_of_a_tenant_are_listed_to_who_may_read_those_of_every_workspace,
);

async fn list(client: &Client, parent: &str, filter: &str, order_by: &str) -> Result<Vec<String>, tonic::Status> {
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let (parent, filter, order_by) = (parent.into(), filter.into(), order_by.into());
        let request = pb::ListKeysRequest { parent, page_size: 2, page_token, filter, order_by };
        let page = client.keys().list_keys(request).await?.into_inner();
        names.extend(page.keys.into_iter().map(|key| key.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(names);
        }
    }
}

async fn named(world: &World, workspace: &str, display_name: &str) -> String {
    let key = pb::Key { owner: world.user.clone(), display_name: display_name.into(), ..pb::Key::default() };
    create_key(&world.operator, workspace, key).await.name
}

async fn keys_of_a_tenant_are_found_by_workspace_environment_and_words(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let lab = create_workspace(&env.operator, &world.tenant, "lab", "red-team").await;
    let staging = create_workspace(&env.operator, &world.tenant, "stage", "staging").await;
    let first = world.key.name.clone();
    // One after the other, by the clock too: they are listed by when they were made.
    let later = async |workspace: &str, display_name: &str| {
        env.clock.advance(Duration::from_millis(1));
        named(&world, workspace, display_name).await
    };
    let zebra = later(&lab, "Zebra robot").await;
    let zoo = later(&staging, "Zoo robot").await;
    let ape = later(&world.workspace, "Ape robot").await;
    let find =
        async |filter: &str, order: &str| list(&env.operator, &world.tenant, filter, order).await.expect("a list");
    assert_eq!(find("", "").await, [first.as_str(), &zebra, &zoo, &ape]);
    assert_eq!(find("", "create_time desc").await, [ape.as_str(), &zoo, &zebra, &first]);
    assert_eq!(find("robot", "display_name").await, [ape.as_str(), &zebra, &zoo]);
    assert_eq!(find("zebra", "").await, [zebra.as_str()]);
    assert_eq!(find("environment = red-team", "").await, [zebra.as_str()]);
    assert_eq!(find("environment = production robot", "").await, [ape.as_str()]);
    assert_eq!(find("environment = nowhere", "").await, Vec::<String>::new());
    assert_eq!(find(&format!("workspace = {staging}"), "").await, [zoo.as_str()]);
    assert_eq!(find("display_name = \"Zoo robot\" state = ACTIVE", "").await, [zoo.as_str()]);
    assert_eq!(list(&env.operator, &lab, "robot", "").await.expect("a list"), [zebra.as_str()]);
    for elsewhere in [format!("{}/workspaces/none", world.tenant), other.workspace.clone()] {
        assert_invalid(list(&env.operator, &world.tenant, &format!("workspace = {elsewhere}"), "").await, "filter");
    }
    assert_invalid(list(&env.operator, &world.project, "", "").await, "parent");
}

async fn keys_of_a_tenant_are_listed_to_who_may_read_those_of_every_workspace(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    let reader = create_user(&env.operator, &world.tenant, "reader@example.com", "roles/member", &[]).await;
    bind(&env.operator, &world.tenant, "roles/admin", &reader, &world.workspace).await;
    let reader = as_user(env, &reader);
    assert_eq!(list(&reader, &world.workspace, "", "").await.expect("a list").len(), 1);
    assert_refused(list(&reader, &world.tenant, "", "").await, Code::PermissionDenied, "PERMISSION_MISSING");
    assert_refused(list(&reader, &other.tenant, "", "").await, Code::NotFound, "RESOURCE_NOT_FOUND");
    // A page of one list is none of another.
    let request = pb::ListKeysRequest { parent: world.tenant.clone(), page_size: 1, ..pb::ListKeysRequest::default() };
    named(&world, &world.workspace, "Second").await;
    let token = env.operator.keys().list_keys(request.clone()).await.expect("a page").into_inner().next_page_token;
    let elsewhere = pb::ListKeysRequest { parent: world.workspace.clone(), page_token: token, ..request };
    assert_invalid(env.operator.keys().list_keys(elsewhere).await, "page_token");
}
