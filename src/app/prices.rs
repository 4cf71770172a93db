//! Use cases of the price list, which is the same for every tenant.

use std::{collections::HashMap, sync::Arc};

use super::{App, AppError, Listed, caller::Caller, context::Audit};
use crate::{
    domain::{
        bindings::Scope, change::Change, names::TenantName, permission::Permission, price_file::PriceFile,
        prices::Price, tenants::Tenant,
    },
    store::{self, Page},
};

/// Between provider and model in a cursor: neither has control characters.
const SEPARATOR: char = '\n';

/// Asks for prices to be in force.
#[derive(Debug)]
pub struct ImportPrices {
    /// The prices, each provider's model once; their ids do not matter.
    pub prices: Vec<Price>,
}

/// Asks for the prices of a file to be in force.
#[derive(Debug)]
pub struct ImportPriceFile {
    /// What the file holds.
    pub file: PriceFile,
    /// Only look what it would change.
    pub validate_only: bool,
}

/// The prices of a file are in force.
#[derive(Debug)]
pub struct PriceFileImported {
    /// The prices.
    pub imported: PricesImported,
    /// What the file held.
    pub file: PriceFile,
}

/// Asks for the prices in force.
#[derive(Debug)]
pub struct ListPrices {
    /// Which page.
    pub page: Page,
}

/// The prices are in force.
#[derive(Debug)]
pub struct PricesImported {
    /// How many were new or different.
    pub changed: usize,
    /// The revision at which decisions see them.
    pub revision: i64,
}

/// Puts prices in force, all or none. A changed price is a new one: holds remember the price that they were taken at.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn import(app: Arc<App>, caller: Caller, asked: ImportPrices) -> Result<PricesImported, AppError> {
    put_in_force(&app, &caller, asked.prices).await
}

/// Puts the prices of a file in force, all or none.
pub async fn import_file(
    app: Arc<App>,
    mut caller: Caller,
    asked: ImportPriceFile,
) -> Result<PriceFileImported, AppError> {
    caller.intent.validate_only = asked.validate_only;
    let imported = put_in_force(&app, &caller, asked.file.prices.clone()).await?;
    Ok(PriceFileImported { imported, file: asked.file })
}

async fn put_in_force(app: &App, caller: &Caller, prices: Vec<Price>) -> Result<PricesImported, AppError> {
    // Before the system tenant is spoken of: a caller without the permission may not know of it.
    let (tx, authority) = app.authority(caller).await?;
    if !authority.on(Scope::Platform).has(Permission::PricesWrite) {
        return Err(AppError::Forbidden(Permission::PricesWrite));
    }
    drop(tx);
    let system: TenantName =
        format!("tenants/{}", Tenant::SYSTEM).parse().map_err(|_| AppError::NotFound(Tenant::SYSTEM.to_owned()))?;
    let mut work = app.change(caller, &system.tenant, &system).await?;
    work.require(Permission::PricesWrite, Scope::Platform)?;
    let mut id = store::prices::last_id(&mut work.tx).await?;
    let mut known = HashMap::new();
    for price in store::prices::all_current(&mut work.tx).await? {
        known.insert((price.provider.clone(), price.model.clone()), price);
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for price in prices {
        let current = known.remove(&(price.provider.clone(), price.model.clone()));
        if current.as_ref().is_some_and(|current| current.is_as(&price)) {
            continue;
        }
        id += 1;
        let price = Price { id, ..price };
        store::prices::put(&mut work.tx, &price, work.now).await?;
        before.extend(current);
        after.push(price);
    }
    let changed = after.len();
    if changed == 0 {
        return Ok(PricesImported { changed, revision: work.unchanged().await? });
    }
    let audit = Audit::new("prices.import", &"prices", Some(&before), Some(&after));
    work.emit(Change::Prices(after));
    Ok(PricesImported { changed, revision: work.commit(audit).await? })
}

/// Lists the prices in force.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListPrices) -> Result<Listed<Price>, AppError> {
    let (mut tx, _) = app.authority(&caller).await?;
    let after = asked.page.after.split_once(SEPARATOR).unwrap_or_default();
    let rows = store::prices::list(&mut tx, after, asked.page.limit).await?;
    Ok(Listed::new(rows, &asked.page, |price| format!("{}{SEPARATOR}{}", price.provider, price.model)))
}
