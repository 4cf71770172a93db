//! The answer to Authorize, written straight from what decided.
//!
//! A reply names five budgets and whose they are, some 1.6 kB: to build a message of owned texts first and then to write it
//! costs as much as the decision. So the parts that every reply has are written here by hand, field by field as
//! `gate_service.proto` numbers them; what is rare (refusals, warnings) goes through the generated messages.

use std::fmt::Write as _;

use bytes::{Buf, BufMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, message},
};

use super::{gate_answers, parse::to_wire};
use crate::{
    domain::{bindings::Principal, money::Unit, time::Timestamp, varint},
    engine::answer::{Answer, BudgetView, HoldView, KeyFacts, PrincipalView},
    pb::tollreeve::v1 as pb,
};

/// What a reply with five budgets takes.
const USUAL: usize = 2048;

/// An `AuthorizeResponse` that is written already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizeReply(Vec<u8>);

impl Message for AuthorizeReply {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // A server reads none.
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl AuthorizeReply {
    /// What the engine answers.
    #[must_use]
    pub fn of(answer: &Answer<'_>, now: Timestamp) -> Self {
        let decision = if answer.denials.is_empty() { pb::Decision::Allow } else { pb::Decision::Deny };
        let mut out = Writer(Vec::with_capacity(USUAL));
        out.number(1, decision as i64);
        for denial in &answer.denials {
            message::encode(2, &gate_answers::denial(denial, now), &mut out.0);
        }
        if let Some(view) = &answer.principal {
            out.nested(3, |out| principal(out, view));
        }
        if let Some(view) = &answer.hold {
            out.nested(4, |out| hold(out, view));
        }
        for view in &answer.budgets {
            out.nested(5, |out| budget(out, view));
        }
        for warning in &answer.warnings {
            message::encode(6, &gate_answers::warning(*warning), &mut out.0);
        }
        if let Some(facts) = answer.key {
            out.nested(7, |out| key(out, facts));
        }
        out.number(8, answer.revision);
        out.text(9, answer.id);
        Self(out.0)
    }
}

fn principal(out: &mut Writer, view: &PrincipalView<'_>) {
    out.string(1, view.tenant());
    out.string(2, view.workspace().unwrap_or_default());
    out.string(3, view.project().unwrap_or_default());
    view.teams().for_each(|team| out.string(4, team));
    match view.owner() {
        Principal::User(_) => out.string(5, view.owner_name()),
        Principal::ServiceAccount(_) => out.string(6, view.owner_name()),
    }
    if let Some(key) = view.key() {
        out.text(7, format_args!("{}/keys/{key}", view.workspace().unwrap_or_default()));
    }
    out.string(8, view.environment().unwrap_or_default());
    view.roles().for_each(|role| out.text(9, role));
}

fn hold(out: &mut Writer, view: &HoldView<'_>) {
    out.bytes(1, &view.token());
    for (budget, unit, amount) in view.amounts() {
        out.nested(2, |out| {
            out.string(1, budget);
            out.number(2, number_of(unit));
            out.number(3, amount);
        });
    }
    out.time(3, view.expires);
    out.number(4, view.granted_output);
}

fn budget(out: &mut Writer, view: &BudgetView<&str>) {
    out.string(1, view.name);
    out.string(2, view.scope);
    out.number(3, number_of(view.unit));
    out.number(4, view.limit);
    out.number(5, view.spent);
    out.number(6, view.held);
    out.number(7, view.remaining());
    if let Some(end) = view.resets_at {
        out.time(8, end);
    }
    out.number(9, view.hard.into());
}

fn key(out: &mut Writer, facts: KeyFacts) {
    if let Some(end) = facts.expires {
        out.time(1, end);
    }
    out.number(2, facts.secret.generation.into());
    if let Some(end) = facts.secret.ends {
        out.time(3, end);
    }
}

fn number_of(unit: Unit) -> i64 {
    pb::Unit::from(unit) as i64
}

/// Writes fields as the protocol buffers encoding has them; one that has its default is left out.
struct Writer(Vec<u8>);

impl Writer {
    /// What stands before a field: its number and how it is written.
    fn key(&mut self, tag: u32, wire_type: WireType) {
        varint::put(&mut self.0, u64::from(tag << 3 | wire_type as u32));
    }

    fn number(&mut self, tag: u32, number: i64) {
        if number != 0 {
            self.key(tag, WireType::Varint);
            varint::put(&mut self.0, number.cast_unsigned());
        }
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.key(tag, WireType::LengthDelimited);
        varint::put(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(tag, text.as_bytes());
        }
    }

    /// A text that has yet to be formatted.
    fn text(&mut self, tag: u32, text: impl std::fmt::Display) {
        self.nested(tag, |out| {
            // Writing to this cannot fail.
            let _ = write!(out, "{text}");
        });
    }

    fn time(&mut self, tag: u32, time: Timestamp) {
        let time = to_wire(time);
        self.nested(tag, |out| {
            out.number(1, time.seconds);
            out.number(2, time.nanos.into());
        });
    }

    /// What `write` writes, with its length before it: two bytes are left for that, which most parts need.
    fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        self.key(tag, WireType::LengthDelimited);
        let at = self.0.len();
        self.0.extend_from_slice(&[0x80, 0]);
        write(self);
        let len = self.0.len() - at - 2;
        if len < 0x80 {
            self.0.remove(at);
            self.0[at] = low(len);
        } else if len < 0x4000 {
            self.0[at] |= low(len);
            self.0[at + 1] = low(len >> 7);
        } else {
            let body = self.0.split_off(at + 2);
            self.0.truncate(at);
            varint::put(&mut self.0, len as u64);
            self.0.extend_from_slice(&body);
        }
    }
}

/// The lowest seven bits.
fn low(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

impl std::fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::keys::KeyState,
        engine::{answer::DecisionId, key_table::SecretUsed},
    };

    #[test]
    fn what_is_written_by_hand_reads_as_the_message_that_it_is() {
        let at = |micros| Timestamp::from_micros(micros);
        let (two, three) = ("n".repeat(200), "m".repeat(20_000));
        let mut answer = Answer::new(7, DecisionId { run: 1, count: 2 });
        let secret = SecretUsed { generation: 300, ends: Some(at(2_500_000)) };
        answer.key = Some(KeyFacts { expires: Some(at(1_500_000)), state: KeyState::Active, secret });
        // Lengths of one byte, of two, and of three.
        for (name, scope, hard) in [("a", "b", true), (two.as_str(), "", false), (three.as_str(), "s", true)] {
            let view = BudgetView {
                name,
                scope,
                unit: Unit::Tokens,
                limit: i64::MAX,
                spent: -3,
                held: 128,
                resets_at: hard.then(|| at(3_600_000_000)),
                hard,
            };
            answer.budgets.clear();
            answer.budgets.push(view);
            let reply = AuthorizeReply::of(&answer, at(0)).encode_to_vec();
            let read = pb::AuthorizeResponse::decode(&*reply).expect("a message");
            assert_eq!(read.budgets, [gate_answers::budget_state(&view)]);
            assert_eq!((read.revision, read.decision_id.as_str()), (7, "dec_000000000000000100000002"));
            assert_eq!(read.decision(), pb::Decision::Allow);
            let facts = read.key.expect("facts");
            assert_eq!((facts.expires_at, facts.generation), (Some(to_wire(at(1_500_000))), 300));
            assert_eq!(facts.retires_at, Some(to_wire(at(2_500_000))));
            assert_eq!(read.encode_to_vec(), reply, "the usual bytes");
        }
    }
}
