//! What is signed of an audit log's tree: a checkpoint (C2SP `tlog-checkpoint`) as a signed note (C2SP `signed-note`), a text of
//! some lines that says how many events a tenant's log has and what their tree's root is. Whoever keeps one can have it proven
//! later that nothing before it was changed; whoever has the verifier key needs to trust nobody for that.

use std::{fmt, fmt::Write as _, str::FromStr};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{audit_tree::TreeHash, id::TenantId};

/// Marks an Ed25519 key and its signatures.
const ED25519_MARK: u8 = 1;
/// Begins the line of a signature.
const DASH: &str = "\u{2014} ";

/// The size and the root of a log's tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which log; also the name of the key that signs it.
    pub origin: String,
    /// How many events it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: TreeHash,
}

/// What the log of a tenant is called.
#[must_use]
pub fn origin(tenant: TenantId) -> String {
    format!("tollreeve/{tenant}")
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

/// A text is no checkpoint, or none that this key has signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of one.
    #[error("this is no checkpoint")]
    Malformed,
    /// It is of another log, or of another server.
    #[error("this checkpoint is not signed by this key")]
    Unsigned,
    /// The signature is not that of the text.
    #[error("the signature of this checkpoint is wrong")]
    Forged,
}

/// Reads what a note says, whoever has signed it.
fn text_of(note: &str) -> Option<(Checkpoint, &str, &str)> {
    let (text, signatures) = note.split_at(note.find("\n\n")? + 1);
    let mut lines = text.lines();
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let checkpoint = Checkpoint { origin: origin.to_owned(), size: size.parse().ok()?, root: root.parse().ok()? };
    // A number is written in one way only.
    let is_plain = !origin.is_empty() && checkpoint.size.to_string() == size;
    is_plain.then(|| (checkpoint, text, signatures.trim_start_matches('\n')))
}

/// Signs checkpoints.
pub struct Signer(Ed25519KeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// From an Ed25519 key in PKCS #8; `None` when it is none.
    #[must_use]
    pub fn new(pkcs8: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self)
    }

    /// What verifies the checkpoints of a log.
    #[must_use]
    pub fn verifier(&self, origin: &str) -> VerifierKey {
        let mut key = [0; 32];
        // A public key of Ed25519 has 32 bytes.
        key.copy_from_slice(self.0.public_key().as_ref());
        VerifierKey { name: origin.to_owned(), key }
    }

    /// A checkpoint, signed.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let mut note = checkpoint.to_string();
        let id = self.verifier(&checkpoint.origin).id();
        let signature = [&id[..], self.0.sign(note.as_bytes()).as_ref()].concat();
        // Writing to a string cannot fail.
        let _ = writeln!(note, "\n{DASH}{} {}", checkpoint.origin, STANDARD.encode(signature));
        note
    }
}

/// What verifies the checkpoints of one log: its name and a public key. As text `name+id+key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

impl VerifierKey {
    /// Of which log it is: its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signatures of the key begin with.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519_MARK]).chain_update(self.key);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        [a, b, c, d]
    }

    /// The checkpoint that a note holds, if this key has signed it. Signatures of others are passed over.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let (checkpoint, text, signatures) = text_of(note).ok_or(NoteError::Malformed)?;
        let ours = signatures.lines().find_map(|line| {
            let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
            let signature = STANDARD.decode(signature).ok()?;
            let signature = signature.strip_prefix(&self.id())?;
            (name == self.name).then(|| signature.to_vec())
        });
        let signature = ours.filter(|_| checkpoint.origin == self.name).ok_or(NoteError::Unsigned)?;
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        key.verify(text.as_bytes(), &signature).map_err(|_| NoteError::Forged)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode([&[ED25519_MARK][..], &self.key].concat()))
    }
}

/// A text is no verifier key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is no verifier key: it is to be name+id+key, as `tollreeve audit key` tells it")]
pub struct KeyError;

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(KeyError) };
        let bytes = STANDARD.decode(key).map_err(|_| KeyError)?;
        let (mark, key) = bytes.split_first().ok_or(KeyError)?;
        let key = Self { name: name.to_owned(), key: key.try_into().map_err(|_| KeyError)? };
        // With its id, for that is a hash of the rest.
        if *mark == ED25519_MARK && key.to_string() == text.trim() { Ok(key) } else { Err(KeyError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: Checkpoint = Checkpoint { origin: String::new(), size: 7, root: TreeHash([9; 32]) };

    fn signer() -> Signer {
        Signer::new(Ed25519KeyPair::generate().expect("a key").to_pkcs8v1().expect("encodes").as_ref()).expect("a key")
    }

    #[test]
    fn the_example_of_the_specification_is_opened() {
        // The verifier key and the note of the Go module `golang.org/x/mod/sumdb/note`, which the specification is of.
        let key: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("a key");
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let bytes = STANDARD.decode(signature).expect("base64");
        assert_eq!(bytes[..4], key.id());
        assert!(UnparsedPublicKey::new(&ED25519, key.key).verify(text.as_bytes(), &bytes[4..]).is_ok());
    }

    #[test]
    fn what_was_signed_is_opened_and_nothing_else() {
        let signer = signer();
        let checkpoint = Checkpoint { origin: origin(TenantId::from_bits(3)), ..SIZED };
        let (note, key) = (signer.sign(&checkpoint), signer.verifier(&checkpoint.origin));
        assert_eq!(key.open(&note), Ok(checkpoint.clone()));
        // Somebody else has signed it as well.
        let witness = "\u{2014} witness AAAAAAAA\n";
        assert_eq!(key.open(&format!("{note}{witness}")), Ok(checkpoint.clone()));
        let other = signer.verifier("tollreeve/other");
        assert_eq!(other.open(&note), Err(NoteError::Unsigned));
        assert_eq!(self::signer().verifier(&checkpoint.origin).open(&note), Err(NoteError::Unsigned));
        for (at, _) in note.char_indices().filter(|(_, c)| c.is_ascii()) {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            let opened = key.open(&String::from_utf8(bytes).expect("ASCII is still ASCII"));
            assert!(opened.is_err(), "changed at {at}");
        }
        // Without the end of the last line it says the same.
        assert!((0..note.len() - 1).filter_map(|at| note.get(..at)).all(|cut| key.open(cut).is_err()));
    }

    #[test]
    fn a_verifier_key_is_read_as_it_is_written_and_no_other() {
        let key = signer().verifier("tollreeve/ten_1");
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let text = key.to_string();
        let changed = |from: &str, to: &str| text.replacen(from, to, 1).parse::<VerifierKey>();
        assert_eq!(changed("ten_1", "ten_2"), Err(KeyError));
        assert!(
            ["", "a+b", "a+00000000+", "tollreeve/ten_1+00000000+AQ=="]
                .iter()
                .all(|text| text.parse::<VerifierKey>().is_err())
        );
    }
}
