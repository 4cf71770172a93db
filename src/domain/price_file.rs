//! The field's usual price file: `LiteLLM`'s `model_prices_and_context_window.json`, read without rounding on the way.
//!
//! Its prices are decimal numbers of dollars per unit, such as `2.5e-06`. They are taken from the text digit by digit and
//! never pass through a float. What a member is the price of, its name says ([`super::price_fields`]); a member that looks
//! like a price and is not understood is noted, and so is every entry that becomes no price.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    meters::{Counts, Meter, Tier},
    price_fields::{Number, field_of, nanos_per_million, number},
    prices::{MAX_MODEL, MAX_PROVIDER, MAX_RATES, Price, Rate},
};

/// Documents the format; not a model.
const SPECIMEN: &str = "sample_spec";
/// What a model of these modes answers with is not billed by the token.
const MODES_WITHOUT_OUTPUT: [&str; 3] = ["embedding", "moderation", "rerank"];
/// What goes into a model of these modes and comes out of it is billed, each at its price.
const MODES_OF_TEXT: [&str; 4] = ["chat", "completion", "responses", ""];
/// In what the name of a price has somewhere.
const LIKE_A_PRICE: [&str; 3] = ["cost", "pricing", "uplift"];
/// Prices by the length of the context, as a list of objects.
const BY_LENGTH: &str = "tiered_pricing";
/// Another name of [`Meter::CachedInput`]'s.
const CACHE_HIT: &str = "input_cost_per_token_cache_hit";

/// What a price file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PriceFile {
    /// The prices, in the file's order; ids are 0.
    pub prices: Vec<Price>,
    /// What was not taken as it is, in the file's order.
    pub notes: Vec<Note>,
}

impl PriceFile {
    /// How many notes are of a kind.
    #[must_use]
    pub fn count(&self, kind: NoteKind) -> usize {
        self.notes.iter().filter(|note| note.kind == kind).count()
    }
}

/// Something in a file that was not taken as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The entry's name in the file, `azure/gpt-4o`.
    pub name: String,
    /// Line on which the entry begins, counted from 1.
    pub line: usize,
    /// The member it is about; empty for the entry as a whole.
    pub field: String,
    /// What became of it.
    pub kind: NoteKind,
    /// Why.
    pub reason: String,
}

/// What became of something that was not taken as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoteKind {
    /// The entry makes no sense and is left out.
    Broken,
    /// The entry has no price that a call could be charged by, and is left out.
    Unpriced,
    /// The member is not understood; the rest of the entry is taken.
    Ignored,
    /// The price is finer than prices can be, and was rounded up.
    Rounded,
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

/// Reads a price file. What cannot be used is noted and the rest is kept.
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
        let mut draft = Draft::default();
        let read = draft.read(&name, value).and_then(|price| {
            match seen.entry((price.provider.clone(), price.model.clone())) {
                hash_map::Entry::Occupied(first) => {
                    Err(Rejection::Broken(format!("the same provider and model as on line {}", first.get())))
                }
                hash_map::Entry::Vacant(place) => {
                    place.insert(line);
                    Ok(price)
                }
            }
        });
        let note = |field, kind, reason| Note { name: name.clone(), line, field, kind, reason };
        match read {
            Ok(price) => file.prices.push(price),
            Err(Rejection::Broken(reason)) => file.notes.push(note(String::new(), NoteKind::Broken, reason)),
            Err(Rejection::Unpriced(reason)) => file.notes.push(note(String::new(), NoteKind::Unpriced, reason)),
        }
        file.notes.extend(draft.notes.into_iter().map(|(field, kind, reason)| note(field, kind, reason)));
    }
    Ok(file)
}

/// Why an entry became no price.
enum Rejection {
    /// It makes no sense.
    Broken(String),
    /// It has no price that a call could be charged by.
    Unpriced(String),
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// What of an entry has been read.
#[derive(Default)]
struct Draft {
    rates: BTreeMap<(Meter, Tier, i64), i64>,
    notes: Vec<(String, NoteKind, String)>,
}

impl Draft {
    /// The price in the entry `name`.
    fn read(&mut self, name: &str, value: &RawValue) -> Result<Price, Rejection> {
        let entry: Members = serde_json::from_str(value.get()).map_err(|error| without_place(&error))?;
        let provider = entry.text("litellm_provider")?.ok_or_else(|| "litellm_provider is missing".to_owned())?;
        let model = name.strip_prefix(&provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        for (what, text, longest) in [("litellm_provider", &*provider, MAX_PROVIDER), ("the model", model, MAX_MODEL)] {
            if text.is_empty() || text.chars().count() > longest || text.contains(char::is_control) {
                return Err(Rejection::Broken(format!("{what} must have 1 to {longest} characters, none to control")));
            }
        }
        let mode = entry.text("mode")?.unwrap_or_default();
        for (field, _) in &entry.0 {
            if let Some(value) = entry.get(field)? {
                self.member(field, value)?;
            }
        }
        // Where both are given they say the same; the newer name counts.
        if let Some(value) = entry.get(CACHE_HIT)? {
            let nanos = self.price(CACHE_HIT, value)?;
            self.rates.entry((Meter::CachedInput, Tier::Standard, 0)).or_insert(nanos);
        }
        self.must_be_priced(&mode)?;
        let mut base = |meter| self.rates.remove(&(meter, Tier::Standard, 0));
        let price = Price {
            id: 0,
            model: model.to_owned(),
            input: base(Meter::Input).unwrap_or(0),
            output: base(Meter::Output).unwrap_or(0),
            cached_input: base(Meter::CachedInput),
            cache_write: base(Meter::CacheWrite),
            request: base(Meter::Requests).unwrap_or(0),
            provider,
            ..Price::default()
        };
        if self.rates.len() > MAX_RATES {
            return Err(Rejection::Broken(format!("has more than {MAX_RATES} prices")));
        }
        let rates = self.rates.iter().map(|((meter, tier, above), nanos)| Rate::from((*meter, *tier, *above, *nanos)));
        Ok(price.with_rates(rates.collect()))
    }

    fn member(&mut self, field: &str, value: &str) -> Result<(), Rejection> {
        if let Some(place) = field_of(field) {
            let nanos = self.price(field, value)?;
            self.rates.insert(place, nanos);
        } else if field == BY_LENGTH {
            self.by_length(value)?;
        } else if field == "search_context_cost_per_query" {
            self.by_size(field, value)?;
        } else if field != CACHE_HIT && LIKE_A_PRICE.iter().any(|part| field.contains(part)) {
            self.ignore(field.to_owned());
        }
        Ok(())
    }

    fn ignore(&mut self, field: String) {
        let reason = if field.contains("dbu") {
            "is in units of the provider's own; the price in dollars counts"
        } else if field.contains("uplift") {
            "depends on where the call is served, which usage does not tell"
        } else {
            "is not a price by anything that usage tells"
        };
        self.notes.push((field, NoteKind::Ignored, reason.to_owned()));
    }

    fn price(&mut self, field: &str, value: &str) -> Result<i64, String> {
        let shown = || value.chars().take(40).collect::<String>();
        let Number { amount, exact } =
            nanos_per_million(value).map_err(|problem| format!("{field} is `{}`: {problem}", shown()))?;
        if !exact {
            let reason = format!("`{}` is finer than a billionth of a dollar per million; rounded up", shown());
            self.notes.push((field.to_owned(), NoteKind::Rounded, reason));
        }
        Ok(amount)
    }

    /// Prices of searches by how much of what they find goes to the model.
    fn by_size(&mut self, field: &str, value: &str) -> Result<(), Rejection> {
        let Ok(sizes) = serde_json::from_str::<Members>(value) else {
            self.ignore(field.to_owned());
            return Ok(());
        };
        for (size, _) in &sizes.0 {
            let path = format!("{field}.{size}");
            match (field_of(&path), sizes.get(size)?) {
                (Some(place), Some(value)) => {
                    let nanos = self.price(&path, value)?;
                    self.rates.insert(place, nanos);
                }
                (None, Some(_)) => self.ignore(path),
                (_, None) => {}
            }
        }
        Ok(())
    }

    /// Prices by the length of the context: each object has a range of it, the first from 0 on.
    fn by_length(&mut self, value: &str) -> Result<(), Rejection> {
        let steps: Vec<Members> =
            serde_json::from_str(value).map_err(|error| format!("{BY_LENGTH}: {}", without_place(&error)))?;
        for step in steps {
            let range: Option<Vec<&RawValue>> = step.get("range")?.and_then(|range| serde_json::from_str(range).ok());
            let Some(from) = range.as_ref().and_then(|range| range.first()) else {
                self.ignore(BY_LENGTH.to_owned());
                return Ok(());
            };
            let Ok(Number { amount: above, exact: true }) = number(from.get(), 0) else {
                return Err(Rejection::Broken(format!("{BY_LENGTH}: a range does not begin with a count")));
            };
            for (field, _) in step.0.iter().filter(|(field, _)| field != "range") {
                match (field_of(field), step.get(field)?) {
                    (Some((meter, tier, 0)), Some(value)) => {
                        let nanos = self.price(field, value)?;
                        // What the entry says beside its list counts.
                        self.rates.entry((meter, tier, above)).or_insert(nanos);
                    }
                    (_, Some(_)) => self.ignore(format!("{BY_LENGTH}.{field}")),
                    (_, None) => {}
                }
            }
        }
        Ok(())
    }

    /// Insists that a call can be charged by what was read: a model of text without a price for one side is not taken to
    /// give that for nothing.
    fn must_be_priced(&self, mode: &str) -> Result<(), Rejection> {
        let has = |meter| self.rates.contains_key(&(meter, Tier::Standard, 0));
        let any = |fits: &dyn Fn(Meter) -> bool| {
            self.rates.keys().any(|(meter, tier, above)| *tier == Tier::Standard && *above == 0 && fits(*meter))
        };
        let units = |meter: Meter| matches!(meter.counts(), Counts::Units | Counts::Milliseconds);
        let beside = [Meter::WebSearchesLow, Meter::WebSearches, Meter::WebSearchesHigh, Meter::MapSearches];
        let carries = |meter: Meter| units(meter) && !beside.contains(&meter) && meter != Meter::CodeSessions;
        let (input, output) = (has(Meter::Input), has(Meter::Output));
        let text = MODES_OF_TEXT.contains(&mode);
        let priced = match (input, output) {
            (true, true) => true,
            (true, false) if MODES_WITHOUT_OUTPUT.contains(&mode) => true,
            (false, false) => any(&units) || !text && any(&|meter| !meter.is_plain()),
            _ => !text || any(&carries),
        };
        let lacks = match (input, output) {
            (false, false) if self.rates.is_empty() => "it has no price",
            (false, _) => "no input_cost_per_token",
            _ => "no output_cost_per_token",
        };
        if priced { Ok(()) } else { Err(Rejection::Unpriced(format!("{lacks} (mode `{mode}`)"))) }
    }
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
mod tests;
