//! Ledgers without a server around them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tollreeve::{
    domain::{
        bindings::Principal,
        id::{BootId, BudgetId, Id},
        meters::Metered,
        price_versions::DatedPrice,
        prices::Usage,
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{
            Batch, Beat, Books, Confirmed, Entry, Extension, Folded, GrantAsk, Journal, JournalError, Known, Outcome,
            Peer, Posting,
        },
        places::Placed,
    },
    store::{Db, ledger::Ledger, replicas::Member},
};

use super::clock::{MockClock, START};

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
    joined_by(db, boot, Arc::new(MockClock::new())).await
}

/// The same, by a clock.
pub async fn joined_by(db: &Db, boot: u128, clock: Arc<MockClock>) -> Ledger {
    let ledger = Ledger::new(db.clone(), Id::from_bits(boot), clock);
    ledger.join(&member(boot), |_| false).await.expect("joins");
    ledger
}

/// A charge with these postings, and little else.
pub fn entry_with(postings: Vec<Posting>) -> Entry {
    Entry {
        tenant: Id::from_bits(1),
        charge_id: String::new(),
        body_hash: "0".repeat(32),
        workspace: None,
        project: None,
        key: None,
        owner: Principal::ServiceAccount(Id::from_bits(1)),
        teams: Vec::new(),
        caller: Principal::ServiceAccount(Id::from_bits(1)),
        end_user: String::new(),
        provider: String::new(),
        model: String::new(),
        price: 0,
        outcome: Outcome::Success,
        late: false,
        usage: Usage::default(),
        metered: Metered::default(),
        cost: 0,
        released: 0,
        hold: None,
        occurred: START,
        recorded: START,
        labels: String::new(),
        postings,
    }
}

/// The ledger of a database. The answer to every fifth batch of charges is lost on its way.
#[derive(Clone)]
pub struct Stored(pub Ledger, pub Db, pub Arc<AtomicU64>);

impl Journal for Stored {
    async fn grant(&self, asks: &[GrantAsk]) -> Result<Vec<Option<Granted>>, JournalError> {
        self.0.grant(asks).await
    }

    async fn charge(&self, entries: &[&Entry]) -> Result<Batch, JournalError> {
        let written = self.0.charge(entries).await?;
        let lost = self.2.fetch_add(1, Ordering::Relaxed).is_multiple_of(5);
        if lost { Err(JournalError::InDoubt("the answer is lost".into())) } else { Ok(written) }
    }

    async fn locate(&self, slices: &[i64]) -> Result<Vec<Placed>, JournalError> {
        self.0.locate(slices).await
    }

    async fn price(&self, id: i64) -> Result<Option<DatedPrice>, JournalError> {
        self.0.price(id).await
    }

    async fn fold(&self, slices: &[i64]) -> Result<Vec<Folded>, JournalError> {
        self.0.fold(slices).await
    }

    async fn books(&self, budget: BudgetId, period: Period) -> Result<Books, JournalError> {
        self.0.books(budget, period).await
    }

    async fn beat(&self, applied: i64) -> Result<Beat, JournalError> {
        self.0.beat(applied).await
    }

    async fn confirm(&self, known: &Known) -> Result<Confirmed, JournalError> {
        self.0.confirm(known).await
    }

    async fn end_doubt(&self, boot: BootId) -> Result<(), JournalError> {
        self.0.end_doubt(boot).await
    }

    async fn expire(&self, peer: &Peer) -> Result<(), JournalError> {
        self.0.expire(peer).await
    }

    async fn extend(&self, extension: &Extension) -> Result<bool, JournalError> {
        self.0.extend(extension).await
    }

    async fn read(&self, slices: &[i64]) -> Result<Vec<SliceState>, JournalError> {
        self.0.read(slices).await
    }

    async fn give_back(&self, room: &[(i64, i64)]) -> Result<Vec<SliceState>, JournalError> {
        self.0.give_back(room).await
    }

    async fn retire(&self, held: &[(i64, i64)]) -> Result<(), JournalError> {
        self.0.retire(held).await
    }
}
