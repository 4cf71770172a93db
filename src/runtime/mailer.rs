//! Sends what is in the outbox: the only place that speaks SMTP.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{
        self, AsyncSmtpTransportBuilder,
        client::{Certificate, Tls, TlsParameters},
    },
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::ExposeSecret as _;
use tokio::{sync::oneshot, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::tls::TlsError;
use crate::{
    app::{
        App, AppError,
        mail::{self, Outcome, Outgoing},
    },
    config::mail::{MailConfig, SmtpConfig},
    domain::{id::MailId, mail::Letter},
};

/// How often the outbox is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How often what was done long ago is removed: so many looks.
const PRUNE_EVERY: u32 = 7200;
/// Longest that a mail server may take for each thing that it is told.
const ANSWER: Duration = Duration::from_secs(20);
/// Longest that a mail may take in all. Twice that, for as many as are taken at once, is less than they are taken for.
const SENDING: Duration = Duration::from_mins(1);
/// Mails that are on their way at once.
const AT_ONCE: usize = 8;
/// Answers to a sign-in: what is wrong is a setting and not the mail, and may be put right.
const SIGN_IN: [u16; 4] = [530, 534, 535, 538];

/// Why mails cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail server cannot be asked.
    #[error("mails cannot be sent: {0}")]
    Server(#[from] smtp::Error),
    /// The file with its authorities.
    #[error("smtp_ca_file: {0}")]
    Authorities(#[from] TlsError),
}

/// How mails leave.
pub enum Way {
    /// By SMTP.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>, Mailbox),
    /// To where the server was started.
    Terminal,
}

impl Way {
    /// How mails leave by these settings; `None`: not at all.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn of(config: &MailConfig) -> Result<Option<Self>, MailError> {
        Ok(match &config.smtp {
            Some(SmtpConfig { url, ca_file, from }) => {
                let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())?;
                if let Some(file) = ca_file {
                    transport = trusting(transport, url.expose_secret(), file)?;
                }
                Some(Self::Smtp(Box::new(transport.timeout(Some(ANSWER)).build()), from.clone()))
            }
            None if config.to_terminal => Some(Self::Terminal),
            None => None,
        })
    }

    async fn send(&self, mail: &Outgoing) -> Outcome {
        let Some(letter) = &mail.letter else {
            return Outcome::Never("it was encrypted under another key".to_owned());
        };
        let to = &mail.taken.recipient;
        match self {
            Self::Terminal => {
                println!("\nMail to {to}: {}\n\n{}", letter.subject, letter.text);
                Outcome::Sent
            }
            Self::Smtp(transport, from) => match message(from, to, letter, mail.taken.id) {
                Ok(message) => match tokio::time::timeout(SENDING, transport.send(message)).await {
                    Ok(Ok(_)) => Outcome::Sent,
                    Ok(Err(error)) => refusal(&error),
                    Err(_) => Outcome::Later("it took too long".to_owned()),
                },
                Err(why) => Outcome::Never(why),
            },
        }
    }
}

/// Takes certificates of the authorities in a file, too. What is else of a certificate is looked at as ever: its names, its end.
fn trusting(
    transport: AsyncSmtpTransportBuilder,
    url: &str,
    file: &Path,
) -> Result<AsyncSmtpTransportBuilder, MailError> {
    let bad = |why: &dyn ToString| TlsError::new(file, why.to_string());
    let pem = fs::read(file).map_err(|error| bad(&error))?;
    if CertificateDer::pem_slice_iter(&pem).next().is_none() {
        return Err(bad(&"holds no certificate").into());
    }
    let roots = Certificate::from_pem(&pem).map_err(|error| bad(&error))?;
    let uri: http::Uri = url.parse().map_err(|error| bad(&error))?;
    let host = uri.host().unwrap_or_default().to_owned();
    let tls = TlsParameters::builder(host).add_root_certificate(roots).build().map_err(|error| bad(&error))?;
    let implicit = uri.scheme_str() == Some("smtps");
    Ok(transport.tls(if implicit { Tls::Wrapper(tls) } else { Tls::Required(tls) }))
}

/// The message. One that is sent again has the same id, by which whoever gets it twice can tell.
fn message(from: &Mailbox, to: &str, letter: &Letter, id: MailId) -> Result<Message, String> {
    let address: Address = to.parse().map_err(|error| format!("the address cannot be: {error}"))?;
    let parts = MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone());
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, address))
        .subject(letter.subject.as_str())
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .multipart(parts)
        .map_err(|error| error.to_string())
}

fn refusal(error: &smtp::Error) -> Outcome {
    let code = error.status().map(u16::from);
    let why = error.to_string();
    if error.is_permanent() && code.is_none_or(|code| !SIGN_IN.contains(&code)) {
        Outcome::Never(why)
    } else {
        Outcome::Later(why)
    }
}

/// Sends until `stop`; then what was begun is ended and the rest put back. `_ended` is dropped with it: whoever waits for the
/// end sees that.
pub async fn run(app: Arc<App>, way: Way, stop: CancellationToken, _ended: oneshot::Sender<()>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = look_through(&app, &way, &stop, look.is_multiple_of(PRUNE_EVERY)).await {
            tracing::warn!(%error, "mails wait to be sent");
        }
    }
}

async fn look_through(app: &App, way: &Way, stop: &CancellationToken, prune: bool) -> Result<(), AppError> {
    if prune {
        mail::prune(app).await?;
    }
    while !stop.is_cancelled() {
        let taken = mail::take(app).await?;
        if taken.is_empty() {
            return Ok(());
        }
        let sent = async |mail: Outgoing| {
            let outcome = if stop.is_cancelled() { Outcome::Untried } else { way.send(&mail).await };
            if let Err(error) = mail::settle(app, &mail.taken, outcome).await {
                tracing::warn!(%error, mail = %mail.taken.id, "what came of a mail is not written down: it may be sent again");
            }
        };
        stream::iter(taken).for_each_concurrent(AT_ONCE, sent).await;
    }
    Ok(())
}
