//! What the messages of `GateService` ask: the only validation of them.

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};

use super::{
    meters,
    parse::{self, FieldError, invalid},
};
use crate::{
    domain::{
        key_secret::KeyHash,
        meters::{Metered, Tier},
        money::{MAX_AMOUNT, Nanos},
        permission::Permission,
        prices::{MAX_COUNT, Usage},
        time::Timestamp,
    },
    engine::{
        charge::{ChargeAsk, ChargeSubject},
        expiry::RESERVED,
        hold_token::MAX_TOKEN,
        journal::Outcome,
        question::{Credential, DEFAULT_HOLD, MAX_HOLD, Mode, Question},
        tokens::TokenKeys,
        witness::Stamp,
    },
    pb::tollreeve::v1 as pb,
};

/// Most of one kind that an estimate may name.
const MAX_ESTIMATE: i64 = 1_000_000_000;
/// Most requests that one call may count for.
const MAX_REQUESTS: i64 = 1_000_000;
/// How far a sidecar's clock may be ahead.
const MAX_AHEAD: Duration = Duration::from_mins(5);

/// A text of at most `most` bytes without control characters.
fn text<'a>(field: &str, text: &'a str, most: usize) -> Result<&'a str, FieldError> {
    if text.len() > most {
        Err(invalid(field, format!("must have at most {most} bytes")))
    } else if text.bytes().any(|b| b.is_ascii_control()) {
        Err(invalid(field, "must not have control characters"))
    } else {
        Ok(text)
    }
}

/// An idempotency key: at most 64 visible ASCII characters.
fn idempotency_key<'a>(field: &str, key: &'a str) -> Result<&'a str, FieldError> {
    if key.len() <= 64 && key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err(invalid(field, "must be 1 to 64 visible ASCII characters"))
    }
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> Result<(), FieldError> {
    if labels.len() > 16 {
        return Err(invalid("labels", "must be at most 16"));
    }
    for (key, value) in labels {
        if key.is_empty() {
            return Err(invalid("labels", "a key must not be empty"));
        }
        text("labels", key, 63)?;
        text("labels", value, 256)?;
    }
    Ok(())
}

/// What Authorize asks.
///
/// # Errors
/// The field whose value cannot be; so for every function of this module.
pub fn authorize<'a>(
    message: &'a pb::AuthorizeRequest,
    tokens: &TokenKeys,
    now: Timestamp,
) -> Result<Question<'a>, FieldError> {
    use pb::authorize_request::Credential as Given;
    let credential = match &message.credential {
        Some(Given::ApiKey(key)) => Credential::ApiKey(key),
        Some(Given::AccessToken(token)) => Credential::Token(tokens.verify(token, now)),
        None => return Err(invalid("credential", "is required: api_key or access_token")),
    };
    let target = message.target.as_ref().ok_or_else(|| invalid("target", "is required"))?;
    if target.model.is_empty() {
        return Err(invalid("target.model", "is required"));
    }
    labels(&message.labels)?;
    let source = message.source.as_ref();
    let client_ip = match source.map(|source| source.client_ip.as_str()) {
        None | Some("") => None,
        Some(ip) => Some(ip.parse().map_err(|_| invalid("source.client_ip", "is not an IP address"))?),
    };
    let tier = meters::tier("target.service_tier", target.service_tier)?;
    let (estimate, metered, cost) = estimate(message.estimate.as_ref(), tier)?;
    let stamp = stamp(message.sidecar.as_ref())?;
    Ok(Question {
        stamp: stamp.map(|(instance, monotonic)| Stamp { instance, monotonic }),
        request_id: idempotency_key("request_id", &message.request_id)?,
        credential,
        client_ip,
        origin: text("source.origin", source.map_or("", |source| &source.origin), 512)?,
        permission: match message.permission.as_str() {
            "" => Permission::ModelsInvoke,
            name => name.parse().map_err(|error| invalid("permission", error))?,
        },
        provider: text("target.provider", &target.provider, 64)?,
        model: text("target.model", &target.model, 256)?,
        endpoint: text("target.endpoint", &target.endpoint, 512)?,
        environment: text("target.environment", &target.environment, 63)?,
        project: text("project", &message.project, 63)?,
        end_user: text("end_user", &message.end_user, 128)?,
        estimate,
        metered,
        cost,
        mode: mode(message.mode)?,
        ttl: hold_ttl(message.hold_ttl.as_ref())?,
        min_revision: message.min_revision,
    })
}

fn mode(mode: i32) -> Result<Mode, FieldError> {
    match pb::HoldMode::try_from(mode) {
        Ok(pb::HoldMode::Unspecified | pb::HoldMode::Hold) => Ok(Mode::Hold),
        Ok(pb::HoldMode::CheckOnly) => Ok(Mode::CheckOnly),
        Ok(pb::HoldMode::Clamp) => Ok(Mode::Clamp),
        Err(_) => Err(invalid("mode", "is not a mode of this version")),
    }
}

fn hold_ttl(ttl: Option<&prost_types::Duration>) -> Result<Duration, FieldError> {
    let Some(ttl) = ttl else { return Ok(DEFAULT_HOLD) };
    let ttl = parse::duration("hold_ttl", ttl)?;
    if (Duration::from_secs(1)..=MAX_HOLD).contains(&ttl) {
        // Whole seconds: that is what the ledger promises in.
        Ok(Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).min(MAX_HOLD))
    } else {
        Err(invalid("hold_ttl", "must be 1 s to 15 min"))
    }
}

type Estimate = (Usage, Metered, Option<Nanos>);

fn estimate(estimate: Option<&pb::Estimate>, tier: Option<Tier>) -> Result<Estimate, FieldError> {
    let Some(estimate) = estimate else {
        let metered = Metered { tier: tier.unwrap_or_default(), ..Metered::default() };
        return Ok((Usage { requests: 1, ..Usage::default() }, metered, None));
    };
    let requests = parse::within("estimate.requests", estimate.requests, 0, MAX_REQUESTS)?;
    let usage = Usage {
        requests: requests.max(1),
        input: parse::within("estimate.input_tokens", estimate.input_tokens, 0, MAX_ESTIMATE)?,
        output: parse::within("estimate.max_output_tokens", estimate.max_output_tokens, 0, MAX_ESTIMATE)?,
        ..Usage::default()
    };
    let cost = estimate.cost_nanos.map(|cost| parse::within("estimate.cost_nanos", cost, 0, MAX_AMOUNT)).transpose()?;
    let metered = meters::metered("estimate.quantities", &estimate.quantities, MAX_ESTIMATE, tier, &usage)?;
    Ok((usage, metered, cost.map(Nanos)))
}

/// What Charge asks.
pub fn charge(mut message: pb::ChargeRequest, now: Timestamp) -> Result<ChargeAsk, FieldError> {
    use pb::charge_request::Subject as Given;
    if message.charge_id.is_empty() {
        return Err(invalid("charge_id", "is required"));
    }
    idempotency_key("charge_id", &message.charge_id)?;
    if message.charge_id.starts_with(RESERVED) {
        return Err(invalid("charge_id", format!("must not begin with `{RESERVED}`")));
    }
    labels(&message.labels)?;
    text("served_provider", &message.served_provider, 64)?;
    text("served_model", &message.served_model, 256)?;
    text("end_user", &message.end_user, 128)?;
    text("project", &message.project, 63)?;
    let body_hash = body_hash(&mut message);
    let (with_hold, subject) = match message.subject {
        Some(Given::HoldToken(token)) if token.len() <= MAX_TOKEN => (true, ChargeSubject::Hold(token.to_vec())),
        Some(Given::HoldToken(_)) => return Err(invalid("hold_token", "is too long to be one")),
        Some(Given::ApiKey(key)) => (false, ChargeSubject::ApiKey(key)),
        Some(Given::Key(name)) => (false, ChargeSubject::Key(parse::required("key", &name)?)),
        None => return Err(invalid("subject", "is required: hold_token, api_key or key")),
    };
    for (field, given) in [("project", &message.project), ("end_user", &message.end_user)] {
        if with_hold && !given.is_empty() {
            return Err(invalid(field, "is that of the hold and must not be given with one"));
        }
    }
    let outcome = outcome(message.outcome)?;
    let given = message.usage.take().unwrap_or_default();
    let usage = usage(&given, outcome)?;
    let tier = meters::tier("usage.service_tier", given.service_tier)?;
    let metered = meters::metered("usage.quantities", &given.quantities, MAX_COUNT, tier, &usage)?;
    let cost = message.cost_nanos.map(|cost| parse::within("cost_nanos", cost, 0, MAX_AMOUNT)).transpose()?;
    if outcome == Outcome::NotDispatched
        && (usage != Usage::default() || !metered.quantities.is_empty() || cost.unwrap_or(0) != 0)
    {
        return Err(invalid("usage", "must be zero for a call that was not dispatched"));
    }
    let last = message.r#final.unwrap_or(true);
    let extend = match &message.extend_hold {
        None => None,
        Some(_) if last => return Err(invalid("extend_hold", "goes only with final = false")),
        Some(_) if !with_hold => return Err(invalid("extend_hold", "goes only with a hold")),
        Some(span) => Some(hold_ttl(Some(span)).map_err(|error| invalid("extend_hold", error.why))?),
    };
    Ok(ChargeAsk {
        charge_id: message.charge_id,
        body_hash,
        subject,
        outcome,
        usage,
        metered,
        tier,
        cost: if outcome == Outcome::NotDispatched { Some(Nanos(0)) } else { cost.map(Nanos) },
        served_provider: message.served_provider,
        served_model: message.served_model,
        last,
        extend,
        occurred: occurred(message.occurred_at.as_ref(), now)?,
        hold_age: message.hold_age.as_ref().map(|age| parse::duration("hold_age", age)).transpose()?,
        stamp: stamp(message.sidecar.as_ref())?.map(|(instance, monotonic)| (instance.to_owned(), monotonic)),
        project: message.project,
        end_user: message.end_user,
        labels: if message.labels.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&message.labels).unwrap_or_default()
        },
    })
}

/// What a sidecar's clock showed, if it says so: a run of it that has a name.
fn stamp(sidecar: Option<&pb::Sidecar>) -> Result<Option<(&str, Duration)>, FieldError> {
    let Some(sidecar) = sidecar else { return Ok(None) };
    text("sidecar.instance", &sidecar.instance, 64)?;
    let monotonic =
        u64::try_from(sidecar.monotonic_ns).map_err(|_| invalid("sidecar.monotonic_ns", "must not be negative"))?;
    Ok((!sidecar.instance.is_empty()).then_some((&sidecar.instance, Duration::from_nanos(monotonic))))
}

/// Tells whether two charges of the same id are the same. The hold's age and the sidecar's clock are left out: a retry is
/// older.
fn body_hash(message: &mut pb::ChargeRequest) -> String {
    let (age, sidecar) = (message.hold_age.take(), message.sidecar.take());
    let mut text = KeyHash(Sha256::digest(message.encode_to_vec()).into()).to_hex();
    (message.hold_age, message.sidecar) = (age, sidecar);
    text.truncate(32);
    text
}

fn outcome(outcome: i32) -> Result<Outcome, FieldError> {
    match pb::Outcome::try_from(outcome) {
        Ok(pb::Outcome::Unspecified | pb::Outcome::Success) => Ok(Outcome::Success),
        Ok(pb::Outcome::ProviderError) => Ok(Outcome::ProviderError),
        Ok(pb::Outcome::Cancelled) => Ok(Outcome::Cancelled),
        Ok(pb::Outcome::NotDispatched) => Ok(Outcome::NotDispatched),
        Err(_) => Err(invalid("outcome", "is not an outcome of this version")),
    }
}

fn usage(usage: &pb::Usage, outcome: Outcome) -> Result<Usage, FieldError> {
    let default_requests = i64::from(outcome != Outcome::NotDispatched);
    let count = |field: &str, count| parse::within(field, count, 0, MAX_COUNT);
    let read = Usage {
        input: count("usage.input_tokens", usage.input_tokens)?,
        cached_input: count("usage.cached_input_tokens", usage.cached_input_tokens)?,
        cache_write: count("usage.cache_write_tokens", usage.cache_write_tokens)?,
        output: count("usage.output_tokens", usage.output_tokens)?,
        reasoning: count("usage.reasoning_tokens", usage.reasoning_tokens)?,
        requests: count("usage.requests", usage.requests.unwrap_or(default_requests))?,
    };
    if read.reasoning > read.output {
        return Err(invalid("usage.reasoning_tokens", "must be at most the output tokens, which they are part of"));
    }
    Ok(read)
}

fn occurred(at: Option<&prost_types::Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, FieldError> {
    let Some(at) = at else { return Ok(None) };
    let at = parse::timestamp("occurred_at", at)?;
    if at > now.after(MAX_AHEAD) {
        Err(invalid("occurred_at", "is more than 5 minutes in the future"))
    } else if at.micros() < 0 {
        Err(invalid("occurred_at", "is before 1970"))
    } else {
        Ok(Some(at))
    }
}
