//! What bearer tokens rest on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::id::{IdError, PublicKeyId, SessionId};

/// What a token was given for, when that can end before the token does: the token is worth nothing from then on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Basis {
    /// A session of a user.
    Session(SessionId),
    /// A public key of a service account.
    PublicKey(PublicKeyId),
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => id.fmt(f),
            Self::PublicKey(id) => id.fmt(f),
        }
    }
}

impl FromStr for Basis {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self::Session).or_else(|_| text.parse().map(Self::PublicKey))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_written_and_read_as_its_id() {
        for basis in [Basis::Session(SessionId::from_bits(7)), Basis::PublicKey(PublicKeyId::from_bits(7))] {
            assert_eq!(basis.to_string().parse(), Ok(basis));
            let json = serde_json::to_string(&basis).expect("JSON");
            assert_eq!(json, format!("\"{basis}\""));
            assert_eq!(serde_json::from_str::<Basis>(&json).expect("a basis"), basis);
        }
        assert!("key_00000000000000000000000007".parse::<Basis>().is_err());
    }
}
