//! Time zones, by their IANA names and of the data that is built in: a bare machine has them, and servers of one version
//! divide time alike.

use std::{fmt, str::FromStr, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Keeps what it has read, so that a zone is decoded once.
static RULES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Every name, in order of their letters in lower case.
static NAMES: LazyLock<Vec<Box<str>>> = LazyLock::new(|| {
    let mut names: Vec<Box<str>> = RULES.available().map(|name| name.as_str().into()).collect();
    names.sort_by_cached_key(|name| name.to_ascii_lowercase());
    names
});

/// A time zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(&'static str);

/// There is no such time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an IANA time zone, as `Europe/Berlin` is")]
pub struct UnknownZone;

impl Zone {
    /// Universal time.
    pub const UTC: Self = Self("UTC");

    /// Every time zone that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|name| Self(name))
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// When which clock is in force there.
    pub(super) fn rules(self) -> TimeZone {
        RULES.get(self.0).unwrap_or(TimeZone::UTC)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    /// Letters may be of either case.
    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        if name == Self::UTC.0 {
            return Ok(Self::UTC);
        }
        let lower = name.to_ascii_lowercase();
        let found =
            NAMES.binary_search_by(|known| known.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(lower.bytes()));
        found.map(|at| Self(&NAMES[at])).map_err(|_| UnknownZone)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_found_by_its_name_and_every_zone_has_rules_without_files_of_the_machine() {
        assert!(Zone::all().count() > 400);
        for zone in Zone::all() {
            assert_eq!(zone.as_str().to_ascii_uppercase().parse(), Ok(zone));
            assert!(RULES.get(zone.as_str()).is_ok(), "{zone}");
        }
        assert_eq!("europe/berlin".parse::<Zone>().map(Zone::as_str), Ok("Europe/Berlin"));
        assert_eq!("utc".parse(), Ok(Zone::UTC));
        for name in ["", "Mars/Olympus", "Europe/Berlin ", "+02:00", "\u{212a}"] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone), "{name}");
        }
        let text = serde_json::to_string(&Zone::UTC).expect("writes");
        assert_eq!((text.as_str(), serde_json::from_str::<Zone>(&text).expect("reads")), ("\"UTC\"", Zone::UTC));
    }
}
