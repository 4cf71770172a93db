//! What messages of workspaces mean.

use super::{
    key_policies,
    parse::{self, FieldError, invalid},
    policies::policies,
    tenants::{STATES, standing},
};
use crate::{
    app::workspaces::{CreateWorkspace, EditWorkspace, GetWorkspace, ListWorkspaces, NamedWorkspace},
    domain::{
        lifecycle::{Edit, Update},
        listing::{Field, Kind, WORDS},
        names::{Slug, WorkspaceName},
        policies::PolicyUpdate,
        workspaces::mistaken_for,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of workspaces can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "name", kind: Kind::Order, sorts: true },
    Field { name: "display_name", kind: Kind::Text, sorts: true },
    Field { name: "state", kind: Kind::Choice(&STATES), sorts: false },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    WORDS,
    Field { name: "environment", kind: Kind::Text, sorts: false },
];
/// Fields of a workspace that never change, or only by other calls.
const FIXED: &[&str] = &["name", "environment", "key_prefix", "state", "create_time", "etag", "delete_time"];

impl From<NamedWorkspace> for pb::Workspace {
    fn from(named: NamedWorkspace) -> Self {
        Self {
            name: named.name().to_string(),
            key_prefix: named.workspace.key_prefix(),
            display_name: named.workspace.display_name,
            environment: named.workspace.environment.to_string(),
            policies: Some(named.workspace.policies.into()),
            state: standing(named.workspace.state, named.workspace.deleted),
            create_time: Some(parse::to_wire(named.workspace.created)),
            etag: parse::etag(named.workspace.version),
            delete_time: named.workspace.deleted.map(parse::to_wire),
        }
    }
}

/// A custom environment has a name of its own, and keys that are not taken for those of another.
fn environment(text: &str) -> Result<Slug, FieldError> {
    let field = "workspace.environment";
    match mistaken_for(text) {
        Some(known) => {
            Err(invalid(field, format!("its keys would look like those of `{known}`: is that what is meant?")))
        }
        None => parse::required(field, text),
    }
}

impl TryFrom<pb::CreateWorkspaceRequest> for CreateWorkspace {
    type Error = FieldError;

    fn try_from(request: pb::CreateWorkspaceRequest) -> Result<Self, FieldError> {
        let slug = parse::required("workspace_id", &request.workspace_id)?;
        let workspace = parse::present("workspace", request.workspace)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("workspace.display_name", workspace.display_name, &slug)?,
            environment: environment(&workspace.environment)?,
            policies: policies(workspace.policies)?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateWorkspaceRequest> for EditWorkspace {
    type Error = FieldError;

    fn try_from(request: pb::UpdateWorkspaceRequest) -> Result<Self, FieldError> {
        let workspace = parse::present("workspace", request.workspace)?;
        let name: WorkspaceName = parse::required("workspace.name", &workspace.name)?;
        let removal_set = workspace.policies.as_ref().is_some_and(|policies| policies.keys_on_removal != 0);
        let keys_set = key_policies::set(workspace.policies.as_ref().and_then(|policies| policies.keys.as_ref()));
        let policies = policies(workspace.policies)?;
        let set = [
            ("display_name", !workspace.display_name.is_empty()),
            ("policies.spending.project_budget", policies.project_budget.is_some()),
            ("policies.spending.project_budget_required", policies.project_budget_required),
            ("policies.spending.unknown_model_ceiling", policies.unknown_model_ceiling.is_some()),
            ("policies.default_role", policies.default_role.is_some()),
            ("policies.invitation_teams", !policies.invitation_teams.is_empty()),
            ("policies.keys_on_removal", removal_set),
        ];
        let [creators, number, lifetime, lists, given, interval, grace] =
            std::array::from_fn(|at| (key_policies::FIELDS[at], keys_set[at]));
        let [name_set, budget, required, unknown, role, teams, removal] = set;
        let set = [
            name_set, budget, required, unknown, role, teams, removal, creators, number, lifetime, lists, given,
            interval, grace,
        ];
        let [renamed, budget, required, unknown, role, teams, removal, keys @ ..] =
            parse::masked(request.update_mask, set, FIXED)?;
        let laid_down = PolicyUpdate {
            project_budget: budget.then_some(policies.project_budget),
            project_budget_required: required.then_some(policies.project_budget_required),
            unknown_model_ceiling: unknown.then_some(policies.unknown_model_ceiling),
            default_role: role.then_some(policies.default_role),
            invitation_teams: teams.then_some(policies.invitation_teams),
            keys_on_removal: removal.then_some(policies.keys_on_removal),
            keys: key_policies::update(policies.keys, keys),
        };
        let display_name = parse::display_name("workspace.display_name", workspace.display_name, &name.workspace)?;
        let update =
            Update { display_name: renamed.then_some(display_name), policies: Some(laid_down), ..Update::default() };
        let edit = Edit::Update(Box::new(update));
        Ok(Self { version: parse::version(&workspace.etag), edit, name })
    }
}

asks_by_name! {
    GetWorkspaceRequest => GetWorkspace;
}

asks_for_edit! {
    EditWorkspace {
        SuspendWorkspaceRequest => Edit::Suspend;
        ReactivateWorkspaceRequest => Edit::Reactivate;
    }
    with etag {
        DeleteWorkspaceRequest => Edit::Delete;
        UndeleteWorkspaceRequest => Edit::Undelete;
    }
}

intended!(CreateWorkspaceRequest, UpdateWorkspaceRequest, DeleteWorkspaceRequest, UndeleteWorkspaceRequest);

asks_for_listing! {
    ListWorkspacesRequest => ListWorkspaces by FIELDS, show_deleted;
}

answers_one! {
    NamedWorkspace as workspace: read GetWorkspaceResponse;
    changed CreateWorkspaceResponse, UpdateWorkspaceResponse, SuspendWorkspaceResponse, ReactivateWorkspaceResponse,
        DeleteWorkspaceResponse, UndeleteWorkspaceResponse;
}

answers_page!(NamedWorkspace as workspaces: ListWorkspacesResponse);
