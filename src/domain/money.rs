//! Money and other amounts: whole numbers, checked arithmetic, no floats.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest amount accepted from outside: 4e18, so that the sum of any two fits an `i64`.
pub const MAX_AMOUNT: i64 = 4_000_000_000_000_000_000;

/// Billionths of a US dollar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// One US dollar.
    pub const DOLLAR: Self = Self(1_000_000_000);
}

impl fmt::Display for Nanos {
    /// Dollars with as many decimals as matter, at least two: `$1.50`, `$0.000375`, `-$2.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let dollars = self.0.unsigned_abs() / 1_000_000_000;
        let decimals = format!("{:09}", self.0.unsigned_abs() % 1_000_000_000);
        let kept = decimals.trim_end_matches('0').len().max(2);
        f.pad(&format!("{sign}${dollars}.{}", &decimals[..kept]))
    }
}

/// What a budget counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// [`Nanos`].
    Usd,
    /// Model calls.
    Requests,
    /// Tokens of every kind.
    Tokens,
}

impl Unit {
    /// Prints an amount of this unit for people.
    #[must_use]
    pub fn show(self, amount: i64) -> String {
        match self {
            Self::Usd => Nanos(amount).to_string(),
            Self::Requests => format!("{amount} requests"),
            Self::Tokens => format!("{amount} tokens"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_print_with_two_decimals_or_as_many_as_matter() {
        for (nanos, text) in [
            (0, "$0.00"),
            (1_500_000_000, "$1.50"),
            (375_000, "$0.000375"),
            (-2_000_000_000, "-$2.00"),
            (1, "$0.000000001"),
            (i64::MIN, "-$9223372036.854775808"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
    }
}
