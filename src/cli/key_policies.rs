//! Flags for the key policy of a workspace.

use clap::ValueEnum;

use crate::pb::tollreeve::v1 as pb;

const DAY: i64 = 86_400;

/// What a workspace lays down of its keys; what is not given stays as it is.
#[derive(clap::Args, Clone, Default)]
pub struct KeyPolicyArgs {
    /// Who may make keys of their own.
    #[arg(long, value_enum)]
    key_creators: Option<Makers>,
    /// Most keys of one owner; 0 for any number.
    #[arg(long, value_name = "N")]
    max_keys: Option<i64>,
    /// Longest life of a key, in days; 0 for any.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=36_500))]
    max_key_days: Option<i64>,
    /// A list of a key's allowlist that must not be empty; may be given more than once.
    #[arg(long = "require-allowlist", value_enum, value_name = "LIST")]
    required: Vec<List>,
    /// A permission that a key may be given, `models:invoke`, or `any`; may be given more than once.
    #[arg(long = "key-permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// After how many days the secret of a key is due for another one; 0 for never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=3650))]
    rotate_every_days: Option<i64>,
    /// How many days longer the key works before it is refused.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=365))]
    rotation_grace_days: Option<i64>,
}

/// Who may make keys of their own.
#[derive(Clone, Copy, ValueEnum)]
enum Makers {
    /// Whoever holds `keys:create`.
    Anybody,
    /// Only who holds `keys:write`.
    Writers,
}

/// A list of an allowlist.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum List {
    /// None need be filled.
    None,
    /// Address ranges.
    Cidrs,
    /// Origins.
    Origins,
    /// Models.
    Models,
    /// Endpoints.
    Endpoints,
    /// Permissions.
    Permissions,
}

impl KeyPolicyArgs {
    /// The policy that is given, and the fields of it.
    #[must_use]
    pub fn message(&self) -> (pb::WorkspaceKeyPolicy, Vec<&'static str>) {
        let required = self.required.iter().filter_map(|list| match list {
            List::None => None,
            List::Cidrs => Some(pb::AllowlistKind::Cidrs.into()),
            List::Origins => Some(pb::AllowlistKind::Origins.into()),
            List::Models => Some(pb::AllowlistKind::Models.into()),
            List::Endpoints => Some(pb::AllowlistKind::Endpoints.into()),
            List::Permissions => Some(pb::AllowlistKind::Permissions.into()),
        });
        let seconds = |days: Option<i64>| days.unwrap_or_default() * DAY;
        let policy = pb::WorkspaceKeyPolicy {
            creators: match self.key_creators {
                None => pb::KeyCreators::Unspecified,
                Some(Makers::Anybody) => pb::KeyCreators::Anybody,
                Some(Makers::Writers) => pb::KeyCreators::Writers,
            }
            .into(),
            max_keys: self.max_keys.unwrap_or_default(),
            max_lifetime_seconds: seconds(self.max_key_days),
            required_allowlists: required.collect(),
            allowed_permissions: self.permissions.iter().filter(|name| *name != "any").cloned().collect(),
            rotation_interval_seconds: seconds(self.rotate_every_days),
            rotation_grace_seconds: seconds(self.rotation_grace_days),
        };
        let fields = [
            ("creators", self.key_creators.is_some()),
            ("max_keys", self.max_keys.is_some()),
            ("max_lifetime_seconds", self.max_key_days.is_some()),
            ("required_allowlists", !self.required.is_empty()),
            ("allowed_permissions", !self.permissions.is_empty()),
            ("rotation_interval_seconds", self.rotate_every_days.is_some()),
            ("rotation_grace_seconds", self.rotation_grace_days.is_some()),
        ];
        (policy, fields.into_iter().filter(|(_, given)| *given).map(|(field, _)| field).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_changed_and_days_are_counted_in_seconds() {
        let (policy, fields) = KeyPolicyArgs::default().message();
        assert!(fields.is_empty() && policy == pb::WorkspaceKeyPolicy::default());
        let args = KeyPolicyArgs {
            required: vec![List::None],
            permissions: vec!["any".into()],
            rotate_every_days: Some(90),
            ..KeyPolicyArgs::default()
        };
        let (policy, fields) = args.message();
        assert_eq!(fields, ["required_allowlists", "allowed_permissions", "rotation_interval_seconds"]);
        let rotated = pb::WorkspaceKeyPolicy { rotation_interval_seconds: 90 * DAY, ..Default::default() };
        assert_eq!(policy, rotated);
    }
}
