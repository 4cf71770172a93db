//! What messages of bindings mean.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::bindings::{AskedScope, BindingDeleted, CreateBinding, DeleteBinding, GetBinding, ListBindings, NamedBinding},
    domain::{
        listing::{Field, Kind},
        names::{PLATFORM, ScopeName},
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of bindings can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "create_time", kind: Kind::Time, sorts: true },
    Field { name: "expire_time", kind: Kind::Time, sorts: false },
];

impl From<NamedBinding> for pb::Binding {
    fn from(named: NamedBinding) -> Self {
        Self {
            name: named.name.to_string(),
            role: named.role,
            member: named.member,
            scope: named.scope,
            create_time: Some(parse::to_wire(named.binding.created)),
            expire_time: named.binding.expires.map(parse::to_wire),
        }
    }
}

/// Reads what a role is to be given on.
pub(super) fn scope(field: &str, text: &str) -> Result<AskedScope, FieldError> {
    match text {
        PLATFORM => Ok(AskedScope::Platform),
        _ => parse::required::<ScopeName>(field, text).map(AskedScope::Within),
    }
}

impl TryFrom<pb::CreateBindingRequest> for CreateBinding {
    type Error = FieldError;

    fn try_from(request: pb::CreateBindingRequest) -> Result<Self, FieldError> {
        let binding = parse::present("binding", request.binding)?;
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            role: (!binding.role.is_empty()).then(|| parse::required("binding.role", &binding.role)).transpose()?,
            member: parse::required("binding.member", &binding.member).map_err(|_: FieldError| {
                invalid("binding.member", "must be a name of a user, team or service account")
            })?,
            scope: scope("binding.scope", &binding.scope)?,
            expires: binding.expire_time.map(|at| parse::timestamp("binding.expire_time", &at)).transpose()?,
        })
    }
}

impl From<BindingDeleted> for pb::DeleteBindingResponse {
    fn from(BindingDeleted(revision): BindingDeleted) -> Self {
        Self { revision }
    }
}

asks_by_name! {
    DeleteBindingRequest => DeleteBinding;
    GetBindingRequest => GetBinding;
}

asks_for_listing! {
    ListBindingsRequest => ListBindings by FIELDS;
}

answers_one! {
    NamedBinding as binding: read GetBindingResponse;
    changed CreateBindingResponse;
}

answers_page!(NamedBinding as bindings: ListBindingsResponse);
