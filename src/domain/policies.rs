//! What a workspace lays down for all that is made in it.

use serde::{Deserialize, Serialize};

use super::{
    key_policies::{KeyPolicyUpdate, WorkspaceKeyPolicy},
    money::Unit,
    names::TeamName,
    prices::Ceiling,
    role::Role,
    window::Window,
};

/// The policies of a workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// The budget that a new project begins with, unless it is given another.
    pub project_budget: Option<BudgetTerms>,
    /// Whether a project cannot be made without a budget.
    pub project_budget_required: bool,
    /// What calls to a model without a price are charged; `None`: where dollars are limited, they are refused.
    pub unknown_model_ceiling: Option<Ceiling>,
    /// The role of a binding on the workspace, and of an invitation into it, that names none.
    pub default_role: Option<Role>,
    /// The teams that an invitation into the workspace leads to, unless it names others.
    pub invitation_teams: Vec<TeamName>,
    /// What becomes of somebody's keys in the workspace when they are removed.
    pub keys_on_removal: KeysOnRemoval,
    /// What holds for every key of the workspace.
    pub keys: WorkspaceKeyPolicy,
}

/// A budget on something that is not there yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BudgetTerms {
    /// What it counts.
    pub unit: Unit,
    /// Over what span.
    pub window: Window,
    /// Most that may be spent and held in a period, in `unit`; 0 to [`super::money::MAX_AMOUNT`].
    pub limit: i64,
    /// Whether it refuses, or only warns.
    pub hard: bool,
}

/// What becomes of somebody's keys when they are removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysOnRemoval {
    /// They end with the member.
    #[default]
    Revoke,
    /// They go to whoever removes the member, and work on.
    Reassign,
    /// They stay, and do not work until somebody enables them.
    KeepDisabled,
}

/// Which policies are to be others; `None`: as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyUpdate {
    /// See [`Policies::project_budget`].
    pub project_budget: Option<Option<BudgetTerms>>,
    /// See [`Policies::project_budget_required`].
    pub project_budget_required: Option<bool>,
    /// See [`Policies::unknown_model_ceiling`].
    pub unknown_model_ceiling: Option<Option<Ceiling>>,
    /// See [`Policies::default_role`].
    pub default_role: Option<Option<Role>>,
    /// See [`Policies::invitation_teams`].
    pub invitation_teams: Option<Vec<TeamName>>,
    /// See [`Policies::keys_on_removal`].
    pub keys_on_removal: Option<KeysOnRemoval>,
    /// See [`Policies::keys`].
    pub keys: KeyPolicyUpdate,
}

impl Policies {
    /// Takes over what an update changes.
    pub fn update(&mut self, update: &PolicyUpdate) {
        let PolicyUpdate { project_budget, project_budget_required, default_role, .. } = update;
        let PolicyUpdate { invitation_teams, keys_on_removal, keys, .. } = update;
        self.project_budget = project_budget.unwrap_or(self.project_budget);
        self.project_budget_required = project_budget_required.unwrap_or(self.project_budget_required);
        self.unknown_model_ceiling = update.unknown_model_ceiling.unwrap_or(self.unknown_model_ceiling);
        self.default_role = default_role.unwrap_or(self.default_role);
        if let Some(teams) = invitation_teams {
            self.invitation_teams.clone_from(teams);
        }
        self.keys_on_removal = keys_on_removal.unwrap_or(self.keys_on_removal);
        self.keys.update(keys);
    }
}

impl PolicyUpdate {
    /// Whether it says anything about money: what is laid down there makes budgets, or says what they are charged.
    #[must_use]
    pub const fn is_about_money(&self) -> bool {
        self.project_budget.is_some() || self.project_budget_required.is_some() || self.unknown_model_ceiling.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_what_it_names_and_an_old_record_has_the_policies_of_a_new_one() {
        let terms = BudgetTerms { unit: Unit::Usd, window: Window::Month, limit: 5, hard: true };
        let mut policies = Policies { project_budget: Some(terms), ..Policies::default() };
        policies.update(&PolicyUpdate { default_role: Some(Some(Role::Member)), ..PolicyUpdate::default() });
        assert_eq!((policies.project_budget, policies.default_role), (Some(terms), Some(Role::Member)));
        policies.update(&PolicyUpdate { project_budget: Some(None), ..PolicyUpdate::default() });
        assert_eq!((policies.project_budget, policies.default_role), (None, Some(Role::Member)));
        let team: TeamName = "tenants/acme/teams/core".parse().expect("a name");
        policies.update(&PolicyUpdate { invitation_teams: Some(vec![team.clone()]), ..PolicyUpdate::default() });
        policies.update(&PolicyUpdate { project_budget_required: Some(true), ..PolicyUpdate::default() });
        assert_eq!(policies.invitation_teams, [team]);
        let text = serde_json::to_string(&policies).expect("writes");
        assert!(text.contains("[\"tenants/acme/teams/core\"]"), "{text}");
        assert_eq!(serde_json::from_str::<Policies>(&text).expect("reads"), policies);
        assert!(serde_json::from_str::<Policies>(&text.replace("/core", "")).is_err());
        assert_eq!(serde_json::from_str::<Policies>("{}").expect("reads"), Policies::default());
    }
}
