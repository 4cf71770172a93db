//! The field's usual price file: `LiteLLM`'s `model_prices_and_context_window.json`, read without rounding on the way.
//!
//! Its prices are decimal numbers of dollars per token, such as `2.5e-06`. They are taken from the text digit by digit
//! and never pass through a float. Read are the standard prices per token and per request; discounts for batches,
//! surcharges for long contexts, and prices per image, second or character are not.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{money::MAX_AMOUNT, prices::Price};

/// A dollar is 10^9 nano-dollars, and a price per token is 10^6 times as much per million tokens.
const SCALE: isize = 9 + 6;
/// Exponents beyond this, either way, are no prices.
const MAX_EXPONENT: usize = 99;
/// Longest provider, in characters, as in the price list.
const MAX_PROVIDER: usize = 64;
/// Longest model, in characters, as in the price list.
const MAX_MODEL: usize = 256;
/// Documents the format; not a model.
const SPECIMEN: &str = "sample_spec";
/// What a model of these modes answers with is not billed by the token.
const MODES_WITHOUT_OUTPUT: [&str; 3] = ["embedding", "moderation", "rerank"];

/// What a price file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PriceFile {
    /// The prices, in the file's order; ids are 0.
    pub prices: Vec<Price>,
    /// Entries that ought to have a price and make no sense.
    pub broken: Vec<Unused>,
    /// Entries that are priced by something else than tokens.
    pub skipped: Vec<Unused>,
}

/// An entry that became no price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// The entry's name in the file, `azure/gpt-4o`.
    pub name: String,
    /// Line on which the entry begins, counted from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// The text is not a JSON object.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct NotAPriceFile {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes; 0 when the text as a whole is at fault.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Reads a price file. Entries that cannot be used are listed and the rest is kept.
///
/// # Errors
/// When the text is not a JSON object.
pub fn parse(text: &str) -> Result<PriceFile, NotAPriceFile> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let entries: Members = serde_json::from_str(text).map_err(|error| NotAPriceFile {
        line: error.line(),
        column: error.column(),
        problem: without_place(&error),
    })?;
    let mut file = PriceFile::default();
    let mut lines = Lines { text, offset: 0, line: 1 };
    let mut seen = HashMap::new();
    for (name, value) in entries.0 {
        let line = lines.of(value);
        if name == SPECIMEN {
            continue;
        }
        let unused = |reason| Unused { name: name.clone(), line, reason };
        match price(&name, value) {
            Ok(price) => match seen.entry((price.provider.clone(), price.model.clone())) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    file.broken.push(unused(format!("the same provider and model as on line {}", first.get())));
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(line);
                    file.prices.push(price);
                }
            },
            Err(Rejection::Broken(reason)) => file.broken.push(unused(reason)),
            Err(Rejection::NotByToken(reason)) => file.skipped.push(unused(reason)),
        }
    }
    Ok(file)
}

/// Why an entry became no price.
enum Rejection {
    /// It makes no sense.
    Broken(String),
    /// It is priced by something else.
    NotByToken(String),
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// The price in the entry `name`.
fn price(name: &str, value: &RawValue) -> Result<Price, Rejection> {
    let entry: Members = serde_json::from_str(value.get()).map_err(|error| without_place(&error))?;
    let provider = entry.text("litellm_provider")?.ok_or_else(|| "litellm_provider is missing".to_owned())?;
    let model = name.strip_prefix(&provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    for (what, text, longest) in [("litellm_provider", &*provider, MAX_PROVIDER), ("the model", model, MAX_MODEL)] {
        if text.is_empty() || text.chars().count() > longest {
            return Err(Rejection::Broken(format!("{what} must have 1 to {longest} characters")));
        }
    }
    let mode = entry.text("mode")?.unwrap_or_default();
    let input = entry.price("input_cost_per_token")?;
    let output = entry.price("output_cost_per_token")?;
    let output = output.or_else(|| MODES_WITHOUT_OUTPUT.contains(&&*mode).then_some(0));
    let lacks = |what| Rejection::NotByToken(format!("no {what} (mode `{mode}`)"));
    Ok(Price {
        id: 0,
        model: model.to_owned(),
        input: input.ok_or_else(|| lacks("input_cost_per_token"))?,
        output: output.ok_or_else(|| lacks("output_cost_per_token"))?,
        cached_input: entry.price("cache_read_input_token_cost")?,
        cache_write: entry.price("cache_creation_input_token_cost")?,
        request: entry.price("input_cost_per_request")?.unwrap_or(0),
        provider,
    })
}

/// The members of a JSON object in their order, repeated ones among them, values as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The member's value; `None` when it is missing or null.
    fn get(&self, name: &str) -> Result<Option<&'a str>, String> {
        let mut found = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.get());
        let value = found.next();
        if found.next().is_some() {
            return Err(format!("{name} is given twice"));
        }
        Ok(value.filter(|value| *value != "null"))
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let parse = |value| serde_json::from_str(value).map_err(|_| format!("{name} is not a text"));
        self.get(name)?.map(parse).transpose()
    }

    fn price(&self, name: &str) -> Result<Option<i64>, String> {
        let parse = |value: &str| {
            nanos_per_million(value).map_err(|problem| {
                let shown: String = value.chars().take(40).collect();
                format!("{name} is `{shown}`: {problem}")
            })
        };
        self.get(name)?.map(parse).transpose()
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Nano-dollars per million tokens from a decimal number of dollars per token: exact, and where a fraction of a
/// nano-dollar is left, rounded up.
fn nanos_per_million(text: &str) -> Result<i64, &'static str> {
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
    let kept = whole.len().saturating_add_signed(exponent + SCALE);
    let digits = whole.bytes().chain(decimals.bytes()).map(|byte| i128::from(byte - b'0'));
    let zeros = kept.saturating_sub(whole.len() + decimals.len());
    let mut amount = 0i128;
    for (place, digit) in digits.chain(std::iter::repeat_n(0, zeros)).enumerate() {
        if place < kept {
            // Past an `i64` it is too large whatever follows.
            amount = (amount * 10 + digit).min(i128::from(i64::MAX));
        } else if digit != 0 {
            amount += 1;
            break;
        }
    }
    match i64::try_from(amount) {
        Ok(0) => Ok(0),
        _ if negative => Err("a price is not negative"),
        Ok(amount) if amount <= MAX_AMOUNT => Ok(amount),
        _ => Err("the price is absurdly high"),
    }
}

/// Finds the lines of values in a text, in one pass.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line on which `value` begins; it must be a part of the text, and not before the one asked for last.
    fn of(&mut self, value: &RawValue) -> usize {
        let offset = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let between = self.text.get(self.offset..offset).unwrap_or_default();
        self.line += between.bytes().filter(|byte| *byte == b'\n').count();
        self.offset = offset;
        self.line
    }
}

/// The error's message without the place, which is told apart, or would be wrong inside an entry.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or_else(|| text.clone(), |(problem, _)| problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../deploy/sample/prices.json");

    fn one(members: &str) -> PriceFile {
        parse(&format!("{{\"p/m\": {{\"litellm_provider\": \"p\", \"mode\": \"chat\", {members}}}}}")).expect("JSON")
    }

    fn reasons(unused: &[Unused]) -> Vec<(usize, &str, &str)> {
        unused.iter().map(|unused| (unused.line, unused.name.as_str(), unused.reason.as_str())).collect()
    }

    #[test]
    fn dollars_per_token_become_nanos_per_million_without_rounding() {
        for (text, nanos) in [
            ("2.5e-06", 2_500_000_000),
            ("1e-05", 10_000_000_000),
            ("3.75E-08", 37_500_000),
            ("0.00000015", 150_000_000),
            ("1.43e-07", 143_000_000),
            ("0.1", 100_000_000_000_000),
            ("0.30000000000000004", 300_000_000_000_001),
            ("1e-15", 1),
            ("4000", MAX_AMOUNT),
            ("0", 0),
            ("0.0", 0),
            ("-0.0e5", 0),
            ("0e99", 0),
            ("0.000000000000000000000000000001e+24", 1_000_000_000),
        ] {
            assert_eq!(nanos_per_million(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn a_fraction_of_a_nano_dollar_is_rounded_up() {
        for (text, nanos) in [("1e-16", 1), ("1.0000001e-15", 2), ("1.5e-15", 2), ("1e-99", 1), ("2.000e-15", 2)] {
            assert_eq!(nanos_per_million(text), Ok(nanos), "{text}");
        }
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
    fn the_sample_is_read_whole() {
        let file = parse(SAMPLE).expect("JSON");
        assert_eq!((file.prices.len(), file.broken.len()), (43, 0));
        let skipped: Vec<_> = file.skipped.iter().map(|unused| unused.name.as_str()).collect();
        assert_eq!(skipped, ["tts-1", "whisper-1"]);
        let price = |provider: &str, model: &str| {
            file.prices.iter().find(|price| price.provider == provider && price.model == model).expect("a price")
        };
        let azure = Price {
            id: 0,
            provider: "azure".into(),
            model: "gpt-4o".into(),
            input: 2_500_000_000,
            output: 10_000_000_000,
            cached_input: Some(1_250_000_000),
            cache_write: None,
            request: 0,
        };
        assert_eq!(*price("azure", "gpt-4o"), azure);
        assert_eq!(*price("openai", "gpt-4o"), Price { provider: "openai".into(), ..azure });
        assert_eq!(price("groq", "openai/gpt-oss-120b").input, 150_000_000);
        assert_eq!(price("anthropic", "claude-sonnet-4-5").cache_write, Some(3_750_000_000));
        assert_eq!(price("mistral", "mistral-embed").output, 0);
        assert_eq!(price("perplexity", "sonar-small-online").request, 5_000_000_000_000);
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_named_with_its_line_and_the_others_are_kept() {
        let file = parse(
            r#"{
                "a": {"litellm_provider": "p", "input_cost_per_token": "1e-06", "output_cost_per_token": 0},
                "b": {"litellm_provider": "p", "input_cost_per_token": -1e-06, "output_cost_per_token": 0},
                "c": 5,
                "d": {"input_cost_per_token": 1e-06, "output_cost_per_token": 0},
                "e": {"litellm_provider": "p", "input_cost_per_token": 1, "input_cost_per_token": 2},
                "f": {"litellm_provider": 7},
                "good": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
                "g": {
                    "litellm_provider": "p", "mode": "image_generation", "output_cost_per_image": 0.04}
            }"#,
        )
        .expect("JSON");
        assert_eq!(file.prices.len(), 1);
        assert_eq!((file.prices[0].input, file.prices[0].output), (1_000_000_000, 2_000_000_000));
        assert_eq!(
            reasons(&file.broken),
            [
                (2, "a", "input_cost_per_token is `\"1e-06\"`: not a number"),
                (3, "b", "input_cost_per_token is `-1e-06`: a price is not negative"),
                (4, "c", "invalid type: integer `5`, expected a JSON object"),
                (5, "d", "litellm_provider is missing"),
                (6, "e", "input_cost_per_token is given twice"),
                (7, "f", "litellm_provider is not a text"),
            ]
        );
        assert_eq!(reasons(&file.skipped), [(9, "g", "no input_cost_per_token (mode `image_generation`)")]);
    }

    #[test]
    fn a_model_without_a_price_for_its_output_is_not_taken_for_free() {
        let file = one("\"input_cost_per_token\": 1e-06");
        assert_eq!(file.prices, []);
        assert_eq!(file.skipped[0].reason, "no output_cost_per_token (mode `chat`)");
    }

    #[test]
    fn of_two_entries_for_the_same_model_the_first_counts() {
        let entry = |input| {
            format!(
                r#"{{"litellm_provider": "p", "input_cost_per_token": {input}, "output_cost_per_token": null,
                         "mode": "embedding"}}"#
            )
        };
        let file = parse(&format!("{{\"p/m\": {},\n\"m\": {}}}", entry(1), entry(2))).expect("JSON");
        assert_eq!(file.prices.len(), 1);
        assert_eq!(file.prices[0].input, 1_000_000_000_000_000);
        assert_eq!(reasons(&file.broken), [(3, "m", "the same provider and model as on line 1")]);
    }

    #[test]
    fn broken_json_is_an_error_with_its_line_and_column() {
        let error = |text: &str| parse(text).expect_err("no price file").to_string();
        assert_eq!(error("{\n  \"a\": NaN\n}"), "line 2, column 8: expected value");
        assert_eq!(error("[1]"), "line 1, column 0: invalid type: sequence, expected a JSON object");
        assert!(error("").starts_with("line 1, column 0: EOF"));
        assert!(error("{\"a\": {}").contains("EOF"));
    }
}
