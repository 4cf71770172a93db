//! Bearer tokens.

use std::time::Duration;

use crate::domain::{bindings::Principal, time::Timestamp};

/// Signs and checks bearer tokens.
#[derive(Debug)]
pub struct TokenKeys;

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct TokenError;

impl TokenKeys {
    /// Issues a token for `principal` that ends `ttl` after `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn issue(
        &self,
        _principal: Principal,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<(String, Timestamp), TokenError> {
        Ok((String::new(), now.after(ttl)))
    }
}
