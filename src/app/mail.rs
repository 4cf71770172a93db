//! Mails: the outbox that use cases put them into, and what becomes of what is in it.
//!
//! A use case calls [`post`] within its transaction: the mail goes if the change is made, and only then. A task of every
//! server ([`crate::runtime::mailer`]) takes what is due, sends it and says what came of it.
//!
//! A mail is sent *at least once*: a server that dies between sending and saying so, or that takes longer than [`LEASE`],
//! leaves it to be sent again, with the same Message-ID. What cannot be delivered now is tried again after 10 s, 20 s and so
//! on up to an hour, [`MAX_ATTEMPTS`] times in all, which is a day; what cannot be delivered at all fails at once.
//!
//! What a mail says may have a link in it that lets whoever has it in. So it is encrypted under a key that is derived from
//! the pepper and not in the database, and erased when the mail is done. The row goes a week later.
//!
//! Where nothing sends mails ([`Post::sends`]), `post` keeps nothing, and use cases show their links to whoever asked for
//! them ([`Post::shows_links`]).
//!
//! ```text
//! let address = app.post.link("reset-password", &secret);
//! let letter = Draft { branding: .., tenant: .., subject: "..", before: &[..], link: Some(("Choose a password", &address)), after: &[..] }.write();
//! mail::post(&mut work, Mail { about: &user.id.to_string(), to: &user.email, letter }).await?;
//! ```

use std::time::Duration;

use super::{App, AppError, Work, context::random};
use crate::{
    domain::mail::Letter,
    store::{
        self,
        mail::{End, Posted, Taken},
    },
};

/// How long sending what was taken may take: when it is over, somebody else takes it. Longer than all that is taken at once
/// can take.
const LEASE: Duration = Duration::from_mins(5);
/// Most mails that are taken at once.
const BATCH: i64 = 16;
/// How often a mail is tried.
pub const MAX_ATTEMPTS: i64 = 32;
/// How long after the first attempt the second one is made; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Longest between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How long it is kept on record that a mail was sent, or was not.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// Most characters of a problem that are kept.
const MAX_PROBLEM: usize = 256;
/// What the key for waiting mails is derived for.
const PURPOSE: &str = "mails";

/// How mails leave this server.
#[derive(Debug, Clone)]
pub struct Post {
    /// Whether mails are sent, or printed for whoever tries things out.
    pub sends: bool,
    /// Whether links are shown to whoever asked for the mail: nothing carries them to whom they are meant for.
    pub shows_links: bool,
    /// What links begin with.
    pub public_url: String,
}

impl Post {
    /// A link to a page of the front end. The secret stands behind a `#`: browsers send that to nobody.
    #[must_use]
    pub fn link(&self, page: &str, secret: &str) -> String {
        format!("{}/{page}#token={secret}", self.public_url)
    }
}

/// A mail to be sent.
#[derive(Debug)]
pub struct Mail<'a> {
    /// Id of what it is about: with it, [`withdraw`] finds the mail as long as it waits.
    pub about: &'a str,
    /// The address.
    pub to: &'a str,
    /// What it says.
    pub letter: Letter,
}

/// Puts a mail into the outbox, within the change that is at work.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn post(work: &mut Work<'_>, mail: Mail<'_>) -> Result<(), AppError> {
    if !work.app().post.sends {
        return Ok(());
    }
    let id = work.app().new_id(work.now)?;
    let sealed = mail.letter.seal(&work.app().peppers().derive(PURPOSE), random()?, id);
    let sealed = sealed.ok_or_else(|| AppError::State("a mail cannot be encrypted".to_owned()))?;
    let (tenant, created) = (work.tenant.id, work.now);
    let posted = Posted { id, tenant, about: mail.about, recipient: mail.to, sealed: &sealed, created };
    Ok(store::mail::insert(&mut work.tx, &posted).await?)
}

/// Withdraws the mails about something that still wait: their links are dead.
pub async fn withdraw(work: &mut Work<'_>, about: &str) -> Result<(), AppError> {
    Ok(store::mail::withdraw(&mut work.tx, work.tenant.id, about, work.now).await?)
}

/// A mail that was taken out of the outbox, to be sent and then settled.
#[derive(Debug)]
pub struct Outgoing {
    /// What it says; `None` when it cannot be decrypted.
    pub letter: Option<Letter>,
    /// Its row.
    pub taken: Taken,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent.
    Sent,
    /// Not now, and why.
    Later(String),
    /// Never, and why.
    Never(String),
    /// It was not tried.
    Untried,
}

/// Takes some mails that are due; none when none are.
pub async fn take(app: &App) -> Result<Vec<Outgoing>, AppError> {
    let now = app.clock.now();
    if !store::mail::is_due(&mut app.db.read().await?, now).await? {
        return Ok(Vec::new());
    }
    let mut tx = app.db.begin().await?;
    let taken = store::mail::take(&mut tx, now, now.after(LEASE), BATCH).await?;
    tx.commit().await?;
    let peppers = app.peppers();
    let keys: Vec<[u8; 32]> = std::iter::once(peppers.derive(PURPOSE)).chain(peppers.derive_others(PURPOSE)).collect();
    let letter = |taken: &Taken| keys.iter().find_map(|key| Letter::open(key, &taken.sealed, taken.id));
    let open = |taken: Taken| Outgoing { letter: letter(&taken), taken };
    Ok(taken.into_iter().map(open).collect())
}

/// Says what came of an attempt.
pub async fn settle(app: &App, mail: &Taken, outcome: Outcome) -> Result<(), AppError> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    match outcome {
        Outcome::Sent => store::mail::end(&mut tx, mail.id, End::Sent, "", now).await?,
        Outcome::Untried => store::mail::again(&mut tx, mail, mail.attempts - 1, now, "").await?,
        Outcome::Later(why) if mail.attempts < MAX_ATTEMPTS => {
            let due = now.after(pause(mail.attempts));
            tracing::info!(mail = %mail.id, attempt = mail.attempts, %due, why, "a mail could not be sent, and is tried again");
            store::mail::again(&mut tx, mail, mail.attempts, due, &short(&why)).await?;
        }
        Outcome::Later(why) | Outcome::Never(why) => {
            tracing::error!(mail = %mail.id, attempts = mail.attempts, why, "a mail cannot be sent");
            store::mail::end(&mut tx, mail.id, End::Failed, &short(&why), now).await?;
        }
    }
    Ok(tx.commit().await?)
}

/// How long after an attempt the next one is made.
fn pause(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

fn short(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_PROBLEM).collect()
}

/// Removes what was done long ago.
pub async fn prune(app: &App) -> Result<(), AppError> {
    let before = app.clock.now().before(KEPT);
    let mut tx = app.db.begin().await?;
    store::mail::prune(&mut tx, before).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_all_attempts_take_about_a_day() {
        let seconds = |attempt| pause(attempt).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 31].map(seconds), [10, 20, 40, 2560, 3600, 3600]);
        let all: u64 = (1..MAX_ATTEMPTS).map(seconds).sum();
        assert!((20 * 3600..30 * 3600).contains(&all), "{all}");
    }
}
