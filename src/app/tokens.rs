//! Use cases of what bearer tokens rest on.

use super::{App, AppError, Work};
use crate::{
    domain::{change::Change, time::Timestamp, tokens::Basis},
    engine::ended_bases::MARGIN,
    store,
};

/// Ends what tokens rest on, as a part of the change at work: when that is acknowledged no server takes such a token any
/// more. `until`: when the last token that may rest on it has ended.
///
/// # Errors
/// Of the database; so for every function of this module.
pub async fn end(work: &mut Work<'_>, basis: Basis, until: Timestamp) -> Result<(), AppError> {
    store::ended_bases::end(&mut work.tx, work.tenant.id, basis, until).await?;
    work.emit(Change::BasisEnded { basis, until });
    Ok(())
}

/// Forgets what has ended for so long that no token rests on it any more, and what was taken once and is too old to be taken
/// again.
pub async fn forget(app: &App) -> Result<(), AppError> {
    let moment = app.clock.now().before(MARGIN);
    let mut tx = app.db.begin().await?;
    store::ended_bases::forget(&mut tx, moment).await?;
    store::assertions::forget(&mut tx, moment).await?;
    Ok(tx.commit().await?)
}
