//! Settings of mails: how they are sent, from whom, and what links in them begin with.

use std::path::PathBuf;

use http::Uri;
use lettre::{AsyncSmtpTransport, Tokio1Executor, message::Mailbox};
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, Options};

/// What links begin with where nobody says.
const DEFAULT_URL: &str = "http://localhost";

/// How mails leave the server.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The server that takes them; `None`: there is none.
    pub smtp: Option<SmtpConfig>,
    /// Whether what would be sent is printed where the server was started.
    pub to_terminal: bool,
    /// What links begin with: no `/` at its end.
    pub public_url: String,
}

/// A server that takes mails.
#[derive(Clone, Debug)]
pub struct SmtpConfig {
    /// Where it is; with a password, perhaps.
    pub url: SecretString,
    /// PEM file with the authorities that its certificate may be of beside those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Whom mails are from.
    pub from: Mailbox,
}

impl MailConfig {
    /// Checks what is set of mails.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(super) fn of(options: &Options) -> Result<Self, ConfigError> {
        let bad = |setting, why: &str| ConfigError::Value { setting, why: why.to_owned() };
        let public_url = match options.public_url.as_deref() {
            Some(url) => base(url).ok_or_else(|| {
                bad(
                    "public_url",
                    "must be like https://ai.example.com: links carry secrets, so http:// only to this machine",
                )
            })?,
            None if options.smtp_url.is_some() => return Err(bad("public_url", "is needed with smtp_url")),
            None => DEFAULT_URL.to_owned(),
        };
        let smtp = match (&options.smtp_url, &options.mail_from) {
            (None, None) if options.smtp_ca_file.is_some() => {
                return Err(bad("smtp_url", "is needed with smtp_ca_file"));
            }
            (None, None) => None,
            (None, Some(_)) => return Err(bad("smtp_url", "is needed with mail_from")),
            (Some(_), None) => return Err(bad("mail_from", "is needed with smtp_url")),
            (Some(url), Some(from)) => {
                check_smtp(url.expose_secret())?;
                let from = from.parse().map_err(|_| bad("mail_from", "must be like `Acme <no-reply@example.com>`"))?;
                let ca_file = options.smtp_ca_file.clone();
                if ca_file.is_some() && !speaks_tls(url.expose_secret()) {
                    return Err(bad("smtp_ca_file", "is for TLS, and smtp_url is in plain text"));
                }
                Some(SmtpConfig { url: url.clone(), ca_file, from })
            }
        };
        Ok(Self { smtp, to_terminal: false, public_url })
    }
}

/// Whether a server can be asked so. Mails carry secrets: no part of a network that others can reach sees them in plain text.
fn check_smtp(url: &str) -> Result<(), ConfigError> {
    let bad = |why: &str| Err(ConfigError::Value { setting: "smtp_url", why: why.to_owned() });
    let shape = "must be like smtps://user:password@host or smtp://user:password@host:587?tls=required";
    let Ok(uri) = url.parse::<Uri>() else { return bad(shape) };
    let query = uri.query().unwrap_or_default();
    match (uri.scheme_str(), query, uri.host()) {
        (Some("smtps"), "", Some(_)) | (Some("smtp"), "tls=required", Some(_)) => {}
        (Some("smtp"), "", Some(host)) if is_here(host) => {}
        (Some("smtp"), _, Some(_)) => {
            return bad("mails would cross the network in plain text: add ?tls=required for STARTTLS, or use smtps://");
        }
        _ => return bad(shape),
    }
    // The text of its error may have the password in it.
    if AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_err() { bad(shape) } else { Ok(()) }
}

/// Whether a server that can be asked is asked over TLS.
fn speaks_tls(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("smtps") || uri.query().is_some())
}

/// What links begin with, when it can be that.
fn base(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let safe = match uri.scheme_str()? {
        "https" => true,
        "http" => is_here(host),
        _ => false,
    };
    let plain = uri.query().is_none() && !url.contains(['#', '@']);
    (safe && plain).then(|| url.trim_end_matches('/').to_owned())
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(smtp: &str, from: &str, url: &str) -> Options {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Options {
            smtp_url: given(smtp).map(Into::into),
            mail_from: given(from),
            public_url: given(url),
            ..Options::default()
        }
    }

    fn setting(options: &Options) -> &'static str {
        match MailConfig::of(options) {
            Err(ConfigError::Value { setting, .. }) => setting,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_set_of_mails_must_fit_together() {
        let (from, url) = ("Acme <no-reply@acme.example>", "https://ai.acme.example/");
        for good in [
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:25",
            "smtps://u:p%40ss@mx.example",
            "smtp://mx.example?tls=required",
        ] {
            let config = MailConfig::of(&options(good, from, url)).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert_eq!((config.public_url.as_str(), config.smtp.is_some()), ("https://ai.acme.example", true));
        }
        for bad in [
            "smtp://mx.example",
            "smtp://mx.example?tls=opportunistic",
            "mx.example",
            "http://127.0.0.1",
            "smtp://?tls=required",
        ] {
            assert_eq!(setting(&options(bad, from, url)), "smtp_url", "{bad}");
        }
        assert_eq!(setting(&options("smtp://127.0.0.1", "", url)), "mail_from");
        assert_eq!(setting(&options("smtp://127.0.0.1", "nobody", url)), "mail_from");
        assert_eq!(setting(&options("smtp://127.0.0.1", from, "")), "public_url");
        assert_eq!(setting(&options("", from, url)), "smtp_url");
        let trusting = |smtp, from| Options { smtp_ca_file: Some("authority.pem".into()), ..options(smtp, from, url) };
        assert_eq!(setting(&trusting("", "")), "smtp_url");
        assert_eq!(setting(&trusting("smtp://127.0.0.1", from)), "smtp_ca_file");
        for good in ["smtp://127.0.0.1?tls=required", "smtps://mx.example"] {
            assert!(MailConfig::of(&trusting(good, from)).is_ok(), "{good}");
        }
        for bad in
            ["ai.example", "http://ai.example", "https://ai.example/?x=1", "https://ai.example/#x", "ftp://ai.example"]
        {
            assert_eq!(setting(&options("", "", bad)), "public_url", "{bad}");
        }
        assert!(MailConfig::of(&options("", "", "http://localhost:3000")).is_ok());
        assert_eq!(MailConfig::of(&Options::default()).expect("nothing is needed").public_url, DEFAULT_URL);
    }

    #[test]
    fn a_url_that_cannot_be_is_not_repeated() {
        let error = MailConfig::of(&options("smtp://u:hunter2@mx.example", "a@b.example", "https://c.example"));
        assert!(!error.expect_err("in plain text").to_string().contains("hunter2"));
    }
}
