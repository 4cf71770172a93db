//! What usage costs, against a second way to compute it.

use super::*;

const PLAIN: Metered = Metered { tier: Tier::Standard, quantities: Vec::new() };

fn rate(meter: Meter, tier: Tier, above: i64, nanos: i64) -> Rate {
    Rate { meter, tier, above, nanos }
}

#[test]
fn a_cost_is_exact_and_rounds_up_once() {
    // $2.50 and $10.00 per million tokens.
    let price = Price { input: 2_500_000_000, output: 10_000_000_000, ..Price::default() };
    let usage = Usage { input: 374, output: 44, requests: 1, ..Usage::default() };
    assert_eq!(price.cost(&usage, &PLAIN), Nanos(374 * 2500 + 44 * 10_000));
    // A third of a billionth per token: one token costs one whole billionth, three million cost exactly a million.
    let tiny = Price { input: 333_333, ..Price::default() };
    assert_eq!(tiny.cost(&Usage { input: 1, ..Usage::default() }, &PLAIN), Nanos(1));
    assert_eq!(tiny.cost(&Usage { input: 3_000_000, ..Usage::default() }, &PLAIN), Nanos(999_999));
}

#[test]
fn an_absurd_cost_stays_at_the_largest_amount() {
    let price = Price { input: MAX_AMOUNT, ..Price::default() };
    assert_eq!(price.cost(&Usage { input: MAX_COUNT, ..Usage::default() }, &PLAIN), Nanos(MAX_AMOUNT));
    let rates = Meter::ALL.iter().filter(|meter| !meter.is_plain());
    let price = price.with_rates(rates.clone().map(|meter| rate(*meter, Tier::Standard, 0, MAX_AMOUNT)).collect());
    let everything = Metered { quantities: rates.map(|meter| (*meter, MAX_COUNT)).collect(), ..PLAIN };
    assert_eq!(price.cost(&Usage { input: MAX_COUNT, ..Usage::default() }, &everything), Nanos(MAX_AMOUNT));
}

#[test]
fn affordable_output_costs_no_more_than_the_room_and_one_token_more_would() {
    let plain = Price { input: 2_500_000_000, output: 10_000_000_001, request: 7, ..Price::default() };
    let long = plain.clone().with_rates(vec![rate(Meter::Output, Tier::Standard, 50, 20_000_000_001)]);
    let usage = Usage { input: 100, requests: 1, ..Usage::default() };
    for price in [plain, long] {
        for room in [0, 250_001, 260_001, 1_000_000, 123_456_789] {
            let output = price.affordable_output(&usage, &PLAIN, Nanos(room)).expect("output has a price");
            let with = |output| price.cost(&Usage { output, ..usage }, &PLAIN);
            assert!(output == 0 || with(output) <= Nanos(room), "{room}");
            assert!(with(output + 1) > Nanos(room), "{room}");
        }
    }
}

#[test]
fn a_long_context_costs_its_own_rate_from_the_token_after_its_bound_on_and_all_of_it() {
    let price = Price { input: 1_000_000, output: 2_000_000, ..Price::default() }.with_rates(vec![
        rate(Meter::Input, Tier::Standard, 200_000, 3_000_000),
        rate(Meter::Output, Tier::Standard, 200_000, 5_000_000),
        rate(Meter::Input, Tier::Flex, 0, 500_000),
    ]);
    let usage = |input| Usage { input, cached_input: 1, output: 10, ..Usage::default() };
    assert_eq!(price.cost(&usage(199_999), &PLAIN), Nanos(200_000 + 20));
    assert_eq!(price.cost(&usage(200_000), &PLAIN), Nanos(3 * 200_001 + 50));
    // A tier that has no rate for the length is no cheaper than the length.
    let flex = Metered { tier: Tier::Flex, ..PLAIN };
    assert_eq!(price.cost(&usage(199_999), &flex), Nanos(100_000 + 20));
    assert_eq!(price.cost(&usage(200_000), &flex), Nanos(3 * 200_001 + 50));
}

#[test]
fn tokens_with_a_meter_of_their_own_are_counted_once_and_without_a_rate_as_what_they_are_part_of() {
    let price = Price { input: 1_000_000, output: 2_000_000, ..Price::default() }.with_rates(vec![
        rate(Meter::AudioInput, Tier::Standard, 0, 10_000_000),
        rate(Meter::Reasoning, Tier::Standard, 0, 3_000_000),
    ]);
    let usage = Usage { input: 100, cached_input: 7, output: 50, reasoning: 20, ..Usage::default() };
    let quantities = vec![(Meter::AudioInput, 40), (Meter::CachedAudio, 5), (Meter::AudioOutput, 10)];
    let metered = Metered { quantities, ..PLAIN };
    assert_eq!(price.cost(&usage, &metered), Nanos(60 + 400 + 7 + 20 * 3 + 30 * 2));
}

#[test]
fn time_is_priced_by_the_second_and_counted_in_milliseconds_without_rounding() {
    let price = Price::default().with_rates(vec![rate(Meter::InputTime, Tier::Standard, 0, 333_333)]);
    let of = |amount| price.cost(&Usage::default(), &Metered { quantities: vec![(Meter::InputTime, amount)], ..PLAIN });
    // A third of a nano-dollar a second: 3,000 s in milliseconds are 999.999, rounded up.
    assert_eq!((of(3_000_000), of(3_000_000_000), of(1)), (Nanos(1_000), Nanos(999_999), Nanos(1)));
    let film = vec![(Meter::OutputTime720p, 2_000), (Meter::MapSearches, 9)];
    let price = Price::default().with_rates(vec![rate(Meter::OutputTime, Tier::Standard, 0, 5_000_000)]);
    assert_eq!(price.cost(&Usage::default(), &Metered { quantities: film, ..PLAIN }), Nanos(10));
}

/// Numbers that follow from a seed: `SplitMix64`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn number(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).expect("small")
    }
}

/// The same as [`Price::cost`], by asking for the rate of one token after the other's kind, in billionths of a nano-dollar.
fn naive(price: &Price, usage: &Usage, metered: &Metered) -> i128 {
    let rate_of = |mut meter: Meter| loop {
        let mut best = match meter {
            Meter::Input => Some((0, false, price.input)),
            Meter::Output => Some((0, false, price.output)),
            Meter::Requests => Some((0, false, price.request)),
            Meter::CachedInput => price.cached_input.map(|nanos| (0, false, nanos)),
            Meter::CacheWrite => price.cache_write.map(|nanos| (0, false, nanos)),
            _ => None,
        };
        for rate in &price.rates {
            let own = rate.tier == metered.tier;
            let fits = rate.above == 0 || usage.input + usage.cached_input + usage.cache_write > rate.above;
            if rate.meter == meter && fits && (own || rate.tier == Tier::Standard) {
                let candidate = (rate.above, own, rate.nanos);
                best = Some(best.map_or(candidate, |known| {
                    if (known.0, known.1) > (candidate.0, candidate.1) { known } else { candidate }
                }));
            }
        }
        match (best, meter.priced_as()) {
            (Some((_, _, nanos)), _) => return i128::from(nanos),
            (None, Some(whole)) => meter = whole,
            (None, None) => return 0,
        }
    };
    let mut plain =
        [usage.input, usage.output - usage.reasoning, usage.cached_input, usage.cache_write, usage.requests];
    let mut sum = i128::from(usage.reasoning) * 1000 * rate_of(Meter::Reasoning);
    for (meter, amount) in &metered.quantities {
        if let Counts::Among(whole) = meter.counts() {
            plain[whole as usize - 1] -= amount;
        }
        let scale = if meter.counts() == Counts::Milliseconds { 1 } else { 1000 };
        sum += i128::from(*amount) * scale * rate_of(*meter);
    }
    for (meter, count) in Meter::ALL.iter().zip(plain) {
        sum += i128::from(count) * 1000 * rate_of(*meter);
    }
    sum
}

#[test]
fn a_cost_is_what_the_rates_say_for_any_price_and_usage() {
    for seed in 0..8 {
        any_price_and_usage(seed);
    }
}

fn any_price_and_usage(seed: u64) {
    let mut numbers = Numbers(seed);
    for case in 0..500 {
        let mut rates = std::collections::BTreeMap::new();
        for _ in 0..numbers.below(12) {
            let meter = Meter::ALL[usize::try_from(numbers.below(44)).expect("small")];
            let tier = Tier::ALL[usize::try_from(numbers.below(3)).expect("small")];
            let above = [0, 0, 100, 1_000][usize::try_from(numbers.below(4)).expect("small")];
            if !(meter.is_plain() && tier == Tier::Standard && above == 0) {
                rates.insert((meter, tier, above), numbers.number(5_000_000_000));
            }
        }
        let rates = rates.into_iter().map(|((meter, tier, above), nanos)| rate(meter, tier, above, nanos)).collect();
        let price = Price {
            input: numbers.number(9_000_000_000),
            output: numbers.number(9_000_000_000),
            cached_input: (numbers.below(2) == 0).then_some(5),
            cache_write: (numbers.below(2) == 0).then_some(7_777_777),
            request: numbers.number(3) * 1_234_567,
            ..Price::default()
        }
        .with_rates(rates);
        let usage = Usage {
            input: 200 + numbers.number(1_500),
            output: 200 + numbers.number(1_000),
            cached_input: 200 + numbers.number(400),
            cache_write: 200 + numbers.number(400),
            reasoning: numbers.number(3) * 50,
            requests: numbers.number(3),
        };
        let mut quantities = std::collections::BTreeMap::new();
        for _ in 0..numbers.below(4) {
            let meter = Meter::ALL[usize::try_from(numbers.below(44)).expect("small")];
            if !meter.is_plain() && meter != Meter::Reasoning {
                quantities.insert(meter, numbers.number(25));
            }
        }
        let tier = Tier::ALL[usize::try_from(numbers.below(3)).expect("small")];
        let metered = Metered { tier, quantities: quantities.into_iter().collect() };
        let exact = naive(&price, &usage, &metered);
        let cost = i128::from(price.cost(&usage, &metered).0);
        assert!(
            cost * 1_000_000_000 >= exact && (cost - 1) * 1_000_000_000 < exact,
            "seed {seed}, case {case}: {price:?} {usage:?} {metered:?}"
        );
        let text = serde_json::to_string(&price).expect("writes");
        assert_eq!(serde_json::from_str::<Price>(&text).expect("reads"), price);
    }
}
