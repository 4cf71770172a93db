//! Pages of lists: where one begins, and the token for the next.
//!
//! A token says where the last page ended, authenticated together with the list it belongs to: whose records, which of
//! them and in which order. So it is good for the same list only, and nobody can make one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{App, AppError};
use crate::{
    domain::{key_secret::KeyHash, keyed::keyed, listing::Sorted},
    store::{
        Page,
        listing::{Listing, Position},
    },
};

/// What the key of the tokens is derived for.
const PURPOSE: &str = "page tokens";

/// A page of records.
#[derive(Debug)]
pub struct Listed<T> {
    /// The records.
    pub records: Vec<T>,
    /// Where the next page begins; empty after the last.
    pub next: String,
}

impl<T> Listed<T> {
    /// From the rows that were found for `page`, one of which may lie beyond it: see [`Page::limit`].
    pub fn new(mut rows: Vec<T>, page: &Page, cursor: impl Fn(&T) -> String) -> Self {
        let size = usize::try_from(page.limit - 1).unwrap_or_default();
        let more = rows.len() > size;
        rows.truncate(size);
        let next = if more { rows.last().map(cursor).unwrap_or_default() } else { String::new() };
        Self { records: rows, next }
    }

    /// The same page of other records.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Listed<U> {
        Listed { records: self.records.into_iter().map(f).collect(), next: self.next }
    }
}

/// A page of a list on its way.
pub struct Paging<'a> {
    listing: &'a Listing,
    mac: Hmac<Sha256>,
    /// Those of pages that were given under other peppers.
    others: Vec<Hmac<Sha256>>,
    after: Option<Position>,
}

impl<'a> Paging<'a> {
    /// Reads where the page begins. `list` is whose records are listed: `workspaces of ten_...`.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for a token that this server did not give for this list.
    pub fn begin(app: &App, list: &str, listing: &'a Listing) -> Result<Self, AppError> {
        let peppers = app.peppers();
        let of_list = |key: [u8; 32]| {
            let mut mac = keyed(&key);
            for part in [list, &listing.asked] {
                mac.update(&part.len().to_le_bytes());
                mac.update(part.as_bytes());
            }
            mac
        };
        let others = peppers.derive_others(PURPOSE).map(of_list).collect();
        let paging = Self { listing, mac: of_list(peppers.derive(PURPOSE)), others, after: None };
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
        Listed::new(rows, &self.listing.page, |last| self.token(&last.id(), &last.key(self.listing.order.field)))
    }

    /// The token for what comes after a record.
    #[must_use]
    pub fn token(&self, id: &str, key: &str) -> String {
        let position = format!("{id}\n{key}");
        format!("{}{position}", self.seal(&position))
    }

    /// 64 hexadecimal digits, then the position.
    fn open(&self, token: &str) -> Option<Position> {
        let (tag, position) = token.split_at_checked(64)?;
        let tag = KeyHash::from_hex(tag)?.0;
        let genuine = std::iter::once(&self.mac).chain(&self.others).any(|mac| {
            let mut mac = mac.clone();
            mac.update(position.as_bytes());
            mac.verify_slice(&tag).is_ok()
        });
        if !genuine {
            return None;
        }
        let (id, key) = position.split_once('\n')?;
        Some(Position { id: id.to_owned(), key: key.to_owned() })
    }

    fn seal(&self, position: &str) -> String {
        let mut mac = self.mac.clone();
        mac.update(position.as_bytes());
        KeyHash(mac.finalize().into_bytes().into()).to_hex()
    }
}
