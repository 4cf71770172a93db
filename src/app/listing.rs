//! Pages of lists: where one begins, and the token for the next.
//!
//! A token says where the last page ended, authenticated together with the list it belongs to: whose records, which of
//! them and in which order. So it is good for the same list only, and nobody can make one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{App, AppError, Listed};
use crate::{
    domain::{key_secret::KeyHash, keyed::keyed, listing::Sorted},
    store::listing::{Listing, Position},
};

/// What the key of the tokens is derived for.
const PURPOSE: &str = "page tokens";

/// A page of a list on its way.
pub struct Paging<'a> {
    listing: &'a Listing,
    mac: Hmac<Sha256>,
    after: Option<Position>,
}

impl<'a> Paging<'a> {
    /// Reads where the page begins. `list` is whose records are listed: `workspaces of ten_...`.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for a token that this server did not give for this list.
    pub fn begin(app: &App, list: &str, listing: &'a Listing) -> Result<Self, AppError> {
        let mut mac = keyed(&app.pepper.derive(PURPOSE));
        for part in [list, &listing.asked] {
            mac.update(&part.len().to_le_bytes());
            mac.update(part.as_bytes());
        }
        let paging = Self { listing, mac, after: None };
        let after = match listing.page.after.as_str() {
            "" => None,
            token => {
                let position = paging.open(token);
                Some(
                    position
                        .ok_or_else(|| AppError::invalid("page_token", "is not one that was given for this list"))?,
                )
            }
        };
        Ok(Self { after, ..paging })
    }

    /// The last record of the page before.
    #[must_use]
    pub const fn after(&self) -> Option<&Position> {
        self.after.as_ref()
    }

    /// The page, from the rows that were found for it.
    #[must_use]
    pub fn end<T: Sorted>(&self, rows: Vec<T>) -> Listed<T> {
        Listed::new(rows, &self.listing.page, |last| self.token(last))
    }

    /// The token for what comes after this record.
    #[must_use]
    pub fn token<T: Sorted>(&self, last: &T) -> String {
        let position = format!("{}\n{}", last.id(), last.key(self.listing.order.field));
        format!("{}{position}", self.seal(&position))
    }

    /// 64 hexadecimal digits, then the position.
    fn open(&self, token: &str) -> Option<Position> {
        let (tag, position) = token.split_at_checked(64)?;
        let mut mac = self.mac.clone();
        mac.update(position.as_bytes());
        mac.verify_slice(&KeyHash::from_hex(tag)?.0).ok()?;
        let (id, key) = position.split_once('\n')?;
        Some(Position { id: id.to_owned(), key: key.to_owned() })
    }

    fn seal(&self, position: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(position.as_bytes());
        KeyHash(mac.finalize().into_bytes().into()).to_hex()
    }
}
