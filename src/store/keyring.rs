//! Fingerprints of the key files that the database belongs to.

use super::{Inserted, Result, Tx, keys::version_of};
use crate::domain::{
    peppers::{KnownPepper, PepperVersion},
    time::Timestamp,
};

/// The name of the first pepper; the later ones have their number behind it.
const PEPPER: &str = "api-key-pepper";
/// The name under which a time is noted.
const CLOCK: &str = "clock";

/// The fingerprint kept under a name.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn get(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let row = fetch_optional!(tx, (String,), "SELECT fingerprint FROM keyring WHERE name = $1", name)?;
    Ok(row.map(|(fingerprint,)| fingerprint))
}

/// Keeps a fingerprint under a name, unless one is kept there already.
pub async fn set(tx: &mut Tx, name: &str, fingerprint: &str) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO keyring (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        name,
        fingerprint
    )?;
    Ok(rows.into())
}

/// The name of a pepper, here and of its file.
#[must_use]
pub fn pepper_name(version: PepperVersion) -> String {
    if version == PepperVersion::FIRST { PEPPER.to_owned() } else { format!("{PEPPER}-{version}") }
}

/// The peppers that the database knows, the oldest first.
pub async fn peppers(tx: &mut Tx) -> Result<Vec<KnownPepper>> {
    let rows = fetch_all!(tx, (String, String, i64), "SELECT name, fingerprint, since FROM keyring")?;
    let mut known = Vec::new();
    for (name, fingerprint, since) in rows {
        let Some(rest) = name.strip_prefix(PEPPER) else { continue };
        let number = if rest.is_empty() { Some(1) } else { rest.strip_prefix('-').and_then(|text| text.parse().ok()) };
        let version = version_of(number.unwrap_or_default())?;
        known.push(KnownPepper { version, fingerprint, since: Timestamp::from_micros(since) });
    }
    known.sort_by_key(|known| known.version);
    Ok(known)
}

/// Adds a pepper, unless its version is there.
pub async fn put_pepper(tx: &mut Tx, pepper: &KnownPepper) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO keyring (name, fingerprint, since) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        pepper_name(pepper.version),
        &pepper.fingerprint,
        pepper.since.micros(),
    )?;
    Ok(rows.into())
}

/// Notes the time, unless a later one is noted.
pub async fn note_time(tx: &mut Tx, now: Timestamp) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO keyring (name, fingerprint, since) VALUES ($1, '', $2)
         ON CONFLICT (name) DO UPDATE SET since = excluded.since WHERE keyring.since < excluded.since",
        CLOCK,
        now.micros(),
    )?;
    Ok(())
}

/// Notes the time, whatever is noted.
pub async fn set_time(tx: &mut Tx, now: Timestamp) -> Result<()> {
    execute!(tx, "UPDATE keyring SET since = $2 WHERE name = $1", CLOCK, now.micros())?;
    Ok(())
}

/// The time that is noted.
pub async fn noted_time(tx: &mut Tx) -> Result<Option<Timestamp>> {
    let row = fetch_optional!(tx, (i64,), "SELECT since FROM keyring WHERE name = $1", CLOCK)?;
    Ok(row.map(|(since,)| Timestamp::from_micros(since)))
}
