//! What is read of price files, and what is said about the rest.

use super::*;
use crate::domain::{meters::Metered, money::Nanos, prices::Usage};

const SAMPLE: &str = include_str!("../../../deploy/sample/prices.json");

fn one(members: &str) -> PriceFile {
    parse(&format!("{{\"p/m\": {{\"litellm_provider\": \"p\", \"mode\": \"chat\", {members}}}}}")).expect("JSON")
}

fn reasons(file: &PriceFile, kind: NoteKind) -> Vec<(usize, &str, &str, &str)> {
    let notes = file.notes.iter().filter(|note| note.kind == kind);
    notes.map(|note| (note.line, note.name.as_str(), note.field.as_str(), note.reason.as_str())).collect()
}

#[test]
fn the_sample_is_read_whole() {
    let file = parse(SAMPLE).expect("JSON");
    assert_eq!((file.prices.len(), file.count(NoteKind::Broken), file.count(NoteKind::Unpriced)), (45, 0, 0));
    let price = |provider: &str, model: &str| {
        file.prices.iter().find(|price| price.provider == provider && price.model == model).expect("a price")
    };
    let azure = price("azure", "gpt-4o");
    assert_eq!((azure.input, azure.output, azure.cached_input), (2_500_000_000, 10_000_000_000, Some(1_250_000_000)));
    assert_eq!(
        *price("openai", "gpt-4o"),
        Price { provider: "openai".into(), rates: price("openai", "gpt-4o").rates.clone(), ..azure.clone() }
    );
    assert_eq!(price("groq", "openai/gpt-oss-120b").input, 150_000_000);
    assert_eq!(price("anthropic", "claude-sonnet-4-5").cache_write, Some(3_750_000_000));
    assert_eq!(price("mistral", "mistral-embed").output, 0);
    assert_eq!(price("perplexity", "sonar-small-online").request, 5_000_000_000_000);
}

#[test]
fn an_entry_that_makes_no_sense_is_named_with_its_line_and_the_others_are_kept() {
    let file = parse(
        r#"{
            "a": {"litellm_provider": "p", "input_cost_per_token": "1e-06", "output_cost_per_token": 0},
            "b": {"litellm_provider": "p", "input_cost_per_token": -1e-06, "output_cost_per_token": 0},
            "c": 5,
            "d": {"input_cost_per_token": 1e-06, "output_cost_per_token": 0},
            "e": {"litellm_provider": "p", "input_cost_per_token": 1, "input_cost_per_token": 2},
            "f": {"litellm_provider": 7},
            "good": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
            "g": {
                "litellm_provider": "p", "mode": "image_generation", "output_cost_per_acre": 0.04},
            "h": {"litellm_provider": "p", "input_cost_per_token": 1, "output_cost_per_token": 1e400}
        }"#,
    )
    .expect("JSON");
    assert_eq!(file.prices.len(), 1);
    assert_eq!((file.prices[0].input, file.prices[0].output), (1_000_000_000, 2_000_000_000));
    assert_eq!(
        reasons(&file, NoteKind::Broken),
        [
            (2, "a", "", "input_cost_per_token is `\"1e-06\"`: not a number"),
            (3, "b", "", "input_cost_per_token is `-1e-06`: a price is not negative"),
            (4, "c", "", "invalid type: integer `5`, expected a JSON object"),
            (5, "d", "", "litellm_provider is missing"),
            (6, "e", "", "input_cost_per_token is given twice"),
            (7, "f", "", "litellm_provider is not a text"),
            (11, "h", "", "output_cost_per_token is `1e400`: the exponent is absurd"),
        ]
    );
    assert_eq!(reasons(&file, NoteKind::Unpriced), [(9, "g", "", "it has no price (mode `image_generation`)")]);
    let ignored = reasons(&file, NoteKind::Ignored);
    assert_eq!(ignored, [(9, "g", "output_cost_per_acre", "is not a price by anything that usage tells")]);
}

#[test]
fn tiers_lengths_and_meters_become_rates_and_a_price_too_fine_is_rounded_up_and_says_so() {
    let file =
        one(r#""input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "input_cost_per_token_batches": 5e-07,
        "input_cost_per_token_above_200k_tokens": 3e-06, "output_cost_per_reasoning_token": 4e-06,
        "input_cost_per_token_cache_hit": 1e-16, "search_context_cost_per_query": {"search_context_size_low": 0.01},
        "regional_processing_uplift_multiplier_eu": 1.1"#);
    assert_eq!(file.prices[0].cached_input, Some(1));
    let rates: Vec<_> =
        file.prices[0].rates.iter().map(|rate| (rate.meter, rate.tier, rate.above, rate.nanos)).collect();
    assert_eq!(
        rates,
        [
            (Meter::Input, Tier::Standard, 200_000, 3_000_000_000),
            (Meter::Input, Tier::Batch, 0, 500_000_000),
            (Meter::Reasoning, Tier::Standard, 0, 4_000_000_000),
            (Meter::WebSearchesLow, Tier::Standard, 0, 10_000_000_000_000),
        ]
    );
    assert_eq!(file.count(NoteKind::Rounded), 1);
    assert_eq!(reasons(&file, NoteKind::Ignored)[0].2, "regional_processing_uplift_multiplier_eu");
}

#[test]
fn prices_in_steps_of_the_length_are_read_as_such() {
    let file = one(r#""tiered_pricing": [
        {"range": [0, 256000.0], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07},
        {"range": [256000.0, 1000000.0], "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06}]"#);
    let of = |input| {
        let usage = Usage { input, output: 1_000, ..Usage::default() };
        file.prices[0].cost(&usage, &Metered::default())
    };
    assert_eq!((of(256_000), of(256_001)), (Nanos(256_000 * 50 + 400_000), Nanos(256_001 * 250 + 2_000_000)));
    let searches = one(r#""tiered_pricing": [{"max_results_range": [0, 25], "input_cost_per_query": 0.005}]"#);
    assert_eq!((searches.prices.len(), searches.count(NoteKind::Ignored)), (0, 1));
}

#[test]
fn a_model_without_a_price_for_one_side_is_not_taken_for_free() {
    for members in
        ["\"input_cost_per_token\": 1e-06", "\"input_cost_per_token\": 1e-06, \"output_cost_per_token_flex\": 1"]
    {
        let file = one(members);
        assert_eq!(file.prices, []);
        assert_eq!(file.notes[0].reason, "no output_cost_per_token (mode `chat`)");
    }
    let file = one("\"input_cost_per_token_priority\": 1e-06, \"output_cost_per_token_priority\": 1e-06");
    assert_eq!(file.notes[0].reason, "no input_cost_per_token (mode `chat`)");
    let by_time = one("\"output_cost_per_token\": 1e-06, \"input_cost_per_video_per_second\": 0.1");
    assert_eq!(by_time.prices.len(), 1);
}

#[test]
fn of_two_entries_for_the_same_model_the_first_counts() {
    let entry = |input| {
        format!(
            r#"{{"litellm_provider": "p", "input_cost_per_token": {input}, "output_cost_per_token": null,
                     "mode": "embedding"}}"#
        )
    };
    let file = parse(&format!("{{\"p/m\": {},\n\"m\": {}}}", entry(1), entry(2))).expect("JSON");
    assert_eq!(file.prices.len(), 1);
    assert_eq!(file.prices[0].input, 1_000_000_000_000_000);
    assert_eq!(reasons(&file, NoteKind::Broken), [(3, "m", "", "the same provider and model as on line 1")]);
}

#[test]
fn broken_json_is_an_error_with_its_line_and_column() {
    let error = |text: &str| parse(text).expect_err("no price file").to_string();
    assert_eq!(error("{\n  \"a\": NaN\n}"), "line 2, column 8: expected value");
    assert_eq!(error("[1]"), "line 1, column 0: invalid type: sequence, expected a JSON object");
    assert!(error("").starts_with("line 1, column 0: EOF"));
    assert!(error("{\"a\": {}").contains("EOF"));
}
