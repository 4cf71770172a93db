//! What the gate answers, as messages.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;

use super::parse::to_wire;
use crate::{
    domain::time::Timestamp,
    engine::{
        answer::{BudgetView, Denial, DenialCode, Warning},
        charge::{ChargeAnswer, ChargeStatus},
    },
    pb::tollreeve::v1 as pb,
};

impl From<DenialCode> for pb::DenialCode {
    fn from(code: DenialCode) -> Self {
        match code {
            DenialCode::KeyMalformed => Self::KeyMalformed,
            DenialCode::KeyNotFound => Self::KeyNotFound,
            DenialCode::KeyDisabled => Self::KeyDisabled,
            DenialCode::KeyExpired => Self::KeyExpired,
            DenialCode::KeyRevoked => Self::KeyRevoked,
            DenialCode::TenantSuspended => Self::TenantSuspended,
            DenialCode::WorkspaceSuspended => Self::WorkspaceSuspended,
            DenialCode::ProjectSuspended => Self::ProjectSuspended,
            DenialCode::UserSuspended => Self::UserSuspended,
            DenialCode::IpBlocked => Self::IpBlocked,
            DenialCode::OriginBlocked => Self::OriginBlocked,
            DenialCode::ModelNotAllowed => Self::ModelNotAllowed,
            DenialCode::EndpointNotAllowed => Self::EndpointNotAllowed,
            DenialCode::EnvironmentMismatch => Self::EnvironmentMismatch,
            DenialCode::PermissionDenied => Self::PermissionDenied,
            DenialCode::ProjectUnknown => Self::ProjectUnknown,
            DenialCode::BudgetExhausted => Self::BudgetExhausted,
            DenialCode::CreditExhausted => Self::CreditExhausted,
            DenialCode::QuotaExhausted => Self::QuotaExhausted,
            DenialCode::PriceUnknown => Self::PriceUnknown,
        }
    }
}

/// A reason for a refusal.
#[must_use]
pub fn denial(denial: &Denial<'_>, now: Timestamp) -> pb::Denial {
    let message = sentence(denial);
    let mut wire = pb::Denial {
        code: pb::DenialCode::from(denial.code).into(),
        message,
        scope: denial.scope.to_string(),
        ..pb::Denial::default()
    };
    if let Some((budget, requested)) = denial.budget {
        wire.budget = budget.name.to_string();
        wire.unit = pb::Unit::from(budget.unit).into();
        wire.limit = budget.limit;
        wire.spent = budget.spent;
        wire.held = budget.held;
        wire.requested = requested;
        wire.resets_at = budget.resets_at.map(to_wire);
        wire.retry_after = retry_after(&budget, requested, now).and_then(|after| after.try_into().ok());
    }
    wire
}

/// When it makes sense to ask again: soon, when calls under way may give back what is missing; otherwise when the
/// period ends.
fn retry_after(budget: &BudgetView<&str>, requested: i64, now: Timestamp) -> Option<Duration> {
    if budget.spent.saturating_add(requested) <= budget.limit {
        return Some(Duration::from_secs(1));
    }
    budget.resets_at.map(|end| end.since(now)).filter(|_| requested <= budget.limit)
}

fn sentence(denial: &Denial<'_>) -> String {
    let Denial { code, scope, budget, detail } = denial;
    if let Some((budget, requested)) = budget {
        let show = |amount| budget.unit.show(amount);
        let mut text = format!(
            "{scope} has {} left of {}: {} spent, {} held, and this call needs {}",
            show(budget.remaining()),
            show(budget.limit),
            show(budget.spent),
            show(budget.held),
            show(*requested),
        );
        if let Some(end) = budget.resets_at {
            // Writing to a String cannot fail.
            let _ = write!(text, "; it starts again at {end}");
        }
        return text;
    }
    match code {
        DenialCode::KeyMalformed => "this is not an API key: its shape or checksum is wrong".to_owned(),
        DenialCode::KeyNotFound => "there is no such key".to_owned(),
        DenialCode::KeyDisabled => format!("{scope} is switched off"),
        DenialCode::KeyExpired => format!("{scope} has expired"),
        DenialCode::KeyRevoked => format!("{scope} was revoked"),
        DenialCode::TenantSuspended | DenialCode::WorkspaceSuspended | DenialCode::ProjectSuspended => {
            format!("{scope} is suspended or deleted")
        }
        DenialCode::UserSuspended => format!("{scope} is not active"),
        DenialCode::IpBlocked if detail.is_empty() => format!("{scope} is bound to addresses, and none was given"),
        DenialCode::OriginBlocked if detail.is_empty() => format!("{scope} is bound to origins, and none was given"),
        DenialCode::IpBlocked | DenialCode::OriginBlocked => format!("{scope} may not be used from {detail}"),
        DenialCode::ModelNotAllowed => format!("{scope} may not call the model {detail}"),
        DenialCode::EndpointNotAllowed => format!("{scope} may not call the endpoint {detail}"),
        DenialCode::EnvironmentMismatch => format!("{scope} is for {detail}, another environment"),
        DenialCode::PermissionDenied => format!("{scope} does not hold the permission {detail}"),
        DenialCode::ProjectUnknown => format!("{scope} has no project {detail}"),
        DenialCode::PriceUnknown => {
            format!("the price list does not know the model {detail}, and a budget is in dollars")
        }
        DenialCode::BudgetExhausted | DenialCode::CreditExhausted | DenialCode::QuotaExhausted => {
            format!("{scope} has not enough left")
        }
    }
}

/// Where a budget stands, as a message.
#[must_use]
pub fn budget_state(view: &BudgetView<impl AsRef<str>>) -> pb::BudgetState {
    pb::BudgetState {
        remaining: view.remaining(),
        name: view.name.as_ref().to_owned(),
        scope: view.scope.as_ref().to_owned(),
        unit: pb::Unit::from(view.unit).into(),
        limit: view.limit,
        spent: view.spent,
        held: view.held,
        resets_at: view.resets_at.map(to_wire),
        hard: view.hard,
    }
}

/// A warning.
#[must_use]
pub fn warning(warning: Warning<'_>) -> pb::Warning {
    let (code, message, resource) = match warning {
        Warning::Stale(age) => {
            let message = format!("the database cannot be reached: this is as of {} s ago", age.as_secs());
            return pb::Warning { code: pb::WarningCode::Stale.into(), message, resource: String::new() };
        }
        Warning::SoftLimitExceeded(budget) => {
            (pb::WarningCode::SoftLimitExceeded, "a soft budget is over its limit", budget.to_string())
        }
        Warning::PriceUnknown => {
            (pb::WarningCode::PriceUnknown, "the price list does not know the model", String::new())
        }
        Warning::PriceCeiling => {
            let message = "the price list does not know the model: it is held at the workspace's ceiling";
            (pb::WarningCode::PriceCeiling, message, String::new())
        }
        Warning::Clamped => (pb::WarningCode::Clamped, "the budgets allow fewer output tokens", String::new()),
    };
    pb::Warning { code: code.into(), message: message.to_owned(), resource }
}

/// The answer to Charge.
#[must_use]
pub fn charge(answer: ChargeAnswer) -> pb::ChargeResponse {
    let status = match answer.status {
        ChargeStatus::Applied => pb::ChargeStatus::Applied,
        ChargeStatus::Replayed => pb::ChargeStatus::Replayed,
        ChargeStatus::AppliedLate => pb::ChargeStatus::AppliedLate,
        ChargeStatus::AppliedOverrun => pb::ChargeStatus::AppliedOverrun,
    };
    let crossings = answer
        .crossings
        .into_iter()
        .map(|(budget, percent)| pb::ThresholdCrossing { budget: budget.to_string(), percent: percent.into() });
    let (token, expires) = answer.extended.unzip();
    pb::ChargeResponse {
        status: status.into(),
        charged_nanos: answer.charged,
        released_nanos: answer.released,
        overrun_nanos: answer.overrun,
        balances: answer.balances.iter().map(budget_state).collect(),
        thresholds_crossed: crossings.collect(),
        ledger_seq: answer.seq,
        at_ceiling: answer.at_ceiling,
        hold_expires_at: expires.map(to_wire),
        hold_token: token.map(Bytes::from).unwrap_or_default(),
    }
}
