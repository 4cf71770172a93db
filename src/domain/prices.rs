//! Prices: what a model costs, and what a call used.

use serde::{Deserialize, Serialize};

use super::money::{MAX_AMOUNT, Nanos};

/// Units that a price is given for.
const MILLION: i128 = 1_000_000;
/// Most tokens or requests of one kind that a call may report.
pub const MAX_COUNT: i64 = 1_000_000_000_000;

/// What a model costs, in billionths of a US dollar per million units: prices far below a billionth of a dollar per
/// token stay exact.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Price {
    /// Grows with every new or changed price; a hold remembers it.
    pub id: i64,
    /// Who serves the model.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Per million input tokens.
    pub input: i64,
    /// Per million output tokens.
    pub output: i64,
    /// Per million input tokens read from the cache; as input when missing.
    pub cached_input: Option<i64>,
    /// Per million input tokens written to the cache; as input when missing.
    pub cache_write: Option<i64>,
    /// Per million requests.
    pub request: i64,
}

/// What a call used, or may use. Every count is 0 to [`MAX_COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens at the full price.
    pub input: i64,
    /// Input tokens read from the cache.
    pub cached_input: i64,
    /// Input tokens written to the cache.
    pub cache_write: i64,
    /// Output tokens, reasoning tokens among them.
    pub output: i64,
    /// Of the output tokens, those spent on reasoning.
    pub reasoning: i64,
    /// Model calls.
    pub requests: i64,
}

impl Usage {
    /// Tokens of every kind; reasoning tokens are output tokens.
    #[must_use]
    pub const fn tokens(&self) -> i64 {
        self.all_input().saturating_add(self.output)
    }

    /// Input tokens of every kind.
    #[must_use]
    pub const fn all_input(&self) -> i64 {
        self.input.saturating_add(self.cached_input).saturating_add(self.cache_write)
    }
}

impl Price {
    /// What `usage` costs, rounded up once to a whole billionth. An amount past [`MAX_AMOUNT`] stays there.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Nanos {
        let part = |count: i64, price: i64| i128::from(count) * i128::from(price);
        let sum = part(usage.input, self.input)
            + part(usage.cached_input, self.cached_input.unwrap_or(self.input))
            + part(usage.cache_write, self.cache_write.unwrap_or(self.input))
            + part(usage.output, self.output)
            + part(usage.requests, self.request);
        let nanos = (sum + MILLION - 1).div_euclid(MILLION);
        Nanos(i64::try_from(nanos).unwrap_or(i64::MAX).min(MAX_AMOUNT))
    }

    /// The most output tokens that `room` covers, beside the rest of `usage`. `None` when output costs nothing.
    #[must_use]
    pub fn affordable_output(&self, usage: &Usage, room: Nanos) -> Option<i64> {
        if self.output == 0 {
            return None;
        }
        let rest = Usage { output: 0, ..*usage };
        let exact_rest = i128::from(rest.input) * i128::from(self.input)
            + i128::from(rest.cached_input) * i128::from(self.cached_input.unwrap_or(self.input))
            + i128::from(rest.cache_write) * i128::from(self.cache_write.unwrap_or(self.input))
            + i128::from(rest.requests) * i128::from(self.request);
        let left = i128::from(room.0) * MILLION - exact_rest;
        Some(i64::try_from(left.div_euclid(i128::from(self.output))).unwrap_or(MAX_COUNT).clamp(0, MAX_COUNT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_exact_and_rounds_up_once() {
        // $2.50 and $10.00 per million tokens.
        let price = Price { input: 2_500_000_000, output: 10_000_000_000, ..Price::default() };
        let usage = Usage { input: 374, output: 44, requests: 1, ..Usage::default() };
        assert_eq!(price.cost(&usage), Nanos(374 * 2500 + 44 * 10_000));
        // A third of a billionth per token: one token costs one whole billionth, three million cost exactly a million.
        let tiny = Price { input: 333_333, ..Price::default() };
        assert_eq!(tiny.cost(&Usage { input: 1, ..Usage::default() }), Nanos(1));
        assert_eq!(tiny.cost(&Usage { input: 3_000_000, ..Usage::default() }), Nanos(999_999));
    }

    #[test]
    fn an_absurd_cost_stays_at_the_largest_amount() {
        let price = Price { input: MAX_AMOUNT, ..Price::default() };
        assert_eq!(price.cost(&Usage { input: MAX_COUNT, ..Usage::default() }), Nanos(MAX_AMOUNT));
    }

    #[test]
    fn affordable_output_costs_no_more_than_the_room_and_one_token_more_would() {
        let price = Price { input: 2_500_000_000, output: 10_000_000_001, request: 7, ..Price::default() };
        let usage = Usage { input: 100, requests: 1, ..Usage::default() };
        for room in [0, 250_001, 260_001, 1_000_000, 123_456_789] {
            let output = price.affordable_output(&usage, Nanos(room)).expect("output has a price");
            let with = |output| price.cost(&Usage { output, ..usage });
            assert!(output == 0 || with(output) <= Nanos(room), "{room}");
            assert!(with(output + 1) > Nanos(room), "{room}");
        }
    }
}
