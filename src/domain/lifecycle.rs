//! What can be done to a tenant, a workspace, a project or a service account as a whole, and what comes of it.

use super::{
    branding::BrandingUpdate, policies::PolicyUpdate, projects::Project, service_accounts::ServiceAccount,
    spiffe::SpiffeId, tenants::Lifecycle, tenants::Tenant, time::Timestamp, workspaces::Workspace,
};

/// A change of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// What is said of it.
    Update(Box<Update>),
    /// Out of use, until it is reactivated.
    Suspend,
    /// Back in use.
    Reactivate,
    /// Out of use, until it is brought back as it was.
    Delete,
    /// Back as it was before it was deleted.
    Undelete,
}

/// What is to be said of a record; `None`: as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// Another name for people.
    pub display_name: Option<String>,
    /// Other policies, of a workspace.
    pub policies: Option<PolicyUpdate>,
    /// Other branding, of a tenant.
    pub branding: Option<BrandingUpdate>,
    /// Another SPIFFE id or none, of a service account.
    pub spiffe_id: Option<Option<SpiffeId>>,
}

/// A record that is deleted can only be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is deleted: undelete it first")]
pub struct IsDeleted;

impl Edit {
    /// What it is called in the audit log.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Update(_) => "update",
            Self::Suspend => "suspend",
            Self::Reactivate => "reactivate",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
        }
    }
}

/// A record with a name for people that can be suspended and deleted.
pub trait Living: Clone + PartialEq {
    /// Its name for people, its state, when it was deleted, and its version.
    fn parts(&mut self) -> (&mut String, &mut Lifecycle, &mut Option<Timestamp>, &mut i64);

    /// Lays policies down, where there are any.
    fn lay_down(&mut self, _: &PolicyUpdate) {}

    /// Takes on another look, where it has one.
    fn rebrand(&mut self, _: &BrandingUpdate) {}

    /// Takes a SPIFFE id, or gives its own up, where it can have one.
    fn take_spiffe_id(&mut self, _: Option<SpiffeId>) {}

    /// The record after an edit, with the next version; the same record when it is so already.
    ///
    /// # Errors
    /// [`IsDeleted`].
    fn edited(&self, edit: &Edit, now: Timestamp) -> Result<Self, IsDeleted> {
        let mut after = self.clone();
        let (display_name, state, deleted, _) = after.parts();
        if deleted.is_some() && !matches!(edit, Edit::Delete | Edit::Undelete) {
            return Err(IsDeleted);
        }
        match edit {
            Edit::Update(update) => {
                if let Some(name) = &update.display_name {
                    display_name.clone_from(name);
                }
                if let Some(policies) = &update.policies {
                    after.lay_down(policies);
                }
                if let Some(branding) = &update.branding {
                    after.rebrand(branding);
                }
                if let Some(id) = &update.spiffe_id {
                    after.take_spiffe_id(id.clone());
                }
            }
            Edit::Suspend => *state = Lifecycle::Suspended,
            Edit::Reactivate => *state = Lifecycle::Active,
            Edit::Delete => {
                *deleted = deleted.or(Some(now));
                // Free for a successor.
                after.take_spiffe_id(None);
            }
            Edit::Undelete => *deleted = None,
        }
        if after != *self {
            *after.parts().3 += 1;
        }
        Ok(after)
    }
}

macro_rules! living {
    ($($record:ident $({ $more:item })?),+) => {$(
        impl Living for $record {
            $($more)?

            fn parts(&mut self) -> (&mut String, &mut Lifecycle, &mut Option<Timestamp>, &mut i64) {
                (&mut self.display_name, &mut self.state, &mut self.deleted, &mut self.version)
            }
        }
    )+};
}

living!(
    Tenant {
        fn rebrand(&mut self, update: &BrandingUpdate) {
            self.branding.update(update);
        }
    },
    Workspace {
        fn lay_down(&mut self, update: &PolicyUpdate) {
            self.policies.update(update);
        }
    },
    Project,
    ServiceAccount {
        fn take_spiffe_id(&mut self, id: Option<SpiffeId>) {
            self.spiffe_id = id;
        }
    }
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{branding::Branding, id::TenantId};

    #[test]
    fn what_was_suspended_comes_back_suspended_and_what_is_so_already_stays_as_it_is() {
        let now = Timestamp::from_micros(7);
        let active = Tenant {
            id: TenantId::from_bits(1),
            slug: "acme".parse().expect("a slug"),
            display_name: "Acme".into(),
            branding: Branding::default(),
            state: Lifecycle::Active,
            deleted: None,
            created: now,
            version: 1,
        };
        let after = |tenant: &Tenant, edit| tenant.edited(&edit, now);
        let suspended = after(&active, Edit::Suspend).expect("not deleted");
        assert_eq!((suspended.state, suspended.version), (Lifecycle::Suspended, 2));
        assert_eq!(after(&suspended, Edit::Suspend).as_ref(), Ok(&suspended));
        let deleted = after(&suspended, Edit::Delete).expect("not deleted");
        assert_eq!((deleted.deleted, deleted.in_use()), (Some(now), false));
        for edit in [Edit::Suspend, Edit::Reactivate, Edit::Update(Box::default())] {
            assert_eq!(after(&deleted, edit), Err(IsDeleted));
        }
        let back = after(&deleted, Edit::Undelete).expect("comes back");
        assert_eq!(back, Tenant { version: 4, ..suspended });
    }
}
