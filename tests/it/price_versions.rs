//! Versions of the prices: what each changes, when it takes effect, and the way back.

use std::{collections::BTreeMap, time::Duration};

use tollreeve::{domain::time::Clock as _, pb::tollreeve::v1 as pb};
use tonic::Code;

use crate::harness::{
    both,
    client::{Client, assert_invalid, assert_refused},
    random::Random,
    server::Env,
    world::{MODEL, World},
};

both!(
    an_import_makes_a_version_and_a_version_can_be_brought_back,
    a_version_takes_effect_at_its_moment_on_every_server_by_itself,
    whatever_is_imported_for_whenever_the_prices_are_those_of_the_latest_moment,
    a_moment_or_a_version_that_cannot_be_names_its_field,
);

/// The price of a model by this many billionths a million input tokens.
pub fn price(model: &str, input: i64) -> pb::Price {
    pb::Price { provider: "p".into(), model: model.into(), input_nanos_per_million: input, ..Default::default() }
}

/// A time so many seconds from now.
pub fn ahead(env: &Env, seconds: i64) -> prost_types::Timestamp {
    let micros = env.clock.now().micros() + seconds * 1_000_000;
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1000).expect("less than a second"),
    }
}

pub async fn import(
    client: &Client,
    prices: Vec<pb::Price>,
    effective_time: Option<prost_types::Timestamp>,
) -> pb::ImportPricesResponse {
    let request = pb::ImportPricesRequest { prices, effective_time, ..Default::default() };
    client.prices().import_prices(request).await.expect("imported").into_inner()
}

/// Model and input price of everything in force then, but for what every world has.
pub async fn listed(client: &Client, effective_time: Option<prost_types::Timestamp>) -> Vec<(String, i64)> {
    let request = pb::ListPricesRequest { effective_time, ..Default::default() };
    let prices = client.prices().list_prices(request).await.expect("a list").into_inner().prices;
    let others = prices.into_iter().filter(|price| price.model != MODEL);
    others.map(|price| (price.model, price.input_nanos_per_million)).collect()
}

pub async fn version(client: &Client, number: i64) -> pb::GetPriceVersionResponse {
    let request = pb::GetPriceVersionRequest { name: format!("priceVersions/{number}"), ..Default::default() };
    client.prices().get_price_version(request).await.expect("a version").into_inner()
}

pub async fn roll_back(
    client: &Client,
    name: &str,
    effective_time: Option<prost_types::Timestamp>,
) -> pb::RollBackPricesResponse {
    let request = pb::RollBackPricesRequest { name: name.into(), effective_time, ..Default::default() };
    client.prices().roll_back_prices(request).await.expect("rolled back").into_inner()
}

fn of(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(model, input)| ((*model).to_owned(), *input)).collect()
}

fn change(before: Option<pb::Price>, after: Option<pb::Price>) -> pb::PriceChange {
    pb::PriceChange { before, after }
}

async fn an_import_makes_a_version_and_a_version_can_be_brought_back(env: &mut Env) {
    let operator = &env.operator;
    assert_eq!(import(operator, vec![price("a", 1), price("b", 2)], None).await.version, "priceVersions/1");
    let second = import(operator, vec![price("a", 1), price("b", 3), price("c", 4)], None).await;
    assert_eq!((second.changed, second.version.as_str()), (2, "priceVersions/2"));
    let same = import(operator, vec![price("b", 3)], None).await;
    assert_eq!((same.changed, same.version.as_str(), same.revision), (0, "", second.revision));
    let read = version(operator, 2).await;
    let changes = [change(Some(price("b", 2)), Some(price("b", 3))), change(None, Some(price("c", 4)))];
    assert_eq!(read.changes, changes);
    let of_second = read.version.expect("a version");
    assert_eq!((of_second.set_count, of_second.removed_count, of_second.restored_version.as_str()), (2, 0, ""));
    let event = pb::GetAuditEventRequest { name: of_second.audit_event };
    let event = operator.audit().get_audit_event(event).await.expect("its event").into_inner().event.expect("an event");
    assert_eq!((event.action.as_str(), event.resource.as_str()), ("prices.import", "priceVersions/2"));
    assert_eq!(event.actor, of_second.actor);
    // What it would do, and then what it does.
    let tried = pb::RollBackPricesRequest { name: "priceVersions/1".into(), validate_only: true, ..Default::default() };
    assert_eq!(operator.prices().roll_back_prices(tried).await.expect("tried").into_inner().changed, 2);
    assert_eq!(listed(operator, None).await, of(&[("a", 1), ("b", 3), ("c", 4)]));
    let back = roll_back(operator, "priceVersions/1", None).await;
    assert_eq!((back.changed, back.version.as_str()), (2, "priceVersions/3"));
    assert_eq!(listed(operator, None).await, of(&[("a", 1), ("b", 2)]));
    let read = version(operator, 3).await;
    let changes = [change(Some(price("b", 3)), Some(price("b", 2))), change(Some(price("c", 4)), None)];
    assert_eq!(read.changes, changes);
    assert_eq!(read.version.expect("a version").restored_version, "priceVersions/1");
    assert_eq!(roll_back(operator, "priceVersions/1", None).await.version, "", "it is so already");
    // What was taken away comes back, and older versions say what they said.
    assert_eq!(roll_back(operator, "priceVersions/2", None).await.changed, 2);
    assert_eq!(listed(operator, None).await, of(&[("a", 1), ("b", 3), ("c", 4)]));
    let names = async |client: &Client| {
        let mut request = pb::ListPriceVersionsRequest { page_size: 3, ..Default::default() };
        let mut page = client.prices().list_price_versions(request.clone()).await.expect("a list").into_inner();
        request.page_token = page.next_page_token;
        let rest = client.prices().list_price_versions(request).await.expect("a list").into_inner();
        page.versions.extend(rest.versions);
        page.versions
    };
    let all = names(operator).await;
    let numbers: Vec<_> = all.iter().map(|version| version.name.as_str()).collect();
    assert_eq!(numbers, ["priceVersions/4", "priceVersions/3", "priceVersions/2", "priceVersions/1"]);
    // Who made them is the operator's business.
    let world = World::new(env).await;
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let seen = names(&user).await;
    assert!(seen.iter().all(|version| version.actor.is_empty() && version.audit_event.is_empty()), "{seen:?}");
    let request = pb::RollBackPricesRequest { name: "priceVersions/1".into(), ..Default::default() };
    assert_eq!(user.prices().roll_back_prices(request).await.expect_err("refused").code(), Code::PermissionDenied);
}

/// The server once more on its database, and the world as it is there; the test goes on with another.
pub async fn restarted(env: &mut Env, world: &World) -> (Env, World) {
    let fresh = env.another().await;
    let old = std::mem::replace(env, fresh).restart().await;
    let world = world.through(old.server.addr());
    (old, world)
}

/// What a call of a million input tokens is held at, or that its price is not known.
pub async fn held(world: &World, model: &str) -> Option<i64> {
    let target = pb::Target { provider: "p".into(), model: model.into(), ..pb::Target::default() };
    let estimate = pb::Estimate { input_tokens: 1_000_000, ..pb::Estimate::default() };
    let ask = pb::AuthorizeRequest { target: Some(target), estimate: Some(estimate), ..world.ask() };
    let answer = world.sidecar.gate().authorize(ask).await.expect("an answer").into_inner();
    let unknown = answer.denials.iter().any(|denial| denial.code() == pb::DenialCode::PriceUnknown);
    assert!(unknown || answer.denials.is_empty(), "{:?}", answer.denials);
    answer.hold.map(|hold| hold.amounts[0].amount)
}

async fn a_version_takes_effect_at_its_moment_on_every_server_by_itself(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.tenant, 1_000_000_000).await;
    import(&env.operator, vec![price("a", 10)], None).await;
    let later = import(&env.operator, vec![price("a", 20), price("b", 5)], Some(ahead(env, 60))).await;
    assert_eq!(later.changed, 2);
    let again = import(&env.operator, vec![price("a", 20), price("b", 5)], Some(ahead(env, 60))).await;
    assert_eq!((again.changed, again.version.as_str()), (0, ""), "it is to be so already");
    assert_eq!((held(&world, "a").await, held(&world, "b").await), (Some(10), None));
    assert_eq!(listed(&env.operator, Some(ahead(env, 59))).await, of(&[("a", 10)]));
    let planned = listed(&env.operator, Some(ahead(env, 60))).await;
    assert_eq!(planned, of(&[("a", 20), ("b", 5)]));
    env.clock.advance(Duration::from_micros(59_999_999));
    assert_eq!((held(&world, "a").await, held(&world, "b").await), (Some(10), None));
    env.clock.advance(Duration::from_micros(1));
    assert_eq!((held(&world, "a").await, held(&world, "b").await), (Some(20), Some(5)));
    assert_eq!(listed(&env.operator, None).await, of(&[("a", 20), ("b", 5)]));
    // What is planned holds, although it is so already: by then it would not be.
    let same = import(&env.operator, vec![price("b", 5)], Some(ahead(env, 10))).await;
    assert_eq!(same.changed, 1);
    import(&env.operator, vec![price("b", 9)], None).await;
    assert_eq!(held(&world, "b").await, Some(9));
    env.clock.advance(Duration::from_secs(10));
    assert_eq!(held(&world, "b").await, Some(5));
    // One that is planned and undone before: the older one takes effect at the same moment.
    import(&env.operator, vec![price("a", 30), price("c", 1)], Some(ahead(env, 60))).await;
    assert_eq!(roll_back(&env.operator, &later.version, Some(ahead(env, 60))).await.changed, 2);
    // A server that starts meanwhile knows what is to come.
    import(&env.operator, vec![price("b", 6)], Some(ahead(env, 90))).await;
    let (old, world) = restarted(env, &world).await;
    assert_eq!((held(&world, "a").await, held(&world, "b").await), (Some(20), Some(5)));
    old.clock.advance(Duration::from_mins(1));
    assert_eq!((held(&world, "a").await, held(&world, "c").await), (Some(20), None));
    old.clock.advance(Duration::from_secs(30));
    assert_eq!(held(&world, "b").await, Some(6));
    old.end().await;
}

async fn whatever_is_imported_for_whenever_the_prices_are_those_of_the_latest_moment(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.tenant, 1_000_000_000_000).await;
    let mut random = Random::fresh("price versions");
    // For each model: moment, number and price, in the order in which they were made.
    let mut made: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    let mut now = 0i64;
    for turn in 1..=40 {
        let step = random.within(0, 3);
        env.clock.advance(Duration::from_secs(step.unsigned_abs()));
        now += step;
        let delay = if random.once_in(2) { 0 } else { random.within(0, 7) };
        let models: Vec<&str> = ["a", "b", "c"].into_iter().filter(|_| random.once_in(2)).collect();
        if models.is_empty() {
            continue;
        }
        let prices = models.iter().map(|model| price(model, turn)).collect();
        let at = (delay > 0 || random.once_in(2)).then(|| ahead(env, delay));
        import(&env.operator, prices, at).await;
        for model in models {
            made.entry(model).or_default().push((now + delay, turn));
        }
        for model in ["a", "b", "c"] {
            let in_force = |then: i64| {
                made.get(model).into_iter().flatten().filter(|(at, _)| *at <= then).max().map(|(_, price)| *price)
            };
            assert_eq!(held(&world, model).await, in_force(now), "{model} at {now}: {made:?}");
            let then = random.within(0, 7);
            let all = listed(&env.operator, Some(ahead(env, then))).await;
            let told = all.iter().find(|(listed, _)| listed == model).map(|(_, price)| *price);
            assert_eq!(told, in_force(now + then), "{model} at {now} + {then}: {made:?}");
        }
    }
}

async fn a_moment_or_a_version_that_cannot_be_names_its_field(env: &mut Env) {
    let mut prices = env.operator.prices();
    import(&env.operator, vec![price("a", 1)], None).await;
    env.clock.advance(Duration::from_secs(1));
    let import_at =
        |at| pb::ImportPricesRequest { prices: vec![price("a", 2)], effective_time: Some(at), ..Default::default() };
    let just_before = prost_types::Timestamp { nanos: 0, ..ahead(env, 0) };
    let moments = [
        ahead(env, -1),
        prost_types::Timestamp { seconds: just_before.seconds - 1, nanos: 999_999_000 },
        prost_types::Timestamp { seconds: 0, nanos: 0 },
        prost_types::Timestamp { seconds: i64::MIN, nanos: 0 },
        prost_types::Timestamp { seconds: i64::MAX, nanos: 0 },
        prost_types::Timestamp { seconds: 1, nanos: -1 },
        prost_types::Timestamp { seconds: i64::MAX / 1_000_000, nanos: 0 },
        ahead(env, 10 * 366 * 86_400),
    ];
    for at in moments {
        assert_invalid(prices.import_prices(import_at(at)).await, "effective_time");
        let back = pb::RollBackPricesRequest {
            name: "priceVersions/1".into(),
            effective_time: Some(at),
            ..Default::default()
        };
        assert_invalid(prices.roll_back_prices(back).await, "effective_time");
    }
    for name in [
        "",
        "1",
        "priceVersions",
        "priceVersions/",
        "priceVersions/x",
        "priceVersions/-1",
        "priceVersions/+1",
        "priceVersions/99999999999999999999",
        "tenants/acme/priceVersions/",
        "tenants/A!/priceVersions/1",
        "xpriceVersions/1",
        "/priceVersions/1",
    ] {
        let read = pb::GetPriceVersionRequest { name: name.into(), ..Default::default() };
        assert_invalid(prices.get_price_version(read).await, "name");
        let back = pb::RollBackPricesRequest { name: name.into(), ..Default::default() };
        assert_invalid(prices.roll_back_prices(back).await, "name");
    }
    for name in ["priceVersions/0", "priceVersions/2", "priceVersions/9223372036854775807"] {
        let read = pb::GetPriceVersionRequest { name: name.into(), ..Default::default() };
        assert_refused(prices.get_price_version(read).await, Code::NotFound, "RESOURCE_NOT_FOUND");
        if name != "priceVersions/0" {
            let back = pb::RollBackPricesRequest { name: name.into(), ..Default::default() };
            assert_refused(prices.roll_back_prices(back).await, Code::NotFound, "RESOURCE_NOT_FOUND");
        }
    }
    for bad in ["1e400", "1e999999999999", "-1e-9", "NaN", "Infinity"] {
        let content = format!(
            r#"{{"m": {{"litellm_provider": "p", "mode": "chat", "input_cost_per_token": {bad}, "output_cost_per_token": 1e-9}}}}"#
        );
        let request = pb::ImportPriceFileRequest { content: content.into(), ..Default::default() };
        match prices.import_price_file(request).await {
            Ok(answer) => assert_eq!((answer.get_ref().prices, answer.get_ref().total_notes), (0, 1), "{bad}"),
            refused => assert_invalid(refused, "content"),
        }
    }
    for bad in [i64::MIN, -1, i64::MAX] {
        let request = pb::ImportPricesRequest { prices: vec![price("a", bad)], ..Default::default() };
        assert_invalid(prices.import_prices(request).await, "prices[0].input_nanos_per_million");
    }
    assert_eq!(listed(&env.operator, None).await, of(&[("a", 1)]));
}
