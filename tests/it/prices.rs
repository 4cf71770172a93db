//! The price list: what a file brings into it, and what calls then cost.

use tollreeve::pb::tollreeve::v1::{self as pb, Meter, PriceFileNoteKind as Kind, ServiceTier};

use crate::harness::{
    both,
    client::assert_invalid,
    server::Env,
    world::{World, on_hold},
};

both!(
    a_price_file_is_imported_whole_and_what_is_not_understood_is_told,
    a_call_is_held_and_charged_by_tier_length_and_meter_and_is_on_record_so,
    a_quantity_that_cannot_be_names_its_field,
);

const FILE: &str = r#"{
    "p/chat": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-09, "output_cost_per_token": 2e-09,
        "input_cost_per_token_flex": 5e-10, "input_cost_per_token_above_200k_tokens": 3e-09,
        "input_cost_per_audio_token": 1e-08, "output_cost_per_image": 7e-06, "output_cost_per_acre": 1},
    "p/negative": {"litellm_provider": "p", "input_cost_per_token": -1, "output_cost_per_token": 1},
    "p/half": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1e-09},
    "p/fine": {"litellm_provider": "p", "mode": "audio_transcription", "input_cost_per_second": 1e-16}
}"#;

fn file(content: &str) -> pb::ImportPriceFileRequest {
    pb::ImportPriceFileRequest { content: content.to_owned().into(), ..Default::default() }
}

async fn a_price_file_is_imported_whole_and_what_is_not_understood_is_told(env: &mut Env) {
    let mut prices = env.operator.prices();
    let rehearsed = pb::ImportPriceFileRequest { validate_only: true, ..file(FILE) };
    let would = prices.import_price_file(rehearsed).await.expect("read").into_inner();
    assert_eq!((would.changed, would.prices, would.total_notes), (2, 2, 4));
    assert_eq!(prices.list_prices(pb::ListPricesRequest::default()).await.expect("a list").into_inner().prices, []);
    let answer = prices.import_price_file(file(FILE)).await.expect("imported").into_inner();
    let told: Vec<_> =
        answer.notes.iter().map(|note| (note.entry.as_str(), note.line, note.field.as_str(), note.kind())).collect();
    assert_eq!(
        told,
        [
            ("p/chat", 2, "output_cost_per_acre", Kind::Ignored),
            ("p/negative", 5, "", Kind::Broken),
            ("p/half", 6, "", Kind::Unpriced),
            ("p/fine", 7, "input_cost_per_second", Kind::Rounded),
        ]
    );
    let again = prices.import_price_file(file(FILE)).await.expect("imported").into_inner();
    assert_eq!((again.changed, again.revision), (0, answer.revision));
    let listed = prices.list_prices(pb::ListPricesRequest::default()).await.expect("a list").into_inner().prices;
    assert_eq!(listed.iter().map(|price| price.model.as_str()).collect::<Vec<_>>(), ["chat", "fine"]);
    assert_eq!(listed[1].rates[0].nanos_per_million, 1, "never rounded to nothing");
    // What was listed can be imported.
    let request = pb::ImportPricesRequest { prices: listed, ..Default::default() };
    assert_eq!(prices.import_prices(request).await.expect("imported").into_inner().changed, 0);
    for bad in ["", "[1]", "{\"a\": NaN}", "{\"a\": {}"] {
        assert_invalid(prices.import_price_file(file(bad)).await, "content");
    }
    let rate =
        |meter: Meter, above_input_tokens| pb::Rate { meter: meter.into(), above_input_tokens, ..Default::default() };
    let audio = rate(Meter::AudioInputTokens, 0);
    for (field, rates) in [
        ("prices[0].rates[0].meter", vec![rate(Meter::Unspecified, 0)]),
        ("prices[0].rates[0].meter", vec![rate(Meter::InputTokens, 0)]),
        ("prices[0].rates[0].above_input_tokens", vec![rate(Meter::InputTokens, -1)]),
        ("prices[0].rates[0].nanos_per_million", vec![pb::Rate { nanos_per_million: -1, ..audio }]),
        ("prices[0].rates[0].service_tier", vec![pb::Rate { service_tier: 99, ..audio }]),
        ("prices[0].rates[1]", vec![audio, audio]),
    ] {
        let price = pb::Price { provider: "p".into(), model: "m".into(), rates, ..Default::default() };
        assert_invalid(
            prices.import_prices(pb::ImportPricesRequest { prices: vec![price], ..Default::default() }).await,
            field,
        );
    }
}

fn chat() -> Option<pb::Target> {
    Some(pb::Target { provider: "p".into(), model: "chat".into(), ..pb::Target::default() })
}

fn of(meter: Meter, amount: i64) -> pb::Quantity {
    pb::Quantity { meter: meter.into(), amount }
}

async fn a_call_is_held_and_charged_by_tier_length_and_meter_and_is_on_record_so(env: &mut Env) {
    let world = World::new(env).await;
    env.operator.prices().import_price_file(file(FILE)).await.expect("imported");
    world.dollars(&world.tenant, 1_000_000_000).await;
    let flex = pb::Target { service_tier: ServiceTier::Flex.into(), ..chat().expect("a target") };
    let estimate = pb::Estimate {
        input_tokens: 1_000,
        max_output_tokens: 100,
        quantities: vec![of(Meter::AudioInputTokens, 100), of(Meter::OutputImages, 2)],
        ..pb::Estimate::default()
    };
    let hold = world.hold(pb::AuthorizeRequest { target: Some(flex), estimate: Some(estimate), ..world.ask() }).await;
    // 900 tokens at half a nano, 100 of sound at 10, 100 of output at 2, and two images.
    assert_eq!(hold.amounts[0].amount, 450 + 1_000 + 200 + 14_000);
    let usage = pb::Usage {
        input_tokens: 1_000,
        output_tokens: 50,
        quantities: vec![of(Meter::OutputImages, 1), of(Meter::AudioInputTokens, 10)],
        ..pb::Usage::default()
    };
    let charge = pb::ChargeRequest { usage: Some(usage.clone()), cost_nanos: None, ..on_hold(&hold, 0) };
    assert_eq!(world.charge(charge).await.charged_nanos, 495 + 100 + 100 + 7_000, "in the tier of its hold");
    let hold = world.hold(pb::AuthorizeRequest { target: chat(), ..world.ask() }).await;
    let long = pb::Usage { input_tokens: 200_001, ..pb::Usage::default() };
    let charge = pb::ChargeRequest { usage: Some(long), cost_nanos: None, ..on_hold(&hold, 0) };
    assert_eq!(world.charge(charge).await.charged_nanos, 3 * 200_001);
    let request = pb::ListChargesRequest { parent: world.tenant.clone(), ..Default::default() };
    let recorded = env.operator.usage().list_charges(request).await.expect("the log").into_inner().charges;
    let first = recorded[1].usage.clone().expect("its usage");
    assert_eq!(first.service_tier(), ServiceTier::Flex);
    assert_eq!(first.quantities, [of(Meter::AudioInputTokens, 10), of(Meter::OutputImages, 1)]);
    assert_eq!(recorded[0].usage.clone().expect("its usage").service_tier(), ServiceTier::Standard);
}

async fn a_quantity_that_cannot_be_names_its_field(env: &mut Env) {
    let world = World::new(env).await;
    let hold = world.hold(world.ask()).await;
    for (field, quantities) in [
        ("usage.quantities[0].meter", vec![of(Meter::Unspecified, 1)]),
        ("usage.quantities[0].meter", vec![pb::Quantity { meter: 45, amount: 1 }]),
        ("usage.quantities[0].meter", vec![of(Meter::ReasoningTokens, 1)]),
        ("usage.quantities[0].amount", vec![of(Meter::OutputImages, -1)]),
        ("usage.quantities[0].amount", vec![of(Meter::OutputImages, 1_000_000_000_001)]),
        ("usage.quantities[0].amount", vec![of(Meter::AudioInputTokens, 11)]),
        ("usage.quantities[1].amount", vec![of(Meter::AudioInputTokens, 6), of(Meter::ImageInputTokens, 5)]),
        ("usage.quantities[1].meter", vec![of(Meter::OutputImages, 1), of(Meter::OutputImages, 1)]),
    ] {
        let usage = pb::Usage { input_tokens: 10, quantities, ..pb::Usage::default() };
        let charge = pb::ChargeRequest { usage: Some(usage), ..on_hold(&hold, 1) };
        assert_invalid(world.sidecar.gate().charge(charge).await, field);
    }
    let target = pb::Target { service_tier: 9, ..chat().expect("a target") };
    let ask = pb::AuthorizeRequest { target: Some(target), ..world.ask() };
    assert_invalid(world.sidecar.gate().authorize(ask).await, "target.service_tier");
    let quantities = vec![of(Meter::AudioOutputTokens, 1)];
    let estimate = Some(pb::Estimate { quantities, ..pb::Estimate::default() });
    let ask = pb::AuthorizeRequest { estimate, ..world.ask() };
    assert_invalid(world.sidecar.gate().authorize(ask).await, "estimate.quantities[0].amount");
}
