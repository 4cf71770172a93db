//! What the policies of a workspace mean on the wire.

use super::{
    budgets::{unit, window},
    key_policies,
    parse::{self, FieldError, invalid},
    users::teams,
};
use crate::{
    domain::{
        money::MAX_AMOUNT,
        policies::{BudgetTerms, KeysOnRemoval, Policies},
        prices::Ceiling,
    },
    pb::tollreeve::v1 as pb,
};

impl From<BudgetTerms> for pb::BudgetTerms {
    fn from(terms: BudgetTerms) -> Self {
        Self {
            unit: pb::Unit::from(terms.unit).into(),
            window: pb::Window::from(terms.window).into(),
            limit: terms.limit,
            hard: Some(terms.hard),
        }
    }
}

impl From<Policies> for pb::WorkspacePolicies {
    fn from(policies: Policies) -> Self {
        Self {
            spending: Some(pb::SpendingPolicy {
                project_budget: policies.project_budget.map(Into::into),
                project_budget_required: policies.project_budget_required,
                unknown_model_ceiling: policies.unknown_model_ceiling.map(Into::into),
            }),
            default_role: policies.default_role.map(|role| role.to_string()).unwrap_or_default(),
            invitation_teams: policies.invitation_teams.iter().map(ToString::to_string).collect(),
            keys_on_removal: match policies.keys_on_removal {
                KeysOnRemoval::Revoke => pb::KeysOnRemoval::Revoke,
                KeysOnRemoval::Reassign => pb::KeysOnRemoval::Reassign,
                KeysOnRemoval::KeepDisabled => pb::KeysOnRemoval::KeepDisabled,
            }
            .into(),
            keys: (!policies.keys.is_open()).then(|| policies.keys.into()),
        }
    }
}

impl From<Ceiling> for pb::PriceCeiling {
    fn from(Ceiling { input, output }: Ceiling) -> Self {
        Self { input_nanos_per_million: input, output_nanos_per_million: output }
    }
}

fn ceiling(field: &str, ceiling: pb::PriceCeiling) -> Result<Ceiling, FieldError> {
    let nanos = |name: &str, amount: i64| parse::within(&format!("{field}.{name}"), amount, 0, MAX_AMOUNT);
    Ok(Ceiling {
        input: nanos("input_nanos_per_million", ceiling.input_nanos_per_million)?,
        output: nanos("output_nanos_per_million", ceiling.output_nanos_per_million)?,
    })
}

/// Reads the terms of a budget.
pub(super) fn terms(field: &str, terms: pb::BudgetTerms) -> Result<BudgetTerms, FieldError> {
    Ok(BudgetTerms {
        unit: unit(&format!("{field}.unit"), terms.unit)?,
        window: window(&format!("{field}.window"), terms.window)?,
        limit: parse::within(&format!("{field}.limit"), terms.limit, 0, MAX_AMOUNT)?,
        hard: terms.hard.unwrap_or(true),
    })
}

/// Reads policies; what is missing is as in a new workspace.
pub(super) fn policies(message: Option<pb::WorkspacePolicies>) -> Result<Policies, FieldError> {
    let message = message.unwrap_or_default();
    let removal = "workspace.policies.keys_on_removal";
    let keys_on_removal = match pb::KeysOnRemoval::try_from(message.keys_on_removal) {
        Ok(pb::KeysOnRemoval::Unspecified | pb::KeysOnRemoval::Revoke) => KeysOnRemoval::Revoke,
        Ok(pb::KeysOnRemoval::Reassign) => KeysOnRemoval::Reassign,
        Ok(pb::KeysOnRemoval::KeepDisabled) => KeysOnRemoval::KeepDisabled,
        Err(_) => return Err(invalid(removal, "is not a choice")),
    };
    let spending = message.spending.unwrap_or_default();
    let budget = "workspace.policies.spending.project_budget";
    let unknown = "workspace.policies.spending.unknown_model_ceiling";
    let role = (!message.default_role.is_empty())
        .then(|| parse::required("workspace.policies.default_role", &message.default_role));
    Ok(Policies {
        project_budget: spending.project_budget.map(|budget_terms| terms(budget, budget_terms)).transpose()?,
        project_budget_required: spending.project_budget_required,
        unknown_model_ceiling: spending.unknown_model_ceiling.map(|given| ceiling(unknown, given)).transpose()?,
        default_role: role.transpose()?,
        invitation_teams: teams("workspace.policies.invitation_teams", &message.invitation_teams)?,
        keys_on_removal,
        keys: key_policies::policy("workspace.policies.keys", message.keys.unwrap_or_default())?,
    })
}
