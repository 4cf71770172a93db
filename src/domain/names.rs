//! Resource names, `tenants/acme/workspaces/prod/keys/key_...`, and the ids that people choose.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An id that a person chose: 2 to 63 of `a-z 0-9 -`, starting with a letter, not ending in `-`. As in RFC 1034 labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(Box<str>);

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The text is not an id that a person may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 63 of a-z, 0-9 and '-', starting with a letter and not ending in '-'")]
pub struct SlugError;

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        let good = (2..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.ends_with('-');
        if good { Ok(Self(text.into())) } else { Err(SlugError) }
    }
}

/// Splits a resource name along its pattern: `parse("tenants/acme/teams/core", ["tenants", "teams"])` gives
/// `["acme", "core"]`. `None` when the name has another shape or an empty part.
#[must_use]
pub fn parse<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut parts = name.split('/');
    let mut ids = [""; N];
    for (id, collection) in ids.iter_mut().zip(collections) {
        if parts.next()? != collection {
            return None;
        }
        *id = parts.next().filter(|id| !id.is_empty())?;
    }
    parts.next().is_none().then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_along_its_pattern_or_not_at_all() {
        assert_eq!(parse("tenants/acme/teams/core", ["tenants", "teams"]), Some(["acme", "core"]));
        for bad in ["tenants/acme", "tenants/acme/teams/", "tenants/acme/teams/core/x", "tenants//teams/core", ""] {
            assert_eq!(parse(bad, ["tenants", "teams"]), None, "{bad}");
        }
    }

    #[test]
    fn a_slug_is_a_label_of_a_host_name() {
        for good in ["ab", "a-1", &"a".repeat(63)] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "Ab", "a_b", "а́b", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }
}
