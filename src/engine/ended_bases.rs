//! What tokens rested on and has ended, for as long as a token may be good otherwise.

use std::{collections::BTreeSet, time::Duration};

use hashbrown::HashMap;

use super::{Gate, journal::Journal};
use crate::domain::{time::Timestamp, tokens::Basis};

/// How much longer than needed one is known: a clock may be set back, or another server's be ahead.
pub const MARGIN: Duration = Duration::from_hours(1);

/// Bases that have ended, and until when that matters.
#[derive(Default)]
pub struct EndedBases {
    until: HashMap<Basis, Timestamp>,
    order: BTreeSet<(Timestamp, Basis)>,
}

impl EndedBases {
    /// Notes that one has ended, and until when tokens may be about that rest on it.
    pub fn put(&mut self, basis: Basis, until: Timestamp) {
        let known = self.until.entry(basis).or_insert(until);
        self.order.remove(&(*known, basis));
        *known = until.max(*known);
        self.order.insert((*known, basis));
    }

    /// Whether what a token rests on has ended; what rests on nothing has not.
    #[must_use]
    pub fn has(&self, basis: Option<Basis>) -> bool {
        basis.is_some_and(|basis| self.until.contains_key(&basis))
    }

    /// The moment after which the first one is forgotten.
    fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(until, _)| until.after(MARGIN))
    }

    /// Forgets those on which no token rests any more that is good.
    fn forget(&mut self, now: Timestamp) {
        while self.first().is_some_and(|first| first <= now) {
            if let Some((_, basis)) = self.order.pop_first() {
                self.until.remove(&basis);
            }
        }
    }
}

impl<J: Journal> Gate<J> {
    /// Forgets what has ended for so long that no token rests on it any more.
    pub(super) fn forget_bases(&self, now: Timestamp) {
        let due = self.read().ended.first().is_some_and(|first| first <= now);
        if due {
            self.write_state().ended.forget(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SessionId;

    #[test]
    fn what_has_ended_is_known_until_no_token_rests_on_it_and_a_while_longer() {
        let basis = |bits| Some(Basis::Session(SessionId::from_bits(bits)));
        let at = Timestamp::from_micros;
        let mut ended = EndedBases::default();
        for (bits, until) in [(1, 10), (2, 30), (1, 20), (1, 15)] {
            ended.put(Basis::Session(SessionId::from_bits(bits)), at(until));
        }
        assert_eq!([1, 2, 3].map(|bits| ended.has(basis(bits))), [true, true, false]);
        assert!(!ended.has(None));
        ended.forget(at(19).after(MARGIN));
        assert_eq!([1, 2].map(|bits| ended.has(basis(bits))), [true, true]);
        ended.forget(at(20).after(MARGIN));
        assert_eq!([1, 2].map(|bits| ended.has(basis(bits))), [false, true]);
        ended.forget(at(30).after(MARGIN));
        assert_eq!((ended.until.len(), ended.order.len()), (0, 0));
    }
}
