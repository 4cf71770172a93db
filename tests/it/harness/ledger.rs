//! Ledgers without a server around them.

use std::time::Duration;

use tollreeve::{
    domain::id::Id,
    store::{Db, ledger::Ledger, replicas::Member},
};

use super::clock::START;

/// A member of the ledger that says of itself that it has run before wherever this one runs: it takes its place.
pub fn member(boot: u128) -> Member {
    Member {
        boot: Id::from_bits(boot),
        started: START,
        identity: String::new(),
        process: String::new(),
        answers_for: Duration::from_mins(1),
    }
}

/// The ledger of a database, for another server.
pub async fn joined(db: &Db, boot: u128) -> Ledger {
    let ledger = Ledger::new(db.clone(), Id::from_bits(boot));
    ledger.join(&member(boot), |_| false).await.expect("joins");
    ledger
}
