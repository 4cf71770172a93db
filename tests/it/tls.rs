//! TLS on the listener: who is let in, what is read again from disk, and what a handshake may cost.

use std::{error::Error as _, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::net::TcpStream;
use tollreeve::{config::ClientAuth, pb::tollreeve::v1 as pb};

use crate::harness::{
    authority::{Authority, Pair, put},
    client::Client,
    eventually, once,
    process::{command, run},
    server::Env,
};

once!(
    tls_is_spoken_with_who_trusts_the_server_and_with_nobody_in_plain_text,
    a_client_without_a_certificate_is_let_in_where_none_is_required,
    a_certificate_of_a_foreign_authority_or_one_that_has_ended_is_refused,
    an_open_connection_ends_with_its_certificate,
    an_open_connection_ends_with_its_authority_and_not_with_anothers,
    certificates_are_read_again_and_open_connections_stay,
    handshakes_that_nobody_finishes_keep_nobody_out,
    the_command_line_speaks_tls,
);

/// A server with TLS, its authority, and that of its clients.
pub struct Secured {
    pub env: Env,
    pub servers: Authority,
    pub clients: Authority,
    pub token: String,
}

impl Secured {
    /// Starts one on a database of the same kind as another server's.
    pub async fn beside(env: &Env, auth: Option<ClientAuth>) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let own = servers.server();
        let env = env.another_with(|folder, options| {
            let file = |name: &str, text: &str| {
                put(&folder.join(name), text);
                Some(folder.join(name))
            };
            options.tls_cert_file = file("server.pem", &own.certificate);
            options.tls_key_file = file("server.key", &own.key);
            if let Some(auth) = auth {
                options.tls_client_ca_file = file("clients.pem", &clients.pem);
                options.tls_client_auth = Some(auth);
                options.spiffe_trust_domains = Some(vec!["prod.example".to_owned()]);
            }
        });
        let mut env = env.await;
        let token = env.server.operator_token(Duration::from_hours(24)).expect("a token");
        let own = clients.client(&[]);
        env.operator = Client::secured(env.server.addr(), &servers.pem, Some(&own), Some(&token));
        Self { env, servers, clients, token }
    }

    pub fn addr(&self) -> SocketAddr {
        self.env.server.addr()
    }

    /// The operator over a connection with this certificate.
    pub fn operator(&self, own: Option<&Pair>) -> Client {
        Client::secured(self.addr(), &self.servers.pem, own, Some(&self.token))
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.env.config.data_dir.join(name)
    }

    pub async fn end(self) {
        self.env.end().await;
    }
}

/// Whether a call comes through. When it does not, the caller's own side says so: the server has answered nothing.
pub async fn answers(client: &Client) -> bool {
    match client.identity().list_tenants(pb::ListTenantsRequest::default()).await {
        Ok(_) => true,
        Err(status) => {
            assert!(status.source().is_some(), "{status:?}");
            false
        }
    }
}

async fn tls_is_spoken_with_who_trusts_the_server_and_with_nobody_in_plain_text(env: &mut Env) {
    let secured = Secured::beside(env, None).await;
    assert!(answers(&secured.operator(None)).await);
    let (stranger, token) = (Authority::new("stranger"), Some(secured.token.as_str()));
    assert!(!answers(&Client::secured(secured.addr(), &stranger.pem, None, token)).await);
    assert!(!answers(&Client::new(secured.addr(), token)).await);
    secured.end().await;
}

async fn a_client_without_a_certificate_is_let_in_where_none_is_required(env: &mut Env) {
    for (auth, let_in) in [(ClientAuth::Optional, true), (ClientAuth::Required, false)] {
        let secured = Secured::beside(env, Some(auth)).await;
        assert_eq!(answers(&secured.operator(None)).await, let_in);
        assert!(answers(&secured.operator(Some(&secured.clients.client(&[])))).await);
        secured.end().await;
    }
}

async fn a_certificate_of_a_foreign_authority_or_one_that_has_ended_is_refused(env: &mut Env) {
    for auth in [ClientAuth::Optional, ClientAuth::Required] {
        let secured = Secured::beside(env, Some(auth)).await;
        let foreign = Authority::new("clients").client(&["spiffe://prod.example/edge"]);
        assert!(!answers(&secured.operator(Some(&foreign))).await);
        let ended = secured.clients.client_until(&["spiffe://prod.example/edge"], 2026, Duration::ZERO);
        assert!(!answers(&secured.operator(Some(&ended))).await);
        let of_a_server = secured.servers.server();
        assert!(!answers(&secured.operator(Some(&of_a_server))).await);
        secured.end().await;
    }
}

async fn an_open_connection_ends_with_its_certificate(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    // Tests begin at 12:20.
    let ends = Duration::from_hours(13);
    let own = secured.clients.client_until(&["spiffe://prod.example/edge"], 2026, ends);
    let client = secured.operator(Some(&own));
    assert!(answers(&client).await);
    secured.env.clock.advance(Duration::from_mins(40));
    assert!(answers(&client).await, "in its last second");
    secured.env.clock.advance(Duration::from_secs(1));
    assert!(!answers(&client).await);
    assert!(answers(&secured.env.operator).await, "who has a longer one");
    secured.end().await;
}

async fn an_open_connection_ends_with_its_authority_and_not_with_anothers(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Optional)).await;
    let (first, second) = (&secured.clients, Authority::new("more clients"));
    let (of_first, of_second) = (first.client(&["spiffe://prod.example/edge"]), second.client(&[]));
    let (of_first, of_second) = (secured.operator(Some(&of_first)), secured.operator(Some(&of_second)));
    assert!(answers(&of_first).await && !answers(&of_second).await);
    let bundle = secured.file("clients.pem");
    put(&bundle, &format!("{}{}", first.pem, second.pem));
    eventually("the second authority is trusted", async || answers(&of_second).await.then_some(())).await;
    assert!(answers(&of_first).await);
    put(&bundle, &second.pem);
    eventually("the first authority is trusted no more", async || (!answers(&of_first).await).then_some(())).await;
    assert!(!answers(&of_first).await && answers(&of_second).await);
    secured.end().await;
}

async fn certificates_are_read_again_and_open_connections_stay(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let own = secured.clients.client(&[]);
    let later = Authority::new("later servers");
    let trusts =
        |authority: &Authority| Client::secured(secured.addr(), &authority.pem, Some(&own), Some(&secured.token));
    let before = trusts(&secured.servers);
    assert!(answers(&before).await && !answers(&trusts(&later)).await);
    let new = later.server();
    // In between, the key is not the certificate's: what was read before stays in use.
    put(&secured.file("server.pem"), &new.certificate);
    assert!(answers(&trusts(&secured.servers)).await);
    put(&secured.file("server.key"), &new.key);
    eventually("the new certificate is shown", async || answers(&trusts(&later)).await.then_some(())).await;
    assert!(!answers(&trusts(&secured.servers)).await);
    assert!(answers(&before).await, "who was connected before stays so");
    secured.end().await;
}

async fn handshakes_that_nobody_finishes_keep_nobody_out(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(secured.addr()).await.expect("it connects"));
    }
    assert!(answers(&secured.operator(Some(&secured.clients.client(&[])))).await);
    // The oldest were given up for those that came later.
    eventually("the first is cut off", async || {
        let read = idle[0].try_read(&mut [0]);
        matches!(read, Ok(0)).then_some(())
    })
    .await;
    secured.end().await;
}

async fn the_command_line_speaks_tls(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let own = secured.clients.client(&[]);
    let files = [("ca.pem", &secured.servers.pem), ("own.pem", &own.certificate), ("own.key", &own.key)];
    files.iter().for_each(|(name, text)| put(&secured.file(name), text));
    let server = format!("https://{}", secured.addr());
    let ask = async |flags: &[(&str, &str)]| {
        let mut ask = command(&["tenants", "list", "--server", &server]);
        ask.env("TOLLREEVE_TOKEN", &secured.token);
        for (flag, file) in flags {
            ask.arg(flag).arg(secured.file(file));
        }
        let output = run(ask).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let certificate = [("--cert-file", "own.pem"), ("--key-file", "own.key")];
    let (code, out, err) = ask(&[&[("--ca-file", "ca.pem")], &certificate[..]].concat()).await;
    assert!(code == Some(0) && out.contains("tenants/system"), "{code:?} {out} {err}");
    let (code, _, err) = ask(&certificate).await;
    assert!(code == Some(69) && err.contains("UnknownIssuer"), "{code:?} {err}");
    let (code, _, err) = ask(&[("--ca-file", "ca.pem")]).await;
    assert!(code == Some(69), "{code:?} {err}");
    let (code, _, err) = ask(&[("--ca-file", "nowhere.pem")]).await;
    assert!(code == Some(1) && err.contains("nowhere.pem"), "{code:?} {err}");
    secured.end().await;
}
