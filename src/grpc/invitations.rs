//! What messages of invitations mean.

use super::{
    parse::{self, FieldError, invalid},
    users::{gift, teams},
};
use crate::{
    app::{
        Changed,
        invitations::{
            BatchCreateInvitations, CancelInvitation, CreateInvitation, GetInvitation, ListInvitations,
            NamedInvitation, NamedInvitations, ResendInvitation,
        },
        joining::AcceptInvitation,
        promises::Promise,
        users::NamedUser,
    },
    domain::{
        invitations::{InvitationState, MAX_AT_ONCE},
        listing::{Field, Kind},
        names::{RoleTemplateName, UserName},
        users::is_email,
    },
    pb::tollreeve::v1 as pb,
};

/// What lists of invitations can be asked by.
const FIELDS: &[Field] = &[
    Field { name: "email", kind: Kind::Email, sorts: true },
    Field { name: "create_time", kind: Kind::Time, sorts: true },
];

impl From<NamedInvitation> for pb::Invitation {
    fn from(named: NamedInvitation) -> Self {
        let (invitation, tenant) = (named.invitation, named.name.tenant.clone());
        let state = match invitation.state {
            InvitationState::Pending if named.expired => pb::InvitationState::Expired,
            InvitationState::Pending => pb::InvitationState::Pending,
            InvitationState::Accepted => pb::InvitationState::Accepted,
            InvitationState::Cancelled => pb::InvitationState::Cancelled,
            InvitationState::Void => pb::InvitationState::Void,
        };
        let template =
            invitation.template.map(|template| RoleTemplateName { tenant: tenant.clone(), template: template.slug });
        Self {
            name: named.name.to_string(),
            email: invitation.email,
            role: named.role,
            template: template.map(|name| name.to_string()).unwrap_or_default(),
            teams: named.teams,
            workspace: named.workspace,
            state: state.into(),
            user: UserName { tenant, user: invitation.user }.to_string(),
            inviter: named.inviter,
            create_time: Some(parse::to_wire(invitation.created)),
            expire_time: Some(parse::to_wire(invitation.expires)),
            etag: parse::etag(invitation.version),
            activation_link: named.link,
        }
    }
}

/// What an invitation promises; `at` is the field that it is in.
fn promise(at: &str, invitation: pb::Invitation) -> Result<Promise, FieldError> {
    let field = |name: &str| format!("{at}.{name}");
    if invitation.email.is_empty() {
        return Err(invalid(field("email"), "is required"));
    }
    if !is_email(&invitation.email) {
        return Err(invalid(field("email"), "is not an address of at most 254 characters"));
    }
    let workspace = match invitation.workspace.as_str() {
        "" => None,
        name => Some(parse::required(&field("workspace"), name)?),
    };
    let named = !(invitation.role.is_empty() && invitation.template.is_empty());
    Ok(Promise {
        gift: named.then(|| gift(&field(""), &invitation.role, &invitation.template)).transpose()?,
        teams: teams(&field("teams"), &invitation.teams)?,
        workspace,
        email: invitation.email,
    })
}

impl TryFrom<pb::CreateInvitationRequest> for CreateInvitation {
    type Error = FieldError;

    fn try_from(request: pb::CreateInvitationRequest) -> Result<Self, FieldError> {
        let invitation = parse::present("invitation", request.invitation)?;
        Ok(Self { parent: parse::required("parent", &request.parent)?, promise: promise("invitation", invitation)? })
    }
}

impl TryFrom<pb::BatchCreateInvitationsRequest> for BatchCreateInvitations {
    type Error = FieldError;

    fn try_from(request: pb::BatchCreateInvitationsRequest) -> Result<Self, FieldError> {
        let parent = parse::required("parent", &request.parent)?;
        if !(1..=MAX_AT_ONCE).contains(&request.invitations.len()) {
            return Err(invalid("invitations", format!("must be 1 to {MAX_AT_ONCE}")));
        }
        let numbered = request.invitations.into_iter().enumerate();
        let promises = numbered.map(|(i, invitation)| promise(&format!("invitations[{i}]"), invitation));
        Ok(Self { parent, promises: promises.collect::<Result<_, _>>()? })
    }
}

impl TryFrom<pb::ResendInvitationRequest> for ResendInvitation {
    type Error = FieldError;

    fn try_from(request: pb::ResendInvitationRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::CancelInvitationRequest> for CancelInvitation {
    type Error = FieldError;

    fn try_from(request: pb::CancelInvitationRequest) -> Result<Self, FieldError> {
        Ok(Self { name: parse::required("name", &request.name)?, version: parse::version(&request.etag) })
    }
}

impl TryFrom<pb::AcceptInvitationRequest> for AcceptInvitation {
    type Error = FieldError;

    fn try_from(request: pb::AcceptInvitationRequest) -> Result<Self, FieldError> {
        // Whatever is wrong with the token is told as for any other that is good for nothing.
        let display_name = match request.display_name {
            none if none.is_empty() => None,
            name => Some(parse::display_name("display_name", name, &"")?),
        };
        let password = (!request.password.is_empty()).then(|| request.password.into());
        Ok(Self { token: request.token, display_name, password })
    }
}

impl From<Changed<NamedInvitations>> for pb::BatchCreateInvitationsResponse {
    fn from(Changed { record, revision }: Changed<NamedInvitations>) -> Self {
        Self { invitations: record.0.into_iter().map(Into::into).collect(), revision }
    }
}

impl From<Changed<NamedUser>> for pb::AcceptInvitationResponse {
    fn from(Changed { record, revision }: Changed<NamedUser>) -> Self {
        Self { user: Some(record.into()), revision }
    }
}

asks_by_name! {
    GetInvitationRequest => GetInvitation;
}

intended!(CreateInvitationRequest, BatchCreateInvitationsRequest, ResendInvitationRequest, CancelInvitationRequest);

asks_for_listing! {
    ListInvitationsRequest => ListInvitations by FIELDS;
}

answers_one! {
    NamedInvitation as invitation: read GetInvitationResponse;
    changed CreateInvitationResponse, ResendInvitationResponse, CancelInvitationResponse;
}

answers_page!(NamedInvitation as invitations: ListInvitationsResponse);
