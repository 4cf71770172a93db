//! Keys that were found where they should not be: whoever holds one can have it revoked, and those whom it concerns are told.

use std::collections::BTreeSet;

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};
use tonic::{Code, Status};

use super::mail::sending;
use crate::harness::{
    both,
    client::{assert_invalid, assert_refused},
    desk::{Desk, Said},
    process::{command, run},
    random::Random,
    server::Env,
    smtp::Smtp,
    world::{World, bind, codes, create_user},
};

both!(
    a_reported_key_is_refused_by_the_next_call_and_whom_it_concerns_is_told,
    what_is_no_key_here_is_said_to_be_none_and_changes_nothing,
);

async fn report(env: &Env, secret: &str, found: &str) -> Result<pb::ReportLeakedKeyResponse, Status> {
    let request = pb::ReportLeakedKeyRequest { secret: secret.into(), found: found.into() };
    env.operator.with_token(None).keys().report_leaked_key(request).await.map(tonic::Response::into_inner)
}

async fn reports(env: &Env, world: &World) -> Vec<pb::AuditEvent> {
    let list = pb::ListAuditEventsRequest { parent: world.tenant.clone(), page_size: 1000, ..Default::default() };
    let events = env.operator.audit().list_audit_events(list).await.expect("events").into_inner().events;
    events.into_iter().filter(|event| event.action == "keys.reportLeak").collect()
}

async fn a_reported_key_is_refused_by_the_next_call_and_whom_it_concerns_is_told(env: &mut Env) {
    let smtp = Smtp::start().await;
    let own = sending(env, &smtp).await;
    let world = World::new(&own).await;
    let (operator, tenant) = (&own.operator, &world.tenant);
    create_user(operator, tenant, "ada@example.com", "roles/admin", &[]).await;
    create_user(operator, tenant, "mia@example.com", "roles/member", &[&world.team]).await;
    let idle = create_user(operator, tenant, "idle@example.com", "roles/admin", &[]).await;
    operator.identity().suspend_user(pb::SuspendUserRequest { name: idle }).await.expect("suspended");
    // Who administers by a team counts, and the key's owner is in that team; who does in a workspace does not.
    bind(operator, tenant, "roles/admin", &world.team, tenant).await;
    let wes = create_user(operator, tenant, "wes@example.com", "roles/member", &[]).await;
    bind(operator, tenant, "roles/admin", &wes, &world.workspace).await;
    world.hold(world.ask()).await;
    let found = "github.com/acme/search, commit 1f3a, line 7";
    let reported = report(&own, &world.key.secret, found).await.expect("reported");
    assert_eq!(codes(&world.authorize(world.ask()).await), [DenialCode::KeyRevoked]);
    let told: BTreeSet<String> = smtp.taken(4).await.into_iter().map(|mail| mail.to).collect();
    let expected = ["ada", "dev", "mia", "olivia"].map(|name| format!("{name}@example.com"));
    assert_eq!(told, BTreeSet::from(expected));
    for mail in smtp.mails() {
        assert!(mail.data.contains("has leaked") && !mail.data.contains("_tr_"), "{}", mail.data);
    }
    let [event] = reports(&own, &world).await.try_into().expect("one event");
    assert_eq!((event.resource.as_str(), event.actor.as_str()), (world.key.name.as_str(), "anonymous"));
    assert_eq!((event.reason.as_str(), event.revision), (found, reported.revision));
    assert!(event.before.contains("\"active\"") && event.after.contains("\"revoked\""), "{event:?}");
    // Again, as a scanner does that comes by every day.
    report(&own, &world.key.secret, "").await.expect("it is revoked");
    assert_eq!((reports(&own, &world).await.len(), smtp.mails().len()), (1, 4));
    own.end().await;
}

async fn what_is_no_key_here_is_said_to_be_none_and_changes_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let elsewhere = env.another().await;
    let foreign = World::new(&elsewhere).await.key.secret;
    elsewhere.end().await;
    assert_refused(report(env, &foreign, "").await, Code::NotFound, "RESOURCE_NOT_FOUND");
    let whole = world.key.secret.clone();
    let (mut random, mut cut) = (Random::fresh("what_is_no_key_here"), Vec::new());
    for _ in 0..200 {
        let mut other = whole.clone().into_bytes();
        let at = usize::try_from(random.within(0, whole.len() as i64 - 1)).expect("small");
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        cut.push(String::from_utf8(other).expect("text"));
    }
    cut.extend(["", "prod_tr_", &whole[1..], &whole[..whole.len() - 1], &format!(" {whole}")].map(str::to_owned));
    for other in cut {
        assert_invalid(report(env, &other, "").await, "secret");
    }
    assert_invalid(report(env, &whole, &"x".repeat(1025)).await, "found");
    world.hold(world.ask()).await;
    assert!(reports(env, &world).await.is_empty());
}

#[tokio::test]
async fn keys_are_found_in_files_and_reported_by_a_command() {
    let desk = Desk::new().await;
    let secret = &desk.world.key.secret;
    let (clean, leaky) = (desk.folder.path().join("clean.txt"), desk.folder.path().join("leaky.env"));
    std::fs::write(&clean, "prod_tr_0123456789ab_ is no key\n").expect("written");
    std::fs::write(&leaky, format!("A=1\nexport KEY={secret}\n")).expect("written");
    let (clean, leaky) = (clean.display(), leaky.display());
    // Nobody needs a server for that, or a token.
    let find = async |words: &str| Said::from(run(command(&words.split_whitespace().collect::<Vec<_>>())).await);
    assert_eq!(find(&format!("keys check {clean}")).await.well(), "");
    let hint = format!("{leaky}:2:12: {}...", &secret[..12]);
    let found = find(&format!("keys check {clean} {leaky}")).await;
    assert_eq!((found.code, found.out.trim_end()), (1, hint.as_str()), "{found:?}");
    find("keys check /nowhere").await.badly(66, &["cannot read `/nowhere`"]);
    let key =
        async || desk.world.operator.keys().get_key(pb::GetKeyRequest { name: desk.world.key.name.clone() }).await;
    let state = async || key().await.expect("a key").into_inner().key.expect("a key").state();
    assert_eq!(state().await, pb::KeyState::Active);
    let reported = desk.run_as("", &format!("keys check --report {leaky}")).await;
    assert!(
        reported.code == 1 && reported.out.starts_with(&format!("{hint}: revoked, as of revision ")),
        "{reported:?}"
    );
    assert_eq!(state().await, pb::KeyState::Revoked);
}
