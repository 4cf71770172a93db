//! The last charges that were acknowledged: whoever has them can put them back when the database has forgotten them.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashSet;
use parking_lot::Mutex;

use super::{
    journal::{Entry, PostedLine, Posting, Recorded},
    places::Placed,
};

/// Most charges that are kept: half a second's at the fastest, half a minute's at a thousand a second. 1.3 kB each.
const KEPT: usize = 32_768;

/// Acknowledged charges, oldest first.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<Arc<Entry>>>);

impl Recent {
    /// Keeps charges that were written.
    pub(super) fn keep(&self, entries: impl Iterator<Item = Entry>) {
        let mut kept = self.0.lock();
        kept.extend(entries.map(Arc::new));
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// All that are kept, each once: one that was sent again was acknowledged again.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let kept = self.0.lock();
        let mut ids = HashSet::with_capacity(kept.len());
        kept.iter().filter(|entry| ids.insert((entry.tenant, &*entry.charge_id))).cloned().collect()
    }
}

/// A charge with its postings as they were written, whatever was thought of them before.
pub(super) fn as_written(mut entry: Entry, lines: &[PostedLine], released: i64) -> Entry {
    let is_end = entry.is_end();
    for (posting, line) in entry.postings.iter_mut().zip(lines) {
        *posting = again(posting, line, is_end);
    }
    Entry { released, ..entry }
}

/// A charge that was written before, perhaps at another server, as it stands on record.
pub(super) fn as_recorded(mut entry: Entry, recorded: &Recorded) -> Entry {
    let is_end = entry.is_end();
    let posting = |(place, line): (&Placed, &PostedLine)| {
        let known = entry.postings.iter().find(|posting| posting.budget == place.budget);
        let (usd, held) = known.map_or((false, 0), |posting| (posting.usd, posting.held));
        let Placed { slice, budget, period } = *place;
        let posting = Posting { budget, period, slice, in_slice: 0, beyond: 0, of_hold: 0, held, usd, known: None };
        again(&posting, line, is_end)
    };
    entry.postings = recorded.places.iter().zip(&recorded.lines).map(posting).collect();
    Entry { released: recorded.released, ..entry }
}

/// A posting that is to be written again, to the same places. What a late charge did not count because the end of its hold had
/// paid for it counts unless that end is on record; and the end of a hold takes again what others leave of it.
fn again(posting: &Posting, line: &PostedLine, is_end: bool) -> Posting {
    let unpaid = line.direct + line.overrun;
    let (in_slice, beyond, held) = if is_end {
        (line.in_slice + unpaid, 0, posting.held)
    } else {
        (line.in_slice, unpaid - line.credit.min(0), 0)
    };
    Posting { in_slice, beyond, held, of_hold: 0, known: None, ..*posting }
}
