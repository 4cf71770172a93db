//! Mails over TLS: they go to a mail server that shows who it is, and to no other.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;

use crate::{
    harness::{
        authority::{Authority, Pair, put},
        both,
        client::Client,
        eventually, once,
        process::{Process, command, program, run},
        server::Env,
        smtp::{Smtp, Wire},
        world::World,
    },
    mail::{SECRET, in_state, post, rows, sending_trusting},
};

both!(
    a_mail_goes_by_starttls_once_the_mail_server_shows_who_it_is,
    a_mail_goes_over_tls_once_the_mail_server_shows_who_it_is,
);

once!(
    without_its_authority_a_mail_server_is_nobody,
    who_speaks_no_tls_gets_no_mail_whatever_authority_is_trusted,
    a_start_without_the_authorities_is_refused,
);

const HOST: &str = "127.0.0.1";

async fn a_mail_goes_by_starttls_once_the_mail_server_shows_who_it_is(env: &mut Env) {
    goes_once_it_shows_who_it_is(env, Wire::StartTls).await;
}

async fn a_mail_goes_over_tls_once_the_mail_server_shows_who_it_is(env: &mut Env) {
    goes_once_it_shows_who_it_is(env, Wire::Tls).await;
}

/// Certificates that are not good, and what is said of each.
fn bad(authority: &Authority) -> [(Pair, &'static str); 3] {
    [
        (Authority::new("strangers").server(), "UnknownIssuer"),
        (authority.server_until("mail.example.com", 2100), "not valid for name"),
        (authority.server_until(HOST, 2025), "expired"),
    ]
}

async fn goes_once_it_shows_who_it_is(env: &Env, wire: Wire) {
    let (smtp, authority) = (Smtp::speaking(wire).await, Authority::new("mails"));
    let bad = bad(&authority);
    smtp.show(&bad[0].0);
    let env = sending_trusting(env, &smtp.url(), Some(&authority.pem)).await;
    let world = World::new(&env).await;
    post(&env, &world, "mia@example.com").await;
    let mut pause = Duration::from_secs(10);
    for (attempt, (pair, why)) in (1..).zip(&bad) {
        // What went wrong before stands there until this attempt has failed, too.
        let told = async || Some(rows(&env).await).filter(|rows| rows[0].1 == attempt && rows[0].3.contains(why));
        let told = eventually(&format!("it is not sent: {why}"), told).await;
        assert_eq!(told[0].0, "waiting", "{why}");
        assert_eq!((smtp.attempts(), smtp.mails().len()), (0, 0), "{why}");
        smtp.show(bad.get(usize::try_from(attempt).expect("few")).map_or(pair, |(next, _)| next));
        if attempt == 3 {
            smtp.show(&authority.server_until(HOST, 2100));
        }
        env.clock.advance(pause);
        pause *= 2;
    }
    let mails = smtp.taken(1).await;
    assert_eq!((mails[0].to.as_str(), mails[0].token().as_str()), ("mia@example.com", SECRET));
    assert_eq!(in_state(&env, "sent").await[0].1, 4);
    assert!(smtp.connections() >= 4, "{}", smtp.connections());
    // In plain text nobody has heard more than that they want TLS.
    let plain = smtp.plain();
    let heard = |line: &String| line.starts_with("EHLO ") || line == "STARTTLS" || line == "QUIT";
    assert!(plain.iter().all(heard) && plain.is_empty() == (wire == Wire::Tls), "{plain:?}");
    env.end().await;
}

async fn without_its_authority_a_mail_server_is_nobody(env: &mut Env) {
    for wire in [Wire::StartTls, Wire::Tls] {
        let (smtp, authority) = (Smtp::speaking(wire).await, Authority::new("mails"));
        smtp.show(&authority.server());
        let env = sending_trusting(env, &smtp.url(), None).await;
        let world = World::new(&env).await;
        post(&env, &world, "mia@example.com").await;
        let told = async || Some(rows(&env).await).filter(|rows| !rows[0].3.is_empty());
        let told = eventually("it is written down", told).await;
        assert!(told[0].0 == "waiting" && told[0].3.contains("UnknownIssuer"), "{told:?}");
        assert_eq!(smtp.attempts(), 0);
        env.end().await;
    }
}

async fn who_speaks_no_tls_gets_no_mail_whatever_authority_is_trusted(env: &mut Env) {
    let (smtp, authority) = (Smtp::start().await, Authority::new("mails"));
    for url in [format!("{}?tls=required", smtp.url()), format!("smtps://{}", smtp.addr)] {
        let env = sending_trusting(env, &url, Some(&authority.pem)).await;
        let world = World::new(&env).await;
        post(&env, &world, "mia@example.com").await;
        let told = async || Some(rows(&env).await).filter(|rows| !rows[0].3.is_empty());
        let told = eventually("it is tried", told).await;
        assert_eq!((told[0].0.as_str(), smtp.attempts(), smtp.mails().len()), ("waiting", 0, 0), "{url}: {told:?}");
        env.end().await;
    }
}

async fn a_start_without_the_authorities_is_refused(env: &mut Env) {
    let folder = tempfile::tempdir().expect("a folder");
    let more = |file: &str| {
        let path = folder.path().join(file).display().to_string();
        let words =
            ["--smtp-url", "smtps://127.0.0.1:1", "--mail-from", "a@b.example", "--public-url", "https://c.example"];
        [&words.map(str::to_owned)[..], &["--smtp-ca-file".to_owned(), path]].concat()
    };
    put(&folder.path().join("empty.pem"), "");
    put(&folder.path().join("text.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for file in ["nowhere.pem", "empty.pem", "text.pem"] {
        let more = more(file);
        let words: Vec<&str> = more.iter().map(String::as_str).collect();
        let output = run(program(&folder.path().join("data"), None, &words)).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("smtp_ca_file") && told.contains(file), "{told}");
    }
    // Set by the environment, and said by the log of a server that runs.
    let (smtp, authority) = (Smtp::speaking(Wire::Tls).await, Authority::new("mails"));
    smtp.show(&authority.server_until(HOST, 2025));
    put(&folder.path().join("authority.pem"), &authority.pem);
    let mut serve = program(&folder.path().join("data"), None, &[]);
    serve.env("TOLLREEVE_SMTP_CA_FILE", folder.path().join("authority.pem"));
    serve.env("TOLLREEVE_SMTP_URL", smtp.url()).env("TOLLREEVE_MAIL_FROM", "a@b.example");
    serve.env("TOLLREEVE_PUBLIC_URL", "https://c.example");
    let process = Process::start(serve).await.expect("it starts");
    let mut token = command(&["operator-token"]);
    token.arg("--data-dir").arg(folder.path().join("data"));
    let token = String::from_utf8(run(token).await.stdout).expect("text");
    let operator = Client::new(process.addr, Some(token.trim()));
    let world = World::made_by(&operator, "acme").await;
    let invitation = Some(pb::Invitation { email: "mia@example.com".into(), ..pb::Invitation::default() });
    let request = pb::CreateInvitationRequest { parent: world.tenant, invitation, ..Default::default() };
    operator.identity().create_invitation(request).await.expect("invited");
    let line = eventually("the log says why", async || {
        process.log().lines().find(|line| line.contains("a mail could not be sent")).map(str::to_owned)
    });
    let line = line.await;
    assert!(line.contains("expired") && line.contains("\"attempt\":1") && !line.contains("mia@"), "{line}");
    assert_eq!((smtp.attempts(), env.config.mail.smtp.is_none()), (0, true));
    process.kill().await;
}
