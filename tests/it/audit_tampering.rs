//! Whatever is done to an audit log is found by whoever has the key and the last checkpoint, and nothing else is.

use aws_lc_rs::signature::Ed25519KeyPair;
use tollreeve::domain::{
    audit::{AuditEvent, Detail, Outcome, SALT},
    audit_export::{Finding, Verified, Verifier, checkpoint_line, event_line, head_line},
    audit_tree::Frontier,
    checkpoint::{Checkpoint, Signer, VerifierKey, origin},
    id::TenantId,
    time::Timestamp,
};

use crate::harness::random::Random;

const TENANT: TenantId = TenantId::from_bits(5);
/// Most events of a log.
const MOST: i64 = 12;

fn signer() -> Signer {
    let pair = Ed25519KeyPair::generate().expect("a key");
    Signer::new(pair.to_pkcs8v1().expect("encodes").as_ref()).expect("a key")
}

fn event_of(seq: i64) -> AuditEvent {
    let text = |text: &str| format!("{text}{seq}");
    let values = [String::new(), text("{\"state\":"), text("192.0.2.7:"), "curl/8".to_owned(), text("because ")];
    AuditEvent {
        seq,
        at: Timestamp::from_micros(1_760_000_000_000_000 + seq * 1_000),
        actor: text("tenants/acme/users/usr_"),
        action: "keys.revoke".to_owned(),
        resource: text("tenants/acme/workspaces/main/keys/key_"),
        outcome: Outcome::Done,
        request_id: text("request-"),
        trace_id: String::new(),
        revision: 100 + seq,
        details: values.map(|value| Detail::new(value, [u8::try_from(seq).expect("small"); SALT])),
    }
}

fn note(signer: &Signer, tree: &Frontier) -> String {
    signer.sign(&Checkpoint { origin: origin(TENANT), size: tree.size(), root: tree.root() })
}

/// A log of so many events, signed every fourth and at its end, with one event another than it is, if any.
fn log(signer: &Signer, events: i64, forged: Option<i64>) -> Vec<String> {
    let mut tree = Frontier::default();
    let mut lines = vec![head_line(TENANT, &tree)];
    for seq in 1..=events {
        let mut event = event_of(seq);
        if forged == Some(seq) {
            event.actor.push('x');
        }
        let hash = event.hash(TENANT);
        tree.append(hash, |_, _| ());
        lines.push(event_line(&event, hash));
        if seq % 4 == 0 || seq == events {
            lines.push(checkpoint_line(&note(signer, &tree)));
        }
    }
    lines
}

fn verify(key: &VerifierKey, kept: &Checkpoint, lines: &[String]) -> Result<Verified, Finding> {
    let mut verifier = Verifier::new(key.clone(), Some(kept.clone()));
    lines.iter().try_for_each(|line| verifier.line(line.as_bytes()))?;
    verifier.end()
}

/// Does one of seven things to a log: what, and the log then.
fn tampered(random: &mut Random, lines: &[String], ours: &Signer, theirs: &Signer, events: i64) -> (i64, Vec<String>) {
    let mut lines = lines.to_vec();
    let mut below = |end: usize| usize::try_from(random.next() % end as u64).expect("below a size");
    let (place, other, what) = (1 + below(lines.len() - 1), 1 + below(lines.len() - 1), below(7));
    match what {
        0 => {
            let mut bytes = lines[place].clone().into_bytes();
            let at = below(bytes.len() - 1);
            bytes[at] = b' ' + u8::try_from(below(95)).expect("ASCII");
            lines[place] = String::from_utf8(bytes).unwrap_or_default();
        }
        1 => drop(lines.remove(place)),
        2 => lines.swap(place, other),
        3 => lines.insert(place, lines[other].clone()),
        4 => lines.truncate(place),
        // Written anew with another event, and signed by somebody else; or by whoever signs, as a fork.
        _ => {
            let forged = 1 + i64::try_from(below(usize::try_from(events).expect("few"))).expect("few");
            lines = log(if what == 5 { theirs } else { ours }, events, Some(forged));
        }
    }
    (i64::try_from(what).expect("few"), lines)
}

#[test]
fn whatever_is_done_to_a_log_is_found_and_nothing_else_is() {
    let mut random = Random::fresh("tampering");
    let (ours, theirs) = (signer(), signer());
    let key = ours.verifier(&origin(TENANT));
    let logs: Vec<Vec<String>> = (1..=MOST).map(|events| log(&ours, events, None)).collect();
    for round in 0..10_000 {
        let events = random.within(1, MOST);
        let before = &logs[usize::try_from(events - 1).expect("few")];
        // Without a checkpoint that is kept elsewhere nobody could tell where the log ended.
        let last: serde_json::Value = serde_json::from_str(before.last().expect("a line")).expect("JSON");
        let kept = key.open(last["checkpoint"].as_str().expect("a note")).expect("signed");
        if round % 100 == 0 {
            assert!(verify(&key, &kept, before).is_ok(), "round {round}");
        }
        let (what, after) = tampered(&mut random, before, &ours, &theirs, events);
        let found = verify(&key, &kept, &after);
        // Checkpoints on the way may be left out, or stand there twice: the events are the same.
        let is_note = |line: &&String| line.starts_with("{\"checkpoint");
        let events_of = |lines: &[String]| lines.iter().filter(|line| !is_note(line)).cloned().collect::<Vec<_>>();
        let same = events_of(&after) == events_of(before)
            && after.iter().filter(is_note).all(|line| before.contains(line))
            && after.last() == before.last();
        assert!(found.is_err() || same, "round {round}, kind {what}: {found:?}");
        assert!(after != *before || found.is_ok(), "round {round}, kind {what}: {found:?}");
    }
}
