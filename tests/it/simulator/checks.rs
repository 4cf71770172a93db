//! The promises, and whether they are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tollreeve::{
    domain::{
        id::{BootId, BudgetId},
        window::Period,
    },
    engine::{
        hold_token::OwnClaims,
        holds::HoldRef,
        journal::{Confirmed, Entry, HoldUse, Posted, PostedLine},
        timing::WORST_CHARGE,
    },
};

use super::{machine::Rate, world::ms};
use crate::harness::model_tables::{Phase, Tables};

/// The run of a server, a hold in it, and when it was made.
type HoldId = (BootId, u64, i64);

fn id_of(run: BootId, hold: HoldRef, issued: i64) -> HoldId {
    (run, hold.0, issued)
}

/// So long at least by any clock is a charge that was sent in time still in time.
pub fn on_its_way() -> Duration {
    Rate(10_000).takes(WORST_CHARGE - ms(100))
}

/// A hold that a sidecar has.
struct Held {
    slices: Vec<i64>,
    left: i64,
    /// Until when charges in time may come.
    until: Duration,
}

/// A charge that was sent.
struct Sent {
    amount: i64,
    /// The hold covers it.
    within: bool,
    /// It was in time whenever it was sent.
    in_time: bool,
    first: Duration,
    written: u64,
}

/// No hold lives for so long.
const AGES: Duration = Duration::from_secs(90);

#[derive(Default)]
pub struct Checks {
    holds: BTreeMap<HoldId, Held>,
    charges: BTreeMap<String, Sent>,
    acknowledged: BTreeMap<String, i64>,
    /// Users whose rights were taken away for certain, each with the number of that change.
    barred: BTreeMap<u128, u64>,
    /// Limits that were lowered for certain, each with the number of that change.
    lowered: BTreeMap<BudgetId, (u64, i64)>,
    changes: u64,
    /// What was set aside of each period.
    allocated: BTreeMap<(BudgetId, Period), i64>,
    /// Limits that held until some moment.
    earlier: Vec<(Duration, BudgetId, i64)>,
    /// Charges that the store has forgotten.
    lost: BTreeSet<String>,
    /// Servers that have said of a charge that it is written.
    answered: BTreeMap<String, BTreeSet<BootId>>,
    /// Servers that have not said what was forgotten of theirs: what becomes of their holds is not certain.
    uncertain: BTreeSet<BootId>,
    /// Servers that have put back everything.
    recovered: BTreeSet<BootId>,
}

/// What was certain when a call was sent.
pub struct InForce {
    barred: Option<u64>,
    lowered: BTreeMap<BudgetId, (u64, i64)>,
}

impl Checks {
    pub fn bar(&mut self, user: u128) {
        self.changes += 1;
        self.barred.insert(user, self.changes);
    }

    pub fn unbar(&mut self, user: u128) {
        self.barred.remove(&user);
    }

    pub fn lowered(&mut self, budget: BudgetId, limit: i64) {
        self.changes += 1;
        self.lowered.insert(budget, (self.changes, limit));
    }

    /// Nothing is certain of a budget's limit any more.
    pub fn changing(&mut self, budget: BudgetId, before: i64, now: Duration) {
        self.lowered.remove(&budget);
        self.earlier.push((now, budget, before));
    }

    /// The store has forgotten its last commits, changes among them.
    pub fn forgotten(&mut self, before: &Tables, after: &Tables) {
        self.lowered.clear();
        self.barred.clear();
        self.allocated = after.books.iter().map(|(at, book)| (*at, book.allocated)).collect();
        for charge in before.charges.iter().filter(|charge| !after.by_id.contains_key(&charge.key())) {
            if let Some(sent) = self.charges.get_mut(&charge.id) {
                sent.written = 0;
                self.lost.insert(charge.id.clone());
            }
        }
        self.uncertain.extend(self.holds.keys().map(|(boot, ..)| *boot));
        self.uncertain.extend(before.servers.keys().filter(|boot| before.is_live(**boot)));
    }

    /// A server has compared what it knows.
    pub fn confirmed(&mut self, boot: BootId, confirmed: Confirmed, tables: &Tables) {
        self.uncertain.remove(&boot);
        // What was set aside before is set aside again, although a limit may have been lowered since.
        self.allocated = tables.books.iter().map(|(at, book)| (*at, book.allocated)).collect();
        if confirmed != Confirmed::Waiting {
            self.recovered.insert(boot);
        }
        for id in self.lost.iter().filter(|id| tables.charges.iter().any(|charge| charge.id == **id)) {
            if let Some(sent) = self.charges.get_mut(id) {
                sent.written = 1;
            }
        }
    }

    /// Whether a server has compared everything after something was forgotten.
    pub fn has_recovered(&self, boot: BootId) -> bool {
        self.recovered.contains(&boot)
    }

    /// A server says that a charge is written.
    pub fn answered(&mut self, charge: &str, boot: BootId) {
        self.answered.entry(charge.to_owned()).or_default().insert(boot);
    }

    /// Whether the loss of a charge is conceded: every server that had said that it is written died before it could put it back.
    fn is_conceded(&self, charge: &str) -> bool {
        let by = self.answered.get(charge);
        self.lost.contains(charge) && by.is_none_or(|by| by.is_disjoint(&self.recovered))
    }

    /// What is certain now, of a call that a user is about to send.
    pub fn known(&self, user: u128) -> InForce {
        InForce { barred: self.barred.get(&user).copied(), lowered: self.lowered.clone() }
    }

    /// Whether a call that was let through obeys what was certain when it was sent, and is so still.
    pub fn obeys(
        &self,
        known: &InForce,
        user: u128,
        claims: &OwnClaims,
        tables: &Tables,
        now: Duration,
    ) -> Result<(), String> {
        if known.barred.is_some() && self.barred.get(&user).copied() == known.barred {
            return Err(format!("user {user} was let through after the revocation was acknowledged"));
        }
        for at in claims.lines.iter().filter_map(|(slice, _)| tables.slice(*slice)).map(|slice| slice.at) {
            let Some(book) = tables.books.get(&at) else { continue };
            let certain = known.lowered.get(&at.0).filter(|limit| self.lowered.get(&at.0) == Some(limit));
            let earlier = self.earlier.iter().filter(|(until, budget, _)| *budget == at.0 && now < *until + AGES);
            let highest = earlier.map(|(_, _, limit)| *limit).max().unwrap_or(0).max(book.cap);
            let limit = certain.map_or(highest, |(_, limit)| *limit);
            let of_budget = |slice: &i64| tables.slice(*slice).is_some_and(|slice| slice.at == at);
            let stands = self.holds.values().filter(|hold| hold.until >= now && hold.slices.iter().any(of_budget));
            let held: i64 = stands.map(|hold| hold.left).sum();
            let spent = tables.books(at.0, at.1).spent - book.overrun;
            if spent + held > limit {
                return Err(format!("{spent} spent and {held} held of {limit}"));
            }
        }
        Ok(())
    }

    /// Nothing is set aside past a limit.
    pub fn within_limits(&mut self, tables: &Tables) -> Result<(), String> {
        for (at, book) in &tables.books {
            let before = self.allocated.insert(*at, book.allocated).unwrap_or_default();
            if book.allocated > before.max(book.cap) {
                return Err(format!("more is set aside than the limit allows: {book:?}"));
            }
        }
        Ok(())
    }

    /// A sidecar counts on a hold from now on.
    pub fn accept(&mut self, claims: &OwnClaims, until: Duration) {
        let id = id_of(claims.boot, claims.hold, claims.issued.micros());
        let slices = claims.lines.iter().map(|(slice, _)| *slice).collect();
        self.holds.entry(id).or_insert(Held { slices, left: claims.usd, until });
    }

    /// A hold lives longer.
    pub fn extend(&mut self, claims: &OwnClaims, until: Duration) {
        if let Some(held) = self.holds.get_mut(&id_of(claims.boot, claims.hold, claims.issued.micros())) {
            held.until = held.until.max(until);
        }
    }

    /// A sidecar sends a charge of a hold.
    pub fn send(
        &mut self,
        claims: &OwnClaims,
        charge: &str,
        now: Duration,
        (amount, within, in_time): (i64, bool, bool),
    ) {
        let new = Sent { amount, within, in_time: true, first: now, written: 0 };
        let sent = self.charges.entry(charge.to_owned()).or_insert(new);
        sent.in_time &= in_time;
        let until = sent.first + on_its_way();
        if let Some(held) =
            self.holds.get_mut(&id_of(claims.boot, claims.hold, claims.issued.micros())).filter(|_| in_time)
        {
            held.until = held.until.max(until);
        }
    }

    /// A charge is in the ledger now.
    pub fn written(&mut self, entry: &Entry, posted: &Posted, now: Duration) -> Result<(), String> {
        let Posted::New { lines, .. } = posted else { return Ok(()) };
        if let (true, Some(HoldUse { run, hold, issued, .. })) = (entry.is_end(), entry.hold) {
            self.holds.remove(&id_of(run, hold, issued.micros()));
            return Ok(());
        }
        let sent = self.charges.get_mut(&entry.charge_id).ok_or("a charge that nobody sent")?;
        sent.written += 1;
        if sent.written > 1 {
            return Err(format!("{} is written twice", entry.charge_id));
        }
        if sent.amount != entry.cost {
            return Err(format!("{} is written with {} for {}", entry.charge_id, entry.cost, sent.amount));
        }
        if let Some(HoldUse { run, hold, issued, ends }) = entry.hold
            && let Some(held) = self.holds.get_mut(&id_of(run, hold, issued.micros()))
        {
            held.left = if ends { 0 } else { (held.left - entry.cost).max(0) };
        }
        let over = |line: &PostedLine| line.overrun > 0;
        let certain = entry.hold.is_none_or(|hold| !self.uncertain.contains(&hold.run));
        if lines.iter().any(over) && sent.within && sent.in_time && now <= sent.first + on_its_way() && certain {
            return Err(format!("a charge in time and within its hold overran: {entry:?}, {posted:?}"));
        }
        Ok(())
    }

    /// What sidecars hold is set aside, slice by slice.
    pub fn holds_stand(&mut self, tables: &Tables, now: Duration) -> Result<(), String> {
        let mut held: BTreeMap<i64, i64> = BTreeMap::new();
        self.holds.retain(|(boot, ..), hold| {
            let stands = hold.left > 0 && hold.until >= now;
            if stands && !self.uncertain.contains(boot) {
                hold.slices.iter().for_each(|slice| *held.entry(*slice).or_default() += hold.left);
            }
            stands
        });
        for (id, held) in held {
            let slice = tables.slices.iter().find(|slice| slice.state.id == id).ok_or("a slice is gone")?;
            if slice.phase == Phase::Closed {
                return Err(format!("{held} still held of a slice that was folded: {slice:?}"));
            }
            if slice.state.spent + held > slice.state.granted {
                return Err(format!("{held} held of a slice that has less left: {slice:?}"));
            }
        }
        Ok(())
    }

    /// A sidecar was told that a charge is in the ledger.
    pub fn acknowledge(&mut self, charge: &str, charged: i64) -> Result<(), String> {
        self.acknowledged.insert(charge.to_owned(), charged);
        match self.charges.get(charge) {
            Some(sent) if sent.written == 1 && sent.amount == charged => Ok(()),
            Some(sent) if sent.amount == charged && self.lost.contains(charge) => Ok(()),
            _ => Err(format!("{charge} is acknowledged and not written")),
        }
    }

    /// Everything acknowledged is in the ledger, once.
    pub fn everything_is_written(&self, tables: &Tables) -> Result<(), String> {
        let mut written: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for charge in &tables.charges {
            written.entry(&charge.id).or_default().push(charge.recorded.cost);
        }
        for (id, charged) in &self.acknowledged {
            let gone = !written.contains_key(&**id) && self.is_conceded(id);
            if !gone && written.get(&**id).is_none_or(|costs| *costs != [*charged]) {
                let by = (self.answered.get(id), self.lost.contains(id), &self.recovered);
                return Err(format!(
                    "{id} was acknowledged: {:?}; answered by, forgotten, recovered: {by:?}",
                    written.get(&**id)
                ));
            }
        }
        Ok(())
    }
}
