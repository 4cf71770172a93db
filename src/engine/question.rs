//! What Authorize asks, in the engine's own words.

use std::{net::IpAddr, time::Duration};

use super::{tokens::Verified, witness::Stamp};
use crate::domain::{meters::Metered, money::Nanos, permission::Permission, prices::Usage};

/// Longest hold.
pub const MAX_HOLD: Duration = Duration::from_mins(15);
/// How long a hold lives when nobody says.
pub const DEFAULT_HOLD: Duration = Duration::from_mins(2);

/// The credential of an end client.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// An API key, as presented.
    ApiKey(&'a str),
    /// Somebody whose access token was good; `None` when it was not.
    Token(Option<Verified>),
}

/// What Authorize is to do beside deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decide, hold nothing.
    CheckOnly,
    /// Hold the whole estimate, or refuse.
    Hold,
    /// Hold the estimate, or as much of its output as there is room for.
    Clamp,
}

/// One question. Texts are bounded by whoever parsed them.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Idempotency key; empty for none.
    pub request_id: &'a str,
    /// Whose call it is.
    pub credential: Credential<'a>,
    /// Address of the end client, if it was given and can be read.
    pub client_ip: Option<IpAddr>,
    /// Origin of the end client's call; empty for none.
    pub origin: &'a str,
    /// What the end client wants to do.
    pub permission: Permission,
    /// Provider; empty for any.
    pub provider: &'a str,
    /// Model.
    pub model: &'a str,
    /// Endpoint; empty for none.
    pub endpoint: &'a str,
    /// Environment that the sidecar serves; empty for any.
    pub environment: &'a str,
    /// Slug of the project; empty for the key's own.
    pub project: &'a str,
    /// The end client's own user; empty for none.
    pub end_user: &'a str,
    /// Upper bounds of what the call will use.
    pub estimate: Usage,
    /// Upper bounds of what it will use beside that, and its tier.
    pub metered: Metered,
    /// What the sidecar's clock showed.
    pub stamp: Option<Stamp<'a>>,
    /// What it will cost at most, when the caller knows better than the price list.
    pub cost: Option<Nanos>,
    /// What to do beside deciding.
    pub mode: Mode,
    /// How long the hold is to live: 1 s to [`MAX_HOLD`].
    pub ttl: Duration,
    /// Answer from state at least this fresh.
    pub min_revision: i64,
}
