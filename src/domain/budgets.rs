//! Budgets: limits on something, over a span of time.

use serde::{Deserialize, Serialize};

use super::{
    credits::start_of,
    id::{BudgetId, KeyId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    money::Unit,
    time::Timestamp,
    window::{Period, Window},
};

/// Most budgets on one scope: a decision looks at each.
pub const MAX_PER_SCOPE: usize = 16;

/// Percentages of the limit whose crossing is reported.
pub const THRESHOLDS: [i64; 3] = [70, 90, 100];

/// What a budget limits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// Everything in the tenant.
    Tenant,
    /// A workspace.
    Workspace(WorkspaceId),
    /// A project.
    Project(ProjectId),
    /// The calls of a team's members.
    Team(TeamId),
    /// The calls with a person's keys.
    User(UserId),
    /// The calls with a program's keys.
    ServiceAccount(ServiceAccountId),
    /// The calls with one key.
    Key(KeyId),
    /// The calls made for one user of the tenant's clients.
    EndUser(String),
}

/// What becomes of the rest of a hold whose call was never charged to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It is free again.
    #[default]
    Release,
    /// It counts as spent.
    ChargeFull,
}

/// A limit on something, over a span of time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Identity.
    pub id: BudgetId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// What it limits.
    pub scope: BudgetScope,
    /// What it counts.
    pub unit: Unit,
    /// Over what span.
    pub window: Window,
    /// Most that may be spent and held in a period, in `unit`; 0 to [`super::money::MAX_AMOUNT`].
    pub limit: i64,
    /// Whether it refuses, or only warns.
    pub hard: bool,
    /// Whether it is a workspace's credit pool.
    pub credit: bool,
    /// What becomes of a hold on it that is never charged.
    #[serde(default)]
    pub on_expiry: OnExpiry,
    /// Of a credit pool: the periods that begin when credit expires, the one that runs first unless it is the first of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Period>,
    /// Name for people.
    pub display_name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

impl Budget {
    /// The period that `at` falls in.
    #[must_use]
    pub fn period(&self, at: Timestamp) -> Period {
        let begun = |turn: &&Period| start_of(**turn) <= at;
        self.turns.iter().filter(begun).max().copied().unwrap_or_else(|| self.window.period(at))
    }

    /// What the ledger lets be allocated in a period: the limit of a hard budget; a soft one has no ceiling.
    #[must_use]
    pub const fn cap(&self) -> i64 {
        if self.hard { self.limit } else { super::money::MAX_AMOUNT }
    }
}

/// The thresholds that a move from `before` to `after` crosses, under `limit`. A limit of zero has none.
pub fn crossings(limit: i64, before: i64, after: i64) -> impl Iterator<Item = i64> {
    let at = move |spent: i64, percent: i64| i128::from(spent) * 100 >= i128::from(limit) * i128::from(percent);
    THRESHOLDS.into_iter().filter(move |percent| limit > 0 && !at(before, *percent) && at(after, *percent))
}

/// The share of a limit that is spent, in whole percent, rounded down; of nothing everything is spent.
#[must_use]
pub fn used_percent(limit: i64, spent: i64) -> i64 {
    let percent = (i128::from(spent) * 100).checked_div(i128::from(limit)).unwrap_or(100);
    i64::try_from(percent).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_of_nothing_everything_is_spent() {
        let used = |limit, spent| used_percent(limit, spent);
        assert_eq!((used(1000, 0), used(1000, 699), used(1000, 700), used(1000, 1500)), (0, 69, 70, 150));
        assert_eq!((used(0, 0), used(1, i64::MAX), used(i64::MAX, i64::MAX)), (100, i64::MAX, 100));
    }

    #[test]
    fn a_threshold_is_crossed_once_and_by_whoever_reaches_it() {
        let crossed = |before, after| crossings(1000, before, after).collect::<Vec<_>>();
        assert!(crossed(0, 699).is_empty());
        assert_eq!(crossed(699, 700), [70]);
        assert!(crossed(700, 899).is_empty());
        assert_eq!(crossed(0, 5000), [70, 90, 100]);
        assert_eq!(crossings(0, 0, 10).count(), 0);
        assert_eq!(crossings(i64::MAX, 0, i64::MAX).count(), 3);
    }
}
