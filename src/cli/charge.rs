//! `tollreeve charge`: records what one model call cost, from a terminal.

use std::process::ExitCode;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{ArgGroup, ValueEnum};
use serde_json::{Value, json};

use super::{
    authorize::{Output, budget_json, label, quantity, service_tier},
    client::{ServerArgs, failed, fresh_id, worth_retrying},
    show::{self, Colour, Paint},
};
use crate::{
    domain::money::Nanos,
    pb::tollreeve::v1::{self as pb, charge_request::Subject},
};

/// Records what a model call cost.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["hold", "api_key", "key"]))]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Token of the hold, as `tollreeve authorize` printed it.
    #[arg(long, value_name = "BASE64", value_parser = hold_token)]
    hold: Option<HoldToken>,
    /// For usage without a hold: an API key, whole.
    #[arg(long)]
    api_key: Option<String>,
    /// For usage without a hold: a key's resource name.
    #[arg(long)]
    key: Option<String>,
    /// How the call ended.
    #[arg(long, value_enum, default_value_t = Outcome::Success)]
    outcome: Outcome,
    /// Input tokens at the full price.
    #[arg(long, default_value_t = 0)]
    input_tokens: i64,
    /// Input tokens read from the provider's cache.
    #[arg(long, default_value_t = 0)]
    cached_input_tokens: i64,
    /// Input tokens written to the provider's cache.
    #[arg(long, default_value_t = 0)]
    cache_write_tokens: i64,
    /// Output tokens, reasoning tokens among them.
    #[arg(long, default_value_t = 0)]
    output_tokens: i64,
    /// Of the output tokens, those spent on reasoning.
    #[arg(long, default_value_t = 0)]
    reasoning_tokens: i64,
    /// Model calls. Default: 1, or none when the call was not sent.
    #[arg(long)]
    requests: Option<i64>,
    /// What else it used, as `audio_input_tokens=500`, `output_images=2`; may be repeated. Time is in milliseconds.
    #[arg(long = "quantity", value_name = "METER=AMOUNT", value_parser = quantity)]
    quantities: Vec<pb::Quantity>,
    /// Tier in which the provider served it: `batch`, `flex`, `priority`. Default: the hold's.
    #[arg(long, value_parser = service_tier)]
    service_tier: Option<pb::ServiceTier>,
    /// Cost in billionths of a US dollar. Default: from usage and the price list.
    #[arg(long)]
    cost_nanos: Option<i64>,
    /// Provider that served the call. Default: the hold's.
    #[arg(long, default_value = "")]
    provider: String,
    /// Model that served the call. Default: the hold's.
    #[arg(long, default_value = "")]
    model: String,
    /// Without a hold: project id.
    #[arg(long, default_value = "")]
    project: String,
    /// Without a hold: the end client's own user.
    #[arg(long, default_value = "")]
    end_user: String,
    /// Tag for reports; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Idempotency key: the same charge under the same id counts once. Default: a fresh one.
    #[arg(long)]
    charge_id: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The bytes of a hold's token.
type HoldToken = bytes::Bytes;

/// How a model call ended.
#[derive(Clone, Copy, ValueEnum)]
enum Outcome {
    /// The provider answered.
    Success,
    /// The provider failed.
    ProviderError,
    /// The client went away.
    Cancelled,
    /// The call was never sent.
    NotDispatched,
}

/// Records and prints the answer.
///
/// # Errors
/// When the charge could not be recorded.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connection = args.server.connect().await?;
    let output = args.output;
    let request = request(args);
    let id = request.charge_id.clone();
    let answer = connection.gate().charge(request).await.map_err(|status| {
        // Without an answer nobody knows; with the id it can be sent again and still counts once.
        let fate =
            if worth_retrying(&status) { "may not be recorded: send it again with this id" } else { "is not recorded" };
        failed(format!("the charge {id} {fate}"))(status)
    })?;
    let answer = answer.into_inner();
    match output {
        Output::Text => print!("{}", text(Paint::stdout(), &id, &answer)),
        Output::Json => println!("{:#}", as_json(&id, &answer)),
    }
    Ok(ExitCode::SUCCESS)
}

fn hold_token(text: &str) -> Result<HoldToken, String> {
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|error| format!("not the token of a hold: {error}"))?;
    Ok(bytes.into())
}

fn request(args: Args) -> pb::ChargeRequest {
    let by_key = args.key.map(Subject::Key).or(args.api_key.map(Subject::ApiKey));
    pb::ChargeRequest {
        charge_id: args.charge_id.unwrap_or_else(fresh_id),
        subject: args.hold.map(Subject::HoldToken).or(by_key),
        outcome: match args.outcome {
            Outcome::Success => pb::Outcome::Success,
            Outcome::ProviderError => pb::Outcome::ProviderError,
            Outcome::Cancelled => pb::Outcome::Cancelled,
            Outcome::NotDispatched => pb::Outcome::NotDispatched,
        }
        .into(),
        usage: Some(pb::Usage {
            input_tokens: args.input_tokens,
            cached_input_tokens: args.cached_input_tokens,
            cache_write_tokens: args.cache_write_tokens,
            output_tokens: args.output_tokens,
            reasoning_tokens: args.reasoning_tokens,
            requests: args.requests,
            quantities: args.quantities,
            service_tier: args.service_tier.unwrap_or_default().into(),
        }),
        cost_nanos: args.cost_nanos,
        served_provider: args.provider,
        served_model: args.model,
        project: args.project,
        end_user: args.end_user,
        labels: args.labels.into_iter().collect(),
        ..pb::ChargeRequest::default()
    }
}

fn status_name(answer: &pb::ChargeResponse) -> &'static str {
    answer.status().as_str_name().trim_start_matches("CHARGE_STATUS_")
}

/// The answer for people.
fn text(paint: Paint, id: &str, answer: &pb::ChargeResponse) -> String {
    let colour = match answer.status() {
        pb::ChargeStatus::Applied | pb::ChargeStatus::Replayed => Colour::Green,
        _ => Colour::Yellow,
    };
    let mut lines = vec![format!(
        "{} {} charged, {} released",
        paint.paint(colour, status_name(answer)),
        Nanos(answer.charged_nanos),
        Nanos(answer.released_nanos)
    )];
    if answer.overrun_nanos > 0 {
        lines.push(format!(
            "  {} beyond a hard budget",
            paint.paint(Colour::Red, &Nanos(answer.overrun_nanos).to_string())
        ));
    }
    for crossing in &answer.thresholds_crossed {
        let percent = format!("crossed {} %", crossing.percent);
        let colour = if crossing.percent < 90 { Colour::Yellow } else { Colour::Red };
        lines.push(format!("  {} of {}", paint.paint(colour, &percent), crossing.budget));
    }
    if !answer.balances.is_empty() {
        lines.push(paint.paint(Colour::Grey, "budgets"));
        lines.extend(answer.balances.iter().map(|state| format!("  {}", show::budget(paint, state))));
    }
    lines.push(paint.paint(Colour::Grey, &format!("charge {id}, number {} in the ledger", answer.ledger_seq)));
    lines.join("\n") + "\n"
}

/// The answer for programs.
fn as_json(id: &str, answer: &pb::ChargeResponse) -> Value {
    json!({
        "chargeId": id,
        "status": answer.status().as_str_name(),
        "chargedNanos": answer.charged_nanos,
        "releasedNanos": answer.released_nanos,
        "overrunNanos": answer.overrun_nanos,
        "balances": answer.balances.iter().map(budget_json).collect::<Vec<_>>(),
        "ledgerSeq": answer.ledger_seq,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Cli::try_parse_from([&["charge"], words].concat()).map(|cli| cli.args)
    }

    #[test]
    fn a_charge_says_what_it_belongs_to_exactly_once() {
        let request = request(parse(&["--hold", "+/8=", "--output-tokens", "7"]).expect("good"));
        assert_eq!(request.subject, Some(Subject::HoldToken(vec![251, 255].into())));
        assert_eq!(request.usage.expect("usage").output_tokens, 7);
        assert_eq!(request.charge_id.len(), 36);
        for bad in [&[][..], &["--hold", "+/8=", "--key", "k"], &["--hold", "not base64"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_overrun_and_a_crossed_threshold_are_told() {
        let answer = pb::ChargeResponse {
            status: pb::ChargeStatus::AppliedOverrun.into(),
            charged_nanos: 1_500_000_000,
            overrun_nanos: 500_000_000,
            thresholds_crossed: vec![pb::ThresholdCrossing { budget: "b".into(), percent: 90 }],
            ledger_seq: 3,
            ..pb::ChargeResponse::default()
        };
        assert_eq!(
            text(Paint::off(), "c1", &answer),
            "APPLIED_OVERRUN $1.50 charged, $0.00 released\n  $0.50 beyond a hard budget\n  crossed 90 % of b\n\
             charge c1, number 3 in the ledger\n"
        );
    }
}
