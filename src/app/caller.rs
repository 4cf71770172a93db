//! Who calls, and from where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::domain::{
    bindings::Principal,
    id::{TenantId, UserId},
    names::{Slug, UserName},
    tokens::Basis,
    users::User,
};

/// Where a request comes from, of whose caller nothing is known yet.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Network address, with the port.
    pub address: Option<SocketAddr>,
    /// User agent of the request.
    pub user_agent: String,
    /// The request's id, for the audit log.
    pub request_id: String,
    /// The trace that the request is part of, 32 hexadecimal digits; empty without one.
    pub trace_id: String,
}

impl Origin {
    /// The network address; `0.0.0.0` where there is none.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip().to_canonical())
    }

    /// As a caller who has proven who they are, by what may rest on something.
    #[must_use]
    pub fn proven(&self, principal: Principal, basis: Option<Basis>, tenant: TenantId, name: String) -> Caller {
        let Self { address, user_agent, request_id, trace_id } = self.clone();
        Caller { principal, basis, tenant, name, address, user_agent, request_id, trace_id, intent: Intent::default() }
    }

    /// As a user who has proven who they are.
    #[must_use]
    pub fn user(&self, user: &User, tenant: &Slug) -> Caller {
        let name = UserName { tenant: tenant.clone(), user: user.id };
        self.proven(Principal::User(user.id), None, user.tenant, name.to_string())
    }

    /// As the server itself, which does what is due in a tenant; holds nothing.
    #[must_use]
    pub fn server(&self, tenant: TenantId) -> Caller {
        self.proven(Principal::User(UserId::from_bits(0)), None, tenant, "server".to_owned())
    }

    /// As whoever runs a command where the database is; holds nothing.
    #[must_use]
    pub fn command() -> Caller {
        let nobody = Principal::User(UserId::from_bits(0));
        Self::default().proven(nobody, None, TenantId::from_bits(0), "tollreeve".to_owned())
    }

    /// As somebody who has proven nothing, and holds nothing.
    #[must_use]
    pub fn anonymous(&self) -> Caller {
        self.proven(Principal::User(UserId::from_bits(0)), None, TenantId::from_bits(0), "anonymous".to_owned())
    }
}

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
    /// Network address that the request came from, with the port.
    pub address: Option<SocketAddr>,
    /// User agent of the request.
    pub user_agent: String,
    /// The request's id, for the audit log.
    pub request_id: String,
    /// The trace that the request is part of, as [`Origin::trace_id`].
    pub trace_id: String,
    /// How the request is to be taken.
    pub intent: Intent,
}

impl Caller {
    /// Where the request came from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let Self { address, user_agent, request_id, trace_id, .. } = self.clone();
        Origin { address, user_agent, request_id, trace_id }
    }
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
