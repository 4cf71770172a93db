//! A good call of every RPC that speaks of something by its name: what the tests that walk over all RPCs send.

use prost::Message as _;
use tollreeve::pb::tollreeve::v1 as pb;

pub use super::place::Place;
use super::{
    assertions::{ED25519_HEAD, pem},
    client::Client,
    money_calls::{prices, usage},
    place::provider,
    raw::rpcs,
    server::Env,
    world::{World, credit, invite, on_hold, on_key, token_of, unique},
};

/// Who makes a call: the operator, but for what only an owner can do.
pub fn caller_of(env: &Env, world: &World, path: &str) -> Client {
    if path.ends_with("/TransferOwnership") {
        env.operator.with_token(Some(&env.user_token(&world.owner)))
    } else {
        env.operator.clone()
    }
}

pub(super) fn to<M: prost::Message>(service: &str, name: &str, request: &M) -> (String, Vec<u8>) {
    (format!("/tollreeve.v1.{service}/{name}"), request.encode_to_vec())
}

/// A good call of every RPC with a name or a parent, in an order in which each finds what it needs. Those that create
/// something take a new id each time.
pub fn calls(place: &Place) -> Vec<(String, Vec<u8>)> {
    [creations(place), prices(place), ways_in(place), reads(place), lists(place), usage(place), changes(place)].concat()
}

/// A good call of every RPC that is not personal, in an order in which each finds what it needs.
pub async fn every_call(world: &World) -> Vec<(String, Vec<u8>)> {
    let place = Place::of(world).await;
    let hold = world.hold(world.ask()).await;
    let charges = pb::ChargeBatchRequest { charges: vec![on_key(&world.key, 1)] };
    let tenant = pb::CreateTenantRequest {
        tenant_id: unique("tenant"),
        tenant: Some(pb::Tenant::default()),
        ..pb::CreateTenantRequest::default()
    };
    let token = token_of(&invite(&world.operator, &world.tenant).await);
    let accept = pb::AcceptInvitationRequest { token, ..Default::default() };
    let found = world.another_key(pb::Key::default()).await;
    let report = pb::ReportLeakedKeyRequest { secret: found.secret, ..pb::ReportLeakedKeyRequest::default() };
    let mut all = calls(&place);
    all.extend([
        ("/tollreeve.v1.GateService/Authorize".into(), world.ask().encode_to_vec()),
        ("/tollreeve.v1.GateService/Charge".into(), on_hold(&hold, 1).encode_to_vec()),
        ("/tollreeve.v1.GateService/ChargeBatch".into(), charges.encode_to_vec()),
        ("/tollreeve.v1.IdentityService/CreateTenant".into(), tenant.encode_to_vec()),
        ("/tollreeve.v1.IdentityService/AcceptInvitation".into(), accept.encode_to_vec()),
        ("/tollreeve.v1.KeyService/ReportLeakedKey".into(), report.encode_to_vec()),
        ("/tollreeve.v1.IdentityService/ListTenants".into(), Vec::new()),
        ("/tollreeve.v1.AccessService/ListPermissions".into(), Vec::new()),
    ]);
    for rpc in rpcs() {
        let known = rpc.is_personal() || all.iter().any(|(path, _)| *path == rpc.path);
        assert!(known, "there is no case for {}", rpc.path);
    }
    all
}

/// Brings back what a call may have put out of use.
pub async fn restore(world: &World) {
    let mut identity = world.operator.identity();
    let (tenant, workspace) = (world.tenant.clone(), world.workspace.clone());
    let back = pb::UndeleteTenantRequest { name: tenant.clone(), ..Default::default() };
    identity.undelete_tenant(back).await.expect("back");
    identity.reactivate_tenant(pb::ReactivateTenantRequest { name: tenant }).await.expect("active");
    let back = pb::UndeleteWorkspaceRequest { name: workspace.clone(), ..Default::default() };
    identity.undelete_workspace(back).await.expect("back");
    identity.reactivate_workspace(pb::ReactivateWorkspaceRequest { name: workspace }).await.expect("active");
}

/// A template with everything in it.
fn template() -> pb::RoleTemplate {
    let preset = pb::BudgetPreset {
        limit: 5,
        unit: pb::Unit::Tokens.into(),
        window: pb::Window::Day.into(),
        ..pb::BudgetPreset::default()
    };
    pb::RoleTemplate {
        role: "roles/member".into(),
        budget: Some(preset),
        key_policy: Some(pb::KeyPolicy { max_keys: 3, ..pb::KeyPolicy::default() }),
        ..pb::RoleTemplate::default()
    }
}

/// A public key, always the same.
fn public_key() -> pb::ServiceAccountKey {
    let public_key_pem = pem(&[ED25519_HEAD, &[9; 32]].concat());
    pb::ServiceAccountKey { public_key_pem, ..pb::ServiceAccountKey::default() }
}

/// Somebody new, in the team.
fn newcomer(place: &Place) -> pb::User {
    let (email, teams) = (format!("{}@example.com", unique("user")), vec![place.team.clone()]);
    pb::User { email, teams, ..pb::User::default() }
}

fn creations(place: &Place) -> Vec<(String, Vec<u8>)> {
    let workspace = pb::Workspace { environment: "staging".into(), ..pb::Workspace::default() };
    let user = || newcomer(place);
    let [another, third] = [user(), user()].map(|user| pb::NewUser { user: Some(user), ..Default::default() });
    let binding = pb::Binding {
        role: "roles/analyst".into(),
        member: place.account.clone(),
        scope: place.workspace.clone(),
        ..pb::Binding::default()
    };
    let budget = pb::Budget {
        scope: place.project.clone(),
        unit: pb::Unit::Tokens.into(),
        window: pb::Window::Day.into(),
        limit: 5,
        ..pb::Budget::default()
    };
    let role = pb::Role { permissions: vec!["models:invoke".into()], ..pb::Role::default() };
    let template = template();
    let (tenant, workspace_name) = (|| place.tenant.clone(), || place.workspace.clone());
    macro_rules! create {
        ($service:literal $request:ident { $($field:ident: $value:expr),+ }) => {
            to($service, stringify!($request).trim_end_matches("Request"), &pb::$request { $($field: $value),+ })
        };
    }
    vec![
        create!("IdentityService" CreateWorkspaceRequest {
            parent: tenant(), workspace_id: unique("ws"), workspace: Some(workspace),
            request_id: String::new(), validate_only: false
        }),
        create!("IdentityService" CreateProjectRequest {
            parent: workspace_name(), project_id: unique("project"), project: Some(pb::Project::default()),
            request_id: String::new(), validate_only: false, budget: None
        }),
        create!("IdentityService" CreateTeamRequest {
            parent: tenant(), team_id: unique("team"), team: Some(pb::Team::default())
        }),
        create!("IdentityService" CreateUserRequest {
            parent: tenant(), user: Some(user()), role: "roles/member".into(), template: String::new()
        }),
        create!("IdentityService" BatchCreateUsersRequest {
            parent: tenant(), users: vec![another, third], request_id: String::new(), validate_only: false
        }),
        create!("IdentityService" CreateServiceAccountRequest {
            parent: tenant(), service_account_id: unique("sa"), service_account: Some(pb::ServiceAccount::default())
        }),
        create!("IdentityService" CreateServiceAccountTokenRequest { name: place.account.clone(), ttl_seconds: 60 }),
        create!("IdentityService" AddServiceAccountKeyRequest {
            parent: place.account.clone(), service_account_key: Some(public_key()),
            request_id: String::new(), validate_only: false
        }),
        create!("AccessService" CreateBindingRequest { parent: tenant(), binding: Some(binding) }),
        create!("AccessService" CreateRoleRequest {
            parent: tenant(), role_id: unique("role"), role: Some(role),
            request_id: String::new(), validate_only: false
        }),
        create!("AccessService" CreateRoleTemplateRequest {
            parent: tenant(), role_template_id: unique("template"), role_template: Some(template),
            request_id: String::new(), validate_only: false
        }),
        create!("BudgetService" CreateBudgetRequest {
            parent: tenant(), budget: Some(budget), request_id: String::new(), validate_only: false
        }),
        create!("CreditService" CreateCreditEntryRequest {
            parent: workspace_name(), entry: Some(credit(1_000, &unique("invoice"))),
            request_id: String::new(), validate_only: false
        }),
    ]
}

/// What lets people in.
fn ways_in(place: &Place) -> Vec<(String, Vec<u8>)> {
    let invitation = || pb::Invitation {
        email: format!("{}@example.com", unique("guest")),
        teams: vec![place.team.clone()],
        workspace: place.workspace.clone(),
        ..pb::Invitation::default()
    };
    let (parent, invitations) = (place.tenant.clone(), vec![invitation()]);
    let many = pb::BatchCreateInvitationsRequest { parent: parent.clone(), invitations, ..Default::default() };
    let one = pb::CreateInvitationRequest { parent, invitation: Some(invitation()), ..Default::default() };
    let reset = pb::CreatePasswordResetRequest { user: place.user.clone() };
    let provider = pb::CreateIdentityProviderRequest {
        parent: place.tenant.clone(),
        identity_provider_id: unique("idp"),
        identity_provider: Some(provider()),
    };
    vec![
        to("IdentityService", "CreateInvitation", &one),
        to("IdentityService", "BatchCreateInvitations", &many),
        to("SessionService", "CreateIdentityProvider", &provider),
        to("SessionService", "CreatePasswordReset", &reset),
    ]
}

/// Calls that carry nothing but a name.
macro_rules! named {
    ($($service:literal $request:ident $name:expr;)+) => {
        vec![$({
            let mut request = pb::$request::default();
            request.name.clone_from(&$name);
            to($service, stringify!($request).trim_end_matches("Request"), &request)
        }),+]
    };
}

fn reads(place: &Place) -> Vec<(String, Vec<u8>)> {
    let question = pb::AccessQuestion {
        resource: place.project.clone(),
        permission: "keys:rotate".into(),
        principal: place.user.clone(),
    };
    let batch = pb::BatchCheckAccessRequest { parent: place.tenant.clone(), questions: vec![question.clone()] };
    let list =
        pb::ListEffectivePermissionsRequest { resource: place.project.clone(), principal: place.account.clone() };
    let review = pb::ReviewAccessRequest { parent: place.tenant.clone(), ..Default::default() };
    let mut calls = vec![
        to("AccessService", "CheckAccess", &pb::CheckAccessRequest { question: Some(question) }),
        to("AccessService", "BatchCheckAccess", &batch),
        to("AccessService", "ListEffectivePermissions", &list),
        to("AccessService", "ReviewAccess", &review),
    ];
    calls.extend(named! {
        "IdentityService" GetTenantRequest place.tenant;
        "IdentityService" GetWorkspaceRequest place.workspace;
        "IdentityService" GetProjectRequest place.project;
        "IdentityService" GetTeamRequest place.team;
        "IdentityService" GetUserRequest place.user;
        "IdentityService" GetInvitationRequest place.invitation;
        "IdentityService" GetServiceAccountRequest place.account;
        "SessionService" GetIdentityProviderRequest place.identity_provider;
        "KeyService" GetKeyRequest place.key;
        "BudgetService" GetBudgetRequest place.budget;
        "CreditService" GetCreditRequest place.workspace;
        "AccessService" GetBindingRequest place.binding;
        "AccessService" GetRoleRequest place.role;
        "AccessService" GetRoleTemplateRequest place.template;
        "AccessService" GetSeatsRequest place.workspace;
        "AuditService" GetAuditEventRequest place.event;
        "AuditService" GetAuditInclusionProofRequest place.event;
    });
    calls
}

fn lists(place: &Place) -> Vec<(String, Vec<u8>)> {
    macro_rules! list {
        ($($service:literal $request:ident $parent:expr;)+) => {
            vec![$({
                let mut request = pb::$request::default();
                request.parent.clone_from(&$parent);
                to($service, stringify!($request).trim_end_matches("Request"), &request)
            }),+]
        };
    }
    list! {
        "IdentityService" ListWorkspacesRequest place.tenant;
        "IdentityService" ListProjectsRequest place.workspace;
        "IdentityService" ListTeamsRequest place.tenant;
        "IdentityService" ListUsersRequest place.tenant;
        "IdentityService" ListTeamMembersRequest place.team;
        "IdentityService" ListInvitationsRequest place.tenant;
        "IdentityService" ListServiceAccountsRequest place.tenant;
        "SessionService" ListSessionsRequest place.user;
        "SessionService" ListIdentityProvidersRequest place.tenant;
        "IdentityService" ListServiceAccountKeysRequest place.account;
        "AccessService" ListBindingsRequest place.tenant;
        "AccessService" ListRolesRequest place.tenant;
        "AccessService" ListRoleTemplatesRequest place.tenant;
        "KeyService" ListKeysRequest place.workspace;
        "KeyService" ReviewKeysRequest place.strict;
        "BudgetService" ListBudgetsRequest place.tenant;
        "BudgetService" SummarizeChargesRequest place.tenant;
        "CreditService" ListCreditEntriesRequest place.workspace;
        "IdentityService" SummarizeUsersRequest place.tenant;
        "IdentityService" SummarizeTeamsRequest place.tenant;
        "AuditService" ListAuditEventsRequest place.tenant;
        "AuditService" ExportAuditEventsRequest place.tenant;
        "AuditService" GetAuditCheckpointRequest place.tenant;
        "AuditService" ListAuditCheckpointsRequest place.tenant;
        "AuditService" GetAuditConsistencyProofRequest place.tenant;
    }
}

fn changes(place: &Place) -> Vec<(String, Vec<u8>)> {
    macro_rules! update {
        ($request:ident { $field:ident: $record:ident $name:expr }) => {
            to(
                "IdentityService",
                stringify!($request).trim_end_matches("Request"),
                &pb::$request {
                    $field: Some(pb::$record {
                        name: $name.clone(),
                        display_name: unique("Renamed"),
                        ..pb::$record::default()
                    }),
                    ..pb::$request::default()
                },
            )
        };
    }
    let mut calls = vec![
        update!(UpdateTenantRequest { tenant: Tenant place.tenant }),
        update!(UpdateWorkspaceRequest { workspace: Workspace place.workspace }),
        update!(UpdateProjectRequest { project: Project place.project }),
        update!(UpdateServiceAccountRequest { service_account: ServiceAccount place.account }),
        update!(UpdateUserRequest { user: User place.user }),
        update!(UpdateTeamRequest { team: Team place.team }),
    ];
    calls.extend(changes_of_roles(place));
    let all = pb::RevokeAllSessionsRequest { parent: place.user.clone() };
    calls.extend(named! {
        "SessionService" RevokeSessionRequest place.session;
        "SessionService" DeleteIdentityProviderRequest place.identity_provider;
    });
    calls.push(to("SessionService", "RevokeAllSessions", &all));
    calls.extend(changes_of_people(place));
    calls.extend(changes_of_keys(place));
    calls.extend(named! {
        "IdentityService" ResendInvitationRequest place.invitation;
        "IdentityService" CancelInvitationRequest place.invitation;
        "IdentityService" SuspendUserRequest place.user;
        "IdentityService" ReactivateUserRequest place.user;
        "IdentityService" SuspendServiceAccountRequest place.account;
        "IdentityService" ReactivateServiceAccountRequest place.account;
        "IdentityService" DeleteServiceAccountKeyRequest place.public_key;
        "IdentityService" DeleteServiceAccountRequest place.account;
        "IdentityService" UndeleteServiceAccountRequest place.account;
        "IdentityService" SuspendWorkspaceRequest place.workspace;
        "IdentityService" ReactivateWorkspaceRequest place.workspace;
        "IdentityService" SuspendTenantRequest place.tenant;
        "IdentityService" ReactivateTenantRequest place.tenant;
        "IdentityService" SuspendProjectRequest place.project;
        "IdentityService" ReactivateProjectRequest place.project;
        "IdentityService" DeleteProjectRequest place.project;
        "IdentityService" UndeleteProjectRequest place.project;
        "IdentityService" DeleteWorkspaceRequest place.workspace;
        "IdentityService" UndeleteWorkspaceRequest place.workspace;
        "IdentityService" DeleteTenantRequest place.tenant;
        "IdentityService" UndeleteTenantRequest place.tenant;
        "IdentityService" PurgeTenantRequest place.doomed;
        "AccessService" DeleteBindingRequest place.binding;
    });
    calls.extend(changes_of_budgets(place));
    let close =
        pb::CloseStatementRequest { name: format!("{}/statements/2025-06", place.tenant), ..Default::default() };
    calls.push(to("UsageService", "CloseStatement", &close));
    let (name, new_owner) = (place.tenant.clone(), place.admin.clone());
    let transfer = pb::TransferOwnershipRequest { name, new_owner, ..pb::TransferOwnershipRequest::default() };
    calls.push(to("IdentityService", "TransferOwnership", &transfer));
    calls
}

fn changes_of_budgets(place: &Place) -> Vec<(String, Vec<u8>)> {
    let update = pb::UpdateBudgetRequest { name: place.budget.clone(), limit: Some(7_000_000), ..Default::default() };
    let (name, scope) = (place.budget.clone(), place.user.clone());
    let elsewhere = pb::MoveBudgetRequest { name, scope, ..pb::MoveBudgetRequest::default() };
    let mut calls = vec![to("BudgetService", "UpdateBudget", &update), to("BudgetService", "MoveBudget", &elsewhere)];
    calls.extend(named! {
        "BudgetService" PauseBudgetRequest place.budget;
        "BudgetService" ResumeBudgetRequest place.budget;
        "BudgetService" DeleteBudgetRequest place.budget;
    });
    calls
}

fn changes_of_keys(place: &Place) -> Vec<(String, Vec<u8>)> {
    let (owner, project) = (place.user.clone(), place.project.clone());
    let new = pb::Key { owner: owner.clone(), project, display_name: "Leaked".into(), ..pb::Key::default() };
    let create = pb::CreateKeyRequest { parent: place.workspace.clone(), key: Some(new), ..Default::default() };
    let another = pb::Key { owner: owner.clone(), project: place.project.clone(), ..pb::Key::default() };
    let many =
        pb::BatchCreateKeysRequest { parent: place.workspace.clone(), keys: vec![another], ..Default::default() };
    let (name, display_name) = (place.key.clone(), unique("Renamed"));
    let key = pb::Key { name, owner, display_name, ..pb::Key::default() };
    let update = pb::UpdateKeyRequest { key: Some(key), ..pb::UpdateKeyRequest::default() };
    // The one that was created.
    let (parent, filter) = (place.workspace.clone(), "display_name = Leaked".into());
    let bulk = pb::BulkRevokeKeysRequest { parent, filter, ..pb::BulkRevokeKeysRequest::default() };
    let expire_time = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let retire = pb::RetireKeysRequest { parent: place.strict.clone(), expire_time, ..Default::default() };
    let mut calls = vec![
        to("KeyService", "RetireKeys", &retire),
        to("KeyService", "CreateKey", &create),
        to("KeyService", "BatchCreateKeys", &many),
        to("KeyService", "UpdateKey", &update),
        to("KeyService", "BulkRevokeKeys", &bulk),
    ];
    calls.extend(named! {
        "KeyService" RotateKeyRequest place.key;
        "KeyService" RetireKeySecretRequest place.key;
        "KeyService" DisableKeyRequest place.key;
        "KeyService" EnableKeyRequest place.key;
        "KeyService" RevokeKeyRequest place.key;
        "KeyService" DeleteKeyRequest place.key;
    });
    calls
}

fn changes_of_people(place: &Place) -> Vec<(String, Vec<u8>)> {
    let (name, parent) = (place.team.clone(), place.tenant.clone());
    let (users, names) = (vec![place.quitter.clone()], vec![place.quitter.clone()]);
    let join = pb::AddTeamMembersRequest { name: name.clone(), users: users.clone(), ..Default::default() };
    let leave = pb::RemoveTeamMembersRequest { name, users, ..Default::default() };
    let role =
        pb::ChangeUserRoleRequest { name: place.quitter.clone(), role: "roles/analyst".into(), ..Default::default() };
    let suspend = pb::BatchSuspendUsersRequest { parent: parent.clone(), names: names.clone(), ..Default::default() };
    let back = pb::BatchReactivateUsersRequest { parent: parent.clone(), names: names.clone(), ..Default::default() };
    let delete = pb::BatchDeleteUsersRequest { parent, names, ..Default::default() };
    let mut calls = vec![
        to("IdentityService", "AddTeamMembers", &join),
        to("IdentityService", "RemoveTeamMembers", &leave),
        to("IdentityService", "ChangeUserRole", &role),
        to("IdentityService", "BatchSuspendUsers", &suspend),
        to("IdentityService", "BatchReactivateUsers", &back),
        to("IdentityService", "BatchDeleteUsers", &delete),
    ];
    calls.extend(named! {
        "IdentityService" DeleteUserRequest place.leaver;
        "IdentityService" DeleteTeamRequest place.disbanded;
    });
    calls
}

fn changes_of_roles(place: &Place) -> Vec<(String, Vec<u8>)> {
    let role = pb::Role { name: place.role.clone(), display_name: unique("Renamed"), ..pb::Role::default() };
    let role = pb::UpdateRoleRequest { role: Some(role), ..pb::UpdateRoleRequest::default() };
    let (name, display_name) = (place.template.clone(), unique("Renamed"));
    let template = pb::RoleTemplate { name, display_name, ..template() };
    let template = pb::UpdateRoleTemplateRequest { role_template: Some(template), ..Default::default() };
    let apply = pb::ApplyRoleTemplateRequest {
        name: place.template.clone(),
        principal: place.user.clone(),
        ..pb::ApplyRoleTemplateRequest::default()
    };
    let limit = pb::SeatLimit { role: "roles/analyst".into(), seats: 7 };
    let seats = pb::UpdateSeatsRequest { name: place.workspace.clone(), limits: vec![limit], ..Default::default() };
    let mut calls = vec![
        to("AccessService", "UpdateRole", &role),
        to("AccessService", "UpdateRoleTemplate", &template),
        to("AccessService", "ApplyRoleTemplate", &apply),
        to("AccessService", "UpdateSeats", &seats),
    ];
    calls.extend(named! {
        "AccessService" DeleteRoleTemplateRequest place.template;
        "AccessService" DeleteRoleRequest place.role;
    });
    calls
}
