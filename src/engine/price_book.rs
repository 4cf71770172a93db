//! The prices that count, those that will, and those that holds may remember.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{
    charge::ChargeAsk,
    hold_token::OwnClaims,
    state::{State, TenantRow},
    subject::Subject,
};
use crate::domain::{
    id::TenantId,
    meters::Metered,
    money::Nanos,
    price_versions::DatedPrice,
    prices::{Ceiling, Price, Usage},
    time::Timestamp,
};

/// Stands for the price of a charge that was charged at a ceiling.
pub const AT_CEILING: i64 = -1;

/// The price that a hold was placed at, and by which it is charged, whatever counts by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeldPrice {
    /// There was none.
    #[default]
    Unknown,
    /// The price with this id.
    Listed(i64),
    /// The ceiling of its workspace.
    Ceiling(Ceiling),
}

impl HeldPrice {
    /// The id of the price; 0 for none, [`AT_CEILING`] for a ceiling.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Unknown => 0,
            Self::Listed(id) => id,
            Self::Ceiling(_) => AT_CEILING,
        }
    }
}

/// The newest price of each provider, by model.
type Models = HashMap<Box<str>, SmallVec<[Arc<DatedPrice>; 2]>>;

/// Every price that decisions know.
#[derive(Default)]
pub struct PriceBook {
    /// By id, those that do not count any more among them.
    by_id: HashMap<i64, Arc<DatedPrice>>,
    /// Those that count for every tenant.
    current: Models,
    /// Those that count before them, for tenants that have any.
    own: HashMap<TenantId, Models>,
    /// Those whose moment is still to come, soonest first.
    coming: BTreeMap<(Timestamp, i64), Arc<DatedPrice>>,
}

impl PriceBook {
    /// Takes a price in. It counts from its moment on: see [`PriceBook::turn`].
    pub fn put(&mut self, price: DatedPrice) {
        let price = Arc::new(price);
        self.by_id.insert(price.price.id, Arc::clone(&price));
        if price.at_once() {
            self.count(price);
        } else {
            self.coming.insert(price.order(), price);
        }
    }

    /// Whether the moment of a price has come that does not count yet.
    #[must_use]
    pub fn is_behind(&self, now: Timestamp) -> bool {
        self.coming.first_key_value().is_some_and(|((effective, _), _)| *effective <= now)
    }

    /// Lets the prices count whose moment has come.
    pub fn turn(&mut self, now: Timestamp) {
        while self.is_behind(now) {
            if let Some((_, price)) = self.coming.pop_first() {
                self.count(price);
            }
        }
    }

    /// Lets a price count, unless a later one does already.
    fn count(&mut self, price: Arc<DatedPrice>) {
        let models = match price.owner {
            Some(tenant) => self.own.entry(tenant).or_default(),
            None => &mut self.current,
        };
        let of_model = models.entry(price.price.model.as_str().into()).or_default();
        match of_model.iter_mut().find(|known| known.price.provider == price.price.provider) {
            Some(known) if known.order() <= price.order() => *known = price,
            Some(_) => {}
            None => of_model.push(price),
        }
    }

    /// Whether a hold was placed at a price that is not known here.
    #[must_use]
    pub fn lacks(&self, held: HeldPrice) -> bool {
        matches!(held, HeldPrice::Listed(id) if !self.by_id.contains_key(&id))
    }

    /// The price with this id, whether it counts or not.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&Price> {
        self.by_id.get(&id).map(|dated| &dated.price)
    }
}

/// The prices of a model in a list.
fn of_model<'s>(models: &'s Models, model: &str) -> impl Iterator<Item = &'s Price> + Clone {
    models.get(model).into_iter().flatten().filter(|dated| !dated.removed).map(|dated| &dated.price)
}

impl State {
    /// The price of a model that counts for a tenant: its own, and where it has none, that of all. Without a provider: that by
    /// which the usage costs most, so that a hold covers any.
    #[must_use]
    pub fn price(
        &self,
        tenant: &TenantRow,
        (provider, model): (&str, &str),
        usage: &Usage,
        metered: &Metered,
    ) -> Option<&Price> {
        let all = of_model(&self.prices.current, model);
        let own = tenant.has_prices.then(|| self.prices.own.get(&tenant.id)).flatten();
        let own = own.into_iter().flat_map(|models| of_model(models, model));
        if !provider.is_empty() {
            return own.chain(all).find(|price| price.provider == provider);
        }
        let others = all.filter(|price| own.clone().all(|own| own.provider != price.provider));
        own.clone().chain(others).max_by_key(|price| (price.cost(usage, metered).0, price.id))
    }
}

/// What a charge costs, and the number of its price: see [`HeldPrice::number`].
///
/// The sidecar's own figure comes first; then the price that the hold was placed at, for what it was placed for; then the price
/// of what served it instead. What served it and has no price costs the ceiling of the workspace, or what the hold was placed
/// at. With none of them the charge is recorded with its tokens and no cost: a fact is not refused.
pub(super) fn cost_of(
    state: &State,
    asked: &ChargeAsk,
    subject: &Subject<'_>,
    claims: Option<&OwnClaims>,
) -> (Nanos, i64) {
    if let Some(cost) = asked.cost {
        return (cost, 0);
    }
    let at = |price: &Price, number: i64| (price.cost(&asked.usage, &asked.metered), number);
    let known = |provider: &str, model: &str| {
        let price = state.price(subject.tenant, (provider, model), &asked.usage, &asked.metered)?;
        Some(at(price, price.id))
    };
    let ceiling = || Some(at(subject.workspace?.ceiling.as_deref()?, AT_CEILING));
    let Some(claims) = claims else {
        return known(&asked.served_provider, &asked.served_model).or_else(ceiling).unwrap_or_default();
    };
    let provider = if asked.served_provider.is_empty() { &*claims.provider } else { &*asked.served_provider };
    let model = if asked.served_model.is_empty() { &*claims.model } else { &*asked.served_model };
    let own;
    // Without a provider, the hold is placed at the price of the dearest one, or at a ceiling that is that of any.
    let held = match claims.price {
        HeldPrice::Listed(id) => state.prices.get(id).map(|price| (price, &*price.provider)),
        HeldPrice::Ceiling(ceiling) => {
            own = ceiling.price();
            Some((&own, &*claims.provider))
        }
        HeldPrice::Unknown => None,
    };
    let as_held = held.map(|(price, _)| at(price, claims.price.number()));
    let of_it = |(_, of): (&Price, &str)| provider.is_empty() || of.is_empty() || provider == of;
    if model == claims.model && held.is_some_and(of_it) {
        return as_held.unwrap_or_default();
    }
    let another = || if model == claims.model { None } else { ceiling() };
    let asked_for = || known(&asked.served_provider, &claims.model);
    known(provider, model).or_else(another).or_else(asked_for).or(as_held).or_else(ceiling).unwrap_or_default()
}
