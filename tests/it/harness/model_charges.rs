//! Charges in the model of the ledger: where each goes, and what it may still take of its hold.

use std::collections::{BTreeMap, BTreeSet};

use tollreeve::{
    domain::{
        id::{BootId, BudgetId},
        window::Period,
    },
    engine::{
        journal::{Batch, Entry, HoldUse, Mail, Outcome, Posted, PostedLine, Posting, Recorded},
        places::Placed,
    },
};

use super::model_tables::{self, Flaw, Phase, Tables, Written};

/// What of a charge is left to be posted.
struct Rest {
    postings: Vec<Posting>,
    /// What each posting pays in advance, or below zero, what was paid before.
    credits: Vec<i64>,
    released: i64,
}

/// What charges of a hold have come to on a budget.
#[derive(Clone, Copy, Default)]
struct Total {
    counted: i64,
    credit: i64,
}

/// Whether a slice must be looked at: something is to be charged to it, or what a hold leaves is to be free, less what
/// others took out of it.
fn concerns_slice(posting: &Posting) -> bool {
    posting.in_slice > 0 || (posting.held > 0 && posting.known.is_some())
}

/// Leaves out of a posting what the end of its hold has paid; gives how much that was.
fn paid(posting: &mut Posting, totals: &mut BTreeMap<(BudgetId, Period), Total>) -> i64 {
    let total = totals.entry((posting.budget, posting.period)).or_default();
    // First what would need room of its own, then what has some.
    let of_rest = posting.beyond.min(total.credit);
    let of_slice = posting.in_slice.min(total.credit - of_rest);
    posting.beyond -= of_rest;
    posting.in_slice -= of_slice;
    total.credit -= of_rest + of_slice;
    of_rest + of_slice
}

impl Tables {
    pub fn charge(&mut self, boot: BootId, entries: &[&Entry]) -> model_tables::Outcome<Batch> {
        self.member(boot)?;
        Ok(self.write(boot, entries))
    }

    /// Writes charges, whoever may.
    pub fn write(&mut self, boot: BootId, entries: &[&Entry]) -> Batch {
        let first = self.charges.len();
        let mut new = Vec::new();
        for entry in entries {
            let known = self.earlier(entry, first).is_some() && self.flaw != Flaw::NoDedupe;
            new.push((!known).then(|| self.insert(entry)));
        }
        // As the server thinks it is; and when that does not fit, with all that the ledger knows, charge by charge.
        let mut postings = self.left_of_holds(entries, &new, false);
        let mut full = self.fits_all(&postings);
        if !full {
            postings = self.left_of_holds(entries, &new, true);
            full = self.fits_all(&postings);
        }
        let mut changed = BTreeSet::new();
        let mut posted = Vec::new();
        for ((entry, seq), Rest { postings, credits, released }) in entries.iter().zip(&new).zip(&postings) {
            let Some(seq) = *seq else {
                let earlier = self.earlier(entry, first).expect("it was there");
                if matches!(earlier, Posted::Replayed(_)) {
                    changed.extend(entry.postings.iter().filter(|one| concerns_slice(one)).map(|one| one.slice));
                }
                posted.push(earlier);
                continue;
            };
            let mut lines: Vec<PostedLine> =
                postings.iter().map(|posting| self.post(posting, full, &mut changed)).collect();
            lines.iter_mut().zip(credits).for_each(|(line, credit)| line.credit = *credit);
            let overrun = postings.iter().zip(&lines).filter(|(posting, _)| posting.usd).map(|(_, line)| line.overrun);
            let overrun = overrun.max().unwrap_or_default();
            let written = &mut self.charges[usize::try_from(seq).expect("few") - 1].recorded;
            *written = Recorded { lines: lines.clone(), released: *released, overrun, ..written.clone() };
            if entry.outcome == Outcome::Expired {
                let amounts = postings.iter().filter(|posting| posting.usd).map(|one| one.in_slice + one.beyond);
                written.cost = amounts.max().unwrap_or_default();
            }
            if let Some(hold) = entry.hold.filter(|hold| hold.run != boot) {
                let elsewhere = postings.iter().zip(&lines).filter(|(posting, _)| posting.known.is_none());
                let lines: Vec<(i64, i64)> = elsewhere.map(|(posting, line)| (posting.slice, line.in_slice)).collect();
                if !lines.is_empty() {
                    self.tell(hold.run, Mail::Taken { hold: hold.hold, issued: hold.issued, ends: hold.ends, lines });
                }
            }
            posted.push(Posted::New { seq, lines, released: *released });
        }
        let slices = changed.into_iter().filter_map(|id| self.slice(id)).map(|slice| slice.state).collect();
        Batch { posted, slices }
    }

    /// What was written under an entry's id before.
    fn earlier(&self, entry: &Entry, before: usize) -> Option<Posted> {
        let at = *self.by_id.get(&(entry.tenant, entry.charge_id.clone())).filter(|at| **at < before)?;
        let charge = &self.charges[at];
        let replayed = charge.body_hash == entry.body_hash;
        Some(if replayed { Posted::Replayed(charge.recorded.clone()) } else { Posted::Conflict })
    }

    fn insert(&mut self, entry: &Entry) -> i64 {
        let seq = i64::try_from(self.charges.len()).expect("few") + 1;
        let as_asked = |posting: &Posting| PostedLine { in_slice: posting.in_slice, ..PostedLine::default() };
        let recorded = Recorded {
            seq,
            at: entry.recorded,
            cost: entry.cost,
            released: entry.released,
            overrun: 0,
            lines: entry.postings.iter().map(as_asked).collect(),
            places: entry.postings.iter().map(Placed::of).collect(),
        };
        self.by_id.entry((entry.tenant, entry.charge_id.clone())).or_insert(self.charges.len());
        self.charges.push(Written {
            tenant: entry.tenant,
            id: entry.charge_id.clone(),
            body_hash: entry.body_hash.clone(),
            recorded,
            hold: entry.hold,
            slices: entry.postings.iter().map(|posting| posting.slice).collect(),
            budgets: entry.postings.iter().map(|posting| (posting.budget, posting.period)).collect(),
        });
        seq
    }

    /// Each new charge's postings without what other charges have taken of its hold, and what its hold gives back.
    fn left_of_holds(&self, entries: &[&Entry], new: &[Option<i64>], with_own: bool) -> Vec<Rest> {
        let mut pending: Vec<i64> = new.iter().flatten().copied().collect();
        let fresh = entries.iter().zip(new).filter(|(_, seq)| seq.is_some()).flat_map(|(entry, _)| &entry.postings);
        let looked_at: BTreeSet<i64> = fresh.filter(|one| concerns_slice(one)).map(|one| one.slice).collect();
        let mut all: Vec<Rest> = Vec::new();
        for (entry, seq) in entries.iter().zip(new) {
            let Some(seq) = seq else {
                all.push(Rest { postings: Vec::new(), credits: Vec::new(), released: 0 });
                continue;
            };
            let (mut postings, mut released) = (entry.postings.clone(), entry.released);
            let by_others = |id: i64| self.slice(id).map_or(0, |slice| slice.taken_by_others);
            let is_news = |posting: &Posting| match posting.known {
                None => true,
                Some(known) => with_own && looked_at.contains(&posting.slice) && by_others(posting.slice) != known,
            };
            let is_end = entry.outcome == Outcome::Expired;
            let has_news = postings.iter().any(is_news);
            let mut totals = BTreeMap::new();
            if has_news || is_end || (entry.late && entry.hold.is_some()) {
                totals = entry.hold.map(|hold| self.totals_of(&hold, &pending, new, &all)).unwrap_or_default();
            }
            let (taken, ended) = entry.hold.map(|hold| self.taken_of(&hold, &pending)).unwrap_or_default();
            if is_end {
                for posting in &mut postings {
                    let total: Total = totals.get(&(posting.budget, posting.period)).copied().unwrap_or_default();
                    let left = if ended { 0 } else { (posting.held - total.counted).max(0) };
                    posting.in_slice = posting.in_slice.min(left);
                    posting.of_hold = posting.in_slice;
                    if with_own {
                        posting.known = Some(by_others(posting.slice));
                    }
                }
                released = if ended { 0 } else { released };
            } else if has_news {
                let mut left_usd = 0;
                for posting in postings.iter_mut().filter(|posting| is_news(posting)) {
                    if posting.known.is_some() {
                        posting.known = Some(by_others(posting.slice));
                    }
                    let taken = taken.get(&posting.slice).copied().unwrap_or_default();
                    let left = if ended { 0 } else { (posting.held - taken).max(0) };
                    if posting.usd {
                        left_usd = left_usd.max(left);
                    }
                    let gone = (posting.of_hold - left).max(0);
                    posting.of_hold -= gone;
                    posting.in_slice -= gone;
                    posting.beyond += gone;
                }
                if entry.hold.is_some() {
                    released = released.min((left_usd - entry.cost).max(0));
                }
            }
            let credits = if is_end {
                postings.iter().map(|posting| posting.in_slice).collect()
            } else {
                postings.iter_mut().map(|posting| -paid(posting, &mut totals)).collect()
            };
            pending.retain(|other| other != seq);
            all.push(Rest { postings, credits, released });
        }
        all
    }

    /// What charges of a hold have come to, budget by budget: those on record, and those before in the batch as they are
    /// now. Those in `pending` do not count.
    fn totals_of(
        &self,
        hold: &HoldUse,
        pending: &[i64],
        new: &[Option<i64>],
        done: &[Rest],
    ) -> BTreeMap<(BudgetId, Period), Total> {
        let mut totals: BTreeMap<(BudgetId, Period), Total> = BTreeMap::new();
        for charge in self.charges.iter().filter(|charge| !pending.contains(&charge.recorded.seq)) {
            if charge
                .hold
                .is_none_or(|other| (other.run, other.hold, other.issued) != (hold.run, hold.hold, hold.issued))
            {
                continue;
            }
            let in_batch = new.iter().position(|seq| *seq == Some(charge.recorded.seq));
            for (i, at) in charge.budgets.iter().enumerate() {
                let line = &charge.recorded.lines[i];
                let (counted, credit) = match in_batch.map(|at| &done[at]) {
                    Some(rest) => (rest.postings[i].in_slice + rest.postings[i].beyond, rest.credits[i]),
                    None => (line.in_slice + line.direct + line.overrun, line.credit),
                };
                let total = totals.entry(*at).or_default();
                total.counted += counted;
                total.credit += credit;
            }
        }
        totals
    }

    /// What charges took of a hold, slice by slice, and whether one of them ended it. Those in `pending` do not count.
    fn taken_of(&self, hold: &HoldUse, pending: &[i64]) -> (BTreeMap<i64, i64>, bool) {
        let same = |other: &HoldUse| (other.run, other.hold, other.issued) == (hold.run, hold.hold, hold.issued);
        let (mut taken, mut ended) = (BTreeMap::new(), false);
        for charge in self.charges.iter().filter(|charge| !pending.contains(&charge.recorded.seq)) {
            let Some(hold) = charge.hold.as_ref().filter(|other| same(other)) else { continue };
            ended |= hold.ends;
            for (slice, line) in charge.slices.iter().zip(&charge.recorded.lines) {
                *taken.entry(*slice).or_default() += line.in_slice;
            }
        }
        (taken, ended)
    }

    fn fits_all(&self, all: &[Rest]) -> bool {
        let mut sums: BTreeMap<i64, (i64, Option<i64>)> = BTreeMap::new();
        for posting in all.iter().flat_map(|rest| &rest.postings).filter(|posting| concerns_slice(posting)) {
            let sum = sums.entry(posting.slice).or_insert((0, posting.known));
            *sum = (sum.0 + posting.in_slice, sum.1.min(posting.known));
        }
        sums.into_iter().all(|(slice, (amount, known))| self.fits(slice, amount, known))
    }

    fn fits(&self, slice: i64, amount: i64, known: Option<i64>) -> bool {
        let forgets = self.flaw == Flaw::ForgetsOthers;
        self.slice(slice).is_some_and(|slice| {
            slice.phase != Phase::Closed
                && slice.state.spent + amount <= slice.state.granted
                && (forgets || known.is_none_or(|known| known == slice.taken_by_others))
        })
    }

    /// Writes one posting: to its slice if it fits, else to what is left of the limit, and past that as an overrun.
    fn post(&mut self, posting: &Posting, full: bool, changed: &mut BTreeSet<i64>) -> PostedLine {
        let mut line = PostedLine::default();
        let mut beyond = posting.beyond;
        if concerns_slice(posting) && (full || self.fits(posting.slice, posting.in_slice, posting.known)) {
            changed.insert(posting.slice);
            let slice = self.slice_mut(posting.slice).expect("it fits");
            slice.state.spent += posting.in_slice;
            slice.state.ver += 1;
            if posting.known.is_none() {
                slice.taken_by_others += posting.in_slice;
            }
            line.in_slice = posting.in_slice;
        } else {
            beyond += posting.in_slice;
        }
        if beyond > 0 {
            line.overrun = beyond;
            if let Some(book) = self.book((posting.budget, posting.period)) {
                line.direct = beyond.min((book.ceiling - book.allocated).max(0));
                line.overrun = beyond - line.direct;
                book.allocated += line.direct;
                book.settled += line.direct;
                book.overrun += line.overrun;
            }
        }
        line
    }
}
