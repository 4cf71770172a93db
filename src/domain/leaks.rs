//! Keys in texts where they should not be: found without asking anybody, by their shape and checksum.

use super::key_secret::{MARK, MAX_PREFIX_LEN, Presented, TAIL_LEN};

/// What a scanner of another make looks for; [`find`] also checks the checksum, so that nothing else is taken for a key.
pub const PATTERN: &str = r"[0-9A-Za-z_]{1,8}_tr_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}";

/// A key that stands in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found<'a> {
    /// Where it begins, in bytes.
    pub at: usize,
    /// The whole of it.
    pub key: &'a str,
}

impl Found<'_> {
    /// Its beginning, which is safe to show: `prod_tr_4Kd0...`.
    #[must_use]
    pub fn hint(&self) -> String {
        let prefix = self.key.len() - TAIL_LEN;
        format!("{}...", &self.key[..prefix + MARK.len() + 4])
    }
}

/// The keys that stand in a text, in whatever else it consists of, in order.
pub fn find(text: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let windows = text.windows(MARK.len()).enumerate();
    let marks = windows.filter(|(_, window)| *window == MARK.as_bytes()).map(|(at, _)| at);
    marks.filter_map(|mark| {
        let end = mark.checked_add(TAIL_LEN).filter(|end| *end <= text.len())?;
        // What stands before may be more than the prefix; the checksum tells where that begins.
        let starts = (1..=MAX_PREFIX_LEN).rev().filter_map(|len| mark.checked_sub(len));
        starts
            .filter_map(|at| Some(Found { at, key: std::str::from_utf8(&text[at..end]).ok()? }))
            .find(|found| Presented::parse(found.key).is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key_secret::{KeySecret, RANDOM_BYTES};

    fn key(prefix: &str) -> String {
        let random: [u8; RANDOM_BYTES] = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap_or(0));
        KeySecret::generate(prefix, &random).expect("enough digits").expose().to_owned()
    }

    fn found(text: &[u8]) -> Vec<(usize, &str)> {
        find(text).map(|found| (found.at, found.key)).collect()
    }

    #[test]
    fn keys_are_found_in_whatever_surrounds_them() {
        let (prod, dev) = (key("prod"), key("d"));
        assert_eq!(found(prod.as_bytes()), [(0, &*prod)]);
        let text = format!("export KEY=\"{prod}\"\nx{dev}y {prod}{dev}");
        let keys: Vec<_> = found(text.as_bytes()).into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, [&*prod, &*dev, &*prod, &*dev]);
        let binary = [b"\xff\xfe\0".as_slice(), prod.as_bytes(), b"\xff"].concat();
        assert_eq!(found(&binary), [(3, &*prod)]);
        assert_eq!(find(prod.as_bytes()).next().expect("one").hint(), format!("{}...", &prod[..12]));
    }

    #[test]
    fn what_has_another_checksum_is_no_key() {
        let prod = key("prod");
        for at in 0..prod.len() {
            let mut other = prod.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(found(&other).is_empty(), "{at}");
        }
        for nonsense in ["", "_tr_", "prod_tr_", &prod[..prod.len() - 1], &prod[1..]] {
            assert!(found(nonsense.as_bytes()).is_empty(), "{nonsense}");
        }
    }
}
