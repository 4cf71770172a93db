//! What lists are searched by: from where each word of a record's names begins, so that a search is a range of an index.
//!
//! Every beginning of a word is kept with all that follows it: so a search for more than one word in a row is a range too,
//! and one for the middle of an address. Both databases compare bytes, and neither needs an extension for it.

use std::{collections::BTreeSet, fmt::Display};

use super::{Result, Tx, dialect};
use crate::domain::id::TenantId;

/// Characters of a beginning that are kept, and of a search that count.
const LONGEST: usize = 64;

/// The words by which a record is found.
pub(super) struct Words<'a> {
    /// The record's tenant.
    pub tenant: TenantId,
    /// Of which list it is: see [`list`].
    pub list: String,
    /// The record's id.
    pub id: String,
    /// Its names.
    pub texts: &'a [&'a str],
}

/// The list of a noun within something: the same words elsewhere are of another list.
pub(super) fn list(noun: &str, within: impl Display) -> String {
    format!("{noun} of {within}")
}

/// Keeps the words of a record, instead of those that it had.
pub(super) async fn put(tx: &mut Tx, words: &Words<'_>) -> Result<()> {
    let (tenant, kept) = (words.tenant.to_string(), beginnings(words.texts));
    execute!(tx, "DELETE FROM search_words WHERE tenant_id = $1 AND record = $2", &tenant, &words.id)?;
    let kept = serde_json::Value::from_iter(kept).to_string();
    let statement = dialect::INSERT_WORDS.text(tx);
    execute!(tx, statement, &tenant, &words.list, &words.id, kept)?;
    Ok(())
}

/// Forgets the words of a record that is gone.
pub(super) async fn drop(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<()> {
    execute!(tx, "DELETE FROM search_words WHERE tenant_id = $1 AND record = $2", tenant.to_string(), id)?;
    Ok(())
}

/// From and to what a word must be for a record to be found: the end is not in it. `None` when nothing is found.
pub(super) fn range(searched: &str) -> Option<(String, String)> {
    let from: String = searched.trim_start_matches(|c: char| !c.is_alphanumeric()).chars().take(LONGEST).collect();
    let to = format!("{from}{}", char::MAX);
    (!from.is_empty()).then_some((from, to))
}

/// The texts from the beginning of each of their words on, in lower case.
fn beginnings(texts: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in texts {
        let text = text.to_lowercase();
        let mut within = false;
        for (at, c) in text.char_indices() {
            if c.is_alphanumeric() && !within {
                found.insert(text[at..].chars().take(LONGEST).collect());
            }
            within = c.is_alphanumeric();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_beginning_of_each_of_its_words() {
        let kept = beginnings(&["acme-research", "Größe  XL (new)", "a.b@example.com"]);
        let wanted = ["a.b@example.com", "acme-research", "b@example.com", "com", "example.com"];
        let wanted: BTreeSet<&str> =
            wanted.into_iter().chain(["größe  xl (new)", "new)", "research", "xl (new)"]).collect();
        assert_eq!(kept.iter().map(String::as_str).collect::<BTreeSet<_>>(), wanted);
        let finds = |searched: &str| range(searched).is_some_and(|(from, to)| kept.range(from..to).next().is_some());
        for searched in ["a", "acme-r", "res", "größe", "@example", "xl (n"] {
            assert!(finds(searched), "{searched}");
        }
        for searched in ["search", "", "%", "acme_r", "ample", "xl new"] {
            assert!(!finds(searched), "{searched}");
        }
        let long = "x".repeat(100);
        assert!(beginnings(&[&long]).range(range(&long).expect("a range").0..).next().is_some());
    }
}
