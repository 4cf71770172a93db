//! A charge that is new, on its way into the ledger: what it may still take of its hold, and where the rest of it goes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    Result, Tx,
    charges::{self, TakenLine, Takings, as_thought},
    slices::{self, At, PeriodBook, Sum},
};
use crate::engine::{
    accounts::SliceState,
    journal::{Entry, Posted, PostedLine, Posting, dollars},
};

/// Whether a posting says something of its slice: takes something out of it, or believes to know what is left of a hold.
pub(super) fn is_of_slice(posting: &Posting) -> bool {
    posting.in_slice > 0 || (posting.held > 0 && posting.known.is_some())
}

/// What charges take of slices. When they know different things of one, what the first of them knows counts: it knows
/// least.
pub(super) fn sums_of<'p>(postings: impl Iterator<Item = &'p Posting>) -> BTreeMap<i64, Sum> {
    let mut sums = BTreeMap::new();
    for posting in postings.filter(|posting| is_of_slice(posting)) {
        let sum = sums.entry(posting.slice).or_insert(Sum { amount: 0, known: posting.known });
        sum.amount += posting.in_slice;
        sum.known = sum.known.min(posting.known);
    }
    sums
}

/// What earlier charges took of a hold of another run cannot be taken out of its slice again; nor what others took of a hold
/// of this one, `by_others` of a slice in all, as far as memory does not know it; nor is counted again what was charged at its
/// end. The slices must be locked.
pub(super) async fn leave_out_what_was_taken(
    tx: &mut Tx,
    writing: &mut [Option<Writing<'_>>],
    by_others: &BTreeMap<i64, i64>,
) -> Result<()> {
    let news = |one: &&mut Writing<'_>| one.is_of_end() || one.has_news(by_others);
    // A charge sees what those before it in the batch took, and not the others.
    let mut pending: BTreeSet<i64> = writing.iter().flatten().map(|one| one.seq).collect();
    let holds = writing.iter_mut().flatten().filter(news).filter_map(|one| one.entry.hold);
    let mut takings = Takings::read(tx, holds).await?;
    for one in writing.iter_mut().flatten() {
        if news(&&mut *one) {
            one.leave_out(&mut takings, by_others, &pending);
        }
        pending.remove(&one.seq);
    }
    Ok(())
}

/// A charge that is new, on its way into the ledger.
pub(super) struct Writing<'e> {
    pub(super) entry: &'e Entry,
    pub(super) seq: i64,
    /// Where it goes: as the entry says, less what other charges took of its hold.
    pub(super) postings: Cow<'e, [Posting]>,
    /// What its hold gives back, in nanos.
    released: i64,
}

impl<'e> Writing<'e> {
    pub(super) fn new(entry: &'e Entry, seq: i64) -> Self {
        Self { entry, seq, postings: Cow::Borrowed(&entry.postings), released: entry.released }
    }

    /// Whether memory does not know all that was taken of a posting's hold.
    fn is_news(posting: &Posting, by_others: &BTreeMap<i64, i64>) -> bool {
        posting.known.is_none_or(|known| by_others.get(&posting.slice).is_some_and(|taken| *taken != known))
    }

    fn has_news(&self, by_others: &BTreeMap<i64, i64>) -> bool {
        self.postings.iter().any(|posting| Self::is_news(posting, by_others))
    }

    /// Whether what it counts for depends on the end of its hold. Its periods must be locked: charges of one hold know of
    /// each other then, wherever they come from.
    pub(super) fn is_of_end(&self) -> bool {
        self.entry.is_end() || self.entry.is_after_end()
    }

    fn leave_out(&mut self, takings: &mut Takings, by_others: &BTreeMap<i64, i64>, pending: &BTreeSet<i64>) {
        let hold = self.entry.hold;
        let taken = hold.map_or_else(|| Some(BTreeMap::new()), |hold| takings.of(&hold, pending));
        let on_budgets = hold.map(|hold| takings.on_budgets(&hold, pending)).unwrap_or_default();
        if self.entry.is_end() {
            self.end(taken.is_none(), &on_budgets, by_others);
        } else {
            if self.has_news(by_others) {
                self.leave_out_of_slices(taken.as_ref(), by_others);
            }
            self.use_credit(on_budgets);
        }
        if let Some(hold) = hold {
            let line = |(at, posting): (usize, &Posting)| TakenLine {
                at: (posting.budget, posting.period),
                slice: posting.slice,
                line: PostedLine { direct: posting.beyond, ..self.as_thought(at) },
            };
            takings.correct(&hold, self.seq, self.postings.iter().enumerate().map(line).collect());
        }
    }

    /// The end of a hold takes what other charges of the hold have left; nothing, when one of them has ended it.
    fn end(&mut self, is_over: bool, on_budgets: &BTreeMap<At, (i64, i64)>, by_others: &BTreeMap<i64, i64>) {
        for posting in self.postings.to_mut() {
            posting.known = by_others.get(&posting.slice).copied().or(posting.known);
            let (counted, _) = on_budgets.get(&(posting.budget, posting.period)).copied().unwrap_or_default();
            let left = if is_over { 0 } else { (posting.held - counted).clamp(0, posting.in_slice) };
            (posting.in_slice, posting.of_hold) = (left, left);
        }
        if is_over {
            self.released = 0;
        }
    }

    fn leave_out_of_slices(&mut self, taken: Option<&BTreeMap<i64, i64>>, by_others: &BTreeMap<i64, i64>) {
        let mut left_usd = 0;
        for posting in self.postings.to_mut().iter_mut().filter(|posting| Self::is_news(posting, by_others)) {
            if posting.known.is_some() {
                posting.known = by_others.get(&posting.slice).copied();
            }
            let taken = taken.map_or(posting.held, |taken| taken.get(&posting.slice).copied().unwrap_or_default());
            let left = (posting.held - taken).max(0);
            if posting.usd {
                left_usd = left_usd.max(left);
            }
            let moved = (posting.of_hold - left).max(0);
            posting.of_hold -= moved;
            posting.in_slice -= moved;
            posting.beyond += moved;
        }
        if self.entry.hold.is_some() {
            self.released = self.released.min((left_usd - self.entry.cost).max(0));
        }
    }

    /// What the end of its hold has paid is not counted again.
    fn use_credit(&mut self, mut on_budgets: BTreeMap<At, (i64, i64)>) {
        for posting in self.postings.to_mut() {
            let Some((_, credit)) = on_budgets.get_mut(&(posting.budget, posting.period)) else { continue };
            let used = (*credit).clamp(0, posting.amount());
            let of_rest = used.min(posting.beyond);
            posting.beyond -= of_rest;
            posting.in_slice -= used - of_rest;
            posting.of_hold = posting.of_hold.min(posting.in_slice);
            *credit -= used;
        }
    }

    /// How a posting is written, when all that is meant for its slice fits.
    fn as_thought(&self, at: usize) -> PostedLine {
        let (now, asked) = (&self.postings[at], &self.entry.postings[at]);
        let credit = if self.entry.is_end() { now.amount() } else { now.amount() - asked.amount() };
        PostedLine { in_slice: now.in_slice, credit, ..PostedLine::default() }
    }

    /// What it costs on record, in nanos.
    pub(super) fn cost(&self) -> i64 {
        if self.entry.is_end() { dollars(&self.postings) } else { self.entry.cost }
    }

    /// Writes what goes beyond the slices: to what is left of the limit, and past that as an overrun. With slices that have
    /// turned out too small, writes what was meant for them too, as far as each has room.
    pub(super) async fn settle(
        &self,
        tx: &mut Tx,
        full: bool,
        books: &mut BTreeMap<At, PeriodBook>,
        changed: &mut Vec<SliceState>,
    ) -> Result<Posted> {
        let mut lines: Vec<PostedLine> = (0..self.postings.len()).map(|at| self.as_thought(at)).collect();
        let (seq, released) = (self.seq, self.released);
        let as_inserted =
            || lines.iter().copied().eq(self.entry.postings.iter().map(|one| as_thought(self.entry, one)));
        let nothing_beyond = self.postings.iter().all(|posting| posting.beyond == 0);
        let as_told = released == self.entry.released && self.cost() == self.entry.cost;
        if full && as_told && nothing_beyond && as_inserted() {
            return Ok(Posted::New { seq, lines, released });
        }
        for (posting, line) in self.postings.iter().zip(&mut lines) {
            let mut beyond = posting.beyond;
            if !full && is_of_slice(posting) {
                let one = sums_of(std::iter::once(posting));
                if let Some(state) = slices::charge(tx, &one).await?.pop() {
                    changed.retain(|slice| slice.id != state.id);
                    changed.push(state);
                } else {
                    line.in_slice = 0;
                    beyond += posting.in_slice;
                }
            }
            if beyond > 0 {
                let at = (posting.budget, posting.period);
                (line.direct, line.overrun) = match books.get_mut(&at) {
                    Some(book) => slices::settle(tx, at, book, beyond).await?,
                    // The budget is gone: nothing has room.
                    None => (0, beyond),
                };
            }
        }
        charges::rewrite(tx, &self.postings, seq, &lines, (self.cost(), released)).await?;
        Ok(Posted::New { seq, lines, released })
    }
}
