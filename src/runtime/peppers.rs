//! The peppers of a server: from its folder of key files, or as they are given in the environment; and the task that looks for
//! others while it runs, and stores secrets anew that were used.
//!
//! The database knows which there are by their fingerprints, and from when on each is used for new secrets. One that is at hand
//! and that it does not know waits: until `tollreeve peppers rotate` says that every server has it.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use tokio::time::MissedTickBehavior;

use super::keyring::{self, KeyringError, Secret};
use crate::{
    app::{App, peppers},
    config::{Config, peppers::GivenPepper},
    domain::{
        key_secret::Pepper,
        peppers::{KnownPepper, PepperVersion, Peppers},
        time::Timestamp,
    },
    store::{self, Db, keyring::pepper_name},
};

/// How often secrets that were used are stored anew.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for peppers, in turns of that.
const LOOK: u32 = 2;

/// Where peppers come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Files in a folder.
    Folder(PathBuf),
    /// What is set.
    Given(Vec<GivenPepper>),
}

/// The peppers at hand, by version.
type AtHand = BTreeMap<PepperVersion, Secret>;

impl Source {
    /// Where the settings say.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        config.peppers.clone().map_or_else(|| Self::Folder(config.keys_dir.clone()), Self::Given)
    }

    /// Where a version is, or would be.
    fn place(&self, version: PepperVersion) -> PathBuf {
        match self {
            Self::Folder(folder) => keyring::path_of(folder, &pepper_name(version)),
            Self::Given(_) => format!("version {version} of TOLLREEVE_PEPPERS").into(),
        }
    }

    /// Reads those that are there.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn read(&self) -> Result<AtHand, KeyringError> {
        match self {
            Self::Given(given) => given
                .iter()
                .map(|one| Ok((one.version, self.checked(one.version, one.bytes.expose_secret())?)))
                .collect(),
            Self::Folder(folder) => {
                let mut found = AtHand::new();
                let mut version = Some(PepperVersion::FIRST);
                while let Some(one) = version {
                    if let Some(bytes) = keyring::read(&keyring::path_of(folder, &pepper_name(one)))? {
                        found.insert(one, self.checked(one, &bytes)?);
                    }
                    version = one.next();
                }
                // Nothing to read is no reason to take every pepper for removed when the folder itself is away.
                if found.is_empty()
                    && fs::metadata(folder).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
                {
                    return Err(KeyringError::Missing(folder.clone()));
                }
                Ok(found)
            }
        }
    }

    fn checked(&self, version: PepperVersion, bytes: &[u8]) -> Result<Secret, KeyringError> {
        if bytes.len() == 32 {
            Ok(Secret::new(bytes.to_vec()))
        } else {
            Err(KeyringError::Malformed(self.place(version)))
        }
    }
}

/// How to tell a pepper without knowing it.
fn known(version: PepperVersion, secret: &Secret, since: Timestamp) -> KnownPepper {
    KnownPepper { version, fingerprint: keyring::fingerprint(secret), since }
}

/// Reads the peppers of a database, or makes the first at its first start.
///
/// # Errors
/// [`KeyringError`]: the one in use must be at hand, and each must be the one that the database knows.
pub async fn open(db: &Db, source: &Source, now: Timestamp) -> Result<Peppers, KeyringError> {
    if store::keyring::peppers(&mut db.read().await?).await?.is_empty() {
        let mut here = source.read()?;
        if let (true, Source::Folder(folder)) = (here.is_empty(), source) {
            here.insert(PepperVersion::FIRST, make(folder, PepperVersion::FIRST)?);
        }
        let mut tx = db.begin().await?;
        for (version, secret) in &here {
            let _ = store::keyring::put_pepper(&mut tx, &known(*version, secret, Timestamp::from_micros(0))).await?;
        }
        tx.commit().await?;
    }
    look(db, source, now).await
}

/// Reads the peppers that are at hand and that the database knows.
///
/// # Errors
/// As [`open`].
pub async fn look(db: &Db, source: &Source, now: Timestamp) -> Result<Peppers, KeyringError> {
    let known = store::keyring::peppers(&mut db.read().await?).await?;
    let here = source.read()?;
    let mut peppers = Vec::new();
    for KnownPepper { version, fingerprint, .. } in &known {
        let Some(secret) = here.get(version) else { continue };
        if keyring::fingerprint(secret) != *fingerprint {
            return Err(KeyringError::Other(source.place(*version)));
        }
        let bytes: [u8; 32] =
            secret.as_slice().try_into().map_err(|_| KeyringError::Malformed(source.place(*version)))?;
        peppers.push((*version, Pepper::new(&bytes)));
    }
    let in_use =
        known.iter().rev().find(|known| known.since <= now).map_or(PepperVersion::FIRST, |known| known.version);
    Peppers::new(peppers, in_use).ok_or_else(|| KeyringError::Missing(source.place(in_use)))
}

/// Makes a pepper in a folder.
fn make(folder: &std::path::Path, version: PepperVersion) -> Result<Secret, KeyringError> {
    let path = keyring::path_of(folder, &pepper_name(version));
    let secret = keyring::random_key().ok_or_else(|| KeyringError::Malformed(path.clone()))?;
    keyring::write(folder, &path, &secret)?;
    Ok(secret)
}

/// The pepper that is to follow the others: one that is at hand and that the database does not know, or, in a folder, a new one.
/// `None` when there can be none: it must be given to every server first, or there are 63 already.
///
/// # Errors
/// [`KeyringError`].
pub async fn next(db: &Db, source: &Source, since: Timestamp) -> Result<Option<KnownPepper>, KeyringError> {
    let all = store::keyring::peppers(&mut db.read().await?).await?;
    let here = source.read()?;
    let Some(newest) = all.last() else { return Ok(None) };
    if let Some((version, secret)) = here.range(newest.version..).find(|(version, _)| **version != newest.version) {
        return Ok(Some(known(*version, secret, since)));
    }
    match (source, newest.version.next()) {
        (Source::Folder(folder), Some(version)) => Ok(Some(known(version, &make(folder, version)?, since))),
        _ => Ok(None),
    }
}

/// Says how many secrets cannot be checked any more, if there are any.
pub fn tell(unchecked: usize, peppers: &Peppers) {
    if unchecked > 0 {
        let here: Vec<String> = peppers.versions().map(|version| version.to_string()).collect();
        let here = here.join(" ");
        tracing::error!(
            secrets = unchecked,
            here,
            "keys are refused: the pepper that they are hashed under was removed"
        );
    }
}

/// Looks for peppers, and stores secrets anew, for as long as the server runs.
pub async fn run(app: Arc<App>, source: Source) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut turn, mut complaint) = (0u32, String::new());
    loop {
        ticks.tick().await;
        turn += 1;
        if turn.is_multiple_of(LOOK) {
            let told = match look(&app.db, &source, app.clock.now()).await {
                Ok(peppers) => {
                    take_in(&app, peppers);
                    String::new()
                }
                Err(error) => error.to_string(),
            };
            if !told.is_empty() && told != complaint {
                tracing::error!(error = told, "the peppers stay what they were");
            }
            complaint = told;
        }
        if let Err(error) = peppers::store_aged(&app).await {
            tracing::warn!(%error, "secrets that were used wait to be stored under the newest pepper");
        }
    }
}

/// Takes in what is at hand now, if it is something else.
fn take_in(app: &App, peppers: Peppers) {
    if app.peppers().versions().eq(peppers.versions()) {
        return;
    }
    tracing::info!(in_use = %peppers.in_use(), "there are other peppers");
    let unchecked = app.gate.set_peppers(peppers);
    tell(unchecked, &app.peppers());
}
