//! How long the check of an audit log's export takes, event by event as `tollreeve audit verify` makes it.

#[path = "harness/report.rs"]
mod report;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use report::{Report, percentile, show, size};
use sha2::{Digest as _, Sha256};
use tollreeve::domain::{
    audit::{AuditEvent, Detail, Outcome, SALT},
    audit_export::{Verifier, checkpoint_line, event_line, head_line},
    audit_tree::Frontier,
    checkpoint::{Checkpoint, Signer, origin},
    id::TenantId,
    time::Timestamp,
};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANT: TenantId = TenantId::from_bits(5);
/// Events between two checkpoints.
const SIGNED: u64 = 1024;
/// A record of a key, as most events have one before and one after the change.
const RECORD: &str = r#"{"id":"key_01m8s1nb9qfwsty1cnn3cvgcfj","display_name":"Checkout","state":"active","allowlist":{"models":["gpt-4*"],"cidrs":["192.0.2.0/24"]},"created":1796136938807521,"version":"#;

fn event_of(seq: i64) -> AuditEvent {
    let record = |version: i64| format!("{RECORD}{version}}}");
    let values =
        [record(seq), record(seq + 1), format!("192.0.2.7:{}", seq % 60_000), "grpc-python/1.81".into(), String::new()];
    AuditEvent {
        seq,
        at: Timestamp::from_micros(1_796_136_938_807_521 + seq * 1_000),
        actor: "tenants/acme/users/usr_01m8s1nb9qfwsty1cnn3cvgcfj".into(),
        action: "keys.update".into(),
        resource: format!("tenants/acme/workspaces/prod/keys/key_{seq:026}"),
        outcome: Outcome::Done,
        request_id: format!("request-{seq}"),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        revision: seq + 7,
        details: values.map(|value| Detail::new(value, [u8::try_from(seq % 251).unwrap_or_default(); SALT])),
    }
}

fn main() {
    let mut report = Report::new("The check of an audit log's export");
    let events = size("BENCH_EVENTS", 1_000_000, 2000);
    let pair = Ed25519KeyPair::generate().expect("a key");
    let signer = Signer::new(pair.to_pkcs8v1().expect("encodes").as_ref()).expect("a key");
    let mut verifier = Verifier::new(signer.verifier(&origin(TENANT)), None);
    let (mut checks, mut hashed, mut bytes) = (Vec::with_capacity(2 * events), Duration::ZERO, 0);
    let mut line = |line: String| {
        let began = Instant::now();
        verifier.line(line.as_bytes()).expect("fits");
        checks.push(began.elapsed());
        let began = Instant::now();
        black_box(Sha256::digest(line.as_bytes()));
        hashed += began.elapsed();
        bytes += line.len();
    };
    let mut tree = Frontier::default();
    line(head_line(TENANT, &tree));
    for seq in (1..).take(events) {
        let event = event_of(seq);
        let hash = event.hash(TENANT);
        tree.append(hash, |_, _| ());
        line(event_line(&event, hash));
        if tree.size() % SIGNED == 0 || tree.size() == events as u64 {
            let checkpoint = Checkpoint { origin: origin(TENANT), size: tree.size(), root: tree.root() };
            line(checkpoint_line(&signer.sign(&checkpoint)));
        }
    }
    verifier.end().expect("fits");
    let checked: Duration = checks.iter().sum();
    checks.sort_unstable();
    let count = f64::from(u32::try_from(events).expect("not so many"));
    let what = format!("{events} events, {} bytes each: a million", bytes / events);
    report.hold(what, checked.as_secs_f64() / count * 1e6, " s", ..=10.0);
    report.note("an event, median", show(percentile(&checks, 50)));
    let ratio = checked.as_secs_f64() / hashed.as_secs_f64();
    report.note("the check costs as much as so many SHA-256 of the same bytes", format!("{ratio:.2}"));
    report.print();
}
