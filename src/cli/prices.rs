//! Brings prices into a server's list.

use std::path::Path;

use anyhow::Context as _;

use super::client::{Connection, failed};
use crate::{
    domain::{
        price_file::{self, PriceFile, Unused},
        prices::Price,
    },
    pb::tollreeve::v1 as pb,
};

/// Most prices that the server takes in one call.
const BATCH: usize = 1000;
/// Most complaints about a file that are printed; their number is told in any case.
const SHOWN: usize = 10;

/// Reads a price file and says on standard error which of its entries cannot be used.
///
/// # Errors
/// When the file cannot be read or is not a JSON object.
pub fn read(path: &Path) -> anyhow::Result<Vec<Price>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let PriceFile { prices, broken, skipped } =
        price_file::parse(&text).with_context(|| format!("`{}` is not a price file", path.display()))?;
    for Unused { name, line, reason } in broken.iter().take(SHOWN) {
        eprintln!("{}:{line}: `{name}` is not used: {reason}", path.display());
    }
    eprintln!(
        "{}: {} prices; {} entries not used, {} not priced by token",
        path.display(),
        prices.len(),
        broken.len(),
        skipped.len()
    );
    Ok(prices)
}

/// Adds the prices to the server's list, or replaces those of the same provider and model. Answers how many are new
/// or different.
///
/// # Errors
/// When the server refuses; batches sent before that stay.
pub async fn import(connection: &Connection, prices: &[Price]) -> anyhow::Result<i32> {
    let mut changed = 0;
    for batch in prices.chunks(BATCH) {
        let request = pb::ImportPricesRequest { prices: batch.iter().map(message).collect() };
        let answer = connection.budgets().import_prices(request).await.map_err(failed("cannot import the prices"))?;
        changed += answer.into_inner().changed;
    }
    Ok(changed)
}

fn message(price: &Price) -> pb::Price {
    pb::Price {
        provider: price.provider.clone(),
        model: price.model.clone(),
        input_nanos_per_million: price.input,
        output_nanos_per_million: price.output,
        cached_input_nanos_per_million: price.cached_input,
        cache_write_nanos_per_million: price.cache_write,
        request_nanos_per_million: price.request,
    }
}
