//! What the members of a price file are the prices of, and the numbers in it.

use super::{
    meters::{Meter, Tier},
    money::MAX_AMOUNT,
};

/// A dollar is 10^9 nano-dollars, and a price per unit is 10^6 times as much per million units.
const SCALE: isize = 9 + 6;
/// Exponents beyond this, either way, are no prices.
const MAX_EXPONENT: usize = 99;
/// What stands for a tier at the end of a name.
const TIERS: [(&str, Tier); 5] = [
    ("_batches", Tier::Batch),
    ("_flex", Tier::Flex),
    ("_priority", Tier::Priority),
    ("_ultrafast", Tier::Ultrafast),
    ("_balanced", Tier::Balanced),
];

/// Meter, tier and the length of context that a member is the price above of:
/// `cache_read_input_token_cost_above_200k_tokens_priority`. `None` for what is no price by any meter.
#[must_use]
pub fn field_of(name: &str) -> Option<(Meter, Tier, i64)> {
    let ending = TIERS.iter().find_map(|(ending, tier)| Some((name.strip_suffix(ending)?, *tier)));
    let (name, tier) = ending.unwrap_or((name, Tier::Standard));
    let length = name.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_"));
    let (name, above) = match length.and_then(|(name, thousands)| Some((name, thousands.parse::<u16>().ok()?))) {
        Some((_, 0)) => return None,
        Some((name, thousands)) => (name, i64::from(thousands) * 1_000),
        None => (name, 0),
    };
    let meter = Meter::ALL.iter().find(|meter| meter.field() == name)?;
    Some((*meter, tier, above))
}

/// A number that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    /// What it comes to, rounded up; 0 to [`MAX_AMOUNT`].
    pub amount: i64,
    /// Whether nothing was rounded.
    pub exact: bool,
}

/// Nano-dollars per million units from a decimal number of dollars per unit.
///
/// # Errors
/// Why it is no price.
pub fn nanos_per_million(text: &str) -> Result<Number, &'static str> {
    number(text, SCALE)
}

/// So many times ten to the power of `scale` as a decimal number says, digit by digit.
///
/// # Errors
/// Why it is no price.
pub fn number(text: &str, scale: isize) -> Result<Number, &'static str> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !(whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit())) {
        return Err("not a number");
    }
    let exponent: isize = exponent.parse().map_err(|_| "not a number, or one with an absurd exponent")?;
    if exponent.unsigned_abs() > MAX_EXPONENT {
        return Err("the exponent is absurd");
    }
    // Digits that stand before the decimal point once it has moved; those after it are the fraction.
    let kept = whole.len().saturating_add_signed(exponent + scale);
    let digits = whole.bytes().chain(decimals.bytes()).map(|byte| i128::from(byte - b'0'));
    let zeros = kept.saturating_sub(whole.len() + decimals.len());
    let (mut amount, mut exact) = (0i128, true);
    for (place, digit) in digits.chain(std::iter::repeat_n(0, zeros)).enumerate() {
        if place < kept {
            // Past an `i64` it is too large whatever follows.
            amount = (amount * 10 + digit).min(i128::from(i64::MAX));
        } else if digit != 0 {
            (amount, exact) = (amount + 1, false);
            break;
        }
    }
    match i64::try_from(amount) {
        Ok(0) => Ok(Number { amount: 0, exact }),
        _ if negative => Err("a price is not negative"),
        Ok(amount) if amount <= MAX_AMOUNT => Ok(Number { amount, exact }),
        _ => Err("the price is absurdly high"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_per_unit_become_nanos_per_million_and_what_was_rounded_says_so() {
        for (text, amount, exact) in [
            ("2.5e-06", 2_500_000_000, true),
            ("1e-05", 10_000_000_000, true),
            ("3.75E-08", 37_500_000, true),
            ("0.00000015", 150_000_000, true),
            ("0.1", 100_000_000_000_000, true),
            ("0.30000000000000004", 300_000_000_000_001, false),
            ("1e-15", 1, true),
            ("4000", MAX_AMOUNT, true),
            ("0", 0, true),
            ("-0.0e5", 0, true),
            ("0e99", 0, true),
            ("0.000000000000000000000000000001e+24", 1_000_000_000, true),
            ("1e-16", 1, false),
            ("1.0000001e-15", 2, false),
            ("1e-99", 1, false),
            ("2.000e-15", 2, true),
        ] {
            assert_eq!(nanos_per_million(text), Ok(Number { amount, exact }), "{text}");
        }
        assert_eq!(number("256000.0", 0), Ok(Number { amount: 256_000, exact: true }));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in [
            "",
            "-",
            ".",
            ".5",
            "1.2.3",
            "1e",
            "1e1.5",
            "NaN",
            "\"1e-06\"",
            "true",
            "[1]",
            "{}",
            "0x10",
            "1e100",
            "1e-100",
            "1e99999999999999999999",
            "-1e-06",
            "-1e-99",
            "4001",
            "4000.000000000000001",
            "1e99",
            "99999999999999999999999999999999999999999999999999",
        ] {
            assert!(nanos_per_million(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_says_meter_tier_and_length() {
        let of = field_of;
        assert_eq!(of("input_cost_per_token"), Some((Meter::Input, Tier::Standard, 0)));
        assert_eq!(of("output_cost_per_token_batches"), Some((Meter::Output, Tier::Batch, 0)));
        assert_eq!(
            of("cache_creation_input_token_cost_above_1hr_above_200k_tokens_priority"),
            Some((Meter::CacheWriteHour, Tier::Priority, 200_000))
        );
        assert_eq!(of("input_cost_per_image_above_128k_tokens"), Some((Meter::InputImages, Tier::Standard, 128_000)));
        for other in
            ["input_cost_per_token_decisions", "output_cost_per_token_above_0k_tokens", "max_tokens", "", "_flex"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
