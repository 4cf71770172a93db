//! `tollreeve keys review` and `keys retire-breaking`.

use std::process::ExitCode;

use super::{
    client,
    key_policies::KeyPolicyArgs,
    names::WORKSPACE,
    session::{ChangeArgs, PageArgs, Session, Sure, called, listed},
};
use crate::pb::tollreeve::v1 as pb;

/// Which keys break which policy.
#[derive(clap::Args)]
pub struct Review {
    /// The workspace, `prod`.
    workspace: String,
    /// With any of these, a policy that has them and nothing else is tried.
    #[command(flatten)]
    policy: KeyPolicyArgs,
    #[command(flatten)]
    pages: PageArgs,
}

/// When the keys that break the policy are to end.
#[derive(clap::Args)]
pub struct Retirement {
    /// The workspace, `prod`.
    workspace: String,
    /// When they are to end, `2027-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    until: jiff::Timestamp,
    /// Why, for the audit log.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    sure: Sure,
}

const COLUMNS: [(&str, &str); 5] = [
    ("NAME", "key.name"),
    ("DISPLAY NAME", "key.display_name"),
    ("OWNER", "key.owner"),
    ("UNTIL", "key.expire_time"),
    ("BREAKS", "fields"),
];

/// Lists the keys that break a policy.
///
/// # Errors
/// When it could not be done; so for every function of this module.
pub async fn review(session: &Session, review: Review) -> anyhow::Result<ExitCode> {
    let parent = session.names.full(WORKSPACE, &review.workspace)?;
    let (policy, given) = review.policy.message();
    let policy = (!given.is_empty()).then_some(policy);
    let request = pb::ReviewKeysRequest { parent: parent.clone(), policy, ..Default::default() };
    let list = listed!(session, review.pages, &parent, keys.review_keys(request), keys);
    session.table(&list, "keys", &COLUMNS)
}

/// Asks again until every key was looked at: one call looks at a thousand.
pub async fn retire(session: &Session, asked: Retirement) -> anyhow::Result<ExitCode> {
    let Retirement { workspace, until, reason, change: ChangeArgs { validate_only, mut request_id }, sure } = asked;
    let parent = session.names.full(WORKSPACE, &workspace)?;
    if !validate_only {
        sure.ask(&format!("let every key of {parent} end at {until} that breaks its key policy"), true)?;
    }
    let expire_time = Some(prost_types::Timestamp { seconds: until.as_second(), nanos: until.subsec_nanosecond() });
    let mut all = pb::RetireKeysResponse::default();
    loop {
        let (parent, reason, page_token) = (parent.clone(), reason.clone(), all.next_page_token);
        let asked = pb::RetireKeysRequest {
            parent: parent.clone(),
            expire_time,
            reason,
            page_token,
            request_id,
            validate_only,
        };
        let answer = called!(session, "retire keys of", &parent, keys.retire_keys(asked))?;
        all.retired_count += answer.retired_count;
        all.names.extend(answer.names);
        (all.left_count, all.revision, all.next_page_token) =
            (answer.left_count, answer.revision, answer.next_page_token);
        if all.next_page_token.is_empty() {
            break;
        }
        request_id = client::fresh_id();
    }
    let keys = if all.retired_count == 1 { "key" } else { "keys" };
    let done = format!("end at {until}: {} {keys}", all.retired_count);
    session.changed(&all, "", done, validate_only)
}
