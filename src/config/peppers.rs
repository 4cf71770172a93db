//! Peppers that are given as a setting, for servers that get their secrets from a manager.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use zeroize::Zeroizing;

use super::ConfigError;
use crate::domain::{key_secret::KeyHash, peppers::PepperVersion};

/// A pepper that is given.
#[derive(Clone, Debug)]
pub struct GivenPepper {
    /// Which.
    pub version: PepperVersion,
    /// The pepper.
    pub bytes: Arc<SecretBox<[u8; 32]>>,
}

/// Reads `1=<64 hexadecimal digits>,2=<...>`.
///
/// # Errors
/// [`ConfigError::Value`], which does not say what was given.
pub fn parse(text: &SecretString) -> Result<Vec<GivenPepper>, ConfigError> {
    let bad = |why: &str| ConfigError::Value { setting: "peppers", why: why.to_owned() };
    let mut given: Vec<GivenPepper> = Vec::new();
    for part in text.expose_secret().split(',') {
        let (number, digits) =
            part.trim().split_once('=').ok_or_else(|| bad("must be version=digits, with commas between them"))?;
        let version = number.parse().ok().and_then(PepperVersion::new);
        let version = version.ok_or_else(|| bad("a version must be 1 to 63"))?;
        let bytes = KeyHash::from_hex(digits).map(|bytes| Zeroizing::new(bytes.0));
        let bytes = bytes.ok_or_else(|| bad("a pepper must be 64 hexadecimal digits"))?;
        if given.iter().any(|known| known.version == version) {
            return Err(bad("a version is there twice"));
        }
        given.push(GivenPepper { version, bytes: Arc::new(SecretBox::new(Box::new(*bytes))) });
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peppers_are_read_by_version_and_a_mistake_does_not_show_them() {
        let digits = "0a".repeat(32);
        let given = parse(&format!("1={digits}, 12={}", "ff".repeat(32)).into()).expect("good");
        let read: Vec<(u8, u8)> =
            given.iter().map(|one| (one.version.number(), one.bytes.expose_secret()[0])).collect();
        assert_eq!(read, [(1, 10), (12, 255)]);
        for bad in [
            String::new(),
            digits.clone(),
            format!("0={digits}"),
            format!("64={digits}"),
            format!("1={}", &digits[1..]),
            format!("1={digits},1={digits}"),
            format!("1={digits},"),
        ] {
            let told = parse(&bad.clone().into()).expect_err("a mistake").to_string();
            assert!(told.starts_with("peppers") && !told.contains("0a0a"), "{bad}: {told}");
        }
    }
}
