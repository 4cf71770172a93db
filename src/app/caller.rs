//! Who calls, and from where.

use crate::domain::{bindings::Principal, id::TenantId};

/// An authenticated caller of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
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
}
