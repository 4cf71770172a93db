//! Versions of prices: what each set or took away, and from when on it counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{id::TenantId, prices::Price, time::Timestamp};

/// Furthest ahead that a version may take effect: ten years.
pub const FURTHEST: Duration = Duration::from_hours(10 * 365 * 24);

/// A price of one version, or that there is none from that version on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DatedPrice {
    /// The price. When it is removed, only its id, provider and model say anything.
    pub price: Price,
    /// The model has no price from then on.
    pub removed: bool,
    /// The tenant whose price it is; `None` for one of the list that is the same for every tenant.
    pub owner: Option<TenantId>,
    /// The owner's version that it is of.
    pub version: i64,
    /// From when on it counts, until the next one of the same owner, provider and model does.
    pub effective: Timestamp,
    /// When it was made; never later than `effective`.
    pub created: Timestamp,
}

impl DatedPrice {
    /// Of two prices for the same, the later in this order is the one that counts as soon as it does. An owner's prices get
    /// ids in the order of their versions.
    #[must_use]
    pub const fn order(&self) -> (Timestamp, i64) {
        (self.effective, self.price.id)
    }

    /// Whether it counts since it was made. Then it counts wherever it is known, whatever a clock shows there.
    #[must_use]
    pub fn at_once(&self) -> bool {
        self.effective <= self.created
    }
}

/// A version: what was imported at once, or brought back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PriceVersion {
    /// The tenant whose prices these are; `None` for the list that is the same for every tenant.
    pub owner: Option<TenantId>,
    /// 1, 2, 3 and so on.
    pub number: i64,
    /// From when on it counts.
    pub effective: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// Resource name of who made it; empty when that was not noted.
    pub actor: String,
    /// Position of its event in the audit log; 0 when that was not noted.
    pub audit_seq: i64,
    /// The version whose content it brought back, 0 for what was before the first, which is nothing; `None` for none.
    pub restores: Option<i64>,
    /// How many prices it set.
    pub sets: i64,
    /// How many prices it took away.
    pub removals: i64,
}

/// What a version changed of one model: at least one of the two is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceChange {
    /// The price before; `None` when there was none.
    pub before: Option<Price>,
    /// The price from then on; `None` when there is none.
    pub after: Option<Price>,
}
