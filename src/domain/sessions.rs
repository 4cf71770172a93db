//! Sessions: somebody who has signed in, until they leave, and the tokens that carry the session on.
//!
//! A session is carried on by refresh tokens, each used once. A reply can be lost, so the last one that was used is taken
//! once more as long as the one that it was exchanged for has not been; that one is good no longer then. Anything older was
//! copied: whoever shows it, the session ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    id::{SessionId, TenantId, UserId},
    sealed::{Seal, Unproven},
    time::Timestamp,
};

/// How long an access token of a session is good.
pub const ACCESS: Duration = Duration::from_mins(5);
/// How long a session lives at most.
pub const LIFE: Duration = Duration::from_hours(30 * 24);
/// How long a session lives that is not carried on.
pub const IDLE: Duration = Duration::from_hours(7 * 24);
/// Most sessions of one user; one more ends the one that was carried on longest ago.
pub const MAX_SESSIONS: usize = 20;

/// Tells the refresh tokens of one generation apart.
pub type Nonce = [u8; 16];

/// A session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Identity.
    pub id: SessionId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// Who has signed in.
    pub user: UserId,
    /// When they did.
    pub created: Timestamp,
    /// When it was carried on last.
    pub refreshed: Timestamp,
    /// When it was ended, before its time.
    pub ended: Option<Timestamp>,
    /// Network address that it was begun from.
    pub source: String,
    /// User agent that it was begun by.
    pub user_agent: String,
    /// Which refresh token is the newest.
    #[serde(skip)]
    pub newest: Newest,
}

/// The newest refresh token of a session, and the one that it was exchanged for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Newest {
    /// How many came before it, not counting those that it has replaced.
    pub generation: i64,
    /// Tells it from those that it has replaced.
    pub nonce: Nonce,
    /// That of the one before.
    pub before: Nonce,
}

/// What a refresh token is to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presented {
    /// The newest one, or the one before it whose reply was lost: the session goes on.
    Good,
    /// One that was replaced before it was used, or one of a session that is over: good no longer, and no sign of a theft.
    Over,
    /// One that was used, and its successor too: somebody has a copy.
    Copied,
}

impl Session {
    /// When it ends, unless it is ended or carried on before.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.created.after(LIFE).min(self.refreshed.after(IDLE))
    }

    /// Whether it lives.
    #[must_use]
    pub fn lives(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires()
    }

    /// What a refresh token of this session is to it.
    #[must_use]
    pub fn presented(&self, token: &RefreshToken, now: Timestamp) -> Presented {
        let Newest { generation, nonce, before } = self.newest;
        if !self.lives(now) {
            return Presented::Over;
        }
        match generation - token.generation {
            0 if token.nonce == nonce => Presented::Good,
            1 if token.nonce == before => Presented::Good,
            // Replaced: of this generation, or of the one before and not the one that was used.
            ..=1 => Presented::Over,
            _ => Presented::Copied,
        }
    }

    /// The session carried on by a token that is good, with a new one that is told from all others by `nonce`.
    #[must_use]
    pub fn carried_on(&self, by: &RefreshToken, nonce: Nonce, now: Timestamp) -> Self {
        let newest = Newest { generation: by.generation + 1, nonce, before: by.nonce };
        Self { refreshed: now, newest, ..self.clone() }
    }

    /// The newest refresh token.
    #[must_use]
    pub const fn token(&self) -> RefreshToken {
        RefreshToken { session: self.id, generation: self.newest.generation, nonce: self.newest.nonce }
    }
}

/// A refresh token: which one of which session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefreshToken {
    /// The session.
    pub session: SessionId,
    /// How many came before it.
    pub generation: i64,
    /// Tells it from others of its generation.
    pub nonce: Nonce,
}

impl RefreshToken {
    /// What its text begins with.
    pub const PREFIX: &'static str = "tr_refresh_";

    /// Its text.
    #[must_use]
    pub fn text(&self, seal: &Seal) -> String {
        let generation = self.generation.to_be_bytes();
        seal.seal(&[&self.session.bits().to_be_bytes()[..], &generation, &self.nonce].concat(), &[])
    }

    /// Reads a text. `None` when it is not one that was given away.
    #[must_use]
    pub fn parse(text: &str, seal: &Seal) -> Option<Self> {
        let read = seal.read(text).filter(|read| seal.proves(read, &[]))?;
        let (session, rest) = read.payload.split_first_chunk::<16>()?;
        let (generation, nonce) = rest.split_first_chunk::<8>()?;
        Some(Self {
            session: SessionId::from_bits(u128::from_be_bytes(*session)),
            generation: i64::from_be_bytes(*generation),
            nonce: nonce.try_into().ok()?,
        })
    }
}

/// Permission to set a password without the old one: who may, and until when. It is good for as long as the user's password
/// is what it was, so it is used once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordReset {
    /// Whose password.
    pub user: UserId,
    /// When it ends.
    pub expires: Timestamp,
}

impl PasswordReset {
    /// What its text begins with.
    pub const PREFIX: &'static str = "tr_reset_";
    /// How long it is good.
    pub const LIFE: Duration = Duration::from_hours(1);

    /// Its text. `changed`: when the user's password was last set.
    #[must_use]
    pub fn text(&self, seal: &Seal, changed: Option<Timestamp>) -> String {
        let expires = self.expires.micros().to_be_bytes();
        seal.seal(&[&self.user.bits().to_be_bytes()[..], &expires].concat(), &context(changed))
    }

    /// Reads a text that may not be genuine.
    #[must_use]
    pub fn read(text: &str, seal: &Seal) -> Option<(Self, Unproven)> {
        let read = seal.read(text)?;
        let (user, expires) = read.payload.split_first_chunk::<16>()?;
        let expires = Timestamp::from_micros(i64::from_be_bytes(expires.try_into().ok()?));
        Some((Self { user: UserId::from_bits(u128::from_be_bytes(*user)), expires }, read))
    }

    /// Whether it is genuine and good at `now`.
    #[must_use]
    pub fn is_good(&self, read: &Unproven, seal: &Seal, changed: Option<Timestamp>, now: Timestamp) -> bool {
        seal.proves(read, &context(changed)) && now < self.expires
    }
}

fn context(changed: Option<Timestamp>) -> Vec<u8> {
    changed.map(|at| at.micros().to_be_bytes().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn session() -> Session {
        Session {
            id: SessionId::from_bits(1),
            tenant: TenantId::from_bits(2),
            user: UserId::from_bits(3),
            created: NOW,
            refreshed: NOW,
            ended: None,
            source: String::new(),
            user_agent: String::new(),
            newest: Newest { generation: 0, nonce: [1; 16], before: [0; 16] },
        }
    }

    #[test]
    fn a_token_is_used_once_a_lost_reply_is_made_good_and_a_copy_is_noticed() {
        let begun = session();
        let first = begun.token();
        assert_eq!(begun.presented(&first, NOW), Presented::Good);
        let lost = begun.carried_on(&first, [2; 16], NOW);
        let never_came = lost.token();
        // The reply was lost: the same token again, and its successor is another one.
        assert_eq!(lost.presented(&first, NOW), Presented::Good);
        let again = lost.carried_on(&first, [3; 16], NOW);
        let second = again.token();
        assert_eq!(again.presented(&never_came, NOW), Presented::Over, "replaced");
        assert_eq!(again.presented(&second, NOW), Presented::Good);
        let on = again.carried_on(&second, [4; 16], NOW);
        assert_eq!(on.presented(&second, NOW), Presented::Good, "a lost reply again");
        assert_eq!(on.presented(&never_came, NOW), Presented::Over, "replaced, though of the generation before");
        assert_eq!(on.presented(&first, NOW), Presented::Copied);
        let not_yet = RefreshToken { generation: 9, ..first };
        assert_eq!(on.presented(&not_yet, NOW), Presented::Over);
    }

    #[test]
    fn a_session_ends_when_it_is_not_carried_on_and_in_any_case_after_a_month() {
        let mut session = session();
        assert!(
            session.lives(NOW.after(IDLE.saturating_sub(Duration::from_micros(1)))) && !session.lives(NOW.after(IDLE))
        );
        let mut now = NOW;
        while session.lives(now) {
            session = session.carried_on(&session.token(), [9; 16], now);
            now = now.after(IDLE / 2);
        }
        assert!(now >= NOW.after(LIFE));
        assert_eq!(session.presented(&session.token(), now), Presented::Over);
    }

    #[test]
    fn tokens_say_what_they_were_made_for_and_a_reset_is_good_once() {
        let seal = Seal::new(RefreshToken::PREFIX, [5; 32]);
        let token = session().token();
        assert_eq!(RefreshToken::parse(&token.text(&seal), &seal), Some(token));
        let seal = Seal::new(PasswordReset::PREFIX, [6; 32]);
        let reset = PasswordReset { user: UserId::from_bits(3), expires: NOW.after(PasswordReset::LIFE) };
        let (read, unproven) = PasswordReset::read(&reset.text(&seal, None), &seal).expect("one of ours");
        assert_eq!(read, reset);
        assert!(read.is_good(&unproven, &seal, None, NOW));
        assert!(!read.is_good(&unproven, &seal, None, reset.expires));
        assert!(!read.is_good(&unproven, &seal, Some(NOW), NOW), "the password was set meanwhile");
    }
}
