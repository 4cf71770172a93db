//! Flags for what a workspace lays down, and for budgets on what is not there yet.

use clap::ValueEnum;

use super::{
    key_policies::KeyPolicyArgs,
    names::{self, Names, TEAM, UsageError},
};
use crate::{domain::money::Nanos, pb::tollreeve::v1 as pb};

/// What a workspace lays down; what is not given stays as it is.
#[derive(clap::Args, Clone, Default)]
pub struct PolicyArgs {
    /// Budget that new projects begin with: `25usd/month`, `1000requests/day`, `5000000tokens/total`, with `:soft` after it
    /// to warn instead of refusing; or `none`.
    #[arg(long, value_name = "BUDGET", value_parser = terms_or_none)]
    project_budget: Option<Terms>,
    /// Whether a project cannot be made without a budget.
    #[arg(long, value_name = "BOOL")]
    project_budget_required: Option<bool>,
    /// What calls to models without a price are charged, US dollars per million tokens of input and output: `15/75`; or `none`,
    /// to refuse them where dollars are limited.
    #[arg(long, value_name = "DOLLARS", value_parser = ceiling_or_none)]
    unknown_model_ceiling: Option<Ceiling>,
    /// Role of a binding on the workspace, and of an invitation into it, that names none; or `none`.
    #[arg(long, value_name = "ROLE")]
    default_role: Option<String>,
    /// Team of who is invited into the workspace without any, `core`, or `none`; may be given more than once.
    #[arg(long = "invitation-team", value_name = "TEAM")]
    invitation_teams: Vec<String>,
    /// What becomes of somebody's keys when they are removed.
    #[arg(long, value_enum)]
    keys_on_removal: Option<Removal>,
    #[command(flatten)]
    keys: KeyPolicyArgs,
}

/// Terms of a budget, or none.
#[derive(Clone, Copy)]
pub struct Terms(pub Option<pb::BudgetTerms>);

/// What models without a price are charged, if they are not refused.
#[derive(Clone, Copy)]
struct Ceiling(Option<pb::PriceCeiling>);

/// What becomes of somebody's keys when they are removed.
#[derive(Clone, Copy, ValueEnum)]
enum Removal {
    /// They end with the member.
    Revoke,
    /// They go to whoever removes the member.
    Reassign,
    /// They stay, disabled.
    KeepDisabled,
}

impl PolicyArgs {
    /// The policies that are given, and the paths of what they change.
    ///
    /// # Errors
    /// When a text names no team.
    pub fn message(&self, names: &Names) -> Result<(pb::WorkspacePolicies, Vec<String>), UsageError> {
        let Self { project_budget, project_budget_required, unknown_model_ceiling, default_role, .. } = self;
        let Self { invitation_teams, keys_on_removal, keys, .. } = self;
        let (keys, keys_given) = keys.message();
        let teams = invitation_teams.iter().filter(|team| *team != "none").map(|team| names.full(TEAM, team));
        let named = default_role.as_deref().filter(|role| *role != "none").unwrap_or_default();
        let policies = pb::WorkspacePolicies {
            spending: Some(pb::SpendingPolicy {
                project_budget: project_budget.and_then(|terms| terms.0),
                project_budget_required: project_budget_required.unwrap_or_default(),
                unknown_model_ceiling: unknown_model_ceiling.and_then(|ceiling| ceiling.0),
            }),
            default_role: names::role(named),
            invitation_teams: teams.collect::<Result<_, _>>()?,
            keys_on_removal: match keys_on_removal {
                None => pb::KeysOnRemoval::Unspecified,
                Some(Removal::Revoke) => pb::KeysOnRemoval::Revoke,
                Some(Removal::Reassign) => pb::KeysOnRemoval::Reassign,
                Some(Removal::KeepDisabled) => pb::KeysOnRemoval::KeepDisabled,
            }
            .into(),
            keys: (!keys_given.is_empty()).then_some(keys),
        };
        let paths = [
            ("spending.project_budget", project_budget.is_some()),
            ("spending.project_budget_required", project_budget_required.is_some()),
            ("spending.unknown_model_ceiling", unknown_model_ceiling.is_some()),
            ("default_role", default_role.is_some()),
            ("invitation_teams", !invitation_teams.is_empty()),
            ("keys_on_removal", keys_on_removal.is_some()),
        ];
        let given = paths.into_iter().filter(|(_, given)| *given).map(|(path, _)| format!("policies.{path}"));
        let of_keys = keys_given.into_iter().map(|field| format!("policies.keys.{field}"));
        Ok((policies, given.chain(of_keys).collect()))
    }
}

fn ceiling_or_none(text: &str) -> Result<Ceiling, String> {
    if text == "none" {
        return Ok(Ceiling(None));
    }
    let both = text.split_once('/').and_then(|(input, output)| Some((dollars(input)?, dollars(output)?)));
    let (input_nanos_per_million, output_nanos_per_million) =
        both.ok_or_else(|| "must be US dollars per million tokens of input and output, like `15/75`".to_owned())?;
    Ok(Ceiling(Some(pb::PriceCeiling { input_nanos_per_million, output_nanos_per_million })))
}

fn terms_or_none(text: &str) -> Result<Terms, String> {
    if text == "none" { Ok(Terms(None)) } else { terms(text) }
}

/// Reads the terms of a budget: `25usd/month`.
///
/// # Errors
/// When the text is none, or the amount too large.
pub fn terms(text: &str) -> Result<Terms, String> {
    let wrong =
        || "must be like `25usd/month`, `1000requests/day` or `5000000tokens/total`, perhaps with `:soft`".to_owned();
    let (text, hard) = text.strip_suffix(":soft").map_or((text, true), |text| (text, false));
    let (amount, window) = text.split_once('/').ok_or_else(wrong)?;
    let (number, unit) = split(amount).ok_or_else(wrong)?;
    let (unit, limit) = in_unit(number, unit).ok_or_else(wrong)?;
    let window = match window {
        "hour" => pb::Window::Hour,
        "day" => pb::Window::Day,
        "week" => pb::Window::Week,
        "month" => pb::Window::Month,
        "total" => pb::Window::Total,
        _ => return Err(wrong()),
    };
    Ok(Terms(Some(pb::BudgetTerms { unit: unit.into(), window: window.into(), limit, hard: Some(hard) })))
}

/// Reads an amount: `25usd`, `1000requests`.
///
/// # Errors
/// When the text is none, or the amount too large.
pub fn amount(text: &str) -> Result<i64, String> {
    let read = split(text).and_then(|(number, unit)| in_unit(number, unit));
    read.map(|(_, amount)| amount).ok_or_else(|| "must be like `25usd`, `1000requests` or `5000000tokens`".to_owned())
}

fn split(amount: &str) -> Option<(&str, &str)> {
    amount.find(|c: char| c.is_ascii_alphabetic()).map(|at| amount.split_at(at))
}

fn in_unit(number: &str, unit: &str) -> Option<(pb::Unit, i64)> {
    Some(match unit {
        "usd" => (pb::Unit::UsdNanos, dollars(number)?),
        "requests" => (pb::Unit::Requests, number.parse().ok()?),
        "tokens" => (pb::Unit::Tokens, number.parse().ok()?),
        _ => return None,
    })
}

/// Billionths of a dollar in `12.345`, exactly.
pub(super) fn dollars(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part: i64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<i64>().ok().filter(|whole| *whole >= 0)?.checked_mul(Nanos::DOLLAR.0)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_written_as_an_amount_a_window() {
        let read = |text| terms(text).ok().and_then(|terms| terms.0);
        let budget = read("12.5usd/month:soft").expect("a budget");
        assert_eq!((budget.unit(), budget.window()), (pb::Unit::UsdNanos, pb::Window::Month));
        assert_eq!((budget.limit, budget.hard), (12_500_000_000, Some(false)));
        assert_eq!(read("7requests/day").map(|budget| (budget.unit(), budget.limit)), Some((pb::Unit::Requests, 7)));
        let bad = [
            "",
            "5",
            "5usd",
            "5/day",
            "usd/day",
            "5eur/day",
            "5usd/fortnight",
            "-5usd/day",
            "1.0000000001usd/day",
            "1.-5usd/day",
        ];
        for text in bad {
            assert!(terms(text).is_err(), "{text}");
        }
        assert!(terms_or_none("none").is_ok_and(|terms| terms.0.is_none()));
    }

    #[test]
    fn only_what_is_given_is_changed() {
        let names = Names::within(Some("acme"));
        let (_, paths) = PolicyArgs::default().message(&names).expect("policies");
        assert!(paths.is_empty());
        let args = PolicyArgs {
            default_role: Some("none".into()),
            project_budget_required: Some(false),
            invitation_teams: vec!["core".into()],
            ..Default::default()
        };
        let (policies, paths) = args.message(&names).expect("policies");
        let changed =
            ["policies.spending.project_budget_required", "policies.default_role", "policies.invitation_teams"];
        assert_eq!(paths, changed);
        assert_eq!(
            (policies.default_role, policies.invitation_teams),
            (String::new(), vec!["tenants/acme/teams/core".into()])
        );
        let none = PolicyArgs { invitation_teams: vec!["none".into()], ..Default::default() };
        let (policies, paths) = none.message(&names).expect("policies");
        assert_eq!((policies.invitation_teams, paths), (Vec::new(), vec!["policies.invitation_teams".into()]));
    }
}
