//! Prices: what a model costs, and what a call used.

use serde::{Deserialize, Serialize};

use super::{
    meters::{Counts, Meter, Metered, Tier},
    money::{MAX_AMOUNT, Nanos},
};

/// Units that a price is given for.
const MILLION: i128 = 1_000_000;
/// Time is counted in thousandths of what it is priced by.
const MILLI: i128 = 1_000;
/// Most tokens or requests of one kind that a call may report.
pub const MAX_COUNT: i64 = 1_000_000_000_000;
/// Longest provider, in characters.
pub const MAX_PROVIDER: usize = 64;
/// Longest model, in characters.
pub const MAX_MODEL: usize = 256;
/// Most rates of a price.
pub const MAX_RATES: usize = 128;

/// What a model costs, in billionths of a US dollar per million units: prices far below a billionth of a dollar per
/// token stay exact.
///
/// What nearly every call is billed by stands in the record itself; tiers of service, long contexts and other meters are
/// behind one pointer, which most models do without and most calls need not follow far.
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
    /// Every other rate, those of the longest contexts first: see [`Price::with_rates`].
    #[serde(default, skip_serializing_if = "<[Rate]>::is_empty")]
    pub rates: Box<[Rate]>,
}

/// What a million units by one meter cost, in one tier, from one length of the context on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "(Meter, Tier, i64, i64)", into = "(Meter, Tier, i64, i64)")]
pub struct Rate {
    /// What is counted.
    pub meter: Meter,
    /// In which tier.
    pub tier: Tier,
    /// Only of calls with more input tokens of every kind than this; 0 for all.
    pub above: i64,
    /// Billionths of a US dollar per million units, or per million seconds.
    pub nanos: i64,
}

impl From<(Meter, Tier, i64, i64)> for Rate {
    fn from((meter, tier, above, nanos): (Meter, Tier, i64, i64)) -> Self {
        Self { meter, tier, above, nanos }
    }
}

impl From<Rate> for (Meter, Tier, i64, i64) {
    fn from(rate: Rate) -> Self {
        (rate.meter, rate.tier, rate.above, rate.nanos)
    }
}

/// What a call to a model without a price is charged, where a workspace lays that down: every token of input, of output; and
/// nothing by other meters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    /// Per million input tokens of every kind, in billionths of a US dollar; 0 to [`MAX_AMOUNT`].
    pub input: i64,
    /// Per million output tokens, likewise.
    pub output: i64,
}

impl Ceiling {
    /// The same as a price, of no model.
    #[must_use]
    pub fn price(self) -> Price {
        Price { input: self.input, output: self.output, ..Price::default() }
    }
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

impl Rate {
    /// Whether it is what the record of a price has a field for.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.meter.is_plain() && self.tier == Tier::Standard && self.above == 0
    }
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

    /// The plain count of a meter.
    #[must_use]
    pub const fn plain(&self, meter: Meter) -> i64 {
        match meter {
            Meter::Input => self.input,
            Meter::Output => self.output,
            Meter::CachedInput => self.cached_input,
            Meter::CacheWrite => self.cache_write,
            Meter::Requests => self.requests,
            Meter::Reasoning => self.reasoning,
            _ => 0,
        }
    }
}

impl Price {
    /// The same with these rates, in the order in which they are looked at. Invariant: none is of a plain meter in the
    /// standard tier at every length, which the record has a field for; and none is for the same as another.
    #[must_use]
    pub fn with_rates(mut self, mut rates: Vec<Rate>) -> Self {
        rates.sort_unstable_by(|a, b| b.above.cmp(&a.above).then(a.cmp(b)));
        self.rates = rates.into();
        self
    }

    /// Whether the other costs the same.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        Self { id: other.id, ..self.clone() } == *other
    }

    /// What `usage` costs, rounded up once to a whole billionth. An amount past [`MAX_AMOUNT`] stays there.
    #[must_use]
    pub fn cost(&self, usage: &Usage, metered: &Metered) -> Nanos {
        let (sum, unit) =
            if self.is_simple(usage, metered) { (self.simple_sum(usage), MILLION) } else { self.sum(usage, metered) };
        let nanos = (sum + unit - 1).div_euclid(unit);
        Nanos(i64::try_from(nanos).unwrap_or(i64::MAX).min(MAX_AMOUNT))
    }

    /// Whether no rate beside those of the record itself can have a say.
    fn is_simple(&self, usage: &Usage, metered: &Metered) -> bool {
        let long = |rate: &&Rate| rate.above > 0;
        metered.is_plain()
            && (self.rates.is_empty()
                || usage.reasoning == 0
                    && !self.rates.iter().take_while(long).any(|rate| rate.above < usage.all_input()))
    }

    /// In millionths of a nano-dollar.
    fn simple_sum(&self, usage: &Usage) -> i128 {
        let part = |count: i64, price: i64| i128::from(count) * i128::from(price);
        part(usage.input, self.input)
            + part(usage.cached_input, self.cached_input.unwrap_or(self.input))
            + part(usage.cache_write, self.cache_write.unwrap_or(self.input))
            + part(usage.output, self.output)
            + part(usage.requests, self.request)
    }

    /// The exact cost, and how much of it is a nano-dollar. Tokens that have a meter of their own are not counted with the
    /// others.
    fn sum(&self, usage: &Usage, metered: &Metered) -> (i128, i128) {
        let length = usage.all_input();
        let part = |meter: Meter, count: i64| {
            let exact = i128::from(count) * i128::from(self.rate(meter, metered.tier, length));
            if meter.counts() == Counts::Milliseconds { exact } else { exact.saturating_mul(MILLI) }
        };
        let mut sum = 0i128;
        for meter in [Meter::Input, Meter::Output, Meter::CachedInput, Meter::CacheWrite, Meter::Requests] {
            let apart = metered.among(meter).saturating_add(if meter == Meter::Output { usage.reasoning } else { 0 });
            sum = sum.saturating_add(part(meter, usage.plain(meter).saturating_sub(apart).max(0)));
        }
        sum = sum.saturating_add(part(Meter::Reasoning, usage.reasoning));
        for (meter, amount) in &metered.quantities {
            sum = sum.saturating_add(part(*meter, *amount));
        }
        // Saturated sums stay below what is added to round them.
        (sum.min(i128::MAX / 2), MILLION * MILLI)
    }

    /// What a million units by a meter cost: of the rates of the tier and of the standard tier, the one for the longest
    /// context that this one exceeds, and of two for the same length the tier's. Without any, as what it is a part of;
    /// and nothing, if it is a part of nothing.
    #[must_use]
    pub fn rate(&self, meter: Meter, tier: Tier, length: i64) -> i64 {
        let fits = |rate: &&Rate| {
            rate.meter == meter
                && (rate.tier == tier || rate.tier == Tier::Standard)
                && (rate.above == 0 || rate.above < length)
        };
        let best = self.rates.iter().filter(fits).max_by_key(|rate| (rate.above, rate.tier == tier));
        let own = match meter {
            Meter::Input => Some(self.input),
            Meter::Output => Some(self.output),
            Meter::CachedInput => self.cached_input,
            Meter::CacheWrite => self.cache_write,
            Meter::Requests => Some(self.request),
            _ => None,
        };
        match (best.map(|rate| rate.nanos).or(own), meter.priced_as()) {
            (Some(nanos), _) => nanos,
            (None, Some(whole)) => self.rate(whole, tier, length),
            (None, None) => 0,
        }
    }

    /// The most output tokens that `room` covers, beside the rest of `usage`. `None` when output costs nothing.
    #[must_use]
    pub fn affordable_output(&self, usage: &Usage, metered: &Metered, room: Nanos) -> Option<i64> {
        if self.is_simple(usage, metered) {
            if self.output == 0 {
                return None;
            }
            let rest = self.simple_sum(&Usage { output: 0, ..*usage });
            let left = i128::from(room.0) * MILLION - rest;
            return Some(
                i64::try_from(left.div_euclid(i128::from(self.output))).unwrap_or(MAX_COUNT).clamp(0, MAX_COUNT),
            );
        }
        if self.rate(Meter::Output, metered.tier, usage.all_input()) == 0 {
            return None;
        }
        // What it costs grows with the output, whatever the rates are: the length of a context is that of its input.
        let fits = |output: i64| self.cost(&Usage { output, ..*usage }, metered) <= room;
        let (mut fitting, mut beyond) = (0, MAX_COUNT + 1);
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if fits(middle) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        Some(fitting)
    }
}

#[cfg(test)]
mod tests;
