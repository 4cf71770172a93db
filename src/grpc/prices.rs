//! What messages of prices mean.

use std::collections::HashMap;

use super::parse::{self, FieldError, invalid};
use crate::{
    app::prices::{ImportPrices, ListPrices, PricesImported},
    domain::{money::MAX_AMOUNT, prices::Price},
    pb::tollreeve::v1 as pb,
};

/// Most prices in a call.
const MAX_PRICES: usize = 1000;
/// Longest name of a provider, in characters.
const MAX_PROVIDER: usize = 64;
/// Longest name of a model, in characters.
const MAX_MODEL: usize = 256;

impl From<Price> for pb::Price {
    fn from(price: Price) -> Self {
        Self {
            provider: price.provider,
            model: price.model,
            input_nanos_per_million: price.input,
            output_nanos_per_million: price.output,
            cached_input_nanos_per_million: price.cached_input,
            cache_write_nanos_per_million: price.cache_write,
            request_nanos_per_million: price.request,
        }
    }
}

/// Reads one price of a call.
fn price((i, price): (usize, pb::Price)) -> Result<Price, FieldError> {
    let field = |name: &str| format!("prices[{i}].{name}");
    let text = |name: &str, text: String, most: usize| {
        if text.is_empty() {
            Err(invalid(field(name), "is required"))
        } else {
            parse::bounded(&field(name), text, most)
        }
    };
    let nanos = |name: &str, amount: i64| parse::within(&field(name), amount, 0, MAX_AMOUNT);
    let optional = |name: &str, amount: Option<i64>| amount.map(|amount| nanos(name, amount)).transpose();
    Ok(Price {
        id: 0,
        provider: text("provider", price.provider, MAX_PROVIDER)?,
        model: text("model", price.model, MAX_MODEL)?,
        input: nanos("input_nanos_per_million", price.input_nanos_per_million)?,
        output: nanos("output_nanos_per_million", price.output_nanos_per_million)?,
        cached_input: optional("cached_input_nanos_per_million", price.cached_input_nanos_per_million)?,
        cache_write: optional("cache_write_nanos_per_million", price.cache_write_nanos_per_million)?,
        request: nanos("request_nanos_per_million", price.request_nanos_per_million)?,
    })
}

impl TryFrom<pb::ImportPricesRequest> for ImportPrices {
    type Error = FieldError;

    fn try_from(request: pb::ImportPricesRequest) -> Result<Self, FieldError> {
        if !(1..=MAX_PRICES).contains(&request.prices.len()) {
            return Err(invalid("prices", format!("must be 1 to {MAX_PRICES}")));
        }
        let prices: Vec<Price> = request.prices.into_iter().enumerate().map(price).collect::<Result<_, _>>()?;
        let mut places = HashMap::new();
        for (i, price) in prices.iter().enumerate() {
            if let Some(first) = places.insert((&price.provider, &price.model), i) {
                return Err(invalid(format!("prices[{i}]"), format!("is for the same model as prices[{first}]")));
            }
        }
        drop(places);
        Ok(Self { prices })
    }
}

impl From<PricesImported> for pb::ImportPricesResponse {
    fn from(imported: PricesImported) -> Self {
        // At most `MAX_PRICES`.
        Self { changed: i32::try_from(imported.changed).unwrap_or(i32::MAX), revision: imported.revision }
    }
}

impl TryFrom<pb::ListPricesRequest> for ListPrices {
    type Error = FieldError;

    fn try_from(request: pb::ListPricesRequest) -> Result<Self, FieldError> {
        Ok(Self { page: parse::page(request.page_size, &request.page_token)? })
    }
}

answers_page!(Price as prices: ListPricesResponse);
