//! Credit: entries, what expires of them and when, at one server and at several.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use tollreeve::{
    app::credit_expiry,
    domain::{
        credit_proof::Proof,
        time::{Clock as _, Timestamp},
    },
    pb::tollreeve::v1::{self as pb, CreditEntryKind as Kind, DenialCode as Code},
    runtime::Server,
    store::{self, connect::Settings},
};

use crate::harness::{
    both,
    client::assert_refused,
    clock::{MockClock, START},
    desk::Desk,
    eventually,
    random::Random,
    server::{Env, on_postgres},
    world::{World, bind, codes, create_user, credit, on_hold, on_key, unique},
};
use crate::start::execute;

both!(
    an_entry_is_made_once_and_listed_by_number_kind_and_reference,
    owners_and_billing_managers_buy_credit_and_nobody_else_does,
    credit_that_expires_soonest_is_spent_first_and_its_rest_is_gone_at_its_moment,
    what_is_held_at_the_moment_is_not_gone_and_comes_out_of_what_expires,
    the_rest_of_an_entry_is_written_down_once_when_the_last_hold_on_it_has_ended,
    a_moment_that_passed_while_no_server_ran_is_made_up_for,
    a_charge_that_comes_after_the_end_of_everything_is_paid_by_what_is_left,
    whatever_happens_no_call_is_let_in_on_credit_that_is_not_there,
    a_row_that_somebody_has_changed_is_named_by_the_proof_and_by_how_much,
);

/// The next whole hour of the clock, in seconds, and more after it.
const fn hour(more: i64) -> i64 {
    START.micros() / 1_000_000 / 3600 * 3600 + 3600 * (1 + more)
}

/// Moves the clock to so many microseconds after a second.
fn to(env: &Env, seconds: i64, micros: i64) {
    env.clock.set(Timestamp::from_micros(seconds * 1_000_000 + micros));
}

/// What tasks of the server do now and then, done now.
async fn settle(env: &Env) {
    let app = env.server.app();
    app.gate.sweep(env.clock.now()).await.expect("swept");
    credit_expiry::settle_due(app).await.expect("settled");
}

async fn entries(world: &World, filter: &str) -> Vec<pb::CreditEntry> {
    let request = pb::ListCreditEntriesRequest {
        parent: world.workspace.clone(),
        filter: filter.into(),
        ..pb::ListCreditEntriesRequest::default()
    };
    world.operator.credits().list_credit_entries(request).await.expect("a list").into_inner().entries
}

fn numbers(entries: &[pb::CreditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.rsplit('/').next().expect("a number")).collect()
}

/// What the proof says of the only pool.
async fn proof(env: &Env) -> Proof {
    let (db, now) = (&env.server.app().db, env.clock.now());
    let (mut proofs, _) = store::credit_proof::prove_all(db, now, |_| true).await.expect("a proof");
    assert_eq!(proofs.len(), 1);
    proofs.remove(0)
}

async fn refused(world: &World, cost: i64) -> bool {
    let answer = world.authorize(world.ask_for(cost)).await;
    let refused = answer.decision() == pb::Decision::Deny;
    assert!(!refused || codes(&answer) == [Code::CreditExhausted], "{answer:?}");
    refused
}

async fn an_entry_is_made_once_and_listed_by_number_kind_and_reference(env: &mut Env) {
    let world = World::new(env).await;
    assert_eq!(world.credit_stands().await, pb::Credit { workspace: world.workspace.clone(), ..Default::default() });
    let bought = pb::CreditEntry {
        kind: Kind::Purchase.into(),
        note: "March".into(),
        expire_time: Some(prost_types::Timestamp { seconds: hour(5), nanos: 0 }),
        ..credit(900, "invoice 1")
    };
    let first = world.try_credit(bought.clone()).await.expect("credit");
    assert_eq!(first.name, format!("{}/creditEntries/1", world.workspace));
    assert_eq!((first.note.as_str(), first.amount_nanos, first.kind()), ("March", 900, Kind::Purchase));
    assert!(first.actor.ends_with("/serviceAccounts/operator"), "{}", first.actor);
    assert_eq!(world.try_credit(bought.clone()).await.expect("the same"), first);
    for other in [
        pb::CreditEntry { amount_nanos: 901, ..bought.clone() },
        pb::CreditEntry { kind: Kind::Grant.into(), ..bought.clone() },
        pb::CreditEntry { expire_time: None, ..bought },
    ] {
        assert_refused(world.try_credit(other).await, tonic::Code::AlreadyExists, "IDEMPOTENCY_CONFLICT");
    }
    world.credit(70, None).await;
    world.try_credit(credit(-40, "refund")).await.expect("taken back");
    let request = pb::CreateCreditEntryRequest {
        parent: world.workspace.clone(),
        entry: Some(credit(5, "tried")),
        validate_only: true,
        ..pb::CreateCreditEntryRequest::default()
    };
    env.operator.credits().create_credit_entry(request).await.expect("it could be");
    assert_eq!(numbers(&entries(&world, "").await), ["1", "2", "3"]);
    assert_eq!(numbers(&entries(&world, "kind = GRANT").await), ["2"]);
    assert_eq!(numbers(&entries(&world, "reference = refund").await), ["3"]);
    assert_eq!(numbers(&entries(&world, "create_time >= 2026-03-10T12:20:00Z").await), ["1", "2", "3"]);
    assert!(entries(&world, "create_time > 2026-03-10T12:20:00Z").await.is_empty());
    let page = pb::ListCreditEntriesRequest {
        parent: world.workspace.clone(),
        page_size: 2,
        order_by: "create_time desc".into(),
        ..pb::ListCreditEntriesRequest::default()
    };
    let first = env.operator.credits().list_credit_entries(page.clone()).await.expect("a page").into_inner();
    let next = pb::ListCreditEntriesRequest { page_token: first.next_page_token, ..page };
    let second = env.operator.credits().list_credit_entries(next).await.expect("a page").into_inner();
    assert_eq!((numbers(&first.entries), numbers(&second.entries)), (vec!["3", "2"], vec!["1"]));
    let stands = world.credit_stands().await;
    assert_eq!((stands.granted_nanos, stands.remaining_nanos), (930, 930));
    // What is taken back comes out of what expires soonest, as what is spent does.
    assert_eq!((stands.next_expire_time.map(|at| at.seconds), stands.next_expire_nanos), (Some(hour(5)), 860));
}

async fn owners_and_billing_managers_buy_credit_and_nobody_else_does(env: &mut Env) {
    let world = World::new(env).await;
    for (role, reads, writes) in [
        ("owner", true, true),
        ("billing_manager", true, true),
        ("admin", true, false),
        ("developer", false, false),
        ("analyst", false, false),
        ("reader", false, false),
        ("member", false, false),
    ] {
        let email = format!("{}@example.com", unique("someone"));
        let user = create_user(&env.operator, &world.tenant, &email, "roles/member", &[]).await;
        bind(&env.operator, &world.tenant, &format!("roles/{role}"), &user, &world.workspace).await;
        let client = env.operator.with_token(Some(&env.user_token(&user)));
        let read = client.credits().get_credit(pb::GetCreditRequest { name: world.workspace.clone() }).await;
        assert_eq!(read.is_ok(), reads, "{role} reads: {read:?}");
        let (parent, entry) = (world.workspace.clone(), Some(credit(1, &unique("invoice"))));
        let request = pb::CreateCreditEntryRequest { parent, entry, ..Default::default() };
        let written = client.credits().create_credit_entry(request).await;
        assert_eq!(written.is_ok(), writes, "{role} writes: {written:?}");
    }
}

async fn credit_that_expires_soonest_is_spent_first_and_its_rest_is_gone_at_its_moment(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(500, None).await;
    world.credit(300, Some(hour(0))).await;
    world.credit(400, Some(hour(1))).await;
    world.charge(on_key(&world.key, 100)).await;
    let stands = world.credit_stands().await;
    assert_eq!((stands.remaining_nanos, stands.next_expire_nanos), (1_100, 200));
    to(env, hour(0), -1);
    let hold = world.hold(world.ask_for(1_100)).await;
    assert!(refused(&world, 1).await);
    world.charge(on_hold(&hold, 50)).await;
    assert!(!refused(&world, 0).await);
    // To the microsecond, and nothing has run: 150 of the first are gone.
    to(env, hour(0), 0);
    assert!(refused(&world, 901).await);
    let hold = eventually("what is not held is given back", async || {
        let answer = world.authorize(world.ask_for(900)).await;
        settle(env).await;
        answer.hold
    })
    .await;
    world.charge(on_hold(&hold, 30)).await;
    settle(env).await;
    let stands = world.credit_stands().await;
    assert_eq!((stands.spent_nanos, stands.held_nanos, stands.expired_nanos, stands.expiring_nanos), (180, 0, 150, 0));
    assert_eq!((stands.remaining_nanos, stands.next_expire_nanos), (870, 370));
    let gone = entries(&world, "kind = EXPIRY").await;
    assert_eq!((gone.len(), gone[0].amount_nanos, gone[0].actor.as_str()), (1, -150, "server"));
    assert_eq!(gone[0].expired_entry, format!("{}/creditEntries/2", world.workspace));
    to(env, hour(1), 0);
    assert!(refused(&world, 501).await);
    eventually("all that does not expire is there", async || {
        settle(env).await;
        (!refused(&world, 500).await).then_some(())
    })
    .await;
}

async fn what_is_held_at_the_moment_is_not_gone_and_comes_out_of_what_expires(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(300, Some(hour(0))).await;
    world.credit(500, None).await;
    to(env, hour(0), -1_000_000);
    let hold = world.hold(world.ask_for(400)).await;
    to(env, hour(0), 0);
    // Of the 400 that are held 300 expire and 100 do not.
    assert!(refused(&world, 401).await);
    eventually("what is not held is given back", async || (!refused(&world, 390).await).then_some(())).await;
    assert!(refused(&world, 11).await, "400 of what stays are taken: 390 held, and 10 are left");
    let charged = world.charge(on_hold(&hold, 350)).await;
    assert_eq!((charged.charged_nanos, charged.overrun_nanos), (350, 0), "what was held is there");
    eventually("the rest of what was held comes back", async || {
        settle(env).await;
        (world.credit_stands().await.remaining_nanos == 60).then_some(())
    })
    .await;
    let stands = world.credit_stands().await;
    assert_eq!((stands.granted_nanos, stands.spent_nanos, stands.held_nanos, stands.expired_nanos), (800, 350, 390, 0));
    assert!(entries(&world, "kind = EXPIRY").await.is_empty(), "nothing was left of it");
}

async fn the_rest_of_an_entry_is_written_down_once_when_the_last_hold_on_it_has_ended(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(300, Some(hour(0))).await;
    to(env, hour(0), -1_000_000);
    let hold = world.hold(world.ask_for(200)).await;
    to(env, hour(0), 0);
    settle(env).await;
    assert!(refused(&world, 1).await);
    assert!(entries(&world, "kind = EXPIRY").await.is_empty(), "what is held may still be charged");
    world.charge(on_hold(&hold, 120)).await;
    let settle_twice = async || {
        let (one, other) = tokio::join!(settle(env), settle(env));
        (one, other)
    };
    eventually("it is written down", async || {
        settle_twice().await;
        (!entries(&world, "kind = EXPIRY").await.is_empty()).then_some(())
    })
    .await;
    settle_twice().await;
    let gone = entries(&world, "kind = EXPIRY").await;
    assert_eq!(gone.iter().map(|entry| entry.amount_nanos).collect::<Vec<_>>(), [-180]);
    let stands = world.credit_stands().await;
    assert_eq!((stands.spent_nanos, stands.expired_nanos, stands.remaining_nanos), (120, 180, 0));
    let books = env.books().await;
    let told: Vec<(String,)> = books.rows("SELECT after FROM audit_events WHERE action = 'credits.expire'").await;
    books.close().await;
    assert_eq!(told.iter().filter(|(after,)| after.contains("\"amount\":-180")).count(), 1, "{told:?}");
}

async fn a_moment_that_passed_while_no_server_ran_is_made_up_for(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(300, Some(hour(0))).await;
    world.credit(300, Some(hour(1))).await;
    world.credit(100, None).await;
    world.charge(on_key(&world.key, 50)).await;
    let (fresh, clock) = (env.another().await, Arc::clone(&env.clock));
    let old = std::mem::replace(env, fresh);
    let old = old.restart_after(async |_| clock.set(Timestamp::from_micros(hour(1) * 1_000_000))).await;
    let world = world.through(old.server.addr());
    assert!(refused(&world, 101).await);
    assert!(!refused(&world, 100).await);
    settle(&old).await;
    let gone = entries(&world, "kind = EXPIRY").await;
    assert_eq!(gone.iter().map(|entry| entry.amount_nanos).collect::<Vec<_>>(), [-250, -300]);
    old.end().await;
}

async fn a_charge_that_comes_after_the_end_of_everything_is_paid_by_what_is_left(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(300, Some(hour(0))).await;
    world.credit(500, None).await;
    to(env, hour(0), -1_000_000);
    let hold = world.hold(world.ask_for(200)).await;
    // Long after the hold's end and its grace.
    to(env, hour(0), 1_800_000_000);
    eventually("it is written down", async || {
        settle(env).await;
        (!entries(&world, "kind = EXPIRY").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(world.credit_stands().await.remaining_nanos, 500);
    world.charge(on_hold(&hold, 200)).await;
    settle(env).await;
    let stands = world.credit_stands().await;
    assert_eq!((stands.spent_nanos, stands.expired_nanos, stands.remaining_nanos), (200, 300, 300));
    assert!(refused(&world, 301).await);
    assert!(!refused(&world, 300).await);
}

async fn whatever_happens_no_call_is_let_in_on_credit_that_is_not_there(env: &mut Env) {
    let world = World::new(env).await;
    let beside = match env.config.database {
        Settings::Postgres { .. } => Some(env.beside().await),
        Settings::Sqlite { .. } => None,
    };
    let worlds = match &beside {
        Some(beside) => vec![world.clone(), world.through(beside.server.addr())],
        None => vec![world.clone()],
    };
    let mut random = Random::fresh("credit");
    world.credit(1_000, None).await;
    let (mut holds, mut now) = (Vec::<(pb::Hold, i64, i64)>::new(), START.micros());
    for _ in 0..120 {
        let at = random.pick(&worlds).clone();
        let amount = random.within(1, 300);
        let before = world.credit_stands().await.remaining_nanos;
        match random.within(0, 9) {
            0 => drop(world.credit(amount, Some(hour((now - START.micros()) / 3_600_000_000 + 1))).await),
            1 => drop(world.credit(amount, None).await),
            2 if amount <= before => drop(world.try_credit(credit(-amount, &unique("refund"))).await),
            3 => {
                now += random.within(1, 1_800) * 1_000_000;
                env.clock.set(Timestamp::from_micros(now));
            }
            4 => settle(env).await,
            5..=6 => {
                // Whoever comes in time finds what was held.
                holds.retain(|(_, _, issued)| now - issued < 100_000_000);
                if let Some((hold, held, _)) = holds.pop() {
                    let charged = at.charge(on_hold(&hold, random.within(0, held))).await;
                    assert_eq!(charged.overrun_nanos, 0);
                }
            }
            _ => {
                let answer = at.authorize(at.ask_for(amount)).await;
                if let Some(hold) = answer.hold {
                    holds.push((hold, amount, now));
                    let after = world.credit_stands().await;
                    assert!(worlds.len() > 1 || after.remaining_nanos >= 0, "{amount} of {before}: {after:?}");
                }
            }
        }
        let stands = world.credit_stands().await;
        let parts = stands.granted_nanos - stands.expired_nanos - stands.expiring_nanos - stands.spent_nanos;
        assert_eq!(parts - stands.held_nanos, stands.remaining_nanos, "{stands:?}");
    }
    env.clock.set(Timestamp::from_micros(now));
    all_is_there(env, &world, beside).await;
}

/// When nothing is held any more and every moment has passed: insists that what is left is proven, and that no call took more
/// than was held for it.
async fn all_is_there(env: &Env, world: &World, beside: Option<Env>) {
    env.clock.advance(Duration::from_hours(3));
    if let Some(beside) = beside {
        // Its holds have ended; those of a server that is gone are waited for.
        settle(&beside).await;
        beside.end().await;
    }
    let stands = eventually("all is written down", async || {
        settle(env).await;
        let stands = world.credit_stands().await;
        let done = stands.held_nanos == 0 && stands.expiring_nanos == 0 && stands.next_expire_nanos == 0;
        done.then_some(stands)
    })
    .await;
    assert!(stands.remaining_nanos >= 0, "{stands:?}");
    let proof = proof(env).await;
    assert_eq!((proof.balance, proof.settling, &*proof.misfits), (stands.remaining_nanos.into(), false, &[][..]));
    let books = env.books().await;
    let past: Vec<(i64,)> = books.rows("SELECT COUNT(*) FROM charges WHERE overrun_nanos > 0").await;
    books.close().await;
    assert_eq!(past, [(0,)]);
}

async fn a_row_that_somebody_has_changed_is_named_by_the_proof_and_by_how_much(env: &mut Env) {
    let world = World::new(env).await;
    world.credit(300, Some(hour(0))).await;
    world.credit(500, None).await;
    world.charge(on_key(&world.key, 40)).await;
    to(env, hour(0), 0);
    eventually("it is written down", async || {
        settle(env).await;
        (world.credit_stands().await.expired_nanos == 260).then_some(())
    })
    .await;
    world.charge(on_key(&world.key, 7)).await;
    let whole = proof(env).await;
    assert_eq!((whole.entries, whole.balance, whole.settling, whole.misfits), (3, 493, false, vec![]));
    let url = match &env.config.database {
        Settings::Postgres { url } => Some(url.expose_secret().to_owned()),
        Settings::Sqlite { .. } => None,
    };
    let tampers: [(&str, &str, &str, i128); 6] = [
        (
            "UPDATE credit_entries SET amount = 505 WHERE seq = 2",
            "UPDATE credit_entries SET amount = 500 WHERE seq = 2",
            "the pool's limit",
            -5,
        ),
        (
            "UPDATE credit_entries SET amount = -250 WHERE seq = 3",
            "UPDATE credit_entries SET amount = -260 WHERE seq = 3",
            "what expired of entry 1",
            -10,
        ),
        (
            "UPDATE budget_periods SET overrun = overrun + 3",
            "UPDATE budget_periods SET overrun = overrun - 3",
            "what was charged before credit first expired",
            3,
        ),
        (
            "UPDATE budgets SET amount = amount + 9 WHERE credit",
            "UPDATE budgets SET amount = amount - 9 WHERE credit",
            "the pool's limit",
            9,
        ),
        (
            "UPDATE credit_entries SET seq = 7 WHERE seq = 3",
            "UPDATE credit_entries SET seq = 3 WHERE seq = 7",
            "the entries by number",
            -4,
        ),
        (
            "UPDATE charges SET postings = replace(postings, ':7:0', ':6:0')",
            "UPDATE charges SET postings = replace(postings, ':6:0', ':7:0')",
            "what was charged from",
            1,
        ),
    ];
    for (tamper, mend, what, by) in tampers {
        execute(url.as_deref(), &env.config.data_dir, tamper).await;
        let misfits = proof(env).await.misfits;
        let named = misfits.iter().any(|one| one.what.starts_with(what) && one.found - one.expected == by);
        assert!(named, "{tamper}: {misfits:?}");
        execute(url.as_deref(), &env.config.data_dir, mend).await;
        assert_eq!(proof(env).await.misfits, vec![], "{mend}");
    }
}

#[tokio::test]
async fn credit_is_bought_seen_and_proven_by_commands() {
    let desk = Desk::new().await;
    let add = "credits add prod --kind purchase --amount 12.50 --reference invoice-1 --note March";
    let tried = desk.run(&format!("{add} --validate-only")).await.well();
    assert!(tried.starts_with("would be added; nothing was changed\n"), "{tried}");
    desk.run(add).await.well();
    desk.run(add).await.well();
    desk.run("credits add prod --kind adjustment --amount -2.5 --reference refund").await.well();
    desk.run("credits add prod --kind purchase --amount -1 --reference x").await.badly(65, &["entry.amount_nanos"]);
    let credit = desk.run("credits get prod --output json").await.json();
    assert_eq!(credit["credit"]["remainingNanos"], 10_000_000_000_i64);
    let list = desk.run("credits list prod --output json").await.json();
    assert_eq!(list["entries"].as_array().map(Vec::len), Some(2));
    let prove = format!("credits prove --data-dir {}", desk.folder.path().display());
    let proof = desk.run(&prove).await.well();
    assert!(proof.contains("tenants/acme/workspaces/prod: fits; $10.00 is left by 2 entries"), "{proof}");
    execute(None, desk.folder.path(), "UPDATE credit_entries SET amount = amount + 1000000000 WHERE seq = 1").await;
    let said = desk.run(&prove).await;
    assert_eq!(said.code, 1, "{said:?}");
    let says = "the pool's limit: $10.00 on record, $11.00 worked out; off by -$1.00";
    assert!(said.out.contains("does not fit") && said.out.contains(says), "{said:?}");
    desk.process.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_behind_is_given_nothing_of_what_has_expired() {
    on_postgres(async |env: &mut Env| {
        let slow = Arc::new(MockClock::new());
        let behind = Server::start(&env.config, slow).await.expect("another server starts");
        let world = World::new(env).await;
        let there = world.through(behind.addr());
        world.credit(300, Some(hour(0))).await;
        world.credit(100, None).await;
        to(env, hour(0), 0);
        world.hold(world.ask_for(100)).await;
        assert!(refused(&there, 1).await, "all that is left is held");
        behind.stop().await.expect("stops in order");
    })
    .await;
}
