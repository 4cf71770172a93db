//! Carries committed changes to the engine.

use super::AppError;

/// Carries committed changes to the engine.
#[derive(Debug)]
pub struct Feed;

impl Feed {
    /// Waits until decisions see the revision.
    ///
    /// # Errors
    /// [`AppError::NotYetInForce`].
    #[expect(clippy::unused_async, reason = "a stub")]
    pub async fn applied(&self, _revision: i64) -> Result<(), AppError> {
        Ok(())
    }

    /// The revision that decisions see.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        0
    }
}
