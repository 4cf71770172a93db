//! Whether the server's books say what the sidecars were told.

use std::{collections::BTreeMap, ops::AddAssign};

use anyhow::Context as _;

use super::{plan::ModelShare, tally::Tally};
use crate::{
    cli::{
        client::{Connection, failed},
        demo::{PRODUCTION, TENANT},
    },
    pb::tollreeve::v1 as pb,
};

/// Charges, added up. Wider than the contract's numbers: sums of what was told cannot overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Charged {
    /// How many charges.
    pub charges: i128,
    /// Input tokens of every kind.
    pub input_tokens: i128,
    /// Output tokens.
    pub output_tokens: i128,
    /// Billionths of a US dollar.
    pub nanos: i128,
}

impl AddAssign for Charged {
    fn add_assign(&mut self, other: Self) {
        self.charges += other.charges;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.nanos += other.nanos;
    }
}

impl From<&pb::ChargeSum> for Charged {
    fn from(sum: &pb::ChargeSum) -> Self {
        Self {
            charges: sum.charges.into(),
            input_tokens: sum.input_tokens.into(),
            output_tokens: sum.output_tokens.into(),
            nanos: sum.cost_nanos.into(),
        }
    }
}

/// Sums by name of what they are for.
pub type Sums = BTreeMap<String, Charged>;

/// A number on which the server and the sidecars disagree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What the sum is for; empty for everything.
    pub group: String,
    /// Which of its numbers.
    pub what: &'static str,
    /// According to the sidecars.
    pub told: i128,
    /// According to the server.
    pub booked: i128,
}

/// Every number on which the two disagree. What one of them does not have counts as zero there.
#[must_use]
pub fn compare(told: &Sums, booked: &Sums) -> Vec<Difference> {
    let mut differences = Vec::new();
    let only_booked = booked.keys().filter(|group| !told.contains_key(*group));
    for group in told.keys().chain(only_booked) {
        let [told, booked] = [told, booked].map(|sums| sums.get(group).copied().unwrap_or_default());
        for (what, told, booked) in [
            ("charges", told.charges, booked.charges),
            ("input tokens", told.input_tokens, booked.input_tokens),
            ("output tokens", told.output_tokens, booked.output_tokens),
            ("nano-dollars", told.nanos, booked.nanos),
        ] {
            if told != booked {
                differences.push(Difference { group: group.clone(), what, told, booked });
            }
        }
    }
    differences
}

/// Asks the server for its books of the run and compares them, in total, by project and by model.
///
/// # Errors
/// When the server does not answer.
pub async fn check(
    connection: &Connection,
    end_user: &str,
    mix: &[ModelShare],
    tally: &Tally,
) -> anyhow::Result<Vec<Difference>> {
    let mut total = Sums::new();
    let mut projects = Sums::new();
    let mut models = Sums::new();
    // A group whose calls were all refused has no books.
    for (group, cell) in tally.cells.iter().filter(|(_, cell)| cell.charged.charges > 0) {
        *total.entry(String::new()).or_default() += cell.charged;
        *projects.entry(format!("{PRODUCTION}/projects/{}", group.project)).or_default() += cell.charged;
        *models.entry(mix[group.model].model.clone()).or_default() += cell.charged;
    }
    let mut differences = Vec::new();
    for (told, grouping) in [
        (total, pb::ChargeGrouping::Unspecified),
        (projects, pb::ChargeGrouping::Project),
        (models, pb::ChargeGrouping::Model),
    ] {
        let booked = booked(connection, end_user, grouping).await.context("the books could not be compared")?;
        differences.extend(compare(&told, &booked));
    }
    Ok(differences)
}

async fn booked(connection: &Connection, end_user: &str, grouping: pb::ChargeGrouping) -> anyhow::Result<Sums> {
    let request = pb::SummarizeChargesRequest {
        parent: TENANT.into(),
        grouping: grouping.into(),
        end_user: end_user.into(),
        ..pb::SummarizeChargesRequest::default()
    };
    let answer = connection.budgets().summarize_charges(request).await.map_err(failed("cannot sum up the charges"))?;
    Ok(answer.into_inner().sums.iter().map(|sum| (sum.group.clone(), Charged::from(sum))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums<const N: usize>(of: [(&str, i128); N]) -> Sums {
        of.into_iter()
            .map(|(group, nanos)| (group.to_owned(), Charged { charges: 1, nanos, ..Charged::default() }))
            .collect()
    }

    #[test]
    fn books_that_agree_have_no_differences() {
        assert_eq!(compare(&sums([("a", 5), ("b", 7)]), &sums([("b", 7), ("a", 5)])), []);
        assert_eq!(compare(&Sums::new(), &Sums::new()), []);
    }

    #[test]
    fn a_nano_dollar_more_or_a_group_that_only_one_side_has_is_a_difference() {
        let found = compare(&sums([("a", 5), ("b", 7)]), &sums([("b", 8), ("c", 0)]));
        let difference = |group: &str, what, told, booked| Difference { group: group.into(), what, told, booked };
        assert_eq!(
            found,
            [
                difference("a", "charges", 1, 0),
                difference("a", "nano-dollars", 5, 0),
                difference("b", "nano-dollars", 7, 8),
                difference("c", "charges", 0, 1),
            ]
        );
    }
}
