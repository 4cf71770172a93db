//! What is called, with what, and when.

use std::{fmt, str::FromStr, time::Duration};

use crate::domain::trace::TracedCall;

/// Clients leave room for at least this many output tokens.
const LEAST_OUTPUT_BOUND: u64 = 256;
/// Slowest and fastest factor. Outside of these a replay would not end, or means `max`.
const FACTORS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// How fast a trace is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speed {
    /// This many times as fast as it was recorded.
    Times(f64),
    /// As fast as the answers come.
    Max,
}

impl Speed {
    /// When, counted from the start of the replay, a call is due that was made `offset_micros` after the trace's first.
    #[must_use]
    pub fn due(self, offset_micros: i64) -> Duration {
        match self {
            // No overflow: an offset in microseconds is at most 2^63, and the factor at least a thousandth.
            Self::Times(factor) => Duration::from_micros(u64::try_from(offset_micros).unwrap_or(0)).div_f64(factor),
            Self::Max => Duration::ZERO,
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.strip_suffix('x').unwrap_or(text).parse().ok().filter(|factor| FACTORS.contains(factor));
        factor
            .map(Self::Times)
            .ok_or_else(|| format!("must be `max` or a factor from {} to {}", FACTORS.start(), FACTORS.end()))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(factor) => write!(f, "{factor} times as fast as recorded"),
            Self::Max => f.write_str("as fast as it goes"),
        }
    }
}

/// A model, and how often it is called in comparison with the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelShare {
    /// Provider; empty for any that has the model.
    pub provider: String,
    /// Model.
    pub model: String,
    /// Share; at least 1.
    pub weight: u32,
}

impl FromStr for ModelShare {
    type Err = String;

    /// Reads `PROVIDER/MODEL=WEIGHT`; the weight is 1 when it is missing, the provider any.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, weight) = text.rsplit_once('=').unwrap_or((text, "1"));
        let (provider, model) = name.split_once('/').unwrap_or(("", name));
        let weight =
            weight.parse().ok().filter(|weight| *weight > 0).ok_or("the weight must be a whole number above 0")?;
        if model.is_empty() {
            return Err("must be PROVIDER/MODEL=WEIGHT".into());
        }
        Ok(Self { provider: provider.into(), model: model.into(), weight })
    }
}

/// Which of `mix` the `n`th call of a run goes to: the same in every run, and in the proportions of the weights.
/// 0 for an empty mix.
#[must_use]
pub fn model(mix: &[ModelShare], n: usize) -> usize {
    let total: u64 = mix.iter().map(|share| u64::from(share.weight)).sum();
    let mut left = scatter(n as u64) % total.max(1);
    let mut weights = mix.iter().map(|share| u64::from(share.weight));
    let place = weights.position(|weight| {
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    });
    place.unwrap_or(0)
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood, 2014): neighbours become unlike each other, so that models do
/// not follow keys.
const fn scatter(n: u64) -> u64 {
    let x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The most output tokens that a client would allow for the call: a round number that is enough.
#[must_use]
pub fn output_bound(call: &TracedCall) -> i64 {
    let bound = u64::try_from(call.output_tokens).unwrap_or(0).max(LEAST_OUTPUT_BOUND).next_power_of_two();
    i64::try_from(bound).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_or_max_and_nothing_absurd() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5x".parse(), Ok(Speed::Times(2.5)));
        for bad in ["", "0", "-1", "NaN", "inf", "1e300", "1e-300", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
        assert_eq!(Speed::Times(2.0).due(3_000_000), Duration::from_millis(1500));
        assert_eq!(Speed::Max.due(i64::MAX), Duration::ZERO);
        assert!(Speed::Times(*FACTORS.start()).due(i64::MAX) > Duration::from_secs(1));
    }

    #[test]
    fn a_share_names_provider_model_and_weight() {
        let share =
            |provider: &str, model: &str, weight| ModelShare { provider: provider.into(), model: model.into(), weight };
        assert_eq!("openai/gpt-4o=3".parse(), Ok(share("openai", "gpt-4o", 3)));
        assert_eq!("groq/openai/gpt-oss-120b".parse(), Ok(share("groq", "openai/gpt-oss-120b", 1)));
        assert_eq!("gpt-4o".parse(), Ok(share("", "gpt-4o", 1)));
        for bad in ["", "=1", "openai/", "a/b=0", "a/b=-1", "a/b=x"] {
            assert!(bad.parse::<ModelShare>().is_err(), "{bad}");
        }
    }

    #[test]
    fn models_are_called_in_the_proportion_of_their_weights() {
        let mix: Vec<ModelShare> = ["a/a=6", "b/b=3", "c/c=1"].map(|text| text.parse().expect("a share")).into();
        let mut counts = [0; 3];
        for n in 0..10_000 {
            counts[model(&mix, n)] += 1;
        }
        for (count, expected) in counts.into_iter().zip([6000, 3000, 1000]) {
            assert!(i32::abs(count - expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn the_bound_on_output_is_a_round_number_that_is_enough() {
        for (output, bound) in [(0, 256), (256, 256), (257, 512), (1000, 1024), (1_000_000_000_000, 1 << 40)] {
            assert_eq!(output_bound(&TracedCall { offset_micros: 0, input_tokens: 0, output_tokens: output }), bound);
        }
    }
}
