//! What a budget has left, in memory: the escrow side of the ledger.
//!
//! A server owns a *slice* of a budget's period: an amount that the database has set aside for it (O'Neil's escrow method,
//! 1986). Holds come out of the slice without asking anybody; charges settle against it in the database. The sum of all
//! slices and of what is settled never passes the limit, whatever any server does.
//!
//! Invariant: `spent + held <= granted`, and a hold is admitted only while everything spent and held, here and elsewhere,
//! stays within the limit.

use std::time::Duration;

use crate::domain::{time::Timestamp, window::Period};

/// For how long ahead a slice is sized, in microseconds: the more, the fewer grants; what a crash takes out of use for
/// a while grows alike.
const AHEAD_MICROS: i128 = 6_000_000;
/// How many holds of the same size the first grant is to cover.
const FIRST_HOLDS: i64 = 16;
/// The end of a period that has none.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);
/// Stands for a headroom that is not known.
const UNKNOWN: i64 = -1;
/// For how long what others have is taken to be what they had: a refusal is not older than this.
const FRESH: Duration = Duration::from_secs(1);

/// This server's slice of one period of a budget, and what it knows of the rest.
#[derive(Clone, Debug)]
pub struct Account {
    /// Which period.
    pub period: Period,
    /// When it ends; [`NEVER`] for all time.
    pub(super) ends: Timestamp,
    /// Id of the slice; 0 before the first grant.
    pub slice: i64,
    /// What the database has set aside for this server.
    pub granted: i64,
    /// Settled against the slice.
    pub spent: i64,
    /// Held here.
    pub held: i64,
    /// Longest hold, in seconds, that the database knows to be promised on the slice.
    promised: u16,
    /// Settled outside the slice, overruns among it.
    pub spent_elsewhere: i64,
    /// Set aside for others and not spent.
    pub held_elsewhere: i64,
    /// What is left to be granted; negative when that is not known.
    headroom: i64,
    /// On its way back to the limit: nobody's until it is known to have left.
    leaving: i64,
    /// What others took out of the slice, as far as is known here: charges of holds of this server.
    pub taken_by_others: i64,
    others: Others,
    ver: i64,
    wanted: i64,
    taken: i64,
    since: Timestamp,
    /// A grant in the background is under way.
    pub topping_up: bool,
}

/// What is known of others who have something set aside of the same period, as of the last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// There are none.
    None,
    /// There are, or may be.
    Some,
    /// They were asked to give back what they do not use, and somebody waits for it.
    Asked,
    /// They were asked, and keep what they have.
    Told,
}

/// What the database says after a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The slice as it stands now.
    pub slice: SliceState,
    /// Longest hold promised on it, in seconds.
    pub promised: i64,
    /// What is left to be granted.
    pub headroom: i64,
    /// Settled outside the slice.
    pub spent_elsewhere: i64,
    /// Set aside for others and not spent.
    pub held_elsewhere: i64,
    /// Whether there are others who may change that.
    pub shared: bool,
    /// Whether they were asked to give back what they do not use.
    pub recalled: bool,
}

/// A slice as the database has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceState {
    /// Its id.
    pub id: i64,
    /// What is set aside.
    pub granted: i64,
    /// What is settled.
    pub spent: i64,
    /// Grows with every change of the row.
    pub ver: i64,
}

/// What became of the wish to hold an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Enough,
    /// There may be room in the database: ask for this much more.
    Ask {
        /// What is missing.
        need: i64,
        /// What would be good to have.
        want: i64,
        /// What others have stands in the way, as far as is known.
        recall: bool,
    },
    /// The limit does not allow it.
    Short,
}

impl Account {
    /// An account that knows nothing yet.
    #[must_use]
    pub fn cold(period: Period, ends: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            period,
            ends: ends.unwrap_or(NEVER),
            slice: 0,
            granted: 0,
            spent: 0,
            held: 0,
            promised: 0,
            spent_elsewhere: 0,
            held_elsewhere: 0,
            headroom: UNKNOWN,
            leaving: 0,
            taken_by_others: 0,
            others: Others::None,
            ver: 0,
            wanted: 0,
            taken: 0,
            since: now,
            topping_up: false,
        }
    }

    /// When it ends; `None` for all time.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        (self.ends != NEVER).then_some(self.ends)
    }

    /// Longest hold, in seconds, that the database knows to be promised on the slice.
    #[must_use]
    pub fn promised(&self) -> i64 {
        self.promised.into()
    }

    /// Somebody else has let a hold live for so many seconds, and the database knows it.
    pub fn promised_by_others(&mut self, seconds: i64) {
        self.promised = self.promised.max(u16::try_from(seconds).unwrap_or(u16::MAX));
    }

    /// The slice, as far as it is known here.
    #[must_use]
    pub const fn known(&self) -> SliceState {
        SliceState { id: self.slice, granted: self.granted, spent: self.spent, ver: self.ver }
    }

    /// What is left to be granted, if that is known: not while something of the slice is on its way back to it.
    fn headroom(&self) -> Option<i64> {
        (self.headroom >= 0 && self.leaving == 0).then_some(self.headroom)
    }

    /// The limit has changed, and what is left to be granted with it: it is not known until the database is asked.
    pub const fn limit_changed(&mut self) {
        self.headroom = UNKNOWN;
    }

    /// Settled in the period, here and elsewhere.
    #[must_use]
    pub const fn total_spent(&self) -> i64 {
        self.spent.saturating_add(self.spent_elsewhere)
    }

    /// Held in the period, here and elsewhere.
    #[must_use]
    pub const fn total_held(&self) -> i64 {
        self.held.saturating_add(self.held_elsewhere)
    }

    /// What the slice has left.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.granted - self.spent - self.held - self.leaving
    }

    /// What is left under `limit`, as far as is known here; never negative.
    #[must_use]
    pub fn left(&self, limit: i64) -> i64 {
        let under_limit = limit.saturating_sub(self.total_spent()).saturating_sub(self.total_held());
        // The ledger will tell, when that is not known.
        let at_hand = self.headroom().map_or(i64::MAX, |headroom| self.available().saturating_add(headroom));
        under_limit.min(at_hand).max(0)
    }

    /// Whether `amount` can be held for `seconds` under `limit` (`None` for a soft budget). What others have may have
    /// changed: before it refuses for that, a fresh look is asked for.
    #[must_use]
    pub fn room(&self, amount: i64, seconds: i64, limit: Option<i64>, now: Timestamp) -> Room {
        match self.room_as_known(amount, seconds, limit, now) {
            Room::Short if self.may_change(amount, limit, now) => self.ask(amount, now, true),
            room => room,
        }
    }

    /// Whether a refusal may rest on what others have and would give back.
    fn may_change(&self, amount: i64, limit: Option<i64>, now: Timestamp) -> bool {
        let own = self.total_spent().saturating_add(self.held).saturating_add(amount);
        match self.others {
            Others::None => false,
            Others::Asked => true,
            // Nobody has asked them yet.
            Others::Some if self.held_elsewhere > 0 && limit.is_none_or(|limit| own <= limit) => true,
            Others::Some | Others::Told => now.since(self.since) >= FRESH,
        }
    }

    /// As [`Account::room`], from what is known.
    #[must_use]
    pub fn room_as_known(&self, amount: i64, seconds: i64, limit: Option<i64>, now: Timestamp) -> Room {
        if self.slice == 0 || self.promised() < seconds {
            return self.ask(amount, now, false);
        }
        let total = self.total_spent().saturating_add(self.total_held()).saturating_add(amount);
        if limit.is_some_and(|limit| total > limit) && amount > 0 {
            return Room::Short;
        }
        if amount <= self.available() {
            return Room::Enough;
        }
        match self.headroom() {
            Some(headroom) if amount - self.available() > headroom => Room::Short,
            _ => self.ask(amount, now, false),
        }
    }

    fn ask(&self, amount: i64, now: Timestamp, recall: bool) -> Room {
        let need = amount.saturating_sub(self.available()).max(0);
        Room::Ask { need, want: self.want(amount, now).max(need), recall }
    }

    /// What a grant should bring, from how fast the slice was used since the last one.
    #[must_use]
    pub fn want(&self, amount: i64, now: Timestamp) -> i64 {
        let elapsed = i128::from((now.micros() - self.since.micros()).max(1000));
        let pace = i128::from(self.taken) * AHEAD_MICROS / elapsed;
        i64::try_from(pace).unwrap_or(i64::MAX).max(amount.saturating_mul(FIRST_HOLDS))
    }

    /// Whether the slice runs low, so that more should be asked for before somebody has to wait.
    #[must_use]
    pub fn is_low(&self) -> bool {
        !self.topping_up && self.available() < self.wanted / 2 && self.headroom().is_none_or(|headroom| headroom > 0)
    }

    /// Holds an amount that [`Account::room`] has allowed.
    pub fn hold(&mut self, amount: i64) {
        self.held += amount;
        self.taken = self.taken.saturating_add(amount);
    }

    /// Holds as much of `amount` as the slice has left; gives how much.
    pub fn hold_up_to(&mut self, amount: i64) -> i64 {
        let taken = amount.min(self.available()).max(0);
        self.held += taken;
        taken
    }

    /// Gives back what was held.
    pub fn release(&mut self, amount: i64) {
        self.held -= amount;
    }

    /// Takes over what the database says of the slice, unless something later was seen.
    pub fn adopt(&mut self, slice: SliceState) {
        if slice.ver > self.ver {
            self.slice = slice.id;
            self.granted = slice.granted;
            self.spent = slice.spent;
            self.ver = slice.ver;
        }
    }

    /// Takes over the answer to a grant; `recall` says whether others were to be asked.
    pub fn granted(&mut self, answer: &Granted, wanted: i64, recall: bool, now: Timestamp) {
        self.adopt(answer.slice);
        self.promised = self.promised.max(u16::try_from(answer.promised).unwrap_or(u16::MAX));
        self.headroom = answer.headroom.max(0);
        self.spent_elsewhere = answer.spent_elsewhere;
        self.held_elsewhere = answer.held_elsewhere;
        self.others = match (answer.shared, answer.recalled) {
            (_, true) => Others::Asked,
            (true, false) if recall => Others::Told,
            (true, false) => Others::Some,
            (false, false) => Others::None,
        };
        self.wanted = wanted;
        self.taken = 0;
        self.since = now;
        self.topping_up = false;
    }

    /// The ledger did not answer: what is known must do.
    pub const fn not_granted(&mut self, now: Timestamp) {
        self.topping_up = false;
        self.recalled();
        self.since = now;
    }

    /// Nobody waits any more for what others were asked to give back.
    pub const fn recalled(&mut self) {
        if matches!(self.others, Others::Asked) {
            self.others = Others::Told;
        }
    }

    /// Whether others were asked to give back what they do not use.
    #[must_use]
    pub const fn is_recalling(&self) -> bool {
        matches!(self.others, Others::Asked)
    }

    /// Whether others have something set aside as well.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        !matches!(self.others, Others::None)
    }

    /// Takes aside all that the slice has left, to be given back; gives how much.
    pub fn take_rest(&mut self) -> i64 {
        let rest = self.available().max(0);
        self.leaving += rest;
        self.headroom = UNKNOWN;
        rest
    }

    /// What was taken aside has left the slice, or has not: what is known of the slice says which.
    pub fn returned(&mut self, rest: i64) {
        self.leaving -= rest;
        self.headroom = UNKNOWN;
    }

    /// A charge was recorded outside the slice: within the limit, and beyond it.
    pub fn settled_elsewhere(&mut self, direct: i64, overrun: i64) {
        self.spent_elsewhere = self.spent_elsewhere.saturating_add(direct).saturating_add(overrun);
        self.headroom = self.headroom().map_or(UNKNOWN, |headroom| (headroom - direct).max(0));
    }

    /// A charge was recorded against a slice of somebody else.
    pub fn settled_by_others(&mut self, amount: i64) {
        self.spent_elsewhere = self.spent_elsewhere.saturating_add(amount);
        self.held_elsewhere = (self.held_elsewhere - amount).max(0);
    }

    /// Another slice was closed and gave back what it had not spent.
    pub fn folded(&mut self, freed: i64) {
        self.held_elsewhere = (self.held_elsewhere - freed).max(0);
        self.headroom = self.headroom().map_or(UNKNOWN, |headroom| headroom.saturating_add(freed));
    }

    /// Whether nothing more can happen to it here: its period is over and nothing is held.
    #[must_use]
    pub fn is_done(&self, now: Timestamp) -> bool {
        self.held == 0 && !self.topping_up && self.ends <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn account(granted: i64, headroom: i64) -> Account {
        let mut account = Account::cold(Period(0), None, NOW);
        let slice = SliceState { id: 1, granted, spent: 0, ver: 1 };
        account.granted(&Granted { slice, promised: 120, headroom, ..Granted::default() }, granted, false, NOW);
        account
    }

    #[test]
    fn a_hold_comes_out_of_the_slice_and_past_it_the_database_is_asked() {
        let mut account = account(100, 50);
        assert_eq!(account.room(100, 60, Some(150), NOW), Room::Enough);
        account.hold(100);
        assert!(matches!(account.room(50, 60, Some(150), NOW), Room::Ask { need: 50, .. }));
        assert_eq!(account.room(51, 60, Some(150), NOW), Room::Short);
    }

    #[test]
    fn a_lowered_limit_binds_at_once_although_the_slice_has_more() {
        let mut account = account(100, 0);
        account.hold(40);
        assert_eq!(account.room(20, 60, Some(50), NOW), Room::Short);
        assert_eq!(account.room(10, 60, Some(50), NOW), Room::Enough);
    }

    #[test]
    fn a_longer_hold_than_was_promised_asks_first() {
        assert!(matches!(account(100, 0).room(1, 121, Some(100), NOW), Room::Ask { need: 0, .. }));
    }

    #[test]
    fn an_older_answer_of_the_database_is_not_adopted() {
        let mut account = account(100, 0);
        account.adopt(SliceState { id: 1, granted: 100, spent: 30, ver: 3 });
        account.adopt(SliceState { id: 1, granted: 100, spent: 10, ver: 2 });
        assert_eq!(account.spent, 30);
    }

    #[test]
    fn nobody_is_refused_for_what_others_had_a_while_ago_or_were_asked_to_give_back() {
        let mut account = account(10, 0);
        let with_others = |recalled| Granted {
            slice: SliceState { id: 1, granted: 10, spent: 0, ver: 2 },
            promised: 120,
            held_elsewhere: 90,
            shared: true,
            recalled,
            ..Granted::default()
        };
        account.granted(&with_others(false), 10, false, NOW);
        assert!(matches!(account.room(11, 60, Some(100), NOW), Room::Ask { need: 1, recall: true, .. }));
        assert_eq!(account.room(101, 60, Some(100), NOW), Room::Short, "whatever they give back");
        account.granted(&with_others(true), 10, true, NOW);
        assert!(matches!(account.room(11, 60, Some(100), NOW), Room::Ask { .. }));
        account.recalled();
        assert_eq!(account.room(11, 60, Some(100), NOW), Room::Short);
        account.granted(&with_others(false), 10, true, NOW);
        assert_eq!(account.room(11, 60, Some(100), NOW), Room::Short, "they keep what they have");
        assert!(matches!(account.room(11, 60, Some(100), NOW.after(FRESH)), Room::Ask { recall: true, .. }));
    }

    #[test]
    fn what_is_on_its_way_back_can_neither_be_held_nor_counts_as_held() {
        let mut account = account(100, 0);
        account.hold(40);
        assert_eq!((account.take_rest(), account.available(), account.total_held()), (60, 0, 40));
        // Asked before it was there, the database had nothing more.
        account.granted(&Granted { slice: account.known(), ..Granted::default() }, 1, false, NOW);
        assert!(matches!(account.room(60, 60, Some(100), NOW), Room::Ask { need: 60, .. }));
        assert_eq!(account.left(100), 60);
        account.adopt(SliceState { id: 1, granted: 40, spent: 0, ver: 2 });
        account.returned(60);
        assert_eq!(account.available(), 0);
        assert!(matches!(account.room(60, 60, Some(100), NOW), Room::Ask { need: 60, .. }));
    }

    #[test]
    fn a_budget_fills_three_cache_lines() {
        // A decision looks at five of them that have left the caches.
        assert_eq!(size_of::<crate::engine::state::BudgetRow>(), 192);
    }
}
