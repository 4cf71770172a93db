//! From messages to values: each function checks one shape, and every error names its field.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{
        listing::{self, Field},
        time::Timestamp,
    },
    store::{Page, listing::Listing},
};

/// Rows of a page when the caller does not say.
const DEFAULT_PAGE: i32 = 50;
/// Most rows of a page.
const MAX_PAGE: i32 = 1000;
/// Longest cursor, in bytes: a provider and a model of four bytes a character.
const MAX_CURSOR: usize = 2048;

/// A field whose value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct FieldError {
    /// Path of the field in the request, `key.expire_time`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// A field whose value cannot be, and why.
pub fn invalid(field: impl Into<String>, why: impl fmt::Display) -> FieldError {
    FieldError { field: field.into(), why: format!("{why}") }
}

/// Reads a text that must be there.
///
/// # Errors
/// When it is empty or malformed; so for every function of this module.
pub fn required<T>(field: &str, text: &str) -> Result<T, FieldError>
where
    T: FromStr<Err: fmt::Display>,
{
    if text.is_empty() {
        return Err(invalid(field, "is required"));
    }
    text.parse().map_err(|error: T::Err| invalid(field, error))
}

/// Takes a message that must be there.
pub fn present<T>(field: &str, message: Option<T>) -> Result<T, FieldError> {
    message.ok_or_else(|| invalid(field, "is required"))
}

/// A name for people: 1 to 128 characters without control characters; `fallback` when it is empty.
pub fn display_name(field: &str, text: String, fallback: &impl ToString) -> Result<String, FieldError> {
    if text.is_empty() { Ok(fallback.to_string()) } else { bounded(field, text, 128) }
}

/// A text of at most `most` characters that says what it shows: without control characters, and without those that cannot
/// be seen or turn the direction of writing, by which one name looks like another (Unicode Technical Report 36).
pub fn bounded(field: &str, text: String, most: usize) -> Result<String, FieldError> {
    if text.chars().count() > most {
        Err(invalid(field, format!("must have at most {most} characters")))
    } else if text.chars().any(char::is_control) {
        Err(invalid(field, "must not have control characters"))
    } else if text.chars().any(is_invisible) {
        Err(invalid(field, "must not have characters that cannot be seen or that turn the direction of writing"))
    } else {
        Ok(text)
    }
}

/// Whether a character shows nothing of itself: what Unicode calls default ignorable, but for the joiners and selectors that
/// scripts and emoji are written with.
const fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// A number within bounds, both included.
pub fn within(field: &str, number: i64, least: i64, most: i64) -> Result<i64, FieldError> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(invalid(field, format!("must be {least} to {most}, not {number}")))
    }
}

/// A page: its size and the token that the page before ended with.
pub fn page(page_size: i32, page_token: &str) -> Result<Page, FieldError> {
    let size = match page_size {
        0 => DEFAULT_PAGE,
        1.. => page_size.min(MAX_PAGE),
        _ => return Err(invalid("page_size", "must not be negative")),
    };
    let after = URL_SAFE_NO_PAD.decode(page_token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // A cursor is an id, a sequence or a pair of names: short.
    match after.filter(|cursor| cursor.len() <= MAX_CURSOR) {
        Some(after) => Ok(Page { after, limit: i64::from(size) + 1 }),
        None => Err(invalid("page_token", "is not one that this server gave")),
    }
}

/// A list with a filter and an order.
pub fn listing(
    page: Page,
    filter: &str,
    order_by: &str,
    show_deleted: bool,
    fields: &'static [Field],
) -> Result<Listing, FieldError> {
    let filter = bounded("filter", filter.to_owned(), usize::MAX)?;
    let terms = listing::filter(&filter, fields).map_err(|error| invalid("filter", error))?;
    let order = listing::order(order_by, fields).map_err(|error| invalid("order_by", error))?;
    let asked = format!("{terms:?} {order:?} {show_deleted}");
    Ok(Listing { page, terms, order, show_deleted, asked })
}

/// Whether each of the fields that an update can change is to be changed. Without a mask: those that are set. A mask may
/// name a message for all that is in it.
pub fn masked<const N: usize>(
    mask: Option<prost_types::FieldMask>,
    fields: [(&str, bool); N],
    fixed: &[&str],
) -> Result<[bool; N], FieldError> {
    let paths = mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Ok(fields.map(|(_, set)| set));
    }
    let every = paths == ["*"];
    for path in paths.iter().filter(|_| !every) {
        if fixed.contains(&path.as_str()) {
            return Err(invalid("update_mask", format!("`{path}` cannot be changed")));
        }
        if !fields.iter().any(|(name, _)| covers(path, name)) {
            return Err(invalid("update_mask", format!("`{path:.64}` is not a field")));
        }
    }
    Ok(fields.map(|(name, _)| every || paths.iter().any(|path| covers(path, name))))
}

/// Whether a path of a mask is a field, or a message that it is in.
fn covers(path: &str, field: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The token that asks for the page after `cursor`.
#[must_use]
pub fn page_token(cursor: &str) -> String {
    URL_SAFE_NO_PAD.encode(cursor)
}

/// A point in time on the wire.
pub fn timestamp(field: &str, time: &prost_types::Timestamp) -> Result<Timestamp, FieldError> {
    let micros =
        time.seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(i64::from(time.nanos) / 1000));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&time.nanos) => Ok(Timestamp::from_micros(micros)),
        _ => Err(invalid(field, "is not a time")),
    }
}

/// A span of time on the wire; never negative.
pub fn duration(field: &str, span: &prost_types::Duration) -> Result<std::time::Duration, FieldError> {
    std::time::Duration::try_from(*span).map_err(|_| invalid(field, "must be a span of time that is not negative"))
}

/// A point in time as the wire has it.
#[must_use]
pub fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        // Below 1e9 by construction.
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or_default(),
    }
}

/// The etag of a record's version.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("v{version}")
}

/// The version that an etag speaks of; `None` when there is no etag, and one that no record has when it is not ours.
#[must_use]
pub fn version(etag: &str) -> Option<i64> {
    let number = etag.strip_prefix('v').and_then(|version| version.parse().ok());
    (!etag.is_empty()).then(|| number.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_size_within_bounds_and_begins_where_the_last_one_ended() {
        let limit = |size| page(size, "").map(|page| page.limit).ok();
        assert_eq!((limit(0), limit(7), limit(5000), limit(-1)), (Some(51), Some(8), Some(1001), None));
        let next = page(1, &page_token("azure\ngpt-4o")).map(|page| page.after);
        assert_eq!(next.as_deref(), Ok("azure\ngpt-4o"));
        assert!(page(1, "not a token").is_err());
    }

    #[test]
    fn a_time_goes_over_the_wire_and_back_and_an_impossible_one_is_refused() {
        for micros in [0, 1, -1, 1_700_000_000_123_456] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(timestamp("t", &to_wire(time)), Ok(time));
        }
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(timestamp("t", &prost_types::Timestamp { seconds, nanos }).is_err());
        }
    }

    #[test]
    fn an_etag_that_is_not_ours_is_of_no_version_that_a_record_has() {
        assert_eq!(version(""), None);
        assert_eq!(version(&etag(3)), Some(3));
        assert_eq!(version("3"), Some(0));
    }
}
