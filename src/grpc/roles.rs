//! What messages of permissions and roles mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::roles::{CreateRole, DeleteRole, GetRole, ListPermissions, ListRoles, NamedRole, RoleDeleted, UpdateRole},
    domain::{
        names::{CustomRoleName, Slug},
        permission::{Permission, PermissionSet},
        role::Role,
    },
    pb::tollreeve::v1 as pb,
};

/// Longest description, in characters.
pub(super) const MAX_DESCRIPTION: usize = 1024;
/// Fields of a role that never change.
const FIXED: &[&str] = &["name", "create_time", "etag"];

impl TryFrom<pb::ListPermissionsRequest> for ListPermissions {
    type Error = FieldError;

    fn try_from(_: pb::ListPermissionsRequest) -> Result<Self, FieldError> {
        Ok(Self)
    }
}

impl From<&'static [Permission]> for pb::ListPermissionsResponse {
    fn from(all: &'static [Permission]) -> Self {
        let permission =
            |p: &Permission| pb::Permission { name: p.to_string(), description: p.description().to_owned() };
        Self { permissions: all.iter().map(permission).collect() }
    }
}

impl TryFrom<pb::ListRolesRequest> for ListRoles {
    type Error = FieldError;

    fn try_from(request: pb::ListRolesRequest) -> Result<Self, FieldError> {
        let parent = (!request.parent.is_empty()).then(|| parse::required("parent", &request.parent));
        Ok(Self { parent: parent.transpose()? })
    }
}

impl From<NamedRole> for pb::Role {
    fn from(named: NamedRole) -> Self {
        let permissions = named.permissions().iter().map(|permission| permission.to_string()).collect();
        match named {
            NamedRole::BuiltIn(role) => Self {
                name: role.to_string(),
                display_name: role.display_name().to_owned(),
                description: role.description().to_owned(),
                permissions,
                create_time: None,
                etag: String::new(),
            },
            NamedRole::Custom(name, role) => Self {
                name: name.to_string(),
                display_name: role.display_name,
                description: role.description,
                permissions,
                create_time: Some(parse::to_wire(role.created)),
                etag: parse::etag(role.version),
            },
        }
    }
}

impl From<Vec<NamedRole>> for pb::ListRolesResponse {
    fn from(roles: Vec<NamedRole>) -> Self {
        Self { roles: roles.into_iter().map(Into::into).collect() }
    }
}

/// Permissions of the catalogue, at least one, each once or more.
fn permissions(texts: &[String]) -> Result<PermissionSet, FieldError> {
    let most = Permission::ALL.len();
    if !(1..=most).contains(&texts.len()) {
        return Err(invalid("role.permissions", format!("must be 1 to {most}")));
    }
    let one = |(i, text): (usize, &String)| parse::required::<Permission>(&format!("role.permissions[{i}]"), text);
    let all: Vec<Permission> = texts.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    Ok(PermissionSet::of(&all))
}

/// An id for a role of a tenant's own, which nobody takes for that of a built-in one.
fn role_id(text: &str) -> Result<Slug, FieldError> {
    let slug: Slug = parse::required("role_id", text)?;
    if Role::ALL.iter().any(|role| role.id().replace('_', "-") == slug.as_str()) {
        return Err(invalid("role_id", "is that of a built-in role"));
    }
    Ok(slug)
}

impl TryFrom<pb::CreateRoleRequest> for CreateRole {
    type Error = FieldError;

    fn try_from(request: pb::CreateRoleRequest) -> Result<Self, FieldError> {
        let slug = role_id(&request.role_id)?;
        let role = parse::present("role", request.role)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("role.display_name", role.display_name, &slug)?,
            description: parse::bounded("role.description", role.description, MAX_DESCRIPTION)?,
            permissions: permissions(&role.permissions)?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateRoleRequest> for UpdateRole {
    type Error = FieldError;

    fn try_from(request: pb::UpdateRoleRequest) -> Result<Self, FieldError> {
        let role = parse::present("role", request.role)?;
        let name: CustomRoleName = parse::required("role.name", &role.name)?;
        let set = [
            ("display_name", !role.display_name.is_empty()),
            ("description", !role.description.is_empty()),
            ("permissions", !role.permissions.is_empty()),
        ];
        let [renamed, described, changed] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name = parse::display_name("role.display_name", role.display_name, &name.role)?;
        let description = parse::bounded("role.description", role.description, MAX_DESCRIPTION)?;
        Ok(Self {
            version: parse::version(&role.etag),
            display_name: renamed.then_some(display_name),
            description: described.then_some(description),
            permissions: changed.then(|| permissions(&role.permissions)).transpose()?,
            name,
        })
    }
}

impl TryFrom<pb::DeleteRoleRequest> for DeleteRole {
    type Error = FieldError;

    fn try_from(request: pb::DeleteRoleRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl From<RoleDeleted> for pb::DeleteRoleResponse {
    fn from(RoleDeleted(revision): RoleDeleted) -> Self {
        Self { revision }
    }
}

asks_by_name! {
    GetRoleRequest => GetRole;
}

intended!(CreateRoleRequest, UpdateRoleRequest, DeleteRoleRequest);

answers_one! {
    NamedRole as role: read GetRoleResponse;
    changed CreateRoleResponse, UpdateRoleResponse;
}
