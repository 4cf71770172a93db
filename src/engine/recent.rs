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
    for (posting, line) in entry.postings.iter_mut().zip(lines) {
        posting.in_slice = line.in_slice;
        posting.beyond = line.direct + line.overrun;
        (posting.of_hold, posting.held, posting.known) = (0, 0, None);
    }
    Entry { released, ..entry }
}

/// A charge that was written before, perhaps at another server, as it stands on record.
pub(super) fn as_recorded(mut entry: Entry, recorded: &Recorded) -> Entry {
    let is_usd = |budget| entry.postings.iter().any(|posting| posting.budget == budget && posting.usd);
    let posting = |(place, line): (&Placed, &PostedLine)| Posting {
        budget: place.budget,
        period: place.period,
        slice: place.slice,
        in_slice: line.in_slice,
        beyond: line.direct + line.overrun,
        of_hold: 0,
        held: 0,
        usd: is_usd(place.budget),
        known: None,
    };
    entry.postings = recorded.places.iter().zip(&recorded.lines).map(posting).collect();
    Entry { released: recorded.released, ..entry }
}
