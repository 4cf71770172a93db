//! Which service account the bearer of a certificate is.

use hashbrown::HashMap;

use super::Gate;
use crate::domain::{bindings::Principal, id::ServiceAccountId, spiffe::SpiffeId};

/// The SPIFFE ids of service accounts, both ways.
#[derive(Default)]
pub struct SpiffeIds {
    accounts: HashMap<SpiffeId, ServiceAccountId>,
    ids: HashMap<ServiceAccountId, SpiffeId>,
}

impl SpiffeIds {
    /// Notes the id of an account, in place of the one that it had.
    pub fn put(&mut self, account: ServiceAccountId, id: Option<&SpiffeId>) {
        if self.ids.get(&account) == id {
            return;
        }
        if let Some(old) = self.ids.remove(&account)
            && self.accounts.get(&old) == Some(&account)
        {
            self.accounts.remove(&old);
        }
        if let Some(id) = id {
            // Whoever had it has been purged: nobody tells memory of that.
            if let Some(gone) = self.accounts.insert(id.clone(), account) {
                self.ids.remove(&gone);
            }
            self.ids.insert(account, id.clone());
        }
    }

    /// Whose an id is.
    #[must_use]
    pub fn account(&self, id: &SpiffeId) -> Option<ServiceAccountId> {
        self.accounts.get(id).copied()
    }
}

impl<J> Gate<J> {
    /// The service account that a certificate with this id names. Whether it may act is still to be asked.
    #[must_use]
    pub fn named_by(&self, id: &SpiffeId) -> Option<Principal> {
        self.read().spiffe_ids.account(id).map(Principal::ServiceAccount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_one_account_and_an_account_has_one_id() {
        let (first, second) = (ServiceAccountId::from_bits(1), ServiceAccountId::from_bits(2));
        let id = |path: &str| format!("spiffe://prod.example/{path}").parse::<SpiffeId>().expect("an id");
        let (a, b) = (id("a"), id("b"));
        let mut ids = SpiffeIds::default();
        ids.put(first, Some(&a));
        assert_eq!((ids.account(&a), ids.account(&b)), (Some(first), None));
        ids.put(first, Some(&b));
        assert_eq!((ids.account(&a), ids.account(&b)), (None, Some(first)));
        // Taken over from one that is gone; its own end takes nothing away any more.
        ids.put(second, Some(&b));
        ids.put(first, None);
        assert_eq!(ids.account(&b), Some(second));
        ids.put(second, None);
        assert_eq!(ids.account(&b), None);
    }
}
