//! `tollreeve authorize`: one decision, asked from a terminal as a sidecar would ask it.

use std::{process::ExitCode, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    client::{ServerArgs, failed, fresh_id},
    show::{self, Colour, Paint},
};
use crate::pb::tollreeve::v1::{self as pb, authorize_request::Credential};

/// Asks whether a model call may be made. Exits with 0 when it may, with 2 when it may not.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// API key of the end client, whole.
    #[arg(long, env = "TOLLREEVE_API_KEY", hide_env_values = true, required_unless_present = "access_token")]
    api_key: Option<String>,
    /// Token of a user or service account, instead of an API key.
    #[arg(long)]
    access_token: Option<String>,
    /// Model to call, as the price list names it.
    #[arg(long)]
    model: String,
    /// Provider that serves it. Default: any that has the model.
    #[arg(long, default_value = "")]
    provider: String,
    /// Path of the endpoint, `/v1/chat/completions`.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// Environment that the sidecar serves, `production`.
    #[arg(long, default_value = "")]
    environment: String,
    /// Project id. Default: the key's own.
    #[arg(long, default_value = "")]
    project: String,
    /// The end client's own user.
    #[arg(long, default_value = "")]
    end_user: String,
    /// Address of the end client.
    #[arg(long, default_value = "")]
    client_ip: String,
    /// Origin of the end client.
    #[arg(long, default_value = "")]
    origin: String,
    /// What the end client wants to do. Default: `models:invoke`.
    #[arg(long, default_value = "")]
    permission: String,
    /// Tag for reports; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Input tokens of the call.
    #[arg(long, default_value_t = 0)]
    input_tokens: i64,
    /// Most output tokens that the call may produce.
    #[arg(long, default_value_t = 0)]
    max_output_tokens: i64,
    /// What else it may use, as `audio_input_tokens=500`, `output_images=2`; may be repeated. Time is in milliseconds.
    #[arg(long = "quantity", value_name = "METER=AMOUNT", value_parser = quantity)]
    quantities: Vec<pb::Quantity>,
    /// Tier in which the provider is asked to serve it: `batch`, `flex`, `priority`. Default: standard.
    #[arg(long, default_value = "standard", value_parser = service_tier)]
    service_tier: pb::ServiceTier,
    /// Cost in billionths of a US dollar. Default: from the price list.
    #[arg(long)]
    cost_nanos: Option<i64>,
    /// What to do beside deciding.
    #[arg(long, value_enum, default_value_t = Mode::Hold)]
    mode: Mode,
    /// Seconds that the hold lives. Default: the server's, two minutes.
    #[arg(long)]
    hold_seconds: Option<u32>,
    /// Idempotency key. Default: a fresh one.
    #[arg(long)]
    request_id: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What Authorize is to do beside deciding.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Hold nothing.
    Check,
    /// Hold the whole estimate, or refuse.
    Hold,
    /// Hold as many output tokens as the budgets allow.
    Clamp,
}

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON object, named as in the contract; 64-bit numbers are numbers.
    Json,
}

/// Asks and prints the answer.
///
/// # Errors
/// When no decision could be had.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let connection = args.server.connect().await?;
    let output = args.output;
    let answer = connection.gate().authorize(request(args)).await.map_err(failed("no decision"))?.into_inner();
    match output {
        Output::Text => print!("{}", text(Paint::stdout(), &answer)),
        Output::Json => println!("{:#}", as_json(&answer)),
    }
    Ok(if answer.decision() == pb::Decision::Allow { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Reads `KEY=VALUE`.
///
/// # Errors
/// When there is no `=`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads how much of what: `output_images=2`.
///
/// # Errors
/// When it is no meter, or no amount.
pub(super) fn quantity(text: &str) -> Result<pb::Quantity, String> {
    let (meter, amount) = text.split_once('=').ok_or("must be METER=AMOUNT")?;
    let name = format!("METER_{}", meter.to_ascii_uppercase());
    let meter = pb::Meter::from_str_name(&name).ok_or_else(|| format!("`{meter}` is not a meter"))?;
    let amount = amount.parse().map_err(|_| format!("`{amount}` is not a number"))?;
    Ok(pb::Quantity { meter: meter.into(), amount })
}

/// Reads a tier of service: `flex`.
///
/// # Errors
/// When it is none.
pub(super) fn service_tier(text: &str) -> Result<pb::ServiceTier, String> {
    let name = format!("SERVICE_TIER_{}", text.to_ascii_uppercase());
    pb::ServiceTier::from_str_name(&name).ok_or_else(|| format!("`{text}` is not a tier of service"))
}

fn request(args: Args) -> pb::AuthorizeRequest {
    let api_key = args.api_key.map(Credential::ApiKey);
    pb::AuthorizeRequest {
        request_id: args.request_id.unwrap_or_else(fresh_id),
        credential: args.access_token.map(Credential::AccessToken).or(api_key),
        source: Some(pb::Source { client_ip: args.client_ip, origin: args.origin }),
        permission: args.permission,
        target: Some(pb::Target {
            provider: args.provider,
            model: args.model,
            endpoint: args.endpoint,
            environment: args.environment,
            service_tier: args.service_tier.into(),
        }),
        project: args.project,
        end_user: args.end_user,
        labels: args.labels.into_iter().collect(),
        estimate: Some(pb::Estimate {
            requests: 1,
            input_tokens: args.input_tokens,
            max_output_tokens: args.max_output_tokens,
            cost_nanos: args.cost_nanos,
            quantities: args.quantities,
        }),
        mode: match args.mode {
            Mode::Check => pb::HoldMode::CheckOnly,
            Mode::Hold => pb::HoldMode::Hold,
            Mode::Clamp => pb::HoldMode::Clamp,
        }
        .into(),
        hold_ttl: args.hold_seconds.and_then(|seconds| Duration::from_secs(seconds.into()).try_into().ok()),
        min_revision: 0,
        sidecar: None,
    }
}

/// The answer for people.
fn text(paint: Paint, answer: &pb::AuthorizeResponse) -> String {
    let mut lines = vec![match answer.decision() {
        pb::Decision::Allow => paint.paint(Colour::Green, "ALLOW"),
        _ => paint.paint(Colour::Red, "DENY"),
    }];
    lines.extend(answer.denials.iter().flat_map(|denial| denial_lines(paint, denial)));
    for warning in &answer.warnings {
        let code = warning.code().as_str_name().trim_start_matches("WARNING_CODE_");
        lines.push(format!("  {} {}  {}", paint.paint(Colour::Yellow, code), warning.message, warning.resource));
    }
    if let Some(principal) = &answer.principal {
        lines.extend(principal_lines(paint, principal));
    }
    if !answer.budgets.is_empty() {
        lines.push(paint.paint(Colour::Grey, "budgets"));
        lines.extend(answer.budgets.iter().map(|state| format!("  {}", show::budget(paint, state))));
    }
    if let Some(hold) = &answer.hold {
        lines.push(paint.paint(Colour::Grey, "hold"));
        let until = hold.expires_at.map(|at| format!(" until {at}")).unwrap_or_default();
        lines.push(format!("  covers {} output tokens{until}", hold.granted_output_tokens));
        for held in &hold.amounts {
            lines.push(format!("  {} on {}", show::unit(held.unit).show(held.amount), held.budget));
        }
        lines.push(paint.paint(Colour::Grey, "settle it with what the call really used"));
        let token = BASE64_STANDARD.encode(&hold.token);
        lines.push(format!("  tollreeve charge --input-tokens N --output-tokens N --hold {token}"));
    }
    lines.push(paint.paint(Colour::Grey, &format!("decision {} at revision {}", answer.decision_id, answer.revision)));
    lines.join("\n") + "\n"
}

/// One reason for a refusal, with its numbers if it has any.
fn denial_lines(paint: Paint, denial: &pb::Denial) -> Vec<String> {
    let mut lines = vec![format!("  {} {}", paint.paint(Colour::Red, denial_name(denial)), denial.message)];
    if !denial.budget.is_empty() {
        let unit = show::unit(denial.unit);
        let reset = denial.resets_at.map(|at| format!(", resets {at}")).unwrap_or_default();
        lines.push(format!(
            "    asked for {}: {} spent + {} held of {}{reset}  {}",
            unit.show(denial.requested),
            unit.show(denial.spent),
            unit.show(denial.held),
            unit.show(denial.limit),
            denial.scope,
        ));
    }
    if let Some(delay) = denial.retry_after {
        lines.push(format!("    ask again in {delay}"));
    }
    lines
}

fn principal_lines(paint: Paint, principal: &pb::Principal) -> Vec<String> {
    use pb::principal::Owner;
    let owner = match &principal.owner {
        Some(Owner::User(name) | Owner::ServiceAccount(name)) => name.as_str(),
        None => "",
    };
    let parts = [
        ("key", principal.key.clone()),
        ("owner", owner.to_owned()),
        ("roles", principal.roles.join(", ")),
        ("teams", principal.teams.join(", ")),
        ("project", principal.project.clone()),
        ("workspace", format!("{} ({})", principal.workspace, principal.environment)),
    ];
    let shown = parts.into_iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("  {} {value}", paint.paint(Colour::Grey, &format!("{name:<9}")))).collect()
}

/// `BUDGET_EXHAUSTED`.
pub(super) fn denial_name(denial: &pb::Denial) -> &'static str {
    denial.code().as_str_name().trim_start_matches("DENIAL_CODE_")
}

/// The answer for programs.
fn as_json(answer: &pb::AuthorizeResponse) -> Value {
    let denials = answer.denials.iter().map(|denial| {
        json!({
            "code": denial.code().as_str_name(), "message": denial.message, "scope": denial.scope,
            "budget": denial.budget, "unit": denial.unit().as_str_name(), "limit": denial.limit,
            "spent": denial.spent, "held": denial.held, "requested": denial.requested,
            "resetsAt": denial.resets_at.map(|at| at.to_string()),
            "retryAfter": denial.retry_after.map(|delay| delay.to_string()),
        })
    });
    let hold = answer.hold.as_ref().map(|hold| {
        json!({
            "token": BASE64_STANDARD.encode(&hold.token),
            "expiresAt": hold.expires_at.map(|at| at.to_string()),
            "grantedOutputTokens": hold.granted_output_tokens,
        })
    });
    json!({
        "decision": answer.decision().as_str_name(),
        "denials": denials.collect::<Vec<_>>(),
        "hold": hold,
        "budgets": answer.budgets.iter().map(budget_json).collect::<Vec<_>>(),
        "revision": answer.revision,
        "decisionId": answer.decision_id,
    })
}

/// A budget's state for programs.
pub(super) fn budget_json(state: &pb::BudgetState) -> Value {
    json!({
        "name": state.name, "scope": state.scope, "unit": state.unit().as_str_name(), "limit": state.limit,
        "spent": state.spent, "held": state.held, "remaining": state.remaining, "hard": state.hard,
        "resetsAt": state.resets_at.map(|at| at.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> pb::AuthorizeResponse {
        pb::AuthorizeResponse {
            decision: pb::Decision::Deny.into(),
            denials: vec![pb::Denial {
                code: pb::DenialCode::BudgetExhausted.into(),
                message: "the budget has not enough left".into(),
                scope: "tenants/demo".into(),
                budget: "tenants/demo/budgets/bud_1".into(),
                unit: pb::Unit::UsdNanos.into(),
                limit: 10_000_000,
                spent: 4_000_000,
                held: 1_000_000,
                requested: 42_500_000,
                ..pb::Denial::default()
            }],
            decision_id: "d1".into(),
            revision: 7,
            ..pb::AuthorizeResponse::default()
        }
    }

    #[test]
    fn a_refusal_is_told_with_every_number_it_has() {
        assert_eq!(
            text(Paint::off(), &refusal()),
            "DENY\n  BUDGET_EXHAUSTED the budget has not enough left\n    \
             asked for $0.0425: $0.004 spent + $0.001 held of $0.01  tenants/demo\n\
             decision d1 at revision 7\n"
        );
        let json = as_json(&refusal());
        assert_eq!(json["denials"][0]["code"], "DENIAL_CODE_BUDGET_EXHAUSTED");
        assert_eq!(json["denials"][0]["requested"], 42_500_000);
    }

    #[test]
    fn a_hold_is_printed_so_that_it_can_be_pasted_into_a_charge() {
        let hold = pb::Hold { token: vec![251, 255].into(), granted_output_tokens: 100, ..pb::Hold::default() };
        let answer = pb::AuthorizeResponse {
            decision: pb::Decision::Allow.into(),
            hold: Some(hold),
            ..pb::AuthorizeResponse::default()
        };
        let text = text(Paint::off(), &answer);
        assert!(text.starts_with("ALLOW\n"));
        assert!(text.contains("tollreeve charge --input-tokens N --output-tokens N --hold +/8=\n"), "{text}");
    }
}
