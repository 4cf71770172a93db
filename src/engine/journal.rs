//! What the engine needs from a ledger, and nothing more.

use std::{future::Future, sync::Arc, time::Duration};

use super::{
    accounts::{Granted, SliceState},
    holds::HoldRef,
    places::Placed,
};
use crate::domain::{
    bindings::Principal,
    id::{BootId, BudgetId, KeyId, ProjectId, TeamId, TenantId, WorkspaceId},
    meters::Metered,
    price_versions::DatedPrice,
    prices::Usage,
    time::Timestamp,
    window::Period,
};

/// Why the ledger did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It cannot be reached or cannot write. Nothing was changed.
    #[error("{0}")]
    Unavailable(String),
    /// The answer to a commit was lost: it may have happened. Asking again with the same ids tells.
    #[error("the outcome is not known: {0}")]
    InDoubt(String),
    /// Another server has taken over this one's place. Nothing was changed, and nothing ever will be by this server.
    #[error("another server has taken over the ledger")]
    Superseded,
}

/// Asks for room on a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantAsk {
    /// The budget.
    pub budget: BudgetId,
    /// Its period.
    pub period: Period,
    /// What somebody waits for.
    pub need: i64,
    /// What would be good to have: given while at least half of the rest stays.
    pub want: i64,
    /// Longest hold, in seconds, that may be promised on it.
    pub promised: i64,
    /// What others have set aside and do not use stands in the way: they are to be asked for it.
    pub recall: bool,
}

/// Where a part of a charge goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The budget.
    pub budget: BudgetId,
    /// Its period.
    pub period: Period,
    /// The slice that has set `in_slice` aside; 0 when none has.
    pub slice: i64,
    /// What the slice has set aside for this charge.
    pub in_slice: i64,
    /// How much of that comes out of the charge's hold.
    pub of_hold: i64,
    /// Whether the amounts are dollars.
    pub usd: bool,
    /// The rest: taken from what is left of the limit, and past that recorded as an overrun.
    pub beyond: i64,
    /// What the charge's hold had set aside in the slice at first; 0 without a hold.
    pub held: i64,
    /// With a slice of this server: what memory knows that others took out of it. `None` with a slice of somebody else:
    /// what earlier charges took of the hold only the ledger knows.
    pub known: Option<i64>,
}

impl Posting {
    /// All that it takes of its budget.
    #[must_use]
    pub const fn amount(&self) -> i64 {
        self.in_slice + self.beyond
    }
}

/// The most that postings take of a budget in dollars, in nanos: what the end of a hold costs.
#[must_use]
pub fn dollars(postings: &[Posting]) -> i64 {
    postings.iter().filter(|posting| posting.usd).map(Posting::amount).max().unwrap_or_default()
}

/// The hold that a charge settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldUse {
    /// The run of the server that made it.
    pub run: BootId,
    /// The hold within that run.
    pub hold: HoldRef,
    /// When it was made.
    pub issued: Timestamp,
    /// Whether the charge ends it.
    pub ends: bool,
}

/// How a model call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider answered.
    #[default]
    Success,
    /// The provider failed.
    ProviderError,
    /// The client went away.
    Cancelled,
    /// The call was never sent.
    NotDispatched,
    /// Nobody said: the charge is the end of a hold, on budgets that charge it in full.
    Expired,
}

/// A charge to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tenant; charge ids are unique in it.
    pub tenant: TenantId,
    /// The caller's id for the charge.
    pub charge_id: String,
    /// Tells whether another charge of the same id is the same charge.
    pub body_hash: String,
    /// The workspace.
    pub workspace: Option<WorkspaceId>,
    /// The project.
    pub project: Option<ProjectId>,
    /// The key.
    pub key: Option<KeyId>,
    /// The credential's owner.
    pub owner: Principal,
    /// The teams that they are in, each once, in the order of their ids. For sums: the charge itself does not say.
    pub teams: Vec<TeamId>,
    /// The sidecar.
    pub caller: Principal,
    /// The end client's own user.
    pub end_user: String,
    /// Who served the call.
    pub provider: String,
    /// The model that served it.
    pub model: String,
    /// Id of the price it was computed with; 0 for none, [`super::price_book::AT_CEILING`] for a ceiling.
    pub price: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Its hold had ended before.
    pub late: bool,
    /// What it used.
    pub usage: Usage,
    /// What it used beside that.
    pub metered: Metered,
    /// What it cost, in nanos.
    pub cost: i64,
    /// What its hold gives back, in nanos.
    pub released: i64,
    /// Its hold, if it has one.
    pub hold: Option<HoldUse>,
    /// When it happened.
    pub occurred: Timestamp,
    /// When it was taken in.
    pub recorded: Timestamp,
    /// Labels as JSON; empty without any.
    pub labels: String,
    /// Where it goes, budget by budget.
    pub postings: Vec<Posting>,
}

impl Entry {
    /// Whether it is the end of a hold: of each posting it takes what charges of the hold have left of `held`, and nothing
    /// when one of them has ended it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.outcome == Outcome::Expired
    }

    /// Whether its hold may have been charged in full at its end, as far as whoever took the charge in knows.
    #[must_use]
    pub fn is_after_end(&self) -> bool {
        self.late && self.hold.is_some()
    }
}

/// How one posting was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostedLine {
    /// Against the slice.
    pub in_slice: i64,
    /// Against what was left of the limit.
    pub direct: i64,
    /// Past the limit.
    pub overrun: i64,
    /// What the end of a hold paid for charges of it that still come; below zero, what one of those used of it and is not
    /// counted again.
    pub credit: i64,
}

/// What became of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is written now.
    New {
        /// Its position in the ledger.
        seq: i64,
        /// How each posting was written, in their order.
        lines: Vec<PostedLine>,
        /// What its hold gives back, in nanos.
        released: i64,
    },
    /// It was written before.
    Replayed(Recorded),
    /// Another charge was written under its id before.
    Conflict,
}

/// What stands in the ledger of a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its position.
    pub seq: i64,
    /// When it was taken in.
    pub at: Timestamp,
    /// What it cost, in nanos.
    pub cost: i64,
    /// What its hold gave back, in nanos.
    pub released: i64,
    /// What passed a limit, in nanos.
    pub overrun: i64,
    /// How each posting was written.
    pub lines: Vec<PostedLine>,
    /// Where each posting went.
    pub places: Vec<Placed>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Charge by charge, in the order given.
    pub posted: Vec<Posted>,
    /// Every slice that was charged, as it stands now.
    pub slices: Vec<SliceState>,
}

/// A slice of a server that is gone, waiting to be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The slice.
    pub slice: i64,
    /// Longest hold promised on it, in seconds.
    pub promised: i64,
}

/// What another server did to something of this one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mail {
    /// Others need what a slice has set aside and does not use.
    Recall {
        /// The slice.
        slice: i64,
    },
    /// A charge was settled out of a hold.
    Taken {
        /// The hold.
        hold: HoldRef,
        /// When it was made.
        issued: Timestamp,
        /// Whether the charge has ended it.
        ends: bool,
        /// What was taken, slice by slice.
        lines: Vec<(i64, i64)>,
    },
    /// A hold lives longer.
    Extended {
        /// The hold.
        hold: HoldRef,
        /// When it was made.
        issued: Timestamp,
        /// How long from when this is read, in seconds: what the clock of whoever wrote it shows says nothing here.
        seconds: i64,
    },
}

/// A hold of another server that is to live longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The run of the server that made it.
    pub run: BootId,
    /// The hold within that run.
    pub hold: HoldRef,
    /// When it was made.
    pub issued: Timestamp,
    /// How long it is to live from now, in seconds.
    pub seconds: i64,
    /// The slices that it came out of.
    pub slices: Vec<i64>,
}

/// Another server that may be answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its run.
    pub boot: BootId,
    /// Grows with every sign of life.
    pub seq: i64,
    /// How long it answers without one.
    pub answers_for: Duration,
}

/// What a server learns when it gives a sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// What others did to what is its own, oldest first. Told once.
    pub mail: Vec<Mail>,
    /// The slices that mail speaks of, as they stand.
    pub slices: Vec<SliceState>,
    /// The other servers that may be answering.
    pub peers: Vec<Peer>,
    /// Slices of servers that no longer answer.
    pub closing: Vec<Orphan>,
    /// Servers that were taken for dead before they could say what the ledger has forgotten of theirs.
    pub doubtful: Vec<BootId>,
    /// The ledger may have forgotten something: it says no more than who the others are, until [`Journal::confirm`] has said what.
    pub in_doubt: bool,
}

/// What a server knows that the ledger must know too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Every change that decisions see was told by a sign of life that was taken down.
    pub told: bool,
    /// How long it answers after a sign of life.
    pub answers_for: Duration,
    /// What it has set aside.
    pub slices: Vec<Declared>,
    /// The other servers that it has seen.
    pub peers: Vec<Peer>,
    /// The last charges that were acknowledged, oldest first: where each went stands in its postings, `in_slice` and `beyond`.
    pub charges: Vec<Arc<Entry>>,
}

/// A slice, as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The slice.
    pub state: SliceState,
    /// Its budget.
    pub budget: BudgetId,
    /// Its period.
    pub period: Period,
    /// Longest hold promised on it, in seconds.
    pub promised: i64,
}

/// What the ledger has forgotten of a server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// Nothing.
    Intact,
    /// Something. What the server had set aside is set aside again; its charges follow when every other has done the same.
    Waiting,
    /// Everything that it knew is back. It must not go on: what it believes and what is on record differ.
    Over,
}

/// A slice that was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Its budget.
    pub budget: BudgetId,
    /// Its period.
    pub period: Period,
    /// What it gave back.
    pub freed: i64,
}

/// Where a budget stands in a period, as the database has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Settled.
    pub spent: i64,
    /// Set aside and not settled.
    pub reserved: i64,
}

/// A durable ledger. Every call is one transaction: done and durable when it returns `Ok`, not done otherwise, but for
/// [`JournalError::InDoubt`].
pub trait Journal: Send + Sync + 'static {
    /// Sets room aside; one answer per ask, `None` for a budget that is gone. Less than was asked, even nothing, when
    /// the limit leaves no more.
    fn grant(&self, asks: &[GrantAsk]) -> impl Future<Output = Result<Vec<Option<Granted>>, JournalError>> + Send;

    /// Writes charges; one outcome per charge. Ids within a batch differ.
    fn charge(&self, entries: &[&Entry]) -> impl Future<Output = Result<Batch, JournalError>> + Send;

    /// The budget and period of slices of any server, for charges whose hold is not in memory. Unknown ones are left out.
    fn locate(&self, slices: &[i64]) -> impl Future<Output = Result<Vec<Placed>, JournalError>> + Send;

    /// A price that holds may remember, whether it counts or not.
    fn price(&self, id: i64) -> impl Future<Output = Result<Option<DatedPrice>, JournalError>> + Send;

    /// Closes slices and gives back what they have not spent.
    fn fold(&self, slices: &[i64]) -> impl Future<Output = Result<Vec<Folded>, JournalError>> + Send;

    /// Where a budget stands in a period.
    fn books(&self, budget: BudgetId, period: Period) -> impl Future<Output = Result<Books, JournalError>> + Send;

    /// Gives a sign of life, with the last revision that decisions see.
    ///
    /// [`JournalError::Superseded`]: others have taken this server for dead. It must not answer any more.
    fn beat(&self, applied: i64) -> impl Future<Output = Result<Beat, JournalError>> + Send;

    /// Compares what a server knows with the ledger, and puts back what that has forgotten. To be called when a sign of life
    /// says [`Beat::in_doubt`], until it is not [`Confirmed::Waiting`].
    fn confirm(&self, known: &Known) -> impl Future<Output = Result<Confirmed, JournalError>> + Send;

    /// Ends the doubt about a server that is dead: no hold that it gave can live any more.
    fn end_doubt(&self, boot: BootId) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Takes a server for dead whose last sign of life is still this one: its slices are closing from then on.
    fn expire(&self, peer: &Peer) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Lets a hold of another server live longer. `false`, and nothing done: that server is gone.
    fn extend(&self, extension: &Extension) -> impl Future<Output = Result<bool, JournalError>> + Send;

    /// Slices as they stand when every charge that is being written has been written.
    fn read(&self, slices: &[i64]) -> impl Future<Output = Result<Vec<SliceState>, JournalError>> + Send;

    /// Gives back so much of each of this server's slices. What is charged already stays. Gives the slices as they stand.
    fn give_back(&self, room: &[(i64, i64)]) -> impl Future<Output = Result<Vec<SliceState>, JournalError>> + Send;

    /// Ends this server's part: each of its slices keeps only `held` beside what it has spent, and nothing without.
    fn retire(&self, held: &[(i64, i64)]) -> impl Future<Output = Result<(), JournalError>> + Send;
}
