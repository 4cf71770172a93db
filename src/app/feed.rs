//! Carries committed changes to the engine, in order. Local changes take the same road as any other would.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use super::AppError;
use crate::{
    domain::{change::Change, time::Timestamp},
    engine::{Gate, apply::ApplyError, journal::Journal, tokens::TokenKeys},
    store::{self, Db, StoreError},
};

/// Events that are read at once.
const CHUNK: i64 = 256;
/// How often the feed is looked at although nobody has said that there is something new.
const POLL: Duration = Duration::from_millis(500);
/// How long a change waits to be in force before its caller is told that it is not yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one waits for other servers that gives, and takes nothing away.
const COURTESY: Duration = Duration::from_millis(250);
/// How often it is looked whether other servers see a change.
const LOOK: Duration = Duration::from_millis(4);

/// Where use cases announce changes and wait for them.
#[derive(Debug)]
pub struct Feed {
    db: Db,
    wake: Arc<Notify>,
    seen: watch::Receiver<i64>,
}

/// The task that reads the feed.
pub struct Follower<J> {
    db: Db,
    gate: Arc<Gate<J>>,
    tokens: Arc<TokenKeys>,
    wake: Arc<Notify>,
    seen: watch::Sender<i64>,
}

/// Why the state could not be built.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the database holds does not fit together.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Feed {
    /// Waits until the decisions of every server see the revision. A change that `restricts` nobody is waited for on this
    /// server; on others, for a moment.
    ///
    /// # Errors
    /// [`AppError::NotYetInForce`] when that takes too long: the change is durable and will be in force.
    pub async fn in_force(&self, revision: i64, restricts: bool) -> Result<(), AppError> {
        self.wake.notify_one();
        let mut seen = self.seen.clone();
        let here = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| *seen >= revision)).await;
        if !here.is_ok_and(|seen| seen.is_ok()) {
            return Err(AppError::NotYetInForce { revision, behind: Vec::new() });
        }
        let patience = if restricts { PATIENCE } else { COURTESY };
        match self.behind(revision, patience).await {
            Some(behind) if restricts => Err(AppError::NotYetInForce { revision, behind }),
            _ => Ok(()),
        }
    }

    /// Waits until every server that may be answering has said that its decisions see the revision. After so long, those
    /// that have not.
    async fn behind(&self, revision: i64, patience: Duration) -> Option<Vec<String>> {
        if matches!(self.db, Db::Sqlite { .. }) {
            return None;
        }
        let db = self.db.clone();
        // A look at the database that is begun is ended: broken off in the middle it would leave a connection in a transaction.
        let looking = tokio::spawn(async move {
            let mut behind = Vec::new();
            // A look takes its own time as well: the timeout below ends the wait.
            for _ in 0..patience.as_micros() / LOOK.as_micros() {
                match behind_now(&db, revision).await {
                    Ok(none) if none.is_empty() => return None,
                    Ok(some) => behind = some,
                    Err(error) => tracing::warn!(%error, "it cannot be seen whether a change is in force everywhere"),
                }
                tokio::time::sleep(LOOK).await;
            }
            Some(behind)
        });
        match tokio::time::timeout(patience, looking).await {
            Ok(Ok(behind)) => behind,
            _ => Some(Vec::new()),
        }
    }

    /// Looks at the feed at once: somebody says that there may be something new.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The revision that decisions see.
    #[must_use]
    pub fn revision(&self) -> i64 {
        *self.seen.borrow()
    }
}

async fn behind_now(db: &Db, revision: i64) -> Result<Vec<String>, StoreError> {
    store::replicas::behind(&mut db.read().await?, revision).await
}

impl<J: Journal> Follower<J> {
    /// Builds the state from the database as it is now, ready to follow what comes after.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn load(
        db: Db,
        gate: Arc<Gate<J>>,
        tokens: Arc<TokenKeys>,
        now: Timestamp,
    ) -> Result<(Self, Feed), FeedError> {
        let take_in = |changes: Vec<Change>| {
            tokens.take_in(&changes)?;
            Ok(gate.load(changes)?)
        };
        let revision = store::snapshot::read::<FeedError>(&db, now, take_in).await?;
        gate.loaded(revision);
        let wake = Arc::new(Notify::new());
        let (seen, receiver) = watch::channel(revision);
        let feed = Feed { db: db.clone(), wake: Arc::clone(&wake), seen: receiver };
        Ok((Self { db, gate, tokens, wake, seen }, feed))
    }

    /// Applies events as they come. Returns only when the state cannot be trusted any more: the server must stop then.
    pub async fn run(self) -> ApplyError {
        loop {
            match self.catch_up().await {
                Ok(()) => {}
                Err(FeedError::Store(error)) => tracing::warn!(%error, "the feed cannot be read; trying again"),
                Err(FeedError::Apply(error)) => return error,
            }
            let _ = tokio::time::timeout(POLL, self.wake.notified()).await;
        }
    }

    /// Applies what there is.
    ///
    /// # Errors
    /// [`FeedError`].
    pub async fn catch_up(&self) -> Result<(), FeedError> {
        loop {
            let mut tx = self.db.read().await?;
            let events = store::feed::after(&mut tx, self.gate.revision(), CHUNK).await?;
            drop(tx);
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.tokens.take_in(&event.changes)?;
                self.gate.apply(event)?;
            }
            self.seen.send_replace(self.gate.revision());
            self.gate.wake();
        }
    }
}
