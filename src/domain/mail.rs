//! Mails: what they say, as text and as HTML, and how that is kept until it is sent.

use std::fmt::{self, Write as _};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{branding::Branding, id::MailId};

/// Random bytes that [`Letter::seal`] takes.
pub const SEAL_BYTES: usize = NONCE_LEN;

/// The colour of those who have none.
const USUAL_COLOR: &str = "#1f4fd8";

/// What a mail says. It may have a secret in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML, which says the same.
    pub html: String,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// What a mail is made of. Texts are plain: they are escaped where that is needed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Whose mail it is.
    pub branding: &'a Branding,
    /// What they are called, if their branding does not say.
    pub tenant: &'a str,
    /// The subject, and the heading.
    pub subject: &'a str,
    /// What comes before the link.
    pub before: &'a [&'a str],
    /// What to do, and where, if there is anything to be done: the address may have a secret in it.
    pub link: Option<(&'a str, &'a str)>,
    /// What comes after the link.
    pub after: &'a [&'a str],
}

impl Draft<'_> {
    /// Writes it.
    #[must_use]
    pub fn write(&self) -> Letter {
        Letter { subject: one_line(self.subject), text: self.text(), html: self.html() }
    }

    fn name(&self) -> &str {
        if self.branding.display_name.is_empty() { self.tenant } else { &self.branding.display_name }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for paragraph in self.before {
            let _ = write!(text, "{}\n\n", one_line(paragraph));
        }
        if let Some((what, address)) = self.link {
            let _ = write!(text, "{}:\n{address}\n\n", one_line(what));
        }
        for paragraph in self.after {
            let _ = write!(text, "{}\n\n", one_line(paragraph));
        }
        let _ = writeln!(text, "--\n{}", one_line(self.name()));
        if !self.branding.support_contact.is_empty() {
            let _ = writeln!(text, "Help: {}", one_line(&self.branding.support_contact));
        }
        text
    }

    fn html(&self) -> String {
        let Branding { logo_url, primary_color, support_contact, .. } = self.branding;
        let name = escaped(self.name());
        let color = escaped(if primary_color.is_empty() { USUAL_COLOR } else { primary_color });
        let mut html = "<!doctype html>\n<html><body style=\"font-family:sans-serif;color:#1f2937\">\n".to_owned();
        html.push_str("<div style=\"max-width:560px;margin:0 auto\">\n");
        if !logo_url.is_empty() {
            let _ = writeln!(html, "<p><img src=\"{}\" alt=\"{name}\" height=\"40\"></p>", escaped(logo_url));
        }
        let _ = writeln!(html, "<h1 style=\"font-size:20px;color:{color}\">{}</h1>", escaped(self.subject));
        for paragraph in self.before {
            let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
        }
        if let Some((what, address)) = self.link {
            let (what, address) = (escaped(what), escaped(address));
            let _ = writeln!(
                html,
                "<p><a href=\"{address}\" style=\"background:{color};color:#ffffff;padding:10px 16px;text-decoration:none\">{what}</a></p>\n<p>{address}</p>"
            );
        }
        for paragraph in self.after {
            let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
        }
        let _ = writeln!(html, "<p style=\"color:#6b7280\">{name}</p>");
        if !support_contact.is_empty() {
            let _ = writeln!(html, "<p style=\"color:#6b7280\">Help: {}</p>", escaped(support_contact));
        }
        html.push_str("</div>\n</body></html>\n");
        html
    }
}

/// A text that stays within its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text as HTML shows it, also within quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

impl Letter {
    /// Encrypts it for the time that it waits: AES-256-GCM, for this mail alone. `None` only when the cipher fails.
    #[must_use]
    pub fn seal(&self, key: &[u8; 32], random: [u8; SEAL_BYTES], mail: MailId) -> Option<String> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        let nonce = Nonce::assume_unique_for_key(random);
        cipher(key)?.seal_in_place_append_tag(nonce, Aad::from(mail.to_string()), &mut bytes).ok()?;
        Some(STANDARD_NO_PAD.encode([random.as_slice(), &bytes].concat()))
    }

    /// What was encrypted under this key for this mail.
    #[must_use]
    pub fn open(key: &[u8; 32], sealed: &str, mail: MailId) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (random, rest) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*random);
        let opened = cipher(key)?.open_in_place(nonce, Aad::from(mail.to_string()), &mut rest).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(branding: &Branding) -> Letter {
        let link = Some(("Join <now>", "https://app.example/join#a=1&b=2"));
        Draft {
            branding,
            tenant: "Acme & Sons",
            subject: "Welcome\r\nBcc: x@y.example",
            before: &["Hello \"you\""],
            link,
            after: &["Bye"],
        }
        .write()
    }

    #[test]
    fn a_letter_carries_the_branding_and_what_is_said_in_it_is_text() {
        let plain = draft(&Branding::default());
        assert!(
            plain.text.contains("Join <now>:\nhttps://app.example/join#a=1&b=2\n")
                && plain.text.ends_with("--\nAcme & Sons\n")
        );
        assert!(
            plain.html.contains("Join &lt;now&gt;")
                && plain.html.contains("#a=1&amp;b=2")
                && plain.html.contains(USUAL_COLOR)
        );
        assert!(!plain.subject.contains('\n') && !plain.html.contains("<img"));
        let branding = Branding {
            display_name: "<b>Acme</b>".into(),
            logo_url: "https://cdn.example/\"onerror=x".into(),
            primary_color: "#00ff00".into(),
            support_contact: "help@acme.example\nX: y".into(),
        };
        let branded = draft(&branding);
        assert!(branded.html.contains("&lt;b&gt;Acme&lt;/b&gt;") && !branded.html.contains("<b>"));
        assert!(branded.html.contains("logo") || branded.html.contains("https://cdn.example/&quot;onerror=x\""));
        assert!(branded.html.contains("color:#00ff00") && branded.html.contains("Help: help@acme.example X: y"));
        assert!(branded.text.contains("\n--\n<b>Acme</b>\nHelp: help@acme.example X: y\n"));
    }

    #[test]
    fn a_sealed_letter_shows_nothing_and_opens_for_its_own_mail_under_its_own_key() {
        let (letter, mail) = (draft(&Branding::default()), MailId::from_bits(7));
        let sealed = letter.seal(&[1; 32], [2; SEAL_BYTES], mail).expect("sealed");
        assert!(!sealed.contains("app.example"));
        assert_eq!(Letter::open(&[1; 32], &sealed, mail).as_ref(), Some(&letter));
        assert_eq!(Letter::open(&[3; 32], &sealed, mail), None);
        assert_eq!(Letter::open(&[1; 32], &sealed, MailId::from_bits(8)), None);
        assert_eq!(Letter::open(&[1; 32], "", mail), None);
    }
}
