//! Who calls, and from where.

use crate::domain::{bindings::Principal, id::TenantId, tokens::Basis};

/// An authenticated caller of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// What their token rests on.
    pub basis: Option<Basis>,
    /// The tenant they belong to.
    pub tenant: TenantId,
    /// Their resource name, for the audit log.
    pub name: String,
    /// Network address that the request came from.
    pub source: String,
    /// User agent of the request.
    pub user_agent: String,
    /// The request's id, for the audit log.
    pub request_id: String,
    /// How the request is to be taken.
    pub intent: Intent,
}

/// How a request is to be taken.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// The id under which it is carried out once; empty without one.
    pub once: String,
    /// Tells the request from others that are sent under the same id.
    pub fingerprint: String,
    /// Only look whether it could be carried out.
    pub validate_only: bool,
}
