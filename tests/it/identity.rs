//! Tenants, workspaces and projects: what can be done to each as a whole.

use prost_types::FieldMask;
use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Response, Status};

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    server::Env,
    world::{World, codes, create_project, credit, on_key, unique},
};

both!(
    an_update_changes_what_the_mask_names_and_nothing_else,
    an_update_of_what_has_changed_since_is_aborted,
    what_is_deleted_is_refused_at_once_and_comes_back_as_it_was,
    nothing_is_made_in_what_is_deleted,
    a_purged_tenant_is_gone_and_its_id_is_free,
    a_server_starts_again_with_what_was_deleted_and_purged,
    a_repeated_request_is_carried_out_once,
    a_request_sent_at_once_many_times_makes_one_tenant,
    what_is_only_to_be_validated_changes_nothing,
);

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

type Name = Result<(String, String), Status>;

fn answered<T>(answer: Result<Response<T>, Status>, read: impl FnOnce(T) -> Option<(String, String)>) -> Name {
    answer.map(|answer| read(answer.into_inner()).expect("a record"))
}

/// Updates a tenant, workspace or project, whichever the name is of: gives its new display name and etag.
async fn update(client: &Client, name: &str, display_name: &str, etag: &str, update_mask: Option<FieldMask>) -> Name {
    let mut identity = client.identity();
    macro_rules! update {
        ($record:ident $field:ident $request:ident $call:ident) => {{
            let record = pb::$record {
                name: name.into(),
                display_name: display_name.into(),
                etag: etag.into(),
                ..pb::$record::default()
            };
            let request = pb::$request { $field: Some(record), update_mask, ..pb::$request::default() };
            answered(identity.$call(request).await, |answer| answer.$field.map(|it| (it.display_name, it.etag)))
        }};
    }
    match name.matches('/').count() {
        1 => update!(Tenant tenant UpdateTenantRequest update_tenant),
        3 => update!(Workspace workspace UpdateWorkspaceRequest update_workspace),
        _ => update!(Project project UpdateProjectRequest update_project),
    }
}

/// What is done to a tenant, workspace or project by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Suspend,
    Delete,
    Undelete,
    Get,
}

/// Does it: gives the state after it and whether there is a time of deletion.
async fn act(client: &Client, act: Act, name: &str) -> Result<(pb::Lifecycle, bool), Status> {
    let mut identity = client.identity();
    macro_rules! call {
        ($field:ident $suspend:ident $delete:ident $undelete:ident $get:ident;
         $Suspend:ident $Delete:ident $Undelete:ident $Get:ident) => {{
            let name = name.to_owned();
            let record = match act {
                Act::Suspend => identity.$suspend(pb::$Suspend { name }).await?.into_inner().$field,
                Act::Delete => {
                    let request = pb::$Delete { name, ..pb::$Delete::default() };
                    identity.$delete(request).await?.into_inner().$field
                }
                Act::Undelete => {
                    let request = pb::$Undelete { name, ..pb::$Undelete::default() };
                    identity.$undelete(request).await?.into_inner().$field
                }
                Act::Get => identity.$get(pb::$Get { name }).await?.into_inner().$field,
            };
            let record = record.expect("a record");
            Ok((record.state(), record.delete_time.is_some()))
        }};
    }
    match name.matches('/').count() {
        1 => call!(tenant suspend_tenant delete_tenant undelete_tenant get_tenant;
            SuspendTenantRequest DeleteTenantRequest UndeleteTenantRequest GetTenantRequest),
        3 => call!(workspace suspend_workspace delete_workspace undelete_workspace get_workspace;
            SuspendWorkspaceRequest DeleteWorkspaceRequest UndeleteWorkspaceRequest GetWorkspaceRequest),
        _ => call!(project suspend_project delete_project undelete_project get_project;
            SuspendProjectRequest DeleteProjectRequest UndeleteProjectRequest GetProjectRequest),
    }
}

async fn an_update_changes_what_the_mask_names_and_nothing_else(env: &mut Env) {
    let world = World::new(env).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    for name in [&world.tenant, &world.workspace, &world.project] {
        let id = name.rsplit('/').next().expect("an id");
        let name_now = async || update(&owner, name, "", "", None).await.expect("nothing changes").0;
        let renamed = async |to: &str, mask| update(&owner, name, to, "", mask).await.expect("renamed").0;
        assert_eq!(renamed("One", mask(&["display_name"])).await, "One");
        assert_eq!(renamed("Two", mask(&["*"])).await, "Two");
        assert_eq!(renamed("Three", None).await, "Three");
        assert_eq!(name_now().await, "Three", "without a mask, what is empty stays");
        assert_eq!(renamed("", mask(&["display_name"])).await, id, "named and empty: what it was at the beginning");
        for path in ["state", "name", "etag", "create_time", "nonsense", "display_name.x", "*.x", ""] {
            assert_invalid(update(&owner, name, "Four", "", mask(&["display_name", path])).await, "update_mask");
        }
        assert_eq!(name_now().await, id, "nothing of it was done");
    }
    let too_long = update(&owner, &world.tenant, &"x".repeat(129), "", None).await;
    assert_invalid(too_long, "tenant.display_name");
    assert_invalid(update(&owner, "tenants/Acme", "x", "", None).await, "tenant.name");
    let empty = owner.identity().update_project(pb::UpdateProjectRequest::default()).await;
    assert_invalid(empty, "project");
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let refused = update(&user, &world.workspace, "Mine", "", None).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn an_update_of_what_has_changed_since_is_aborted(env: &mut Env) {
    let world = World::new(env).await;
    for name in [&world.tenant, &world.workspace, &world.project] {
        let (_, first) = update(&env.operator, name, "One", "", None).await.expect("changed");
        let (_, second) = update(&env.operator, name, "Two", &first, None).await.expect("changed");
        assert_ne!(first, second);
        for stale in [first.as_str(), "v0", "nonsense"] {
            let refused = update(&env.operator, name, "Three", stale, None).await;
            assert_refused(refused, Code::Aborted, "ETAG_MISMATCH");
        }
        assert_eq!(update(&env.operator, name, "", "", None).await.expect("as it was"), ("Two".into(), second));
    }
    let stale = |name: &String| pb::DeleteTenantRequest { name: name.clone(), etag: "v1".into(), ..Default::default() };
    let refused = env.operator.identity().delete_tenant(stale(&world.tenant)).await;
    assert_refused(refused, Code::Aborted, "ETAG_MISMATCH");
    world.hold(world.ask()).await;
}

async fn what_is_deleted_is_refused_at_once_and_comes_back_as_it_was(env: &mut Env) {
    use pb::Lifecycle::{Active, Deleted, Suspended};
    let world = World::new(env).await;
    let cases = [
        (&world.project, DenialCode::ProjectSuspended),
        (&world.workspace, DenialCode::WorkspaceSuspended),
        (&world.tenant, DenialCode::TenantSuspended),
    ];
    // A sidecar of another tenant's stays what it is when the tenant goes.
    let sidecar = env.operator.clone();
    let codes = async || codes(&sidecar.gate().authorize(world.ask()).await.expect("an answer").into_inner());
    for (name, code) in cases {
        let run = async |what| act(&env.operator, what, name).await.expect("done");
        assert_eq!(codes().await, [], "{name}");
        assert_eq!(run(Act::Delete).await, (Deleted, true));
        assert!(codes().await.contains(&code), "{name}");
        assert_eq!(run(Act::Delete).await, (Deleted, true), "a second time");
        assert_eq!(run(Act::Get).await, (Deleted, true));
        let refused = act(&env.operator, Act::Suspend, name).await;
        assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
        let refused = update(&env.operator, name, "Other", "", None).await;
        assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
        assert_eq!(run(Act::Undelete).await, (Active, false));
        assert_eq!(codes().await, [], "{name}");
        assert_eq!(run(Act::Suspend).await, (Suspended, false));
        assert!(codes().await.contains(&code), "{name}");
        assert_eq!(run(Act::Delete).await, (Deleted, true));
        assert_eq!(run(Act::Undelete).await, (Suspended, false), "as it was");
        assert!(codes().await.contains(&code), "{name}");
        let mut identity = env.operator.identity();
        let name = name.clone();
        match code {
            DenialCode::ProjectSuspended => {
                identity.reactivate_project(pb::ReactivateProjectRequest { name }).await.map(|_| ())
            }
            DenialCode::WorkspaceSuspended => {
                identity.reactivate_workspace(pb::ReactivateWorkspaceRequest { name }).await.map(|_| ())
            }
            _ => identity.reactivate_tenant(pb::ReactivateTenantRequest { name }).await.map(|_| ()),
        }
        .expect("active");
    }
    // Its own people cannot act while a tenant is deleted, and its id stays taken.
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    act(&owner, Act::Delete, &world.tenant).await.expect("an owner deletes what is theirs");
    assert_refused(act(&owner, Act::Undelete, &world.tenant).await, Code::Unauthenticated, "TOKEN_INVALID");
    let again = pb::CreateTenantRequest { tenant_id: "acme".into(), ..Default::default() };
    assert_refused(env.operator.identity().create_tenant(again).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    let refused = act(&env.operator, Act::Delete, "tenants/system").await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn nothing_is_made_in_what_is_deleted(env: &mut Env) {
    let world = World::new(env).await;
    let project = create_project(&env.operator, &world.workspace, "idle").await;
    act(&env.operator, Act::Delete, &project).await.expect("deleted");
    let key = |project: &str| pb::CreateKeyRequest {
        parent: world.workspace.clone(),
        key: Some(pb::Key { owner: world.user.clone(), project: project.into(), ..pb::Key::default() }),
        ..Default::default()
    };
    let refused = env.operator.keys().create_key(key(&project)).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let bind = |scope: &str| pb::CreateBindingRequest {
        parent: world.tenant.clone(),
        binding: Some(pb::Binding {
            role: "roles/reader".into(),
            member: world.user.clone(),
            scope: scope.into(),
            ..pb::Binding::default()
        }),
    };
    let refused = env.operator.access().create_binding(bind(&project)).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    act(&env.operator, Act::Delete, &world.workspace).await.expect("deleted");
    let refused = env.operator.keys().create_key(key("")).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let create = pb::CreateProjectRequest {
        parent: world.workspace.clone(),
        project_id: unique("project"),
        ..Default::default()
    };
    let refused = env.operator.identity().create_project(create).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let refused = world.try_credit(credit(1, &unique("invoice"))).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    act(&env.operator, Act::Delete, &world.tenant).await.expect("deleted");
    let team = pb::CreateTeamRequest { parent: world.tenant.clone(), team_id: "late".into(), ..Default::default() };
    let refused = env.operator.identity().create_team(team).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    // A leaked key can be revoked wherever it is.
    act(&env.operator, Act::Undelete, &world.tenant).await.expect("there");
    let revoke = pb::RevokeKeyRequest { name: world.key.name.clone(), reason: "leaked".into() };
    env.operator.keys().revoke_key(revoke).await.expect("revoked");
}

async fn a_purged_tenant_is_gone_and_its_id_is_free(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.user, 1_000).await;
    world.dollars(&world.key.name, 1_000).await;
    let hold = world.hold(world.ask()).await;
    world.charge(on_key(&world.key, 5)).await;
    let purge = |name: &str| pb::PurgeTenantRequest { name: name.into(), ..Default::default() };
    let refused = env.operator.identity().purge_tenant(purge(&world.tenant)).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    act(&env.operator, Act::Delete, &world.tenant).await.expect("deleted");
    env.operator.identity().purge_tenant(purge(&world.tenant)).await.expect("purged");
    let gone =
        [act(&env.operator, Act::Get, &world.tenant).await, act(&env.operator, Act::Undelete, &world.tenant).await];
    for answer in gone {
        assert_refused(answer, Code::NotFound, "RESOURCE_NOT_FOUND");
    }
    let again = env.operator.identity().purge_tenant(purge(&world.tenant)).await;
    assert_refused(again, Code::NotFound, "RESOURCE_NOT_FOUND");
    let list = pb::ListTenantsRequest { show_deleted: true, ..Default::default() };
    let listed = env.operator.identity().list_tenants(list).await.expect("a list").into_inner().tenants;
    assert!(listed.iter().all(|tenant| tenant.name == "tenants/system"), "{listed:?}");
    // What was held for it can still be settled: a charge is a fact.
    let answer = env.operator.gate().authorize(world.ask()).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), pb::Decision::Deny);
    drop(hold);
    let books = env.books().await;
    let left: Vec<(i64,)> = books
        .rows(
            "SELECT (SELECT COUNT(*) FROM users) + (SELECT COUNT(*) FROM teams) + (SELECT COUNT(*) FROM team_members)
                 + (SELECT COUNT(*) FROM api_keys) + (SELECT COUNT(*) FROM bindings WHERE role <> 'operator')",
        )
        .await;
    assert_eq!(left, [(0,)], "people and credentials are erased");
    assert_eq!(books.charges().await.len(), 1, "charges stay");
    // The same id, another tenant.
    let next = World::named(env, "acme").await;
    next.hold(next.ask()).await;
    let old = next.authorize(next.ask_with(&world.key.secret)).await;
    assert_eq!(codes(&old), [DenialCode::KeyNotFound], "the old tenant's key is none of the new one's");
}

async fn a_server_starts_again_with_what_was_deleted_and_purged(env: &mut Env) {
    // A server of its own: this test stops it.
    let own = env.another().await;
    let world = World::new(&own).await;
    let doomed = World::named(&own, "globex").await;
    doomed.dollars(&doomed.user, 1_000).await;
    doomed.dollars(&doomed.key.name, 1_000).await;
    doomed.hold(doomed.ask()).await;
    act(&own.operator, Act::Delete, &doomed.tenant).await.expect("deleted");
    let purge = pb::PurgeTenantRequest { name: doomed.tenant.clone(), ..Default::default() };
    own.operator.identity().purge_tenant(purge).await.expect("purged");
    act(&own.operator, Act::Delete, &world.project).await.expect("deleted");
    let own = own.restart().await;
    let ask = async |asked| codes(&own.operator.gate().authorize(asked).await.expect("an answer").into_inner());
    assert_eq!(ask(world.ask()).await, [DenialCode::ProjectSuspended]);
    assert_eq!(ask(doomed.ask()).await, [DenialCode::KeyNotFound]);
    own.end().await;
}

async fn a_repeated_request_is_carried_out_once(env: &mut Env) {
    let world = World::new(env).await;
    let mut identity = env.operator.identity();
    let create = pb::CreateWorkspaceRequest {
        parent: world.tenant.clone(),
        workspace_id: "lab".into(),
        workspace: Some(pb::Workspace { environment: "development".into(), ..pb::Workspace::default() }),
        request_id: "0199-create".into(),
        ..Default::default()
    };
    let first = identity.create_workspace(create.clone()).await.expect("created").into_inner();
    assert_eq!(identity.create_workspace(create.clone()).await.expect("again").into_inner(), first);
    let lab = format!("{}/workspaces/lab", world.tenant);
    update(&env.operator, &lab, "Renamed", "", None).await.expect("renamed");
    let again = identity.create_workspace(create.clone()).await.expect("again").into_inner();
    assert_eq!(again.revision, first.revision);
    assert_eq!(again.workspace.expect("it").display_name, "Renamed", "as it is now");
    let other = pb::CreateWorkspaceRequest { workspace_id: "other".into(), ..create.clone() };
    assert_refused(identity.create_workspace(other).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    let elsewhere =
        pb::DeleteWorkspaceRequest { name: lab.clone(), request_id: "0199-create".into(), ..Default::default() };
    assert_refused(identity.delete_workspace(elsewhere).await, Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    // Somebody else's ids are their own.
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let theirs = owner.identity().create_workspace(create).await;
    assert_refused(theirs, Code::AlreadyExists, "RESOURCE_EXISTS");
    // With an etag, only the id tells a repetition from a conflict.
    let delete = pb::DeleteWorkspaceRequest {
        name: lab,
        etag: "v2".into(),
        request_id: "0199-delete".into(),
        ..Default::default()
    };
    let gone = identity.delete_workspace(delete.clone()).await.expect("deleted").into_inner();
    assert_eq!(identity.delete_workspace(delete.clone()).await.expect("again").into_inner(), gone);
    let unnamed = pb::DeleteWorkspaceRequest { request_id: String::new(), ..delete.clone() };
    assert_refused(identity.delete_workspace(unnamed).await, Code::Aborted, "ETAG_MISMATCH");
    for bad in ["x".repeat(65), "a b".into(), "é".into(), "\n".into()] {
        let bad = pb::DeleteWorkspaceRequest { request_id: bad, ..delete.clone() };
        assert_invalid(identity.delete_workspace(bad).await, "request_id");
    }
}

async fn a_request_sent_at_once_many_times_makes_one_tenant(env: &mut Env) {
    for round in 0..4 {
        let create = pb::CreateTenantRequest {
            tenant_id: format!("many-{round}"),
            request_id: format!("once-{round}"),
            ..Default::default()
        };
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (client, create) = (env.operator.clone(), create.clone());
                tokio::spawn(async move { client.identity().create_tenant(create).await.map(Response::into_inner) })
            })
            .collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.expect("no panic").expect("created, or found"));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
    let books = env.books().await;
    let made: Vec<(i64,)> = books.rows("SELECT COUNT(*) FROM audit_events WHERE action = 'tenants.create'").await;
    assert_eq!(made, [(4,)]);
}

async fn what_is_only_to_be_validated_changes_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let mut identity = env.operator.identity();
    let books = env.books().await;
    let events = async || books.rows::<(i64,)>("SELECT COUNT(*) FROM audit_events").await;
    let before = events().await;
    let create = pb::CreateTenantRequest {
        tenant_id: "ghost".into(),
        validate_only: true,
        request_id: "ghost".into(),
        ..Default::default()
    };
    let answer = identity.create_tenant(create.clone()).await.expect("it could be").into_inner();
    assert_eq!(answer.tenant.expect("what would be").name, "tenants/ghost");
    let delete =
        pb::DeleteWorkspaceRequest { name: world.workspace.clone(), validate_only: true, ..Default::default() };
    let answer = identity.delete_workspace(delete).await.expect("it could be").into_inner();
    assert_eq!(answer.workspace.expect("what would be").state(), pb::Lifecycle::Deleted);
    let taken = pb::CreateTenantRequest { tenant_id: "acme".into(), ..create.clone() };
    assert_refused(identity.create_tenant(taken).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    assert_refused(act(&env.operator, Act::Get, "tenants/ghost").await, Code::NotFound, "RESOURCE_NOT_FOUND");
    world.hold(world.ask()).await;
    assert_eq!(events().await, before);
    // The id was not used up.
    let real = pb::CreateTenantRequest { validate_only: false, ..create };
    identity.create_tenant(real).await.expect("created");
}
