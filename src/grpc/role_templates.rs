//! What messages of role templates mean.

use super::{
    bindings, budgets,
    parse::{self, FieldError, invalid},
    roles::MAX_DESCRIPTION,
};
use crate::{
    app::{
        Changed,
        role_templates::{
            Application, ApplyRoleTemplate, CreateRoleTemplate, DeleteRoleTemplate, GetRoleTemplate, ListRoleTemplates,
            NamedTemplate, RoleTemplateDeleted, UpdateRoleTemplate,
        },
    },
    domain::{
        key_policies::{AllowlistKind, KeyPolicy},
        money::MAX_AMOUNT,
        names::RoleTemplateName,
        role_templates::BudgetPreset,
    },
    pb::tollreeve::v1 as pb,
};

/// Fields of a role template that never change.
const FIXED: &[&str] = &["name", "create_time", "etag"];
/// Most keys that a policy can allow.
const MAX_KEYS: i64 = 1_000_000;
/// Longest life of a key that a policy can allow, in seconds: a hundred years.
const MAX_LIFETIME: i64 = 3_153_600_000;
/// Most lists that a policy can require.
const MAX_REQUIRED: usize = 5;

impl From<AllowlistKind> for pb::AllowlistKind {
    fn from(kind: AllowlistKind) -> Self {
        match kind {
            AllowlistKind::Cidrs => Self::Cidrs,
            AllowlistKind::Origins => Self::Origins,
            AllowlistKind::Models => Self::Models,
            AllowlistKind::Endpoints => Self::Endpoints,
            AllowlistKind::Permissions => Self::Permissions,
        }
    }
}

fn kind(field: &str, number: i32) -> Result<AllowlistKind, FieldError> {
    match pb::AllowlistKind::try_from(number) {
        Ok(pb::AllowlistKind::Cidrs) => Ok(AllowlistKind::Cidrs),
        Ok(pb::AllowlistKind::Origins) => Ok(AllowlistKind::Origins),
        Ok(pb::AllowlistKind::Models) => Ok(AllowlistKind::Models),
        Ok(pb::AllowlistKind::Endpoints) => Ok(AllowlistKind::Endpoints),
        Ok(pb::AllowlistKind::Permissions) => Ok(AllowlistKind::Permissions),
        Ok(pb::AllowlistKind::Unspecified) | Err(_) => Err(invalid(field, "is not a list of an allowlist")),
    }
}

fn budget(preset: &pb::BudgetPreset) -> Result<BudgetPreset, FieldError> {
    Ok(BudgetPreset {
        limit: parse::within("role_template.budget.limit", preset.limit, 0, MAX_AMOUNT)?,
        unit: budgets::unit("role_template.budget.unit", preset.unit)?,
        window: budgets::window("role_template.budget.window", preset.window)?,
        hard: preset.hard.unwrap_or(true),
    })
}

impl From<BudgetPreset> for pb::BudgetPreset {
    fn from(preset: BudgetPreset) -> Self {
        Self {
            limit: preset.limit,
            unit: pb::Unit::from(preset.unit).into(),
            window: pb::Window::from(preset.window).into(),
            hard: Some(preset.hard),
        }
    }
}

/// Reads limits of keys, which are a message of this name.
pub(super) fn key_limits(message: &str, policy: &pb::KeyPolicy) -> Result<KeyPolicy, FieldError> {
    let bound = |field: &str, number, most| {
        let number = parse::within(&format!("{message}.{field}"), number, 0, most)?;
        Ok::<_, FieldError>((number > 0).then_some(number))
    };
    let field = format!("{message}.required_allowlists");
    if policy.required_allowlists.len() > MAX_REQUIRED {
        return Err(invalid(field, format!("must be at most {MAX_REQUIRED}")));
    }
    let required = policy.required_allowlists.iter().enumerate();
    Ok(KeyPolicy {
        most_keys: bound("max_keys", policy.max_keys, MAX_KEYS)?,
        longest_lifetime: bound("max_lifetime_seconds", policy.max_lifetime_seconds, MAX_LIFETIME)?,
        required: required.map(|(i, number)| kind(&format!("{field}[{i}]"), *number)).collect::<Result<_, _>>()?,
    })
}

fn key_policy(policy: &pb::KeyPolicy) -> Result<KeyPolicy, FieldError> {
    key_limits("role_template.key_policy", policy)
}

impl From<KeyPolicy> for pb::KeyPolicy {
    fn from(policy: KeyPolicy) -> Self {
        Self {
            max_keys: policy.most_keys.unwrap_or_default(),
            max_lifetime_seconds: policy.longest_lifetime.unwrap_or_default(),
            required_allowlists: policy.required.into_iter().map(|kind| pb::AllowlistKind::from(kind).into()).collect(),
        }
    }
}

impl From<NamedTemplate> for pb::RoleTemplate {
    fn from(named: NamedTemplate) -> Self {
        let template = named.template;
        Self {
            name: named.name.to_string(),
            display_name: template.display_name,
            description: template.description,
            role: named.role,
            budget: template.budget.map(Into::into),
            key_policy: template.key_policy.map(Into::into),
            create_time: Some(parse::to_wire(template.created)),
            etag: parse::etag(template.version),
        }
    }
}

impl TryFrom<pb::CreateRoleTemplateRequest> for CreateRoleTemplate {
    type Error = FieldError;

    fn try_from(request: pb::CreateRoleTemplateRequest) -> Result<Self, FieldError> {
        let slug = parse::required("role_template_id", &request.role_template_id)?;
        let template = parse::present("role_template", request.role_template)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            display_name: parse::display_name("role_template.display_name", template.display_name, &slug)?,
            description: parse::bounded("role_template.description", template.description, MAX_DESCRIPTION)?,
            role: parse::required("role_template.role", &template.role)?,
            budget: template.budget.as_ref().map(budget).transpose()?,
            key_policy: template.key_policy.as_ref().map(key_policy).transpose()?,
            slug,
        })
    }
}

impl TryFrom<pb::UpdateRoleTemplateRequest> for UpdateRoleTemplate {
    type Error = FieldError;

    fn try_from(request: pb::UpdateRoleTemplateRequest) -> Result<Self, FieldError> {
        let template = parse::present("role_template", request.role_template)?;
        let name: RoleTemplateName = parse::required("role_template.name", &template.name)?;
        let set = [
            ("display_name", !template.display_name.is_empty()),
            ("description", !template.description.is_empty()),
            ("role", !template.role.is_empty()),
            ("budget", template.budget.is_some()),
            ("key_policy", template.key_policy.is_some()),
        ];
        let [renamed, described, role, limited, ruled] = parse::masked(request.update_mask, set, FIXED)?;
        let display_name = parse::display_name("role_template.display_name", template.display_name, &name.template)?;
        let description = parse::bounded("role_template.description", template.description, MAX_DESCRIPTION)?;
        Ok(Self {
            version: parse::version(&template.etag),
            display_name: renamed.then_some(display_name),
            description: described.then_some(description),
            role: role.then(|| parse::required("role_template.role", &template.role)).transpose()?,
            budget: limited.then(|| template.budget.as_ref().map(budget).transpose()).transpose()?,
            key_policy: ruled.then(|| template.key_policy.as_ref().map(key_policy).transpose()).transpose()?,
            name,
        })
    }
}

impl TryFrom<pb::ListRoleTemplatesRequest> for ListRoleTemplates {
    type Error = FieldError;

    fn try_from(request: pb::ListRoleTemplatesRequest) -> Result<Self, FieldError> {
        Ok(Self { parent: parse::required("parent", &request.parent)? })
    }
}

impl TryFrom<pb::DeleteRoleTemplateRequest> for DeleteRoleTemplate {
    type Error = FieldError;

    fn try_from(request: pb::DeleteRoleTemplateRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::ApplyRoleTemplateRequest> for ApplyRoleTemplate {
    type Error = FieldError;

    fn try_from(request: pb::ApplyRoleTemplateRequest) -> Result<Self, FieldError> {
        let scope = (!request.scope.is_empty()).then(|| bindings::scope("scope", &request.scope));
        let wrong = |_: FieldError| invalid("principal", "must be the name of a user or service account");
        Ok(Self {
            name: parse::required("name", &request.name)?,
            principal: parse::required("principal", &request.principal).map_err(wrong)?,
            scope: scope.transpose()?,
        })
    }
}

impl From<Vec<NamedTemplate>> for pb::ListRoleTemplatesResponse {
    fn from(all: Vec<NamedTemplate>) -> Self {
        Self { role_templates: all.into_iter().map(Into::into).collect() }
    }
}

impl From<RoleTemplateDeleted> for pb::DeleteRoleTemplateResponse {
    fn from(RoleTemplateDeleted(revision): RoleTemplateDeleted) -> Self {
        Self { revision }
    }
}

impl From<Changed<Application>> for pb::ApplyRoleTemplateResponse {
    fn from(Changed { record, revision }: Changed<Application>) -> Self {
        Self {
            binding: record.binding.map(Into::into),
            budget: record.budget.map(Into::into),
            key_policy: record.key_policy.map(Into::into),
            revision,
        }
    }
}

asks_by_name! {
    GetRoleTemplateRequest => GetRoleTemplate;
}

intended!(CreateRoleTemplateRequest, UpdateRoleTemplateRequest, DeleteRoleTemplateRequest, ApplyRoleTemplateRequest);

answers_one! {
    NamedTemplate as role_template: read GetRoleTemplateResponse;
    changed CreateRoleTemplateResponse, UpdateRoleTemplateResponse;
}
