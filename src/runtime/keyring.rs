//! The key files: what must never be in the database.
//!
//! A database remembers the fingerprints of the files that it was started with. With other files every API key and every
//! token would be refused, so a start with them is refused instead. Of the keys that tokens are signed with it has the public
//! halves; a server needs a private one of any that has not retired, and looks for others while it runs.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::peppers::{self, Source};
use crate::{
    app::context::random,
    config::Config,
    domain::{checkpoint::Signer, key_secret::KeyHash, peppers::Peppers, signing_keys::SigningKey, time::Timestamp},
    engine::{hold_token::HoldKey, tokens::TokenKeys},
    store::{self, Db, StoreError},
};

const HOLDS: &str = "hold-token";
const TOKENS: &str = "token-signing";
const AUDIT: &str = "audit-signing";

/// The keys of a server.
pub struct Keyring {
    /// Hash the secrets of API keys.
    pub peppers: Peppers,
    /// Signs hold tokens.
    pub holds: HoldKey,
    /// Signs bearer tokens.
    pub tokens: Arc<TokenKeys>,
    /// Signs checkpoints of audit logs.
    pub audit: Signer,
}

/// Why the key files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read or made.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file that the database needs is not there.
    #[error("{0} is missing, and this database was started with it: without it every key and token would be refused")]
    Missing(PathBuf),
    /// A file is another than the database was started with.
    #[error("{0} is not the file that this database was started with: with it every key and token would be refused")]
    Other(PathBuf),
    /// A file's content is no key.
    #[error("{0} does not hold a key")]
    Malformed(PathBuf),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keyring {
    /// Reads the key files of a database, or makes them at its first start.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub async fn open(db: &Db, config: &Config, now: Timestamp) -> Result<Self, KeyringError> {
        let folder = config.keys_dir.as_path();
        let peppers = peppers::open(db, &Source::of(config), now).await?;
        let holds = open_one(db, folder, HOLDS, random_key).await?;
        let tokens = open_tokens(db, folder, now).await?;
        let malformed = |name: &str| KeyringError::Malformed(path_of(folder, name));
        let bytes = |key: &[u8], name| <[u8; 32]>::try_from(key).map_err(|_| malformed(name));
        let audit = Signer::new(&open_one(db, folder, AUDIT, signing_key).await?).ok_or_else(|| malformed(AUDIT))?;
        Ok(Self { peppers, holds: HoldKey::new(&bytes(&holds, HOLDS)?), tokens: Arc::new(tokens), audit })
    }
}

/// The keys that tokens are signed with; the first is made at the first start, or has been there before keys followed each
/// other.
async fn open_tokens(db: &Db, folder: &Path, now: Timestamp) -> Result<TokenKeys, KeyringError> {
    let tokens = TokenKeys::default();
    let mut keys = store::signing_keys::all(&mut db.read().await?).await?;
    if keys.is_empty() {
        let secret = open_one(db, folder, TOKENS, signing_key).await?;
        let key = public_half(&secret, now).ok_or_else(|| KeyringError::Malformed(path_of(folder, TOKENS)))?;
        let mut tx = db.begin().await?;
        let _ = store::signing_keys::insert(&mut tx, &key).await?;
        tx.commit().await?;
        keys = store::signing_keys::all(&mut db.read().await?).await?;
    }
    let first = keys.first().map(|key| key.kid.clone());
    for key in keys {
        let path = path_of(folder, TOKENS);
        tokens.put(key).map_err(|_| KeyringError::Malformed(path))?;
    }
    look(folder, &tokens, now)?;
    if !tokens.can_sign(now) {
        let newest = tokens.unequipped(now).pop();
        if newest.as_ref().map(|key| &key.kid) == first.as_ref() {
            // Says what is wrong with the first file.
            open_one(db, folder, TOKENS, signing_key).await?;
        }
        let path = newest.map_or_else(|| path_of(folder, TOKENS), |key| path_of_key(folder, &key));
        return Err(KeyringError::Missing(path));
    }
    Ok(tokens)
}

/// Takes the private keys in that are there and not known yet. Gives whether there was one.
///
/// # Errors
/// [`KeyringError`] for a file that cannot be read or is another key than its name says; the first key's file may be
/// another one.
pub fn look(folder: &Path, tokens: &TokenKeys, now: Timestamp) -> Result<bool, KeyringError> {
    let mut found = false;
    for key in tokens.unequipped(now) {
        let path = path_of_key(folder, &key);
        if let Some(secret) = read(&path)? {
            tokens.equip(&key.kid, &secret).map_err(|_| KeyringError::Malformed(path))?;
            found = true;
        } else if let Some(secret) = read(&path_of(folder, TOKENS))? {
            found |= tokens.equip(&key.kid, &secret).is_ok();
        }
    }
    Ok(found)
}

/// Makes a new key for tokens and writes its private half into the folder; gives the public one, which no server knows yet.
///
/// # Errors
/// [`KeyringError`].
pub fn make_signing_key(folder: &Path, now: Timestamp) -> Result<SigningKey, KeyringError> {
    let malformed = || KeyringError::Malformed(path_of(folder, TOKENS));
    let secret = signing_key().ok_or_else(malformed)?;
    let key = public_half(&secret, now).ok_or_else(malformed)?;
    write(folder, &path_of_key(folder, &key), &secret)?;
    Ok(key)
}

/// The public half of a key.
fn public_half(secret: &Secret, now: Timestamp) -> Option<SigningKey> {
    let pair = Ed25519KeyPair::from_pkcs8(secret).ok()?;
    Some(SigningKey::new(pair.public_key().as_ref().try_into().ok()?, now))
}

/// Where the private half of a key is, but for the first.
fn path_of_key(folder: &Path, key: &SigningKey) -> PathBuf {
    path_of(folder, &format!("{TOKENS}-{}", key.kid))
}

/// A key's content, wiped when it is dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;

pub(super) fn path_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.key"))
}

async fn open_one(
    db: &Db,
    folder: &Path,
    name: &str,
    make: impl FnOnce() -> Option<Secret>,
) -> Result<Secret, KeyringError> {
    let path = path_of(folder, name);
    let expected = store::keyring::get(&mut db.read().await?, name).await?;
    let key = match (read(&path)?, &expected) {
        (Some(key), _) => key,
        (None, Some(_)) => return Err(KeyringError::Missing(path)),
        (None, None) => {
            let key = make().ok_or_else(|| KeyringError::Malformed(path.clone()))?;
            write(folder, &path, &key)?;
            key
        }
    };
    let fingerprint = fingerprint(&key);
    match expected {
        Some(expected) if expected != fingerprint => return Err(KeyringError::Other(path)),
        Some(_) => {}
        None => {
            let mut tx = db.begin().await?;
            let _ = store::keyring::set(&mut tx, name, &fingerprint).await?;
            tx.commit().await?;
        }
    }
    Ok(key)
}

/// How to tell a key without knowing it.
pub(super) fn fingerprint(key: &Secret) -> String {
    KeyHash(Sha256::digest(key).into()).to_hex()
}

pub(super) fn read(path: &Path) -> Result<Option<Secret>, KeyringError> {
    match fs::read(path) {
        Ok(key) => Ok(Some(Zeroizing::new(key))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(KeyringError::File { path: path.to_owned(), cause }),
    }
}

/// Writes a new file that only its owner can read.
pub(super) fn write(folder: &Path, path: &Path, key: &[u8]) -> Result<(), KeyringError> {
    let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key).and_then(|()| file.sync_all()).map_err(failed)?;
    // The name of the file must be durable too, before the database says that it exists.
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

pub(super) fn random_key() -> Option<Secret> {
    random::<32>().ok().map(|bytes| Zeroizing::new(bytes.to_vec()))
}

fn signing_key() -> Option<Secret> {
    let pair = Ed25519KeyPair::generate().ok()?;
    Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
}
