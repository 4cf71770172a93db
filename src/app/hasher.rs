//! Passwords: hashed and checked beside everything else, a few at a time, for each costs a core and memory for a while.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::{AppError, context::random};
use crate::engine::error::GateError;

/// Most that wait; each waits for those before it.
const QUEUE: usize = 256;
/// What a password is compared with when there is none to compare with: the same work, and never right. Argon2id with the
/// parameters of [`Argon2::default`], 19 MiB in two passes (OWASP), of random bytes that nobody kept.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cy1zYWx0LTE2Yg$m3oYEPmZpm3QXr2jS2Gx0vYw4b1l7b1sKo1m0dY1hQY";

/// Hashes and checks passwords.
pub struct Hasher {
    /// As many at once as there are cores.
    cores: Arc<Semaphore>,
    /// Those and the ones that wait.
    all: Semaphore,
}

impl Default for Hasher {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores: Arc::new(Semaphore::new(cores)), all: Semaphore::new(cores + QUEUE) }
    }
}

impl Hasher {
    /// The hash of a password, with a new salt, as a PHC string.
    ///
    /// # Errors
    /// [`GateError::Overloaded`] when too many wait.
    pub async fn hash(&self, password: SecretString) -> Result<String, AppError> {
        let salt = random::<16>()?;
        self.work(move || {
            let hash = Argon2::default().hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
            hash.map(|hash| hash.to_string()).map_err(|error| AppError::State(format!("no password: {error}")))
        })
        .await?
    }

    /// Whether this is the password with that hash; without one it is not, after the same while.
    ///
    /// # Errors
    /// As [`Self::hash`].
    pub async fn is_right(&self, password: SecretString, hash: Option<String>) -> Result<bool, AppError> {
        self.work(move || {
            let is_there = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODYS.to_owned());
            let password = password.expose_secret().as_bytes();
            let is_right = |hash: &PasswordHash| Argon2::default().verify_password(password, hash).is_ok();
            PasswordHash::new(&hash).is_ok_and(|hash| is_right(&hash)) && is_there
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
        let _place = self.all.try_acquire().map_err(|_| GateError::Overloaded)?;
        // Neither is ever closed, and the work does not panic: an error is a server that stops.
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| GateError::Draining)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(core);
            result
        });
        done.await.map_err(|_| GateError::Draining.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_or_not_and_nobodys_never_is() {
        let hasher = Hasher::default();
        let secret = |text: &str| SecretString::from(text.to_owned());
        let hash = hasher.hash(secret("correct horse battery")).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hasher.hash(secret("correct horse battery")).await.expect("hashes"), hash, "each has its salt");
        let is_right = async |text, hash| hasher.is_right(secret(text), hash).await.expect("checks");
        assert!(is_right("correct horse battery", Some(hash.clone())).await);
        assert!(!is_right("correct horse batterz", Some(hash)).await);
        assert!(!is_right("correct horse battery", None).await);
        let parsed = PasswordHash::new(NOBODYS).expect("of the same shape, or it would cost less");
        assert_eq!(parsed.params.to_string(), "m=19456,t=2,p=1");
    }
}
