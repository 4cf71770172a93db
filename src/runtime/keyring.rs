//! The key files: what must never be in the database.
//!
//! A database remembers the fingerprints of the files that it was started with. With other files every API key and every
//! token would be refused, so a start with them is refused instead.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    app::context::random,
    domain::key_secret::{KeyHash, Pepper},
    engine::{hold_token::HoldKey, tokens::TokenKeys},
    store::{self, Db, StoreError},
};

const PEPPER: &str = "api-key-pepper";
const HOLDS: &str = "hold-token";
const TOKENS: &str = "token-signing";

/// The keys of a server.
pub struct Keyring {
    /// Hashes the secrets of API keys.
    pub pepper: Pepper,
    /// Signs hold tokens.
    pub holds: HoldKey,
    /// Signs bearer tokens.
    pub tokens: Arc<TokenKeys>,
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
    pub async fn open(db: &Db, folder: &Path) -> Result<Self, KeyringError> {
        let pepper = open_one(db, folder, PEPPER, random_key).await?;
        let holds = open_one(db, folder, HOLDS, random_key).await?;
        let tokens = open_one(db, folder, TOKENS, signing_key).await?;
        let malformed = |name: &str| KeyringError::Malformed(path_of(folder, name));
        let bytes = |key: &[u8], name| <[u8; 32]>::try_from(key).map_err(|_| malformed(name));
        let pair = Ed25519KeyPair::from_pkcs8(&tokens).map_err(|_| malformed(TOKENS))?;
        let tokens = TokenKeys::new(&tokens, pair.public_key().as_ref()).map_err(|_| malformed(TOKENS))?;
        Ok(Self {
            pepper: Pepper::new(&bytes(&pepper, PEPPER)?),
            holds: HoldKey::new(&bytes(&holds, HOLDS)?),
            tokens: Arc::new(tokens),
        })
    }
}

/// A key's content, wiped when it is dropped.
type Secret = Zeroizing<Vec<u8>>;

fn path_of(folder: &Path, name: &str) -> PathBuf {
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
    let fingerprint = KeyHash(Sha256::digest(&key).into()).to_hex();
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

fn read(path: &Path) -> Result<Option<Secret>, KeyringError> {
    match fs::read(path) {
        Ok(key) => Ok(Some(Zeroizing::new(key))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(KeyringError::File { path: path.to_owned(), cause }),
    }
}

/// Writes a new file that only its owner can read.
fn write(folder: &Path, path: &Path, key: &[u8]) -> Result<(), KeyringError> {
    let failed = |cause| KeyringError::File { path: path.to_owned(), cause };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key).and_then(|()| file.sync_all()).map_err(failed)?;
    // The name of the file must be durable too, before the database says that it exists.
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn random_key() -> Option<Secret> {
    random::<32>().ok().map(|bytes| Zeroizing::new(bytes.to_vec()))
}

fn signing_key() -> Option<Secret> {
    let pair = Ed25519KeyPair::generate().ok()?;
    Some(Zeroizing::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
}
