//! Every field that refers to something, as the descriptors have them: missing, malformed and deleted. What is another
//! tenant's is in `p5_walls`.

use std::collections::BTreeSet;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Code;

use crate::harness::{
    both,
    calls::{Place, calls, every_call, restore},
    client::fields,
    ids::ids_of,
    once,
    raw::{call, rpcs},
    server::Env,
    wire::{get, set},
    world::{World, create_key, create_project, create_workspace},
};

both!(an_id_of_nobody_is_not_found_wherever_it_stands, what_is_deleted_answers_as_it_is_told);

once!(a_malformed_id_is_told_by_its_field_wherever_it_stands, every_rpc_that_names_something_is_looked_at);

/// Names that are none of any kind.
const MALFORMED: [&str; 9] = [
    "nonsense",
    "tenants",
    "tenants/",
    "tenants/UPPER",
    "tenants/acme/nonsense/prod",
    "tenants/acme/",
    "/",
    "\u{0}",
    "roles/",
];

async fn every_rpc_that_names_something_is_looked_at(_: &mut Env) {
    for rpc in rpcs() {
        let ids: Vec<String> = ids_of(&rpc.path).into_iter().map(|id| id.name).collect();
        for field in rpc.fields.iter().filter(|field| *field == "name" || *field == "parent") {
            assert!(ids.contains(field), "the comment of {field} of {} does not show a name", rpc.path);
        }
    }
}

async fn a_malformed_id_is_told_by_its_field_wherever_it_stands(env: &mut Env) {
    let world = World::new(env).await;
    let mut seen = 0;
    // A batch of charges answers for each of them by itself.
    let calls = every_call(&world).await.into_iter().filter(|(path, _)| !path.ends_with("ChargeBatch"));
    for (path, body) in calls {
        for id in ids_of(&path) {
            let long = "x".repeat(300);
            let nothing = id.required.then_some("");
            for bad in MALFORMED.into_iter().chain([long.as_str()]).chain(nothing) {
                let Err(status) = call(&env.operator, &path, set(&body, &id.way, bad)).await else {
                    panic!("{path}: {} may be {bad:?}", id.name)
                };
                assert_eq!(status.code(), Code::InvalidArgument, "{path} {} {bad:?}: {status:?}", id.name);
                let told: Vec<String> = fields(&status).iter().map(|field| without_positions(field)).collect();
                assert_eq!(told, [id.name.as_str()], "{path} {bad:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 700, "{seen}");
}

/// `user.teams[0]` as `user.teams`.
fn without_positions(field: &str) -> String {
    let mut parts = field.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once(']').map_or("", |(_, rest)| rest))
}

/// A name of the same kind that nothing has, in the same tenant where it is not the tenant's own.
fn of_nobody(name: &str) -> String {
    let (head, last) = name.rsplit_once('/').expect("a name");
    match last.split_once('_') {
        // An id: the same but for its end, which is random.
        Some((_, id)) if id.len() > 6 => {
            let kept = &name[..name.len() - 6];
            format!("{kept}{}", if name.ends_with("000000") { "111111" } else { "000000" })
        }
        // Every month has a statement.
        _ if head.ends_with("statements") => format!("tenants/nobody/statements/{last}"),
        _ if head.ends_with("auditEvents") || head.ends_with("priceVersions") => format!("{head}/999999999"),
        _ => format!("{head}/nobody"),
    }
}

async fn an_id_of_nobody_is_not_found_wherever_it_stands(env: &mut Env) {
    let world = World::new(env).await;
    let mut seen = 0;
    for (path, body) in every_call(&world).await {
        // What is asked of the gate is answered by a denial, or for each charge of a batch.
        if path.contains("GateService") {
            continue;
        }
        for id in ids_of(&path).into_iter().filter(|id| id.examples[0].starts_with("tenants/")) {
            let given = get(&body, &id.way).filter(|name| !name.is_empty());
            // The world is named as the comments are.
            let name = given.unwrap_or_else(|| id.examples[0].clone());
            let mut body = set(&body, &id.way, &of_nobody(&name));
            if id.name.ends_with("template") {
                // A template gives the role.
                let beside = ids_of(&path).into_iter().find(|other| other.name == id.name.replace("template", "role"));
                body = set(&body, &beside.expect("a field").way, "");
            }
            let status = call(&env.operator, &path, body).await.expect_err(&path);
            assert_eq!(status.code(), Code::NotFound, "{path} {}: {status:?}", id.name);
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

/// What is told of deleted things: they can be read, deleted again and undeleted; nothing is made in them and nothing else
/// of them is changed.
async fn what_is_deleted_answers_as_it_is_told(env: &mut Env) {
    let world = World::new(env).await;
    let place = Place::of(&world).await;
    let mut identity = env.operator.identity();
    // A workspace that is deleted, with all that can lie in one; and a project.
    let workspace = create_workspace(&env.operator, &world.tenant, "gone", "staging").await;
    let project = create_project(&env.operator, &workspace, "search").await;
    let key = pb::Key { owner: world.user.clone(), ..pb::Key::default() };
    let key = create_key(&env.operator, &workspace, key).await.name;
    let budget = world.dollars(&workspace, 5).await;
    let request = pb::DeleteWorkspaceRequest { name: workspace.clone(), ..Default::default() };
    identity.delete_workspace(request).await.expect("deleted");
    let in_workspace = Place { workspace: workspace.clone(), project, key, budget, ..place.clone() };
    let project = create_project(&env.operator, &world.workspace, "gone").await;
    let request = pb::DeleteProjectRequest { name: project.clone(), ..Default::default() };
    identity.delete_project(request).await.expect("deleted");
    let in_project = Place { project: project.clone(), ..place.clone() };
    let gone = World::named(env, "globex").await;
    let in_tenant = Place::of(&gone).await;
    let request = pb::DeleteTenantRequest { name: gone.tenant.clone(), ..Default::default() };
    identity.delete_tenant(request).await.expect("deleted");

    let mut wrong = BTreeSet::new();
    for (deleted, kind, there) in [
        (&workspace, "Workspace", in_workspace),
        (&project, "Project", in_project),
        (&gone.tenant, "Tenant", in_tenant),
    ] {
        for (path, body) in calls(&there) {
            let refers = ids_of(&path).iter().any(|id| {
                let name = get(&body, &id.way).unwrap_or_default();
                name.strip_prefix(deleted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            let rpc = rpcs().into_iter().find(|rpc| rpc.path == path).expect("an RPC");
            if !refers || rpc.name == "PurgeTenant" {
                continue;
            }
            let itself = rpc.name == format!("Delete{kind}") || rpc.name == format!("Undelete{kind}");
            // A leaked key is revoked wherever it is, unless nothing of the tenant can be changed.
            let leaked = kind == "Workspace"
                && ["DisableKey", "EnableKey", "RevokeKey", "BulkRevokeKeys"].contains(&rpc.name.as_str());
            let expected = if !rpc.changes() || itself || leaked { Code::Ok } else { Code::FailedPrecondition };
            let code = call(&env.operator, &path, body).await.map_or_else(|status| status.code(), |_| Code::Ok);
            if code != expected {
                wrong.insert(format!("{} in a deleted {kind}: {code:?}, not {expected:?}", rpc.name));
            }
            if rpc.name.starts_with("Undelete") {
                delete_again(env, deleted).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    restore(&world).await;
}

async fn delete_again(env: &Env, name: &str) {
    let (mut identity, name) = (env.operator.identity(), name.to_owned());
    match name.split('/').count() {
        2 => {
            drop(identity.delete_tenant(pb::DeleteTenantRequest { name, ..Default::default() }).await.expect("deleted"))
        }
        4 => {
            let request = pb::DeleteWorkspaceRequest { name, ..Default::default() };
            drop(identity.delete_workspace(request).await.expect("deleted"));
        }
        _ => drop(
            identity.delete_project(pb::DeleteProjectRequest { name, ..Default::default() }).await.expect("deleted"),
        ),
    }
}
