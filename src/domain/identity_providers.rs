//! Identity providers: who else may say who somebody is (`OpenID` Connect Core 1.0).

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    id::{IdentityProviderId, TenantId},
    names::Slug,
    time::Timestamp,
};

/// Most of them in a tenant.
pub const MAX_PROVIDERS: usize = 20;

/// An issuer of ID tokens: the URL that its tokens carry letter by letter, and that its keys are found below.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Issuer(String);

/// The text is no issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like `https://accounts.example`, without query and fragment; `http` only on this machine")]
pub struct IssuerError;

impl Issuer {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it says what it is (`OpenID` Connect Discovery 1.0, section 4).
    #[must_use]
    pub fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }
}

/// Whether something may be fetched from a URL without somebody in between changing it: by TLS, or on this machine.
#[must_use]
pub fn is_safe(url: &str) -> bool {
    let (rest, local_only) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = !authority.is_empty() && !authority.contains('@') && url.bytes().all(|b| b.is_ascii_graphic());
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    plain && !host.is_empty() && (is_local || !local_only)
}

impl FromStr for Issuer {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        let good = text.len() <= 512 && is_safe(text) && !text.contains(['?', '#', '\\']);
        if good { Ok(Self(text.to_owned())) } else { Err(IssuerError) }
    }
}

impl TryFrom<String> for Issuer {
    type Error = IssuerError;

    fn try_from(text: String) -> Result<Self, IssuerError> {
        text.parse()
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An identity provider of a tenant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdentityProvider {
    /// Identity.
    pub id: IdentityProviderId,
    /// The tenant whose users may sign in by it.
    pub tenant: TenantId,
    /// Id in names, unique in the tenant; never changes.
    pub slug: Slug,
    /// Name for people.
    pub display_name: String,
    /// Who issues the tokens.
    pub issuer: Issuer,
    /// Whom they must be for: the client id that the issuer knows the tenant's front end by.
    pub audience: String,
    /// When it was created.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_url_that_nobody_can_change_on_the_way() {
        for good in [
            "https://accounts.example",
            "https://login.example/tenant/v2.0",
            "https://accounts.example:8443/",
            "http://127.0.0.1:8080/realm",
            "http://[::1]:80",
        ] {
            assert!(good.parse::<Issuer>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "accounts.example",
            "http://accounts.example",
            "http://127.0.0.1.example/",
            "http://localhost.example",
            "http://127.0.0.1@accounts.example",
            "https://",
            "https:///path",
            "https://user@accounts.example",
            "https://accounts.example?x=1",
            "https://accounts.example#x",
            "https://accounts.example\\@other.example",
            "https://accounts.example /",
            "ftp://accounts.example",
            &format!("https://{}", "x".repeat(600)),
        ] {
            assert!(bad.parse::<Issuer>().is_err(), "{bad}");
        }
        let discovery = |text: &str| text.parse::<Issuer>().expect("good").discovery();
        assert_eq!(discovery("https://a.example/b/"), "https://a.example/b/.well-known/openid-configuration");
        assert_eq!(discovery("https://a.example"), "https://a.example/.well-known/openid-configuration");
    }
}
