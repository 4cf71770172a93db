//! Texts that are given away and come back: what they say is authenticated, so that nothing of them has to be stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keyed::keyed;

const MAC_LEN: usize = 32;
/// Longest payload, in bytes.
const MAX_PAYLOAD: usize = 64;

/// Seals and opens texts of one purpose.
#[derive(Clone)]
pub struct Seal {
    /// What the texts begin with, so that a person, a scanner and a log know one: `tr_refresh_`.
    prefix: &'static str,
    mac: Hmac<Sha256>,
    /// Those that texts may have been sealed under before.
    others: Vec<Hmac<Sha256>>,
}

impl Seal {
    /// With a key of its own for each purpose.
    #[must_use]
    pub fn new(prefix: &'static str, key: [u8; 32]) -> Self {
        Self { prefix, mac: keyed(&key), others: Vec::new() }
    }

    /// The same, which takes texts as genuine too that were sealed with other keys.
    #[must_use]
    pub fn or(self, keys: impl Iterator<Item = [u8; 32]>) -> Self {
        Self { others: keys.map(|key| keyed(&key)).collect(), ..self }
    }

    /// The text that says `payload`, for as long as `context` stays what it is.
    #[must_use]
    pub fn seal(&self, payload: &[u8], context: &[u8]) -> String {
        let tag: [u8; MAC_LEN] = tag(&self.mac, payload, context).finalize().into_bytes().into();
        format!("{}{}", self.prefix, URL_SAFE_NO_PAD.encode([payload, &tag].concat()))
    }

    /// What a text says, not yet known to be genuine: to find the context by. `None` for what is no such text.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Unproven> {
        let encoded = text.strip_prefix(self.prefix).filter(|rest| rest.len() <= (MAX_PAYLOAD + MAC_LEN) * 4 / 3)?;
        let mut payload = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let tag = payload.split_off(payload.len().checked_sub(MAC_LEN)?);
        Some(Unproven { payload, tag })
    }

    /// Whether a text is genuine, and the context is still the one that it was made in.
    #[must_use]
    pub fn proves(&self, text: &Unproven, context: &[u8]) -> bool {
        std::iter::once(&self.mac)
            .chain(&self.others)
            .any(|mac| tag(mac, &text.payload, context).verify_slice(&text.tag).is_ok())
    }
}

fn tag(mac: &Hmac<Sha256>, payload: &[u8], context: &[u8]) -> Hmac<Sha256> {
    let mut mac = mac.clone();
    mac.update(&payload.len().to_le_bytes());
    mac.update(payload);
    mac.update(context);
    mac
}

/// What a text says that may not be genuine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unproven {
    /// What it says.
    pub payload: Vec<u8>,
    tag: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_genuine_only_whole_under_its_key_and_in_its_context() {
        let seal = Seal::new("tr_test_", [7; 32]);
        let text = seal.seal(b"somebody", b"today");
        let read = seal.read(&text).expect("one of ours");
        assert_eq!(read.payload, b"somebody");
        assert!(seal.proves(&read, b"today"));
        assert!(!seal.proves(&read, b"tomorrow") && !seal.proves(&read, b""));
        let next = Seal::new("tr_test_", [8; 32]);
        assert!(!next.proves(&read, b"today"));
        let next = next.or([[9; 32], [7; 32]].into_iter());
        assert!(next.proves(&read, b"today") && !next.proves(&read, b"tomorrow"));
        assert!(!seal.proves(&next.read(&next.seal(b"somebody", b"today")).expect("one of ours"), b"today"));
        for at in "tr_test_".len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("text");
            assert!(seal.read(&other).is_none_or(|read| !seal.proves(&read, b"today")), "{at}");
        }
        let shorter = seal.read(&text[..text.len() - 1]);
        assert!(shorter.is_none_or(|read| !seal.proves(&read, b"today")));
        for nonsense in ["", "tr_test_", "tr_test_AAAA", "tr_other_AAAA", &"A".repeat(5000)] {
            assert_eq!(seal.read(nonsense), None, "{nonsense}");
        }
    }
}
