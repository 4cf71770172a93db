//! Mails: the outbox, and what becomes of what is in it, with a real mail server at the other end.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tollreeve::{
    app::{
        App, Work,
        caller::{Caller, Intent, Origin},
        context::Audit,
        mail::{self, MAX_ATTEMPTS, Mail, Outcome},
    },
    domain::{
        bindings::Principal,
        branding::Branding,
        id::TenantId,
        mail::{Draft, Letter},
        time::Clock as _,
    },
    store::{self, mail::Posted},
};

use crate::harness::{
    authority::put,
    both, eventually, postgres,
    server::Env,
    smtp::{Mood, Smtp},
    world::{World, unique},
};

both!(
    a_mail_goes_when_the_change_is_made_and_only_then,
    what_is_not_taken_now_is_sent_later_and_what_is_never_taken_is_given_up,
    a_mail_whose_fate_is_unknown_is_sent_again_under_the_same_id,
    a_mail_is_tried_so_often_and_no_more,
    of_many_who_take_at_once_no_two_get_the_same_mail,
    what_somebody_took_who_is_gone_is_taken_again,
    a_stop_ends_what_was_begun_and_leaves_the_rest_to_the_next_start,
    of_what_was_taken_a_stop_leaves_what_was_not_begun,
    no_mail_goes_in_plain_text_where_it_must_not,
    a_mail_server_that_does_not_know_us_is_a_setting_and_no_fault_of_the_mail,
    the_same_mail_is_encrypted_otherwise_each_time,
);

/// A server that sends its mails to `smtp`.
pub async fn sending(env: &Env, smtp: &Smtp) -> Env {
    sending_by(env, &smtp.url()).await
}

async fn sending_by(env: &Env, url: &str) -> Env {
    sending_trusting(env, url, None).await
}

/// A server that sends its mails to a URL, and trusts an authority.
pub async fn sending_trusting(env: &Env, url: &str, authority: Option<&str>) -> Env {
    env.another_with(|folder, options| {
        options.smtp_ca_file = authority.map(|pem| {
            put(&folder.join("authority.pem"), pem);
            folder.join("authority.pem")
        });
        options.smtp_url = Some(url.into());
        options.mail_from = Some("Tollreeve <no-reply@tollreeve.test>".into());
        options.public_url = Some("https://ai.example.com/app/".into());
    })
    .await
}

pub const SECRET: &str = "the-secret-of-the-link";

fn letter(env: &Env) -> Letter {
    let link = env.server.app().post.link("reset-password", SECRET);
    let (branding, link) = (Branding::default(), Some(("Choose a password", link.as_str())));
    Draft { branding: &branding, tenant: "Acme", subject: "Hello", before: &["Somebody asked."], link, after: &[] }
        .write()
}

pub async fn owner(env: &Env, world: &World, validate_only: bool) -> Caller {
    let id = world.owner.rsplit('/').next().unwrap_or_default();
    let principal = Principal::User(id.parse().expect("a user"));
    let caller = Origin::default().proven(principal, None, tenant(env).await, world.owner.clone());
    Caller { intent: Intent { validate_only, ..Intent::default() }, ..caller }
}

async fn tenant(env: &Env) -> TenantId {
    let mut tx = env.server.app().db.read().await.expect("begins");
    store::tenants::by_slug(&mut tx, "acme").await.expect("read").expect("a tenant").id
}

async fn posted<'a>(env: &'a Env, caller: &'a Caller, to: &str) -> Work<'a> {
    let app = env.server.app();
    let mut work = app.change(caller, &"acme".parse().expect("a slug"), &"acme").await.expect("may");
    mail::post(&mut work, Mail { about: "user_7", to, letter: letter(env) }).await.expect("posted");
    work
}

pub async fn post(env: &Env, world: &World, to: &str) {
    let caller = owner(env, world, false).await;
    let work = posted(env, &caller, to).await;
    work.commit(Audit::new("users.resetPassword", "somebody", None, Some(&to))).await.expect("made");
}

/// State, attempts, what is said, what went wrong.
pub async fn rows(env: &Env) -> Vec<(String, i64, String, String)> {
    let books = env.books().await;
    let rows = books.rows("SELECT state, attempts, sealed, problem FROM mail ORDER BY id").await;
    books.close().await;
    rows
}

pub async fn in_state(env: &Env, state: &str) -> Vec<(String, i64, String, String)> {
    let all = async || Some(rows(env).await).filter(|rows| rows.iter().all(|row| row.0 == state));
    eventually(&format!("every mail is {state}"), all).await
}

async fn a_mail_goes_when_the_change_is_made_and_only_then(env: &mut Env) {
    let smtp = Smtp::start().await;
    smtp.set(Mood::Later);
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    let (caller, trying) = (owner(&env, &world, false).await, owner(&env, &world, true).await);
    drop(posted(&env, &caller, "undone@example.com").await);
    let tried = posted(&env, &trying, "tried@example.com").await;
    tried.commit(Audit::new("users.resetPassword", "somebody", None, Some(&"x"))).await.expect("it could be made");
    post(&env, &world, "made@example.com").await;
    let failed = async || Some(rows(&env).await).filter(|rows| rows.iter().any(|row| !row.3.is_empty()));
    let waiting = eventually("it is tried, and that is written down", failed).await;
    assert_eq!((waiting.len(), waiting[0].0.as_str()), (1, "waiting"));
    assert!(!waiting[0].2.is_empty() && !format!("{waiting:?}").contains(SECRET), "{waiting:?}");
    smtp.set(Mood::Takes);
    env.clock.advance(Duration::from_secs(10));
    let mails = smtp.taken(1).await;
    assert_eq!((mails[0].from.as_str(), mails[0].to.as_str()), ("no-reply@tollreeve.test", "made@example.com"));
    assert_eq!((mails[0].header("Subject").as_str(), mails[0].token().as_str()), ("Hello", SECRET));
    assert!(mails[0].data.contains("https://ai.example.com/app/reset-password#token"), "{}", mails[0].data);
    assert!(mails[0].data.contains("text/plain") && mails[0].data.contains("text/html"), "{}", mails[0].data);
    // What it said is gone.
    assert_eq!(in_state(&env, "sent").await, [("sent".into(), 2, String::new(), String::new())]);
    assert_eq!(smtp.mails().len(), 1);
    // And in a week the row.
    mail::prune(env.server.app()).await.expect("pruned");
    assert_eq!(rows(&env).await.len(), 1);
    env.clock.advance(Duration::from_hours(7 * 24 + 1));
    mail::prune(env.server.app()).await.expect("pruned");
    assert_eq!(rows(&env).await.len(), 0);
    env.end().await;
}

async fn what_is_not_taken_now_is_sent_later_and_what_is_never_taken_is_given_up(env: &mut Env) {
    let smtp = Smtp::start().await;
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    smtp.set(Mood::Later);
    post(&env, &world, "later@example.com").await;
    for (attempt, pause) in [(1, 10), (2, 20), (3, 40)] {
        let told = async || Some(rows(&env).await).filter(|rows| rows[0].1 == attempt && !rows[0].3.is_empty());
        let told = eventually("it is written down", told).await;
        assert!(told[0].3.contains("451"), "{told:?}");
        smtp.tried(usize::try_from(attempt).expect("few")).await;
        if attempt == 3 {
            smtp.set(Mood::Takes);
        }
        // Not a moment too early.
        env.clock.advance(Duration::from_secs(pause - 1));
        assert!(mail::take(env.server.app()).await.expect("asked").is_empty(), "before {pause} s");
        env.clock.advance(Duration::from_secs(1));
    }
    smtp.taken(1).await;
    in_state(&env, "sent").await;
    smtp.set(Mood::Never);
    let before = smtp.attempts();
    post(&env, &world, "never@example.com").await;
    post(&env, &world, "not an address").await;
    let failed = async || Some(rows(&env).await).filter(|rows| rows[1].0 == "failed" && rows[2].0 == "failed");
    let failed = eventually("they are given up", failed).await;
    // Those of one millisecond come in any order.
    assert!(failed[1..].iter().all(|row| row.2.is_empty() && row.1 == 1), "{failed:?}");
    for why in ["550", "address"] {
        assert!(failed[1..].iter().any(|row| row.3.contains(why)), "{failed:?}");
    }
    env.clock.advance(Duration::from_hours(2));
    assert!(mail::take(env.server.app()).await.expect("asked").is_empty());
    assert_eq!(smtp.attempts(), before + 1);
    env.end().await;
}

async fn a_mail_whose_fate_is_unknown_is_sent_again_under_the_same_id(env: &mut Env) {
    let smtp = Smtp::start().await;
    smtp.set(Mood::TakesInSilence);
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    post(&env, &world, "perhaps@example.com").await;
    smtp.taken(1).await;
    eventually("it is to be tried again", async || (!rows(&env).await[0].3.is_empty()).then_some(())).await;
    smtp.set(Mood::Takes);
    env.clock.advance(Duration::from_secs(10));
    let mails = smtp.taken(2).await;
    in_state(&env, "sent").await;
    assert!(mails[0].header("Message-ID").contains("mail_"), "{}", mails[0].data);
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    assert_eq!(smtp.mails().len(), 2);
    env.end().await;
}

/// Mails of a server that has no way to send them: the test does it.
async fn waiting(env: &Env, count: usize) {
    World::new(env).await;
    let (app, tenant) = (env.server.app(), tenant(env).await);
    let mut tx = app.db.begin().await.expect("begins");
    for _ in 0..count {
        let (id, created) = (app.new_id(env.clock.now()).expect("an id"), env.clock.now());
        let sealed = letter(env).seal(&app.peppers().derive("mails"), [7; 12], id).expect("sealed");
        let (about, recipient, sealed) = ("user_7", "one@example.com", sealed.as_str());
        let mail = Posted { id, tenant, about, recipient, sealed, created };
        store::mail::insert(&mut tx, &mail).await.expect("posted");
    }
    tx.commit().await.expect("made");
}

async fn a_mail_is_tried_so_often_and_no_more(env: &mut Env) {
    waiting(env, 1).await;
    let app = env.server.app();
    for attempt in 1..=MAX_ATTEMPTS {
        let taken = mail::take(app).await.expect("asked");
        assert_eq!((taken.len(), taken[0].taken.attempts), (1, attempt));
        assert!(taken[0].letter.as_ref().is_some_and(|letter| letter.text.contains(SECRET)));
        mail::settle(app, &taken[0].taken, Outcome::Later("busy".into())).await.expect("written down");
        env.clock.advance(Duration::from_hours(1));
    }
    assert!(mail::take(app).await.expect("asked").is_empty());
    assert_eq!(rows(env).await, [("failed".into(), MAX_ATTEMPTS, String::new(), "busy".into())]);
}

async fn of_many_who_take_at_once_no_two_get_the_same_mail(env: &mut Env) {
    waiting(env, 100).await;
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let app: Arc<App> = Arc::clone(env.server.app());
            tokio::spawn(async move {
                let mut own = Vec::new();
                loop {
                    let taken = mail::take(&app).await.expect("asked");
                    if taken.is_empty() {
                        return own;
                    }
                    own.extend(taken.into_iter().map(|mail| mail.taken.id));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.expect("no panic"));
    }
    // One who finds that others were first may leave before the last is taken; who took it has it.
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "each once");
    let attempts: BTreeSet<i64> = rows(env).await.iter().map(|row| row.1).collect();
    assert!(all.len() == 100 && attempts == BTreeSet::from([1]), "{} {attempts:?}", all.len());
}

async fn what_somebody_took_who_is_gone_is_taken_again(env: &mut Env) {
    waiting(env, 1).await;
    let app = env.server.app();
    let first = mail::take(app).await.expect("asked");
    assert!(mail::take(app).await.expect("asked").is_empty());
    env.clock.advance(Duration::from_mins(5));
    let second = mail::take(app).await.expect("asked");
    assert_eq!((second[0].taken.id, second[0].taken.attempts), (first[0].taken.id, 2));
    // Who comes back does not take it from its new owner, but what is sent is sent.
    mail::settle(app, &first[0].taken, Outcome::Later("slow".into())).await.expect("written down");
    assert_eq!((rows(env).await[0].1, rows(env).await[0].3.as_str()), (2, ""));
    mail::settle(app, &first[0].taken, Outcome::Sent).await.expect("written down");
    mail::settle(app, &second[0].taken, Outcome::Later("late".into())).await.expect("written down");
    assert_eq!(rows(env).await, [("sent".into(), 2, String::new(), String::new())]);
}

async fn a_stop_ends_what_was_begun_and_leaves_the_rest_to_the_next_start(env: &mut Env) {
    let smtp = Smtp::start().await;
    smtp.set(Mood::Waits);
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    for n in 0..12 {
        post(&env, &world, &format!("{n}@example.com")).await;
    }
    smtp.tried(1).await;
    let stopping = tokio::spawn(env.restart());
    // The stop is under way when those that wait go on; whatever it finds, nothing is lost and nothing doubled.
    tokio::task::yield_now().await;
    smtp.set(Mood::Takes);
    let env = stopping.await.expect("it stops and starts");
    let mails = smtp.taken(12).await;
    let rows = in_state(&env, "sent").await;
    assert!(rows.len() == 12 && rows.iter().all(|row| row.1 == 1), "{rows:?}");
    assert_eq!(mails.iter().map(|mail| &mail.to).collect::<BTreeSet<_>>().len(), 12);
    assert_eq!(smtp.mails().len(), 12);
    env.end().await;
}

async fn of_what_was_taken_a_stop_leaves_what_was_not_begun(env: &mut Env) {
    let smtp = Smtp::start().await;
    smtp.set(Mood::Waits);
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    let caller = owner(&env, &world, false).await;
    let mut work = posted(&env, &caller, "0@example.com").await;
    for n in 1..12 {
        let mail = Mail { about: "user_7", to: &format!("{n}@example.com"), letter: letter(&env) };
        mail::post(&mut work, mail).await.expect("posted");
    }
    work.commit(Audit::new("users.resetPassword", "everybody", None, Some(&"x"))).await.expect("made");
    // All are taken at once, and eight are on their way.
    smtp.tried(8).await;
    let (addr, mut sent) = (env.server.addr(), 0);
    let stopping = env.restart_after(async |_| sent = smtp.mails().len());
    let letting = async {
        eventually("the server stops", async || TcpStream::connect(addr).await.err()).await;
        smtp.set(Mood::Takes);
    };
    let (env, ()) = tokio::join!(stopping, letting);
    assert_eq!(sent, 8);
    smtp.taken(12).await;
    let rows = in_state(&env, "sent").await;
    assert!(rows.len() == 12 && rows.iter().all(|row| row.1 == 1), "{rows:?}");
    assert_eq!(smtp.mails().iter().map(|mail| &mail.to).collect::<BTreeSet<_>>().len(), 12);
    assert_eq!(smtp.mails().len(), 12);
    env.end().await;
}

async fn no_mail_goes_in_plain_text_where_it_must_not(env: &mut Env) {
    let smtp = Smtp::start().await;
    let env = sending_by(env, &format!("{}?tls=required", smtp.url())).await;
    let world = World::new(&env).await;
    post(&env, &world, "secret@example.com").await;
    let told = async || Some(rows(&env).await).filter(|rows| !rows[0].3.is_empty());
    let told = eventually("it is tried", told).await;
    assert_eq!((told[0].0.as_str(), smtp.attempts(), smtp.mails().len()), ("waiting", 0, 0), "{told:?}");
    env.end().await;
}

async fn a_mail_server_that_does_not_know_us_is_a_setting_and_no_fault_of_the_mail(env: &mut Env) {
    let smtp = Smtp::start().await;
    smtp.set(Mood::Stranger);
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    post(&env, &world, "mia@example.com").await;
    let told = eventually("it is tried", async || Some(rows(&env).await).filter(|rows| !rows[0].3.is_empty())).await;
    assert!(told[0].0 == "waiting" && told[0].3.contains("530"), "{told:?}");
    smtp.set(Mood::Takes);
    env.clock.advance(Duration::from_secs(10));
    smtp.taken(1).await;
    in_state(&env, "sent").await;
    env.end().await;
}

async fn the_same_mail_is_encrypted_otherwise_each_time(env: &mut Env) {
    // Nobody listens there.
    let env = sending_by(env, "smtp://127.0.0.1:9").await;
    let world = World::new(&env).await;
    for _ in 0..8 {
        post(&env, &world, "mia@example.com").await;
    }
    let sealed: Vec<String> = rows(&env).await.into_iter().map(|row| row.2).collect();
    // What is random comes first: twelve bytes, which two mails under one key must never have in common.
    let first: BTreeSet<&str> = sealed.iter().map(|text| &text[..16]).collect();
    assert_eq!((sealed.len(), first.len()), (8, 8), "{sealed:?}");
    env.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_send_each_mail_once() {
    let Some(cluster) = postgres::shared().await else { return };
    let first = Env::start(Some(&cluster.database().await)).await;
    let smtp = Smtp::start().await;
    let first = {
        let sends = sending(&first, &smtp).await;
        first.end().await;
        sends
    };
    let second = first.beside().await;
    let world = World::new(&first).await;
    for _ in 0..40 {
        post(&first, &world, &format!("{}@example.com", unique("somebody"))).await;
    }
    let mails = smtp.taken(40).await;
    in_state(&first, "sent").await;
    assert_eq!(mails.iter().map(|mail| &mail.to).collect::<BTreeSet<_>>().len(), 40);
    assert_eq!(smtp.mails().len(), 40);
    second.end().await;
    first.end().await;
}
