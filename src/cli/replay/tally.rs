//! What the sidecars of a replay were told, added up.

use std::{collections::BTreeMap, iter::Sum, ops::AddAssign, time::Duration};

use tonic::Status;

use super::books::Charged;
use crate::{cli::authorize::denial_name, domain::trace::TracedCall, pb::tollreeve::v1 as pb};

/// Whose calls are added up together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Group {
    /// Id of the team that owns the key.
    pub team: &'static str,
    /// Id of the project that the call is tagged with.
    pub project: &'static str,
    /// The model, as its place in the run's mix.
    pub model: usize,
}

/// What became of some calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// Calls that were played.
    pub calls: u64,
    /// Of these, calls that were refused.
    pub refused: u64,
    /// Of these, calls that got no decision, or whose charge was not acknowledged.
    pub failed: u64,
    /// What was charged for the others.
    pub charged: Charged,
}

impl AddAssign for Cell {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.refused += other.refused;
        self.failed += other.failed;
        self.charged += other.charged;
    }
}

impl Sum for Cell {
    fn sum<I: Iterator<Item = Self>>(cells: I) -> Self {
        cells.fold(Self::default(), |mut sum, cell| {
            sum += cell;
            sum
        })
    }
}

impl Cell {
    /// Calls that were allowed and charged, or refused.
    #[must_use]
    pub const fn decided(&self) -> u64 {
        self.calls - self.failed
    }
}

/// A reason for refusals: the code, and what it is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Reason {
    /// `BUDGET_EXHAUSTED`.
    pub code: &'static str,
    /// Resource name of what it is about.
    pub scope: String,
    /// Unit of the limit, when a budget refused.
    pub unit: i32,
    /// The limit, when a budget refused.
    pub limit: i64,
}

/// Times that answers took, in microseconds, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many there are, and the times within which 50, 90, 99 and 100 percent of them lie. `None` without any.
    #[must_use]
    pub fn percentiles(mut self) -> Option<(usize, [u32; 4])> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        // The nearest rank: the smallest value that at least so many percent do not pass.
        let at = |percent: usize| self.0[(self.0.len() * percent).div_ceil(100).saturating_sub(1).min(last)];
        Some((self.0.len(), [50, 90, 99, 100].map(at)))
    }
}

/// What some sidecars were told.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What became of the calls of each group.
    pub cells: BTreeMap<Group, Cell>,
    /// How often each reason was given; a refusal may have several.
    pub reasons: BTreeMap<Reason, u64>,
    /// How often each error ended a call.
    pub failures: BTreeMap<String, u64>,
    /// How often each status of a charge came.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Of the authorizations that were answered.
    pub authorize: Latencies,
    /// Of the charges that were answered.
    pub charge: Latencies,
    /// Attempts after the first.
    pub retries: u64,
    /// Charges that were sent and never acknowledged: they may be in the books.
    pub unacknowledged: u64,
    /// The longest that a call started after it was due.
    pub late: Duration,
}

impl Tally {
    /// Notes a refusal.
    pub fn refuse(&mut self, group: Group, denials: Vec<pb::Denial>) {
        *self.cells.entry(group).or_default() += Cell { calls: 1, refused: 1, ..Cell::default() };
        for denial in denials {
            let code = denial_name(&denial);
            let reason = Reason { code, scope: denial.scope, unit: denial.unit, limit: denial.limit };
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Notes an acknowledged charge for `call`.
    pub fn charge(&mut self, group: Group, call: &TracedCall, answer: &pb::ChargeResponse) {
        let charged = Charged {
            charges: 1,
            input_tokens: call.input_tokens.into(),
            output_tokens: call.output_tokens.into(),
            nanos: answer.charged_nanos.into(),
        };
        *self.cells.entry(group).or_default() += Cell { calls: 1, charged, ..Cell::default() };
        *self.statuses.entry(answer.status().as_str_name().trim_start_matches("CHARGE_STATUS_")).or_default() += 1;
    }

    /// Notes a call that ended with an error, while doing `what`.
    pub fn fail(&mut self, group: Group, what: &str, status: &Status) {
        *self.cells.entry(group).or_default() += Cell { calls: 1, failed: 1, ..Cell::default() };
        *self.failures.entry(format!("{what}: {}", crate::cli::client::explain(status))).or_default() += 1;
    }

    /// Everything over all groups.
    #[must_use]
    pub fn total(&self) -> Cell {
        self.cells.values().copied().sum()
    }

    /// Adds what other sidecars were told.
    pub fn merge(&mut self, other: Self) {
        for (group, cell) in other.cells {
            *self.cells.entry(group).or_default() += cell;
        }
        add_counts(&mut self.reasons, other.reasons);
        add_counts(&mut self.failures, other.failures);
        add_counts(&mut self.statuses, other.statuses);
        self.authorize.0.extend(other.authorize.0);
        self.charge.0.extend(other.charge.0);
        self.retries += other.retries;
        self.unacknowledged += other.unacknowledged;
        self.late = self.late.max(other.late);
    }
}

fn add_counts<K: Ord>(counts: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *counts.entry(key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Group = Group { team: "search", project: "search-assistant", model: 0 };

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Latencies::default().percentiles(), None);
        let of = |micros: &[u32]| Latencies(micros.to_vec()).percentiles();
        assert_eq!(of(&[7]), Some((1, [7; 4])));
        assert_eq!(of(&[4, 1, 3, 2]), Some((4, [2, 4, 4, 4])));
        let hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), Some((100, [50, 90, 99, 100])));
        let mut long = Latencies::default();
        long.note(Duration::from_secs(1_000_000));
        assert_eq!(long.percentiles(), Some((1, [u32::MAX; 4])));
    }

    #[test]
    fn what_two_sidecars_were_told_adds_up() {
        let call = TracedCall { offset_micros: 0, input_tokens: 10, output_tokens: 3 };
        let answer = pb::ChargeResponse { charged_nanos: i64::MAX, status: 1, ..pb::ChargeResponse::default() };
        let denial = pb::Denial { code: pb::DenialCode::BudgetExhausted.into(), ..pb::Denial::default() };
        let mut one = Tally::default();
        one.charge(GROUP, &call, &answer);
        one.refuse(GROUP, vec![denial.clone(), denial]);
        one.fail(GROUP, "charge", &Status::internal("boom"));
        let mut both = one.clone();
        both.merge(one);
        let total = both.total();
        assert_eq!((total.calls, total.refused, total.failed), (6, 2, 2));
        assert_eq!(total.charged.nanos, 2 * i128::from(i64::MAX));
        assert_eq!((total.charged.charges, total.charged.input_tokens, total.charged.output_tokens), (2, 20, 6));
        assert_eq!(both.reasons.values().copied().collect::<Vec<_>>(), [4]);
        assert_eq!(both.statuses.get("APPLIED"), Some(&2));
    }
}
