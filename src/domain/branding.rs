//! Branding: what the mails and front ends of a tenant look like.

use serde::{Deserialize, Serialize};

/// How a tenant shows itself. Each may be empty: not said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// The name that people know it by; the tenant's own when it is empty.
    pub display_name: String,
    /// Where its logo is: `https://`.
    pub logo_url: String,
    /// Its colour: `#rrggbb`.
    pub primary_color: String,
    /// Whom to ask for help: an address, a telephone number, a page.
    pub support_contact: String,
}

/// What is to be said of a tenant's branding; `None`: as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BrandingUpdate {
    /// See [`Branding::display_name`].
    pub display_name: Option<String>,
    /// See [`Branding::logo_url`].
    pub logo_url: Option<String>,
    /// See [`Branding::primary_color`].
    pub primary_color: Option<String>,
    /// See [`Branding::support_contact`].
    pub support_contact: Option<String>,
}

impl Branding {
    /// Takes over what an update changes.
    pub fn update(&mut self, update: &BrandingUpdate) {
        let BrandingUpdate { display_name, logo_url, primary_color, support_contact } = update;
        for (own, other) in [
            (&mut self.display_name, display_name),
            (&mut self.logo_url, logo_url),
            (&mut self.primary_color, primary_color),
            (&mut self.support_contact, support_contact),
        ] {
            if let Some(other) = other {
                own.clone_from(other);
            }
        }
    }
}

/// Whether a text is a colour: `#` and six hexadecimal digits.
#[must_use]
pub fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a text can be where a picture is: `https://`, a host, and nothing that a URL has no place for (RFC 3986).
#[must_use]
pub fn is_https_url(text: &str) -> bool {
    let usual = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    text.strip_prefix("https://").is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty()
            && !host.contains('@')
            && host.contains(|c: char| c.is_ascii_alphanumeric())
            && rest.bytes().all(usual)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_has_six_digits_and_a_logo_comes_over_https() {
        assert!(
            is_color("#00aAfF") && !["", "00aaff", "#00aaf", "#00aaff0", "#00aafg", "red"].iter().any(|c| is_color(c))
        );
        assert!(is_https_url("https://cdn.example/logo.svg?v=2"));
        for bad in [
            "",
            "http://cdn.example/x",
            "https://",
            "https:///x",
            "https://a b",
            "https://a\"b",
            "javascript:x",
            "https://u@h/x",
        ] {
            assert!(!is_https_url(bad), "{bad}");
        }
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let mut branding = Branding { logo_url: "https://a.example".into(), ..Branding::default() };
        branding.update(&BrandingUpdate { primary_color: Some("#010203".into()), ..BrandingUpdate::default() });
        assert_eq!((branding.logo_url.as_str(), branding.primary_color.as_str()), ("https://a.example", "#010203"));
        branding.update(&BrandingUpdate { logo_url: Some(String::new()), ..BrandingUpdate::default() });
        assert_eq!(branding.logo_url, "");
    }
}
