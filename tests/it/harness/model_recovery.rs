//! What the model of the ledger forgets, and how servers put it back.

use std::sync::Arc;

use tollreeve::{
    domain::id::BootId,
    engine::{
        accounts::SliceState,
        journal::{Confirmed, Declared, Entry, Known},
    },
};

use super::model_tables::{Outcome, Phase, Server, Slice, Tables};

/// Nobody's slice: its number was given out and forgotten.
const NOBODY: BootId = BootId::from_bits(0);

impl Tables {
    /// What the tables become when an older copy takes their place. Numbers of slices are not given out again.
    pub fn fall_back(&mut self, older: Self) {
        let (given, line, letters) = (self.slices.len(), self.line + 1, self.letters);
        *self = Self { line, letters, ..older };
        for id in self.slices.len() + 1..=given {
            let state = SliceState { id: i64::try_from(id).expect("few"), ..SliceState::default() };
            let at = *self.books.keys().next().expect("a period");
            self.slices.push(Slice { state, boot: NOBODY, at, promised: 0, taken_by_others: 0, phase: Phase::Closed });
        }
    }

    /// Whether nothing is missing of what a server and every live one knows.
    pub fn is_settled(&self, boot: BootId) -> bool {
        let others = self.servers.values().all(|server| server.phase != Phase::Live || server.confirmed == self.line);
        others && self.servers.get(&boot).is_some_and(|server| server.confirmed == self.line)
    }

    /// Compares what a server knows; `last` is how many signs of life it has given.
    pub fn confirm(&mut self, boot: BootId, last: i64, known: &Known) -> Confirmed {
        let line = self.line;
        match self.servers.get(&boot) {
            Some(server) if server.confirmed == line && server.phase == Phase::Live => return Confirmed::Intact,
            Some(server) if server.confirmed == line => return Confirmed::Over,
            Some(server) if server.declared == line => {
                if self.servers.values().any(|server| server.phase == Phase::Live && server.declared != line) {
                    return Confirmed::Waiting;
                }
                let charges: Vec<&Entry> = known.charges.iter().map(|entry| &**entry).collect();
                self.write(boot, &charges);
                self.settle(boot);
                self.close(boot);
                return Confirmed::Over;
            }
            _ => {}
        }
        for peer in &known.peers {
            self.servers.entry(peer.boot).or_insert(Server { seq: peer.seq, ..Server::new(peer.answers_for, "") });
        }
        if known.told && self.is_intact(boot, last, known) {
            self.settle(boot);
            return Confirmed::Intact;
        }
        let server = self.servers.entry(boot).or_insert(Server::new(known.answers_for, ""));
        server.declared = line;
        server.seq = server.seq.max(last);
        known.slices.iter().for_each(|slice| self.declare(boot, slice));
        Confirmed::Waiting
    }

    fn is_intact(&self, boot: BootId, last: i64, known: &Known) -> bool {
        let knows = |declared: &Declared| {
            self.slice(declared.state.id).is_some_and(|slice| {
                slice.boot == boot
                    && slice.phase == Phase::Live
                    && slice.state.ver >= declared.state.ver
                    && slice.promised >= declared.promised
            })
        };
        let here = self.servers.get(&boot).is_some_and(|server| server.phase == Phase::Live && server.seq >= last);
        let is_there = |charge: &Arc<Entry>| self.by_id.contains_key(&(charge.tenant, charge.charge_id.clone()));
        here && known.charges.iter().all(is_there) && known.slices.iter().all(knows)
    }

    fn declare(&mut self, boot: BootId, declared: &Declared) {
        let at = (declared.budget, declared.period);
        let Some(slice) = self.slice_mut(declared.state.id) else { return };
        if slice.boot == NOBODY {
            (slice.boot, slice.at, slice.phase) = (boot, at, Phase::Live);
        }
        if slice.boot != boot || slice.phase == Phase::Closed {
            return;
        }
        let missing = (declared.state.granted - slice.state.granted).max(0);
        slice.state.granted += missing;
        slice.state.ver = slice.state.ver.max(declared.state.ver) + 1;
        slice.promised = slice.promised.max(declared.promised);
        if let Some(book) = self.book(at) {
            book.allocated += missing;
            book.ceiling = book.ceiling.max(book.allocated);
        }
    }

    fn settle(&mut self, boot: BootId) {
        let line = self.line;
        if let Some(server) = self.servers.get_mut(&boot) {
            (server.declared, server.confirmed, server.doubtful) = (line, line, false);
        }
    }

    /// Ends the doubt about a dead server.
    pub fn end_doubt(&mut self, boot: BootId, of: BootId) -> Outcome<()> {
        self.member(boot)?;
        if let Some(server) = self.servers.get_mut(&of).filter(|server| server.phase != Phase::Live) {
            server.doubtful = false;
        }
        Ok(())
    }
}
