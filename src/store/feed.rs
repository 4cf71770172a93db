//! The change feed: dense revisions in commit order.

use super::{Result, StoreError, Tx};
use crate::domain::change::{Change, FeedEvent};

/// Takes the next revision and writes its event. The last statement of a changing transaction: whoever comes next waits
/// for this commit, so readers see the feed without gaps.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn append(tx: &mut Tx, changes: &[Change]) -> Result<i64> {
    let body = serde_json::to_string(changes).map_err(|error| StoreError::Corrupt(error.to_string().into()))?;
    let (revision,) =
        fetch_one!(tx, (i64,), "UPDATE feed_head SET revision = revision + 1 WHERE id = 1 RETURNING revision")?;
    execute!(tx, "INSERT INTO feed_events (revision, body) VALUES ($1, $2)", revision, body)?;
    super::replicas::ring(tx).await?;
    Ok(revision)
}

/// The revision of the last change.
pub async fn head(tx: &mut Tx) -> Result<i64> {
    let (revision,) = fetch_one!(tx, (i64,), "SELECT revision FROM feed_head WHERE id = 1")?;
    Ok(revision)
}

/// The next events after `revision`, in order, at most `limit`.
pub async fn after(tx: &mut Tx, revision: i64, limit: i64) -> Result<Vec<FeedEvent>> {
    let rows = fetch_all!(
        tx,
        (i64, String),
        "SELECT revision, body FROM feed_events WHERE revision > $1 ORDER BY revision LIMIT $2",
        revision,
        limit
    )?;
    rows.into_iter()
        .map(|(revision, body)| {
            let changes = serde_json::from_str(&body).map_err(|_| StoreError::Corrupt("feed event".into()))?;
            Ok(FeedEvent { revision, changes })
        })
        .collect()
}
