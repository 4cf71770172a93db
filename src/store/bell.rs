//! The bell that servers of one ledger ring for each other. Only a hint: whoever hears it looks, and looks now and then
//! without it as well.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::timeout;

use super::Db;

/// How long a broken connection is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How long nothing may be heard before the connection is made anew: its other end may be gone and not say so.
const QUIET: Duration = Duration::from_secs(30);

/// Calls `heard` whenever there may be something new. Never ends.
pub async fn listen(db: &Db, heard: impl Fn()) {
    let Db::Postgres { pool, .. } = db else { return std::future::pending().await };
    loop {
        if let Ok(mut listener) = PgListener::connect_with(pool).await
            && listener.listen("tollreeve").await.is_ok()
        {
            // What was rung while nobody listened is not told.
            heard();
            while let Ok(Ok(Some(_))) = timeout(QUIET, listener.try_recv()).await {
                heard();
            }
        }
        heard();
        tokio::time::sleep(PAUSE).await;
    }
}
