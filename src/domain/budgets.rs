//! Budgets: limits on something, over a span of time.

use serde::{Deserialize, Serialize};

use super::{
    calendar::Calendar,
    credits::start_of,
    id::{BudgetId, KeyId, ProjectId, ServiceAccountId, TeamId, TenantId, UserId, WorkspaceId},
    money::Unit,
    time::Timestamp,
    window::{Period, Window},
    zone::Zone,
};

/// Most budgets on one scope: a decision looks at each.
pub const MAX_PER_SCOPE: usize = 16;

/// Most thresholds of a budget.
pub const MAX_THRESHOLDS: usize = 8;
/// The largest threshold, in percent.
pub const MAX_PERCENT: u16 = 1000;

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

/// Percentages of a limit whose crossing is reported: one to [`MAX_THRESHOLDS`], each 1 to [`MAX_PERCENT`], ascending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<u16>", into = "Vec<u16>")]
pub struct Thresholds([u16; MAX_THRESHOLDS]);

/// These cannot be the thresholds of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_THRESHOLDS} percentages, each 1 to {MAX_PERCENT} and none twice")]
pub struct BadThresholds;

impl Default for Thresholds {
    fn default() -> Self {
        Self([70, 90, 100, 0, 0, 0, 0, 0])
    }
}

/// How much of a limit is used, by what is told of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Less than the first threshold.
    Ok,
    /// The first threshold.
    Warning,
    /// The second threshold; where there is only one, that and the whole limit.
    Critical,
}

impl Thresholds {
    /// What a share of the limit, in percent, comes to.
    #[must_use]
    pub fn level(&self, percent: i64) -> Level {
        let mut all = self.iter().map(i64::from);
        let warning = all.next().unwrap_or(100);
        let critical = all.next().unwrap_or(warning.max(100));
        match percent {
            percent if percent >= critical => Level::Critical,
            percent if percent >= warning => Level::Warning,
            _ => Level::Ok,
        }
    }

    /// The percentages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.into_iter().filter(|percent| *percent != 0)
    }
}

impl TryFrom<Vec<u16>> for Thresholds {
    type Error = BadThresholds;

    /// In any order.
    fn try_from(mut percents: Vec<u16>) -> Result<Self, BadThresholds> {
        percents.sort_unstable();
        let fit = percents.iter().all(|percent| (1..=MAX_PERCENT).contains(percent));
        if percents.is_empty()
            || percents.len() > MAX_THRESHOLDS
            || !fit
            || percents.windows(2).any(|two| two[0] == two[1])
        {
            return Err(BadThresholds);
        }
        let mut all = [0; MAX_THRESHOLDS];
        all[..percents.len()].copy_from_slice(&percents);
        Ok(Self(all))
    }
}

impl From<Thresholds> for Vec<u16> {
    fn from(thresholds: Thresholds) -> Self {
        thresholds.iter().collect()
    }
}

/// How a budget runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Course {
    /// By whose clock its periods begin.
    pub zone: Zone,
    /// The day on which they do: see [`Calendar::anchor`].
    pub anchor: u8,
    /// What of the limit is told of when it is spent.
    pub thresholds: Thresholds,
    /// It counts, and refuses nothing.
    pub paused: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self { zone: Zone::UTC, anchor: 1, thresholds: Thresholds::default(), paused: false }
    }
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
    /// How it runs.
    #[serde(flatten)]
    pub course: Course,
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
    /// Whether it refuses what does not fit: a hard budget, as long as it is not paused.
    #[must_use]
    pub const fn binds(&self) -> bool {
        self.hard && !self.course.paused
    }

    /// The period that `at` falls in.
    #[must_use]
    pub fn period(&self, at: Timestamp) -> Period {
        let begun = |turn: &&Period| start_of(**turn) <= at;
        self.turns.iter().filter(begun).max().copied().unwrap_or_else(|| self.calendar().period(at))
    }

    /// What the ledger lets be allocated in a period: the limit of a budget that binds; another one has no ceiling.
    #[must_use]
    pub const fn cap(&self) -> i64 {
        if self.binds() { self.limit } else { super::money::MAX_AMOUNT }
    }

    /// How its window divides time.
    #[must_use]
    pub const fn calendar(&self) -> Calendar {
        Calendar { window: self.window, zone: self.course.zone, anchor: self.course.anchor }
    }
}

/// The least that is that many percent of a limit.
#[must_use]
pub fn amount_at(limit: i64, percent: u16) -> i64 {
    let hundredths = i128::from(limit) * i128::from(percent);
    i64::try_from((hundredths + 99) / 100).unwrap_or(i64::MAX)
}

/// The thresholds that a move from `before` to `after` crosses, under `limit`. A limit of zero has none.
pub fn crossings(thresholds: Thresholds, limit: i64, before: i64, after: i64) -> impl Iterator<Item = u16> {
    let at = move |spent: i64, percent: u16| i128::from(spent) * 100 >= i128::from(limit) * i128::from(percent);
    let all = thresholds.0.into_iter().filter(|percent| *percent != 0);
    all.filter(move |percent| limit > 0 && !at(before, *percent) && at(after, *percent))
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
    fn a_level_is_by_the_first_two_thresholds_or_by_the_one_there_is_and_the_limit() {
        let level = |percents: &[u16], percent| Thresholds::try_from(percents.to_vec()).expect("some").level(percent);
        for (percents, warning, critical) in [(&[70, 90, 100][..], 70, 90), (&[50], 50, 100), (&[20, 30], 20, 30)] {
            let of = |percent| level(percents, percent);
            assert_eq!((of(warning - 1), of(warning)), (Level::Ok, Level::Warning));
            assert_eq!((of(critical - 1), of(critical)), (Level::Warning, Level::Critical));
        }
        assert_eq!((level(&[150], 149), level(&[150], 150)), (Level::Ok, Level::Critical));
    }

    #[test]
    fn a_threshold_is_crossed_once_and_by_whoever_reaches_it() {
        let crossed = |before, after| crossings(Thresholds::default(), 1000, before, after).collect::<Vec<_>>();
        assert!(crossed(0, 699).is_empty());
        assert_eq!(crossed(699, 700), [70]);
        assert!(crossed(700, 899).is_empty());
        assert_eq!(crossed(0, 5000), [70, 90, 100]);
        assert_eq!(crossings(Thresholds::default(), 0, 0, 10).count(), 0);
        assert_eq!(crossings(Thresholds::default(), i64::MAX, 0, i64::MAX).count(), 3);
        let own = Thresholds::try_from(vec![1000, 50]).expect("thresholds");
        assert_eq!(crossings(own, 10, 0, 100).collect::<Vec<_>>(), [50, 1000]);
        assert_eq!((amount_at(10, 75), amount_at(i64::MAX, 1000), amount_at(0, 70)), (8, i64::MAX, 0));
    }

    #[test]
    fn thresholds_are_few_and_different_and_a_budget_of_before_has_the_usual_ones() {
        for bad in [vec![], vec![0], vec![1001], vec![70, 70], (1..=9).collect()] {
            assert_eq!(Thresholds::try_from(bad.clone()), Err(BadThresholds), "{bad:?}");
        }
        let own = Course { thresholds: Thresholds::try_from(vec![80, 5]).expect("thresholds"), ..Course::default() };
        assert!(Thresholds::default().iter().eq([70, 90, 100]));
        let text = serde_json::to_string(&own).expect("writes");
        assert!(text.contains("[5,80]"), "{text}");
        assert_eq!(serde_json::from_str::<Course>(&text).expect("reads"), own);
        assert_eq!(serde_json::from_str::<Course>("{}").expect("reads"), Course::default());
    }
}
