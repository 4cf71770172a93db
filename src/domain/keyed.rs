//! Hashes under a key: HMAC-SHA-256 (RFC 2104).

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

/// A hash under a key, before anything is put in.
#[must_use]
pub fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key is filled up to the block with zeros (section 2).
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use hmac::Mac as _;

    use super::*;

    #[test]
    fn a_hash_is_the_one_of_the_standard() {
        // RFC 4231, test case 1, whose key of 20 bytes is filled up with zeros as well.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let mut mac = keyed(&key);
        mac.update(b"Hi There");
        let tag = mac.finalize().into_bytes();
        assert_eq!(tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    }
}
