//! Meters, tiers of service and quantities in messages.

use super::parse::{self, FieldError, invalid};
use crate::{
    domain::{
        meters::{Counts, Meter, Metered, Tier},
        prices::Usage,
    },
    pb::tollreeve::v1 as pb,
};

// The numbers are the same on both sides.
impl From<Meter> for pb::Meter {
    fn from(meter: Meter) -> Self {
        Self::try_from(i32::from(meter as u8)).unwrap_or_default()
    }
}

impl From<Tier> for pb::ServiceTier {
    fn from(tier: Tier) -> Self {
        Self::try_from(i32::from(tier as u8)).unwrap_or_default()
    }
}

impl From<(Meter, i64)> for pb::Quantity {
    fn from((meter, amount): (Meter, i64)) -> Self {
        Self { meter: pb::Meter::from(meter).into(), amount }
    }
}

/// A meter by its number.
///
/// # Errors
/// The field, when it is none; so for every function of this module.
pub fn meter(field: &str, number: i32) -> Result<Meter, FieldError> {
    let meter = u8::try_from(number).ok().and_then(Meter::of_number);
    meter.ok_or_else(|| invalid(field, if number == 0 { "is required" } else { "is not a meter of this version" }))
}

/// A tier by its number; `None` when it is not said.
pub fn tier(field: &str, number: i32) -> Result<Option<Tier>, FieldError> {
    if number == 0 {
        return Ok(None);
    }
    let tier = u8::try_from(number).ok().and_then(Tier::of_number);
    tier.map(Some).ok_or_else(|| invalid(field, "is not a tier of this version"))
}

/// What a call used beside `usage`: each meter once, none that `usage` counts, and of tokens no more than there are.
pub fn metered(
    field: &str,
    quantities: &[pb::Quantity],
    most: i64,
    tier: Option<Tier>,
    usage: &Usage,
) -> Result<Metered, FieldError> {
    if quantities.len() > Meter::ALL.len() {
        return Err(invalid(field, format!("must be at most {}", Meter::ALL.len())));
    }
    let mut metered = Metered { tier: tier.unwrap_or_default(), quantities: Vec::with_capacity(quantities.len()) };
    for (i, quantity) in quantities.iter().enumerate() {
        let place = format!("{field}[{i}].meter");
        let which = meter(&place, quantity.meter)?;
        if which.is_plain() || which == Meter::Reasoning {
            return Err(invalid(place, "has a field of its own"));
        }
        if metered.quantities.iter().any(|(known, _)| *known == which) {
            return Err(invalid(place, "is given twice"));
        }
        let amount = parse::within(&format!("{field}[{i}].amount"), quantity.amount, 0, most)?;
        if amount > 0 {
            metered.quantities.push((which, amount));
        }
        if let Counts::Among(whole) = which.counts() {
            let reasoning = if whole == Meter::Output { usage.reasoning } else { 0 };
            if metered.among(whole).saturating_add(reasoning) > usage.plain(whole) {
                let why =
                    format!("with the others before it must be at most the {}, which they are among", tokens(whole));
                return Err(invalid(format!("{field}[{i}].amount"), why));
            }
        }
    }
    // Whoever names the same in another order says the same.
    metered.quantities.sort_unstable();
    Ok(metered)
}

fn tokens(plain: Meter) -> &'static str {
    match plain {
        Meter::Output => "output tokens",
        Meter::CachedInput => "cached input tokens",
        Meter::CacheWrite => "cache-written tokens",
        _ => "input tokens",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_and_tier_is_on_the_wire_under_its_own_number_and_nothing_else_is() {
        for one in Meter::ALL {
            assert_ne!(pb::Meter::from(*one), pb::Meter::Unspecified);
            assert_eq!(meter("m", pb::Meter::from(*one).into()).expect("a meter"), *one);
        }
        assert_eq!(pb::Meter::try_from(1 + i32::try_from(Meter::ALL.len()).expect("few")).ok(), None);
        for one in Tier::ALL {
            assert_eq!(tier("t", pb::ServiceTier::from(one).into()).expect("a tier"), Some(one));
        }
        assert!(tier("t", 7).is_err() && pb::ServiceTier::try_from(7).is_err());
    }
}
