//! Public keys of service accounts: whoever has the private one signs in as the account.

use serde::{Deserialize, Serialize};

use super::{
    id::{PublicKeyId, ServiceAccountId, TenantId},
    public_keys::PublicKey,
    time::Timestamp,
};

/// Most keys of one account: enough to replace one by another, and for a few places that it runs in.
pub const MAX_PER_ACCOUNT: usize = 8;

/// A public key of a service account; it never changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceAccountKey {
    /// Identity; an assertion names it.
    pub id: PublicKeyId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Whose it is.
    pub account: ServiceAccountId,
    /// Name for people.
    pub display_name: String,
    /// The key.
    pub public_key: PublicKey,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// When it was added.
    pub created: Timestamp,
}

impl ServiceAccountKey {
    /// Whether it has not ended.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}
