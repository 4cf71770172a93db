//! The tables of the ledger in memory, and what each transaction does to them, written down once more and as plainly as
//! possible: what the databases and the engine are held to.

use std::collections::{BTreeMap, BTreeSet};

use tollreeve::{
    domain::{
        id::{BootId, BudgetId, TenantId},
        window::Period,
    },
    engine::{
        accounts::{Granted, SliceState},
        journal::{Beat, Books, Extension, Folded, GrantAsk, HoldUse, JournalError, Mail, Orphan, Peer, Recorded},
        places::Placed,
    },
};

type At = (BudgetId, Period);
pub type Outcome<T> = Result<T, JournalError>;

/// What is left to be granted of a budget's period, and what is settled in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Book {
    pub cap: i64,
    pub ceiling: i64,
    pub allocated: i64,
    pub settled: i64,
    pub overrun: i64,
}

/// What has become of a slice, or of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Live,
    /// Its server was taken for dead, or has stopped.
    Closing,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Slice {
    pub state: SliceState,
    pub boot: BootId,
    pub at: At,
    pub promised: i64,
    pub taken_by_others: i64,
    pub phase: Phase,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub seq: i64,
    pub applied: i64,
    pub answers_for: std::time::Duration,
    pub identity: String,
    pub phase: Phase,
    pub mail: Vec<(i64, Mail)>,
    /// The line of history on which its slices are declared, and the one on which all of it is there.
    pub declared: u64,
    pub confirmed: u64,
    pub doubtful: bool,
}

/// A charge as it was written.
#[derive(Clone, Debug)]
pub struct Written {
    pub tenant: TenantId,
    pub id: String,
    pub body_hash: String,
    pub recorded: Recorded,
    pub hold: Option<HoldUse>,
    pub slices: Vec<i64>,
    pub budgets: Vec<(BudgetId, Period)>,
}

impl Written {
    pub fn key(&self) -> (TenantId, String) {
        (self.tenant, self.id.clone())
    }
}

/// Ways in which a ledger could be wrong: a simulator must notice each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    #[default]
    None,
    /// A grant takes what it wants, whatever is left.
    NoCeiling,
    /// A charge is written each time it is sent.
    NoDedupe,
    /// Nobody hears from another.
    LosesMail,
    /// Who was taken for dead gives signs of life as before.
    Revives,
    /// A server may charge its slice without knowing what others took out of it.
    ForgetsOthers,
}

/// The tables of a ledger.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub flaw: Flaw,
    /// Grows when something was forgotten.
    pub line: u64,
    pub caps: BTreeMap<BudgetId, i64>,
    pub books: BTreeMap<At, Book>,
    /// By id, from 1.
    pub slices: Vec<Slice>,
    /// By position, from 1.
    pub charges: Vec<Written>,
    pub by_id: BTreeMap<(TenantId, String), usize>,
    pub servers: BTreeMap<BootId, Server>,
    pub letters: i64,
}

impl Server {
    pub fn new(answers_for: std::time::Duration, identity: &str) -> Self {
        Self {
            seq: 0,
            applied: -1,
            answers_for,
            identity: identity.to_owned(),
            phase: Phase::Live,
            mail: Vec::new(),
            declared: 0,
            confirmed: 0,
            doubtful: false,
        }
    }
}

impl Tables {
    /// Gives a budget a cap, in every period that there is.
    pub fn set_cap(&mut self, budget: BudgetId, cap: i64) {
        self.caps.insert(budget, cap);
        for (_, book) in self.books.iter_mut().filter(|((id, _), _)| *id == budget) {
            book.cap = cap;
            book.ceiling = cap.max(book.allocated);
        }
    }

    /// What a budget allows.
    pub fn cap(&self, budget: BudgetId) -> i64 {
        self.caps.get(&budget).copied().unwrap_or(0)
    }

    /// A server joins; whoever had its place is taken for dead.
    pub fn join(&mut self, boot: BootId, identity: &str, answers_for: std::time::Duration) {
        let replaced = |server: &Server| !identity.is_empty() && server.identity == identity;
        let replaced: Vec<BootId> =
            self.servers.iter().filter(|(_, server)| replaced(server)).map(|(boot, _)| *boot).collect();
        for other in replaced {
            self.take_for_dead(other);
        }
        let line = self.line;
        let server = Server { declared: line, confirmed: line, ..Server::new(answers_for, identity) };
        self.servers.insert(boot, server);
    }

    pub fn is_live(&self, boot: BootId) -> bool {
        self.servers.get(&boot).is_some_and(|server| server.phase == Phase::Live)
    }

    /// Whether every live server sees a revision.
    pub fn in_force(&self, revision: i64) -> bool {
        self.servers.values().all(|server| server.phase != Phase::Live || server.applied >= revision)
    }

    /// What does not add up.
    pub fn check(&self) -> Result<(), String> {
        for (at, book) in &self.books {
            let open = self.slices.iter().filter(|slice| slice.phase != Phase::Closed && slice.at == *at);
            let granted: i64 = open.map(|slice| slice.state.granted).sum();
            if book.allocated != granted + book.settled {
                return Err(format!("{granted} granted, {book:?}"));
            }
            if book.allocated > book.ceiling {
                return Err(format!("more allocated than there is: {book:?}"));
            }
        }
        match self.slices.iter().find(|slice| slice.state.spent > slice.state.granted) {
            Some(slice) => Err(format!("more spent than granted: {slice:?}")),
            None => Ok(()),
        }
    }

    pub fn member(&self, boot: BootId) -> Outcome<()> {
        if !self.is_settled(boot) {
            return Err(JournalError::Unavailable("something was forgotten".into()));
        }
        if self.is_live(boot) { Ok(()) } else { Err(JournalError::Superseded) }
    }

    pub fn slice(&self, id: i64) -> Option<&Slice> {
        self.slices.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub fn slice_mut(&mut self, id: i64) -> Option<&mut Slice> {
        self.slices.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Opens a period, unless it is open. `None`: its budget is gone.
    pub fn book(&mut self, (budget, period): At) -> Option<&mut Book> {
        let cap = *self.caps.get(&budget)?;
        Some(self.books.entry((budget, period)).or_insert(Book { cap, ceiling: cap, ..Book::default() }))
    }

    fn free(&mut self, at: At, room: i64) {
        if let Some(book) = self.books.get_mut(&at) {
            book.allocated -= room;
            book.ceiling = book.cap.max(book.allocated);
        }
    }

    pub fn tell(&mut self, boot: BootId, mail: Mail) {
        self.letters += 1;
        let flaw = self.flaw;
        let to = self.servers.get_mut(&boot).filter(|server| server.phase == Phase::Live);
        if let Some(to) = to.filter(|_| flaw != Flaw::LosesMail) {
            to.mail.push((self.letters, mail));
        }
    }

    pub fn grant(&mut self, boot: BootId, asks: &[GrantAsk]) -> Outcome<Vec<Option<Granted>>> {
        self.member(boot)?;
        if self.servers.values().any(|server| server.doubtful) {
            return Err(JournalError::Unavailable("what others had is not certain".into()));
        }
        for ask in asks {
            self.book((ask.budget, ask.period));
        }
        Ok(asks.iter().map(|ask| self.grant_one(boot, ask)).collect())
    }

    fn grant_one(&mut self, boot: BootId, ask: &GrantAsk) -> Option<Granted> {
        let live = self.servers.values().filter(|server| server.phase == Phase::Live).count();
        let live = i64::try_from(live).expect("few");
        let at = (ask.budget, ask.period);
        let book = *self.book(at)?;
        let room = (book.ceiling - book.allocated).max(0);
        let mut take = room.min(ask.need.max(ask.want.min(room / (2 * live))));
        if self.flaw == Flaw::NoCeiling {
            take = ask.want;
        }
        self.book(at)?.allocated += take;
        let own = self.slices.iter().position(|slice| slice.boot == boot && slice.at == at).unwrap_or_else(|| {
            let state = SliceState { id: i64::try_from(self.slices.len()).expect("few") + 1, ..SliceState::default() };
            let slice = Slice { state, boot, at, promised: 0, taken_by_others: 0, phase: Phase::Live };
            self.slices.push(slice);
            self.slices.len() - 1
        });
        let slice = &mut self.slices[own];
        if slice.phase == Phase::Closed {
            // The period has come back.
            slice.phase = Phase::Live;
            slice.state.granted = slice.state.spent;
            self.books.get_mut(&at)?.settled -= slice.state.spent;
        }
        slice.state.granted += take;
        slice.state.ver += 1;
        slice.promised = slice.promised.max(ask.promised);
        let (state, promised) = (slice.state, slice.promised);
        let others: Vec<Slice> = self.slices.iter().filter(|slice| slice.at == at).cloned().collect();
        let others = others.iter().filter(|slice| slice.phase != Phase::Closed && slice.state.id != state.id);
        let spent: i64 = others.clone().map(|slice| slice.state.spent).sum();
        let granted: i64 = others.clone().map(|slice| slice.state.granted).sum();
        let mut recalled = false;
        for slice in others.filter(|slice| slice.phase == Phase::Live && slice.state.granted > slice.state.spent) {
            if take < ask.need || ask.recall {
                self.tell(slice.boot, Mail::Recall { slice: slice.state.id });
                recalled = true;
            }
        }
        Some(Granted {
            slice: state,
            promised,
            headroom: room - take,
            shared: live > 1 || granted > spent,
            recalled,
            spent_elsewhere: book.settled + book.overrun + spent,
            held_elsewhere: granted - spent,
        })
    }

    /// Lets a hold of another server live longer, while all its slices are that server's.
    pub fn extend(&mut self, boot: BootId, extension: &Extension) -> Outcome<bool> {
        self.member(boot)?;
        let Extension { run, hold, issued, seconds, ref slices } = *extension;
        if slices.iter().any(|id| self.slice(*id).is_none_or(|slice| slice.phase != Phase::Live)) {
            return Ok(false);
        }
        for id in slices {
            if let Some(slice) = self.slice_mut(*id) {
                slice.promised = slice.promised.max(seconds);
            }
        }
        self.tell(run, Mail::Extended { hold, issued, seconds });
        Ok(true)
    }

    pub fn locate(&self, ids: &[i64]) -> Vec<Placed> {
        let placed = |slice: &Slice| Placed { slice: slice.state.id, budget: slice.at.0, period: slice.at.1 };
        ids.iter().filter_map(|id| self.slice(*id)).map(placed).collect()
    }

    pub fn fold(&mut self, boot: BootId, ids: &[i64]) -> Outcome<Vec<Folded>> {
        self.member(boot)?;
        Ok(ids.iter().filter_map(|id| self.fold_one(*id)).collect())
    }

    fn fold_one(&mut self, id: i64) -> Option<Folded> {
        let slice = self.slice_mut(id).filter(|slice| slice.phase != Phase::Closed)?;
        slice.phase = Phase::Closed;
        slice.state.ver += 1;
        let (at, SliceState { granted, spent, .. }) = (slice.at, slice.state);
        self.book(at)?.settled += spent;
        self.free(at, granted - spent);
        Some(Folded { budget: at.0, period: at.1, freed: granted - spent })
    }

    pub fn books(&self, budget: BudgetId, period: Period) -> Books {
        let Some(book) = self.books.get(&(budget, period)) else { return Books::default() };
        let open = self.slices.iter().filter(|slice| slice.phase != Phase::Closed && slice.at == (budget, period));
        let spent: i64 = open.map(|slice| slice.state.spent).sum();
        Books { spent: book.settled + book.overrun + spent, reserved: book.allocated - book.settled - spent }
    }

    /// Takes down a sign of life; what was `read` of the mail before is thrown away. Gives what is to be thrown away next.
    pub fn beat(&mut self, boot: BootId, applied: i64, read: &[i64]) -> Outcome<(Beat, Vec<i64>)> {
        let (revives, line) = (self.flaw == Flaw::Revives, self.line);
        let peers = self.peers(boot);
        let in_doubt = move || Ok((Beat { in_doubt: true, peers, ..Beat::default() }, Vec::new()));
        let Some(server) = self.servers.get_mut(&boot) else { return in_doubt() };
        if server.phase != Phase::Live && !revives {
            return if server.confirmed == line { Err(JournalError::Superseded) } else { in_doubt() };
        }
        server.seq += 1;
        if server.confirmed != line {
            server.applied = -1;
            return in_doubt();
        }
        server.applied = applied;
        server.mail.retain(|(id, _)| !read.contains(id));
        let (ids, mail): (Vec<i64>, Vec<Mail>) = server.mail.iter().cloned().unzip();
        let mut spoken_of = BTreeSet::new();
        for mail in &mail {
            if let Mail::Taken { lines, .. } = mail {
                spoken_of.extend(lines.iter().map(|(slice, _)| *slice));
            }
        }
        let orphan = |slice: &Slice| Orphan { slice: slice.state.id, promised: slice.promised };
        let beat = Beat {
            mail,
            slices: spoken_of.into_iter().filter_map(|id| self.slice(id)).map(|slice| slice.state).collect(),
            peers: self.peers(boot),
            closing: self.slices.iter().filter(|slice| slice.phase == Phase::Closing).map(orphan).collect(),
            doubtful: self.servers.iter().filter(|(_, server)| server.doubtful).map(|(boot, _)| *boot).collect(),
            in_doubt: false,
        };
        Ok((beat, ids))
    }

    fn peers(&self, boot: BootId) -> Vec<Peer> {
        let peer =
            |(boot, server): (&BootId, &Server)| Peer { boot: *boot, seq: server.seq, answers_for: server.answers_for };
        let others = self.servers.iter().filter(|(other, server)| **other != boot && server.phase == Phase::Live);
        others.map(peer).collect()
    }

    pub fn expire(&mut self, boot: BootId, peer: &Peer) -> Outcome<()> {
        if !self.is_live(boot) {
            return Err(JournalError::Superseded);
        }
        if self.servers.get(&peer.boot).is_some_and(|server| server.seq == peer.seq) {
            self.take_for_dead(peer.boot);
        }
        Ok(())
    }

    pub fn take_for_dead(&mut self, boot: BootId) {
        let line = self.line;
        let Some(server) = self.servers.get_mut(&boot).filter(|server| server.phase == Phase::Live) else { return };
        server.doubtful = server.confirmed != line;
        self.close(boot);
    }

    /// A server gives no holds any more.
    pub fn close(&mut self, boot: BootId) {
        let Some(server) = self.servers.get_mut(&boot) else { return };
        server.phase = Phase::Closing;
        server.mail.clear();
        for slice in self.slices.iter_mut().filter(|slice| slice.boot == boot && slice.phase == Phase::Live) {
            slice.phase = Phase::Closing;
            slice.state.ver += 1;
        }
    }

    pub fn read(&self, boot: BootId, ids: &[i64]) -> Outcome<Vec<SliceState>> {
        self.member(boot)?;
        Ok(ids.iter().filter_map(|id| self.slice(*id)).map(|slice| slice.state).collect())
    }

    pub fn give_back(&mut self, boot: BootId, room: &[(i64, i64)]) -> Outcome<Vec<SliceState>> {
        self.member(boot)?;
        let mut found = Vec::new();
        for (id, by) in room.iter().copied().collect::<BTreeMap<_, _>>() {
            let Some(slice) = self.slice_mut(id) else { continue };
            let fits = slice.boot == boot && slice.phase == Phase::Live;
            if fits && slice.state.granted - by >= slice.state.spent {
                slice.state.granted -= by;
                slice.state.ver += 1;
                let at = slice.at;
                self.free(at, by);
            }
            found.extend(self.slice(id).map(|slice| slice.state));
        }
        Ok(found)
    }

    pub fn retire(&mut self, boot: BootId, held: &[(i64, i64)]) -> Outcome<()> {
        self.member(boot)?;
        let held: BTreeMap<i64, i64> = held.iter().copied().collect();
        let own = self.slices.iter().filter(|slice| slice.boot == boot && slice.phase != Phase::Closed);
        for Slice { state, at, .. } in own.cloned().collect::<Vec<_>>() {
            let held = held.get(&state.id).copied().unwrap_or_default();
            let unused = (state.granted - state.spent - held).max(0);
            self.free(at, unused);
            if let Some(slice) = self.slice_mut(state.id) {
                slice.state.granted -= unused;
                slice.state.ver += 1;
                slice.phase = Phase::Closing;
            }
            if held == 0 {
                self.fold_one(state.id);
            }
        }
        if let Some(server) = self.servers.get_mut(&boot) {
            server.phase = Phase::Closed;
        }
        Ok(())
    }
}
