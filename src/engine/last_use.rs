//! When somebody, or a key, was last used: noted in what a call reads anyway, and taken from there now and then to be
//! written down.

use std::sync::atomic::{AtomicU16, Ordering};

use super::{Gate, state::State};
use crate::domain::{
    bindings::Principal,
    id::{KeyId, TenantId},
    time::Timestamp,
};

/// The second of the last use, until it is written down: zero when there is none, else one more than the second within a
/// cycle. Two bytes, which a key's row has to spare: whoever asks knows which cycle it is, if that was within the last one.
#[derive(Debug, Default)]
pub struct LastUse(AtomicU16);

/// Seconds of a cycle: 18 hours. What could not be written down for longer than that is dated up to a cycle too late.
const CYCLE: i64 = 0xffff;
/// How far a clock that notes may be ahead of the one that writes down: both are read, one after the other.
const AHEAD: i64 = 60;
/// Rows that are looked at under one lock.
const LOOKED_AT: usize = 16_384;
/// Most uses that are taken at once: they are written in one transaction, for which others wait on `SQLite`.
const TAKEN: usize = 500;

impl Clone for LastUse {
    fn clone(&self) -> Self {
        Self(AtomicU16::new(self.0.load(Ordering::Relaxed)))
    }
}

impl LastUse {
    /// Notes a use.
    pub fn note(&self, now: Timestamp) {
        let stamp = stamp_of(second_of(now));
        // Mostly it is the second that is there: to write it again would take the line from other processors.
        if self.0.load(Ordering::Relaxed) != stamp {
            self.0.store(stamp, Ordering::Relaxed);
        }
    }

    /// What is noted.
    fn stamp(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|stamp| *stamp != 0)
    }

    /// Forgets what was written down, unless there was another use since.
    fn forget(&self, stamp: u16) {
        let _ = self.0.compare_exchange(stamp, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

const fn second_of(time: Timestamp) -> i64 {
    time.micros().div_euclid(1_000_000)
}

fn stamp_of(second: i64) -> u16 {
    u16::try_from(second.rem_euclid(CYCLE) + 1).unwrap_or(1)
}

/// The last moment up to now that has this stamp.
fn time_of(stamp: u16, now: Timestamp) -> Timestamp {
    let latest = second_of(now) + AHEAD;
    let back = (i64::from(stamp_of(latest)) - i64::from(stamp)).rem_euclid(CYCLE);
    Timestamp::from_micros((latest - back).saturating_mul(1_000_000)).min(now)
}

/// Somebody, or a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    /// A person or a program.
    Principal(Principal),
    /// A key.
    Key(KeyId),
}

/// A use that is to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// Who, or what.
    pub who: Used,
    /// Of which tenant.
    pub tenant: TenantId,
    /// When, to the second.
    pub at: Timestamp,
    row: u32,
    stamp: u16,
}

/// Where the next look begins: people, then programs, then keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    table: u8,
    row: usize,
}

/// The tables, in the order in which they are looked at.
const TABLES: u8 = 3;

impl<J> Gate<J> {
    /// Some of the uses that are not yet written down, and where to look for more; nowhere at the end.
    #[must_use]
    pub fn uses(&self, now: Timestamp, from: Look) -> (Vec<Use>, Option<Look>) {
        let state = self.read();
        let mut uses = Vec::new();
        let rows = state.use_rows(from.table);
        let end = rows.min(from.row.saturating_add(LOOKED_AT));
        let mut row = from.row;
        while row < end && uses.len() < TAKEN {
            uses.extend(state.use_at(from.table, row, now));
            row += 1;
        }
        let next = if row < rows { Look { row, ..from } } else { Look { table: from.table + 1, row: 0 } };
        (uses, (next.table < TABLES).then_some(next))
    }

    /// Notes that uses are written down.
    pub fn written(&self, uses: &[Use]) {
        let state = self.read();
        for used in uses {
            let row = used.row;
            match used.who {
                Used::Principal(Principal::User(_)) => state.users.at(row).last_use.forget(used.stamp),
                Used::Principal(Principal::ServiceAccount(_)) => {
                    state.service_accounts.at(row).last_use.forget(used.stamp);
                }
                Used::Key(_) => state.keys.row(row).last_use.forget(used.stamp),
            }
        }
    }
}

impl State {
    fn use_rows(&self, table: u8) -> usize {
        match table {
            0 => self.users.len(),
            1 => self.service_accounts.len(),
            _ => self.keys.len(),
        }
    }

    fn use_at(&self, table: u8, row: usize, now: Timestamp) -> Option<Use> {
        // No table has more rows than an index counts.
        let row = u32::try_from(row).ok()?;
        let (who, tenant, last_use) = match table {
            0 | 1 => {
                let actor = if table == 0 { self.users.at(row) } else { self.service_accounts.at(row) };
                (Used::Principal(actor.principal()), actor.tenant, &actor.last_use)
            }
            _ => {
                let key = self.keys.row(row);
                (Used::Key(key.id()), self.workspaces.at(key.workspace).tenant, &key.last_use)
            }
        };
        let stamp = last_use.stamp()?;
        Some(Use { who, tenant: self.tenants.at(tenant).id, at: time_of(stamp, now), row, stamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{key_table::KeyRow, state::ActorRow};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000 + 250_000)
    }

    #[test]
    fn a_use_is_dated_to_its_second_within_a_cycle_and_never_after_now() {
        for used in [0, 1, CYCLE - 1, CYCLE, 1_800_000_000, 1_800_000_000 + CYCLE] {
            let last_use = LastUse::default();
            assert_eq!(last_use.stamp(), None);
            last_use.note(at(used));
            let stamp = last_use.stamp().expect("it is noted");
            for later in [0, 1, 59, 3_600, CYCLE - AHEAD - 1] {
                assert_eq!(second_of(time_of(stamp, at(used + later))), used, "{used} {later}");
            }
            // The clock that notes is read after the one that writes down.
            assert_eq!(time_of(stamp, at(used - 2)), at(used - 2));
        }
    }

    #[test]
    fn what_is_written_down_is_forgotten_unless_it_was_used_again() {
        let last_use = LastUse::default();
        last_use.note(at(5));
        let stamp = last_use.stamp().expect("noted");
        last_use.note(at(6));
        last_use.forget(stamp);
        let stamp = last_use.stamp().expect("still noted");
        assert_eq!(second_of(time_of(stamp, at(9))), 6);
        last_use.forget(stamp);
        assert_eq!(last_use.stamp(), None);
    }

    #[test]
    fn the_rows_that_decisions_read_are_no_larger_for_it() {
        assert_eq!((size_of::<KeyRow>(), size_of::<ActorRow>()), (88, 128));
    }
}
