//! Keeps this server's place among others: gives signs of life, takes in what others did to what is its own, and finds out
//! which of them are gone.
//!
//! What another server does to a slice or a hold of this one reaches it as mail, in the transaction that does it. Until it
//! is read, memory knows less than the ledger, and always on the safe side: what others took of a hold is still held here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Gate,
    accounts::SliceState,
    error::GateError,
    holds::HoldRef,
    journal::{Beat, Confirmed, Declared, Journal, JournalError, Known, Mail, Peer},
    places::Placed,
    timing::Timing,
};
use crate::domain::{id::BootId, time::Timestamp};

/// What a server has seen of the others.
pub struct Keeper<J> {
    gate: Arc<Gate<J>>,
    peers: Peers,
    /// When each slice of a server that no longer answers was first seen.
    closing: HashMap<i64, Duration>,
    /// When each server in doubt was first seen.
    doubtful: HashMap<BootId, Duration>,
    /// The others, as of the last sign of life.
    others: Vec<Peer>,
    /// The revision that the last sign of life told.
    told: i64,
}

/// What was seen of the other servers.
#[derive(Debug, Default)]
struct Peers {
    /// The last sign of life of each, and when it was first seen.
    signs: HashMap<BootId, (i64, Duration)>,
    /// When they were looked at last.
    looked: Duration,
}

impl Peers {
    /// Takes in what a look shows; gives those that have given no sign of life for longer than they answer without one.
    ///
    /// Whoever has not looked for as long as `blind` begins anew: what kept it from the database may have kept the others
    /// from it as well, and the first to be back would take all of them for dead.
    fn silent(&mut self, peers: &[Peer], seen: Duration, blind: Duration) -> Vec<Peer> {
        if seen.saturating_sub(std::mem::replace(&mut self.looked, seen)) >= blind {
            self.signs.clear();
        }
        self.signs.retain(|boot, _| peers.iter().any(|peer| peer.boot == *boot));
        let mut silent = Vec::new();
        for peer in peers {
            let (seq, since) = self.signs.entry(peer.boot).or_insert((peer.seq, seen));
            if *seq != peer.seq {
                (*seq, *since) = (peer.seq, seen);
            } else if seen.saturating_sub(*since) >= Timing::dead_after(peer.answers_for) {
                silent.push(*peer);
            }
        }
        silent
    }
}

/// Room that was taken aside to be given back, as long as it is not known whether it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returning {
    place: Placed,
    room: i64,
}

impl<J: Journal> Keeper<J> {
    /// A keeper that has seen nothing yet.
    #[must_use]
    pub fn new(gate: Arc<Gate<J>>) -> Self {
        let (closing, doubtful) = (HashMap::new(), HashMap::new());
        Self { gate, peers: Peers::default(), closing, doubtful, others: Vec::new(), told: -1 }
    }

    /// Gives a sign of life and does what is due. To be called every [`Timing::beat`], and when [`Gate::woken`] says so.
    ///
    /// # Errors
    /// [`GateError::Draining`]: others have taken this server for dead, and it does not answer any more.
    /// [`GateError::Unavailable`]: nothing is known; to be called again.
    pub async fn turn(&mut self) -> Result<(), GateError> {
        let gate = Arc::clone(&self.gate);
        let applied = gate.revision();
        let applied = match gate.return_lowered().await {
            Ok(()) => applied,
            // A lower limit counts as applied when nothing is left of what it takes away.
            Err(error) => {
                tracing::warn!(%error, "what a lowered limit takes away is not given back yet");
                self.told.min(applied)
            }
        };
        let sent = gate.clock.reading(gate.clock.now());
        let beat = match gate.journal.beat(applied).await {
            Err(JournalError::Superseded) => {
                gate.lease.end();
                return Err(GateError::Draining);
            }
            other => other?,
        };
        // Not before the answer is here: what it says may have happened at any moment until then.
        let seen = gate.clock.uptime();
        if beat.in_doubt {
            // Whoever is dead says nothing, and is not waited for.
            self.watch_peers(&beat, seen).await?;
            return self.confirm().await;
        }
        self.told = applied;
        gate.lease.renew(sent);
        let recalled = gate.take_mail(&beat);
        gate.give_back(recalled).await?;
        self.others.clone_from(&beat.peers);
        self.watch_peers(&beat, seen).await?;
        self.close(&beat, seen).await?;
        self.end_doubts(&beat, seen).await
    }

    /// The ledger may have forgotten something: says what this server knows. It does not answer until that is known to be
    /// all there, and never again if it was not.
    async fn confirm(&mut self) -> Result<(), GateError> {
        let gate = &self.gate;
        gate.lease.lose(gate.clock.uptime());
        let known = {
            let mut era = gate.era.lock();
            *era += 1;
            Known {
                told: gate.revision() == self.told,
                answers_for: gate.timing.answers_for(),
                slices: gate.own_slices(),
                peers: self.others.clone(),
                charges: gate.recent.all(),
            }
        };
        match gate.journal.confirm(&known).await? {
            Confirmed::Intact => {
                gate.wake();
                Ok(())
            }
            Confirmed::Waiting => {
                tracing::error!(
                    "the database has forgotten what it had committed: this server puts back what it knows"
                );
                gate.lease.end();
                Err(GateError::Unavailable("the database has forgotten what it had committed".to_owned()))
            }
            Confirmed::Over => {
                gate.lease.end();
                Err(GateError::Draining)
            }
        }
    }

    /// Ends the doubt about servers none of whose holds can live any more.
    async fn end_doubts(&mut self, beat: &Beat, seen: Duration) -> Result<(), GateError> {
        self.doubtful.retain(|boot, _| beat.doubtful.contains(boot));
        for boot in &beat.doubtful {
            let since = *self.doubtful.entry(*boot).or_insert(seen);
            if seen.saturating_sub(since) >= self.gate.timing.doubted_for() {
                self.gate.journal.end_doubt(*boot).await?;
            }
        }
        Ok(())
    }

    /// Takes those for dead that have given no sign of life for longer than they answer without one.
    async fn watch_peers(&mut self, beat: &Beat, seen: Duration) -> Result<(), GateError> {
        for peer in self.peers.silent(&beat.peers, seen, self.gate.timing.lease) {
            tracing::warn!(server = %peer.boot, "a server gives no sign of life: it is taken for dead");
            self.gate.journal.expire(&peer).await?;
        }
        Ok(())
    }

    /// Closes slices of dead servers on which no hold can live any more.
    async fn close(&mut self, beat: &Beat, seen: Duration) -> Result<(), GateError> {
        self.closing.retain(|slice, _| beat.closing.iter().any(|orphan| orphan.slice == *slice));
        let mut due = Vec::new();
        for orphan in &beat.closing {
            let since = *self.closing.entry(orphan.slice).or_insert(seen);
            if seen.saturating_sub(since) >= self.gate.timing.closes_after(orphan.promised) {
                due.push(orphan.slice);
            }
        }
        if due.is_empty() { Ok(()) } else { self.gate.fold_orphans(&due).await }
    }
}

impl<J: Journal> Gate<J> {
    /// Lets the keeper take its next turn at once.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the keeper should take its next turn at once.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Gives back what the slices of budgets with lowered limits do not use.
    async fn return_lowered(&self) -> Result<(), GateError> {
        self.resolve_returns().await?;
        let (lowered, places) = {
            let state = self.read();
            let lowered = state.lowered.lock().clone();
            let mut places = Vec::new();
            for at in &lowered {
                let row = state.budgets.at(*at);
                for account in row.accounts.lock().iter_mut().filter(|account| account.slice != 0) {
                    places.push(Placed { slice: account.slice, budget: row.budget.id, period: account.period });
                }
            }
            (lowered, places)
        };
        self.give_back(places).await?;
        // Only now: what could not be given back is to be tried again. Those lowered meanwhile stand behind these.
        self.read().lowered.lock().drain(..lowered.len());
        Ok(())
    }

    /// Takes in what others did to slices and holds of this server; gives the slices that they want something of.
    fn take_mail(&self, beat: &Beat) -> Vec<Placed> {
        self.adopt(&beat.slices);
        let now = self.clock.now();
        let mut recalled = Vec::new();
        for mail in &beat.mail {
            match mail {
                Mail::Recall { slice } => recalled.extend(self.places.get(*slice)),
                Mail::Taken { hold, issued, ends, lines } => self.taken_elsewhere(*hold, *issued, *ends, lines),
                Mail::Extended { hold, issued, seconds } => {
                    let state = self.read();
                    let span = Duration::from_secs(u64::try_from(*seconds).unwrap_or_default());
                    let mut shard = self.holds.shard_of(*hold);
                    if let Some(known) = shard.get(*hold).filter(|known| known.issued == *issued) {
                        for line in &known.lines {
                            if let Some(account) = state.budgets.at(line.budget).accounts.lock().find(line.period) {
                                account.promised_by_others(*seconds);
                            }
                        }
                        shard.extend(*hold, now.after(span));
                    }
                }
            }
        }
        recalled
    }

    /// Another server has settled a charge out of a hold of this one.
    fn taken_elsewhere(&self, at: HoldRef, issued: Timestamp, ends: bool, lines: &[(i64, i64)]) {
        let state = self.read();
        let mut shard = self.holds.shard_of(at);
        let mut hold = shard.get(at).filter(|hold| hold.issued == issued);
        for (slice, amount) in lines {
            let row = self.places.get(*slice).and_then(|place| state.budget(place.budget));
            let Some((_, row)) = row else { continue };
            let mut accounts = row.accounts.lock();
            let Some(account) = accounts.iter_mut().find(|account| account.slice == *slice) else { continue };
            account.taken_by_others += amount;
            let line = hold.as_mut().and_then(|hold| hold.lines.iter_mut().find(|line| line.slice == *slice));
            if let Some(line) = line {
                line.amount -= amount;
                account.release(*amount);
            }
        }
        let Some(hold) = hold.filter(|_| ends) else { return };
        for line in &mut hold.lines {
            let rest = std::mem::take(&mut line.amount);
            if let Some(account) = state.budgets.at(line.budget).accounts.lock().find(line.period) {
                account.release(rest);
            }
        }
        hold.over = true;
        if hold.pending == 0 {
            shard.remove(at);
        }
    }

    /// This server's slices, as it knows them.
    fn own_slices(&self) -> Vec<Declared> {
        let state = self.read();
        let mut own = Vec::new();
        for row in state.budgets.iter() {
            let mut accounts = row.accounts.lock();
            let open = accounts.iter_mut().filter(|account| account.slice != 0);
            own.extend(open.map(|account| Declared {
                state: account.known(),
                budget: row.budget.id,
                period: account.period,
                promised: account.promised(),
            }));
        }
        own
    }

    /// Takes over what the ledger says of this server's slices.
    pub(super) fn adopt(&self, slices: &[SliceState]) {
        let state = self.read();
        for slice in slices {
            let Some(place) = self.places.get(slice.id) else { continue };
            let Some((_, row)) = state.budget(place.budget) else { continue };
            if let Some(account) = row.accounts.lock().find(place.period).filter(|account| account.slice == slice.id) {
                account.adopt(*slice);
            }
        }
    }

    /// Gives back what slices have left.
    async fn give_back(&self, places: Vec<Placed>) -> Result<(), GateError> {
        let mut returning = Vec::new();
        {
            let state = self.read();
            for place in places {
                let Some((_, row)) = state.budget(place.budget) else { continue };
                let mut accounts = row.accounts.lock();
                let Some(account) = accounts.find(place.period).filter(|account| account.slice == place.slice) else {
                    continue;
                };
                // Taken aside first: nobody can hold it while it is on its way.
                let room = account.take_rest();
                if room > 0 {
                    returning.push(Returning { place, room });
                }
            }
        }
        if returning.is_empty() {
            return Ok(());
        }
        let room: Vec<(i64, i64)> = returning.iter().map(|one| (one.place.slice, one.room)).collect();
        let outcome = self.journal.give_back(&room).await;
        match outcome {
            Ok(slices) => {
                self.adopt(&slices);
                self.released(&returning);
                Ok(())
            }
            Err(error) => {
                // It may have been given back: what the ledger says of the slices will tell.
                self.returning.lock().extend(returning);
                Err(error.into())
            }
        }
    }

    /// Finds out what became of room whose return was not answered.
    async fn resolve_returns(&self) -> Result<(), GateError> {
        let returning = self.returning.lock().clone();
        if returning.is_empty() {
            return Ok(());
        }
        let slices: Vec<i64> = returning.iter().map(|one| one.place.slice).collect();
        let slices = self.journal.read(&slices).await?;
        self.adopt(&slices);
        self.released(&returning);
        // Only the keeper gives anything back, so that nothing was added meanwhile.
        self.returning.lock().clear();
        Ok(())
    }

    /// What was taken aside is the slice's again, or has left it.
    fn released(&self, returning: &[Returning]) {
        let state = self.read();
        for Returning { place, room } in returning {
            if let Some((_, row)) = state.budget(place.budget)
                && let Some(account) = row.accounts.lock().find(place.period)
            {
                account.returned(*room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Id;

    const BLIND: Duration = Duration::from_secs(3);

    /// Looks every 750 ms until a server counts as silent; gives after how long.
    fn silent_after(peers: &mut Peers, peer: Peer, from: Duration) -> Duration {
        let mut seen = from;
        while peers.silent(&[peer], seen, BLIND).is_empty() {
            seen += Duration::from_millis(750);
        }
        seen.saturating_sub(from)
    }

    #[test]
    fn a_server_is_silent_when_somebody_who_looked_all_the_time_has_seen_no_sign_of_life() {
        let peer = Peer { boot: Id::new(Timestamp::default(), [7; 10]), seq: 1, answers_for: Duration::from_secs(5) };
        let wait = Timing::dead_after(peer.answers_for);
        let (mut peers, mut from) = (Peers::default(), Duration::from_secs(100));
        for seq in [1, 2] {
            let after = silent_after(&mut peers, Peer { seq, ..peer }, from);
            assert!(after >= wait && after < wait + Duration::from_secs(1), "{after:?}");
            from += after + Duration::from_millis(750);
        }
        // Nobody could look for a minute: the wait begins anew.
        from += Duration::from_mins(1);
        assert!(silent_after(&mut peers, Peer { seq: 2, ..peer }, from) >= wait);
    }
}
