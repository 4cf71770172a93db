//! The keys of the issuers that the server is set up for: fetched when they are first needed, kept for an hour, and fetched
//! again when a token is signed with one that is not among them.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    domain::identity_providers::{Issuer, is_safe},
    engine::id_tokens::IssuerKeys,
};

/// How long keys are used without a look at whether there are others.
const FRESH: Duration = Duration::from_hours(1);
/// How long keys are used while the issuer does not answer.
const STALE: Duration = Duration::from_hours(24);
/// How often keys are fetched at most, whatever tokens say that they are signed with.
const PAUSE: Duration = Duration::from_secs(30);

/// Fetches what is at a URL.
pub trait Fetch: Send + Sync {
    /// The content of an answer that is one, up to a megabyte; otherwise what went wrong.
    fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a>;
}

/// What comes of fetching.
pub type Fetched<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// The issuers, and what is known of them.
pub struct Issuers {
    known: HashMap<Issuer, Mutex<Option<Known>>>,
    fetch: Box<dyn Fetch>,
}

struct Known {
    keys: Arc<IssuerKeys>,
    /// When they were fetched.
    fetched: Duration,
    /// When they were last asked for, whatever came of it.
    tried: Duration,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// These and no others.
    #[must_use]
    pub fn new(issuers: Vec<Issuer>, fetch: Box<dyn Fetch>) -> Self {
        Self { known: issuers.into_iter().map(|issuer| (issuer, Mutex::default())).collect(), fetch }
    }

    /// Whether the server is set up for an issuer.
    #[must_use]
    pub fn has(&self, issuer: &Issuer) -> bool {
        self.known.contains_key(issuer)
    }

    /// The keys of an issuer; `newer` than those that were given before, if there may be any. `None` when it cannot be asked.
    /// `now` by a clock that nobody sets.
    pub async fn keys(&self, issuer: &Issuer, newer: bool, now: Duration) -> Option<Arc<IssuerKeys>> {
        // Whoever comes meanwhile waits for the same answer.
        let mut known = self.known.get(issuer)?.lock().await;
        if let Some(known) = &*known {
            let age = now.saturating_sub(known.fetched);
            let just_tried = now.saturating_sub(known.tried) < PAUSE;
            if (age < FRESH && !newer) || just_tried {
                return (age < STALE).then(|| Arc::clone(&known.keys));
            }
        }
        match self.fetched(issuer).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *known = Some(Known { keys: Arc::clone(&keys), fetched: now, tried: now });
                Some(keys)
            }
            Err(why) => {
                tracing::warn!(%issuer, why, "the keys of an issuer cannot be fetched");
                let known = known.as_mut()?;
                known.tried = now;
                (now.saturating_sub(known.fetched) < STALE).then(|| Arc::clone(&known.keys))
            }
        }
    }

    async fn fetched(&self, issuer: &Issuer) -> Result<IssuerKeys, String> {
        let discovery = self.fetch.fetch(&issuer.discovery()).await?;
        let discovery: Discovery = serde_json::from_slice(&discovery).map_err(|error| error.to_string())?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if discovery.issuer != issuer.as_str() {
            return Err(format!("it calls itself {:?}", discovery.issuer));
        }
        if !is_safe(&discovery.jwks_uri) {
            return Err(format!("its keys are at {:?}", discovery.jwks_uri));
        }
        let keys = self.fetch.fetch(&discovery.jwks_uri).await?;
        IssuerKeys::parse(&keys).ok_or_else(|| "its keys are no JWK set".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// What there is on the network, and how often it was asked.
    #[derive(Default)]
    struct Network {
        pages: HashMap<String, String>,
        asked: usize,
    }

    struct Fake(Arc<Mutex<Network>>);

    impl Fetch for Fake {
        fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a> {
            let mut network = self.0.lock();
            network.asked += 1;
            let page = network.pages.get(url).map(|page| page.clone().into_bytes());
            Box::pin(async move { page.ok_or_else(|| "not found".to_owned()) })
        }
    }

    fn set_up(jwks_uri: &str, calls_itself: &str) -> (Issuers, Arc<Mutex<Network>>, Issuer) {
        let issuer: Issuer = "https://accounts.example".parse().expect("good");
        let network = Arc::new(Mutex::new(Network::default()));
        let discovery = format!(r#"{{"issuer":"{calls_itself}","jwks_uri":"{jwks_uri}"}}"#);
        network.lock().pages.insert(issuer.discovery(), discovery);
        network.lock().pages.insert("https://accounts.example/keys".to_owned(), r#"{"keys":[]}"#.to_owned());
        (Issuers::new(vec![issuer.clone()], Box::new(Fake(Arc::clone(&network)))), network, issuer)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn keys_are_kept_fetched_anew_when_there_may_be_others_and_used_while_the_issuer_is_away() {
        let (issuers, network, issuer) = set_up("https://accounts.example/keys", "https://accounts.example");
        let start = Duration::from_hours(100);
        let before = |moment: Duration| moment.saturating_sub(SECOND);
        let had = async |newer, now| issuers.keys(&issuer, newer, now).await.is_some();
        assert!(had(false, start).await && had(false, before(start + FRESH)).await);
        assert_eq!(network.lock().asked, 2);
        // A token that is signed with who knows what: once in a while, and no more often.
        assert!(had(true, before(start + FRESH)).await);
        assert_eq!(network.lock().asked, 4);
        for _ in 0..5 {
            assert!(had(true, start + FRESH + SECOND).await);
        }
        assert_eq!(network.lock().asked, 4);
        let fetched = before(start + FRESH);
        assert!(had(false, fetched + FRESH).await);
        assert_eq!(network.lock().asked, 6);
        network.lock().pages.clear();
        let fetched = fetched + FRESH;
        assert!(had(false, before(fetched + STALE)).await && !had(false, fetched + STALE).await);
        let other = "https://other.example".parse().expect("good");
        assert!(!issuers.has(&other) && issuers.keys(&other, false, start).await.is_none());
    }

    #[tokio::test]
    async fn an_issuer_that_calls_itself_otherwise_or_has_its_keys_in_the_open_is_not_believed() {
        for (jwks_uri, name) in [
            ("https://accounts.example/keys", "https://evil.example"),
            ("http://accounts.example/keys", "https://accounts.example"),
            ("file:///etc/passwd", "https://accounts.example"),
            ("https://accounts.example/nothing", "https://accounts.example"),
        ] {
            let (issuers, _, issuer) = set_up(jwks_uri, name);
            assert!(issuers.keys(&issuer, false, SECOND).await.is_none(), "{jwks_uri} {name}");
        }
    }
}
