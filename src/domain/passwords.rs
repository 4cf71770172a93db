//! What a password must be, as NIST SP 800-63B-4 (section 3.1.1) asks: long, and nothing else but not easily guessed from
//! what everybody knows. No rules about signs, no expiry.

use super::users::fold_email;

/// Fewest characters.
pub const MIN: usize = 12;
/// Most characters.
pub const MAX: usize = 128;
/// Fewest different characters.
const DIFFERENT: usize = 5;

/// Why a text cannot be somebody's password; `None`: it can.
#[must_use]
pub fn objection(password: &str, email: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if !(MIN..=MAX).contains(&length) {
        return Some("must be 12 to 128 characters");
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT {
        return Some("must have at least 5 different characters");
    }
    let (password, email) = (password.to_lowercase(), fold_email(email));
    let name = email.split('@').next().unwrap_or_default();
    let known = [email.as_str(), name].into_iter().filter(|known| known.len() >= 4);
    // What is left without it is what nobody knows.
    for known in known {
        if password.contains(known) && password.replace(known, "").chars().count() < MIN / 2 {
            return Some("must not be one's address with little more");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_ones_address() {
        let good = ["correct horse battery", "äöü-ÄÖÜ-ß-12", "mia.acme.example plus secrets"];
        for password in good {
            assert_eq!(objection(password, "mia@acme.example"), None, "{password}");
        }
        let bad =
            ["", "short", "elevenchars", "aaaaaaaaaaaaaaaa", "abcdabcdabcd", "Mia@Acme.Example1", &"ab cd ".repeat(22)];
        for password in bad {
            assert!(objection(password, "mia@acme.example").is_some(), "{password}");
        }
        assert!(objection("franziska123", "franziska@acme.example").is_some());
    }
}
