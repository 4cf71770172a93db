//! Use cases of prices: of the list that is the same for every tenant, and of a tenant's own, which come before it.

use std::{collections::HashMap, sync::Arc};

use super::{App, AppError, Listed, Work, caller::Caller, context::Audit};
use crate::{
    domain::{
        bindings::Scope,
        change::Change,
        id::TenantId,
        names::{AuditEventName, PriceVersionName, TenantName},
        permission::Permission,
        price_file::PriceFile,
        price_versions::{DatedPrice, FURTHEST, PriceChange, PriceVersion},
        prices::Price,
        tenants::Tenant,
        time::Timestamp,
    },
    store::{self, Page, Tx},
};

/// Between provider and model in a cursor: neither has control characters.
const SEPARATOR: char = '\n';

/// Asks for prices to count.
#[derive(Debug)]
pub struct ImportPrices {
    /// Whose; `None` for those that are the same for every tenant.
    pub parent: Option<TenantName>,
    /// From when on; `None` for at once.
    pub effective: Option<Timestamp>,
    /// The prices, each provider's model once; their ids do not matter.
    pub prices: Vec<Price>,
}

/// Asks for the prices of a file to count.
#[derive(Debug)]
pub struct ImportPriceFile {
    /// Whose; `None` for those that are the same for every tenant.
    pub parent: Option<TenantName>,
    /// From when on; `None` for at once.
    pub effective: Option<Timestamp>,
    /// What the file holds.
    pub file: PriceFile,
    /// Only look what it would change.
    pub validate_only: bool,
}

/// Asks for the content of a version to count again.
#[derive(Debug)]
pub struct RollBackPrices {
    /// Which.
    pub name: PriceVersionName,
    /// From when on; `None` for at once.
    pub effective: Option<Timestamp>,
    /// Only look what it would change.
    pub validate_only: bool,
}

/// Asks for prices.
#[derive(Debug)]
pub struct ListPrices {
    /// Whose; `None` for those that are the same for every tenant.
    pub parent: Option<TenantName>,
    /// Those that count then; `None` for now.
    pub at: Option<Timestamp>,
    /// Which page.
    pub page: Page,
}

/// Asks for versions.
#[derive(Debug)]
pub struct ListPriceVersions {
    /// Whose; `None` for those that are the same for every tenant.
    pub parent: Option<TenantName>,
    /// Which page.
    pub page: Page,
}

/// Asks for a version and what it changed.
#[derive(Debug)]
pub struct GetPriceVersion {
    /// Which.
    pub name: PriceVersionName,
    /// Which page of what it changed.
    pub page: Page,
}

/// The prices count, or will.
#[derive(Debug)]
pub struct PricesChanged {
    /// How many were new, different or taken away.
    pub changed: usize,
    /// The revision at which decisions know them.
    pub revision: i64,
    /// The version that it made; `None` when nothing changed.
    pub version: Option<PriceVersionName>,
}

/// The prices of a file count, or will.
#[derive(Debug)]
pub struct PriceFileImported {
    /// The prices.
    pub imported: PricesChanged,
    /// What the file held.
    pub file: PriceFile,
}

/// A version under its name.
#[derive(Debug)]
pub struct NamedVersion {
    /// The name.
    pub name: PriceVersionName,
    /// The version; who made it is empty for who may not know that.
    pub version: PriceVersion,
    /// Its event in the audit log, if that is known and the caller may know it.
    pub event: Option<AuditEventName>,
}

/// A version and a page of what it changed.
#[derive(Debug)]
pub struct VersionRead {
    /// The version.
    pub version: NamedVersion,
    /// What it changed.
    pub changes: Listed<PriceChange>,
}

/// What goes on record for a version.
#[derive(serde::Serialize)]
struct VersionRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a PriceVersion>,
    prices: &'a [Price],
}

/// A version on its way.
struct Draft<'a> {
    work: Work<'a>,
    parent: Option<TenantName>,
    version: PriceVersion,
    /// The prices that would count then without it.
    known: HashMap<(String, String), DatedPrice>,
    before: Vec<Price>,
    after: Vec<Price>,
    removed: Vec<Price>,
}

/// Lets prices count from a moment on, all or none. What changes is a new version.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn import(app: Arc<App>, caller: Caller, asked: ImportPrices) -> Result<PricesChanged, AppError> {
    put_in_force(&app, &caller, asked).await
}

/// Lets the prices of a file count from a moment on, all or none.
pub async fn import_file(
    app: Arc<App>,
    mut caller: Caller,
    asked: ImportPriceFile,
) -> Result<PriceFileImported, AppError> {
    let ImportPriceFile { parent, effective, file, validate_only } = asked;
    caller.intent.validate_only = validate_only;
    let prices = file.prices.clone();
    let imported = put_in_force(&app, &caller, ImportPrices { parent, effective, prices }).await?;
    Ok(PriceFileImported { imported, file })
}

async fn put_in_force(app: &App, caller: &Caller, asked: ImportPrices) -> Result<PricesChanged, AppError> {
    let mut draft = Draft::begin(app, caller, asked.parent, asked.effective).await?;
    for price in asked.prices {
        draft.set(price);
    }
    draft.finish("prices.import").await
}

/// Lets the content of a version count again, as a new version.
pub async fn roll_back(app: Arc<App>, mut caller: Caller, asked: RollBackPrices) -> Result<PricesChanged, AppError> {
    let RollBackPrices { name, effective, validate_only } = asked;
    caller.intent.validate_only = validate_only;
    let mut draft = Draft::begin(&app, &caller, name.parent.clone(), effective).await?;
    let owner = draft.version.owner;
    let content = if name.number == 0 {
        HashMap::new()
    } else {
        let found = store::prices::version_by_number(&mut draft.work.tx, owner, name.number).await?;
        let (version, last) = found.ok_or_else(|| AppError::NotFound(name.to_string()))?;
        in_force(&mut draft.work.tx, owner, (version.effective, last)).await?
    };
    draft.version.restores = Some(name.number);
    let gone = draft.known.iter().filter(|(place, _)| !content.contains_key(*place));
    draft.removed = gone.map(|(_, dated)| dated.price.clone()).collect();
    let others = content.into_values().map(|dated| dated.price).filter(|price| !draft.has(price));
    let mut others: Vec<Price> = others.collect();
    others.sort_unstable_by_key(place);
    draft.removed.sort_unstable_by_key(place);
    for price in others {
        draft.set(price);
    }
    draft.finish("prices.rollBack").await
}

/// An owner's prices that count when everything up to a moment and id does.
async fn in_force(
    tx: &mut Tx,
    owner: Option<TenantId>,
    until: (Timestamp, i64),
) -> Result<HashMap<(String, String), DatedPrice>, AppError> {
    let all = store::prices::list(tx, owner, until, ("", ""), i64::MAX).await?;
    Ok(all.into_iter().map(|dated| (place(&dated.price), dated)).collect())
}

fn place(price: &Price) -> (String, String) {
    (price.provider.clone(), price.model.clone())
}

/// The system's own tenant, in whose audit log stands what is done to the list that is the same for all.
fn system() -> Result<TenantName, AppError> {
    format!("tenants/{}", Tenant::SYSTEM).parse().map_err(|_| AppError::NotFound(Tenant::SYSTEM.to_owned()))
}

/// The moment from which on what is made now counts: not before anything that was made before, whatever clock that went by.
async fn moment(tx: &mut Tx, owner: Option<TenantId>, now: Timestamp) -> Result<(i64, Timestamp), AppError> {
    let (last, made) = store::prices::last_version(tx, owner).await?;
    Ok((last, made.max(now)))
}

impl<'a> Draft<'a> {
    async fn begin(
        app: &'a App,
        caller: &'a Caller,
        parent: Option<TenantName>,
        effective: Option<Timestamp>,
    ) -> Result<Self, AppError> {
        let mut work = if let Some(tenant) = &parent {
            let work = app.change(caller, &tenant.tenant, tenant).await?;
            work.require(Permission::BillingWrite, work.scope())?;
            work
        } else {
            // Before the system tenant is spoken of: a caller without the permission may not know of it.
            let (tx, authority) = app.authority(caller).await?;
            if !authority.on(Scope::Platform).has(Permission::PricesWrite) {
                return Err(AppError::Forbidden(Permission::PricesWrite));
            }
            drop(tx);
            let work = app.change(caller, &system()?.tenant, &system()?).await?;
            work.require(Permission::PricesWrite, Scope::Platform)?;
            work
        };
        let owner = parent.as_ref().map(|_| work.tenant.id);
        let (last, created) = moment(&mut work.tx, owner, work.now).await?;
        let effective = effective.unwrap_or(created);
        if effective < created || effective > created.after(FURTHEST) {
            return Err(AppError::invalid("effective_time", "must not be in the past, nor more than ten years ahead"));
        }
        let known = in_force(&mut work.tx, owner, (effective, i64::MAX)).await?;
        let version = PriceVersion {
            owner,
            number: last + 1,
            effective,
            created,
            actor: caller.name.clone(),
            audit_seq: work.next_event(),
            restores: None,
            sets: 0,
            removals: 0,
        };
        Ok(Self { work, parent, version, known, before: Vec::new(), after: Vec::new(), removed: Vec::new() })
    }

    /// Whether the same price would count then anyway.
    fn has(&self, price: &Price) -> bool {
        self.known.get(&place(price)).is_some_and(|known| known.price.is_as(price))
    }

    /// Sets a price, unless it is so already. A price that is the same and counts sooner says nothing about the moment of this
    /// version: until then another may take its place.
    fn set(&mut self, price: Price) {
        let at_once = self.version.effective <= self.version.created;
        let known = self.known.get(&place(&price));
        if known
            .is_some_and(|known| known.price.is_as(&price) && (at_once || known.effective == self.version.effective))
        {
            return;
        }
        self.before.extend(known.map(|known| known.price.clone()));
        self.after.push(price);
    }

    async fn finish(mut self, action: &'static str) -> Result<PricesChanged, AppError> {
        let changed = self.after.len() + self.removed.len();
        if changed == 0 {
            return Ok(PricesChanged { changed, revision: self.work.unchanged().await?, version: None });
        }
        let count = |list: &Vec<Price>| i64::try_from(list.len()).unwrap_or(i64::MAX);
        (self.version.sets, self.version.removals) = (count(&self.after), count(&self.removed));
        let first = store::prices::take_ids(&mut self.work.tx, self.version.sets + self.version.removals).await?;
        store::prices::put_version(&mut self.work.tx, &self.version).await?;
        let mut all = Vec::with_capacity(changed);
        let set = self.after.iter().map(|price| (price, false)).chain(self.removed.iter().map(|price| (price, true)));
        for ((price, removed), id) in set.zip(first..) {
            let PriceVersion { owner, number: version, effective, created, .. } = self.version;
            let price = if removed {
                Price { id, provider: price.provider.clone(), model: price.model.clone(), ..Price::default() }
            } else {
                Price { id, ..price.clone() }
            };
            let dated = DatedPrice { price, removed, owner, version, effective, created };
            store::prices::put(&mut self.work.tx, &dated).await?;
            all.push(dated);
        }
        let name = PriceVersionName { parent: self.parent, number: self.version.number };
        self.before.append(&mut self.removed);
        let before = VersionRecord { version: None, prices: &self.before };
        let after = VersionRecord { version: Some(&self.version), prices: &self.after };
        let audit = Audit::new(action, &name, Some(&before), Some(&after));
        self.work.emit(Change::Prices(all));
        Ok(PricesChanged { changed, revision: self.work.commit(audit).await?, version: Some(name) })
    }
}

/// Begins to read the prices of somebody; gives whether the caller may know who made them, too.
async fn read(
    app: &App,
    caller: &Caller,
    parent: Option<&TenantName>,
) -> Result<(Tx, Option<TenantId>, bool), AppError> {
    let Some(tenant) = parent else {
        let (tx, authority) = app.authority(caller).await?;
        return Ok((tx, None, authority.on(Scope::Platform).has(Permission::PricesWrite)));
    };
    let work = app.read(caller, &tenant.tenant, tenant).await?;
    work.require(Permission::BillingRead, work.scope())?;
    let owner = Some(work.tenant.id);
    Ok((work.tx, owner, true))
}

/// Lists the prices that count.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListPrices) -> Result<Listed<Price>, AppError> {
    let (mut tx, owner, _) = read(&app, &caller, asked.parent.as_ref()).await?;
    let at = match asked.at {
        Some(at) => at,
        None => moment(&mut tx, owner, app.clock.now()).await?.1,
    };
    let after = asked.page.after.split_once(SEPARATOR).unwrap_or_default();
    let rows = store::prices::list(&mut tx, owner, (at, i64::MAX), after, asked.page.limit).await?;
    let rows = rows.into_iter().map(|dated| dated.price).collect();
    Ok(Listed::new(rows, &asked.page, cursor))
}

fn cursor(price: &Price) -> String {
    format!("{}{SEPARATOR}{}", price.provider, price.model)
}

/// Lists versions, the last first.
pub async fn versions(
    app: Arc<App>,
    caller: Caller,
    asked: ListPriceVersions,
) -> Result<Listed<NamedVersion>, AppError> {
    let (mut tx, owner, may_know) = read(&app, &caller, asked.parent.as_ref()).await?;
    let before = asked.page.after.parse().unwrap_or(i64::MAX);
    let rows = store::prices::versions(&mut tx, owner, before, asked.page.limit).await?;
    let listed = Listed::new(rows, &asked.page, |version| version.number.to_string());
    let system = system()?;
    Ok(listed.map(|version| named(asked.parent.as_ref(), &system, version, may_know)))
}

fn named(parent: Option<&TenantName>, system: &TenantName, version: PriceVersion, may_know: bool) -> NamedVersion {
    let tenant = parent.unwrap_or(system).tenant.clone();
    let seq = version.audit_seq;
    NamedVersion {
        name: PriceVersionName { parent: parent.cloned(), number: version.number },
        event: (may_know && seq != 0).then_some(AuditEventName { tenant, seq }),
        version: if may_know { version } else { PriceVersion { actor: String::new(), ..version } },
    }
}

/// Reads a version and a page of what it changed.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetPriceVersion) -> Result<VersionRead, AppError> {
    let PriceVersionName { parent, number } = &asked.name;
    let (mut tx, owner, may_know) = read(&app, &caller, parent.as_ref()).await?;
    let found = store::prices::version_by_number(&mut tx, owner, *number).await?;
    let (version, _) = found.ok_or_else(|| AppError::NotFound(asked.name.to_string()))?;
    let after = asked.page.after.split_once(SEPARATOR).unwrap_or_default();
    let changes = store::prices::changes(&mut tx, owner, *number, after, asked.page.limit).await?;
    let changes = Listed::new(changes, &asked.page, |change| {
        change.after.as_ref().or(change.before.as_ref()).map(cursor).unwrap_or_default()
    });
    Ok(VersionRead { version: named(parent.as_ref(), &system()?, version, may_know), changes })
}
