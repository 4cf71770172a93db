//! What messages of access mean: questions, answers, and the sentence that explains an answer.

use super::parse::{self, FieldError, invalid};
use crate::{
    app::{
        access::{Answer, CheckAccess, Effective, ListEffectivePermissions, Obstacle, Question},
        bindings::NamedBinding,
    },
    domain::names::{PrincipalName, TenantName},
    pb::tollreeve::v1 as pb,
};

/// Most questions at once.
const MAX_QUESTIONS: usize = 100;

fn principal(field: &str, name: &str) -> Result<Option<PrincipalName>, FieldError> {
    if name.is_empty() {
        return Ok(None);
    }
    let wrong = |_| invalid(field, "must be a name of a user or service account");
    name.parse().map(Some).map_err(wrong)
}

fn question(field: &str, asked: &pb::AccessQuestion) -> Result<Question, FieldError> {
    Ok(Question {
        resource: parse::required(&format!("{field}.resource"), &asked.resource)?,
        permission: parse::required(&format!("{field}.permission"), &asked.permission)?,
        principal: principal(&format!("{field}.principal"), &asked.principal)?,
    })
}

impl TryFrom<pb::CheckAccessRequest> for CheckAccess {
    type Error = FieldError;

    fn try_from(request: pb::CheckAccessRequest) -> Result<Self, FieldError> {
        let question = question("question", &parse::present("question", request.question)?)?;
        let parent = TenantName { tenant: question.resource.tenant().clone() };
        Ok(Self { parent, questions: vec![question] })
    }
}

impl TryFrom<pb::BatchCheckAccessRequest> for CheckAccess {
    type Error = FieldError;

    fn try_from(request: pb::BatchCheckAccessRequest) -> Result<Self, FieldError> {
        let parent: TenantName = parse::required("parent", &request.parent)?;
        if !(1..=MAX_QUESTIONS).contains(&request.questions.len()) {
            return Err(invalid("questions", format!("must be 1 to {MAX_QUESTIONS}")));
        }
        let numbered = request.questions.iter().enumerate();
        let questions = numbered.map(|(i, asked)| question(&format!("questions[{i}]"), asked));
        Ok(Self { parent, questions: questions.collect::<Result<_, _>>()? })
    }
}

impl TryFrom<pb::ListEffectivePermissionsRequest> for ListEffectivePermissions {
    type Error = FieldError;

    fn try_from(request: pb::ListEffectivePermissionsRequest) -> Result<Self, FieldError> {
        Ok(Self {
            resource: parse::required("resource", &request.resource)?,
            principal: principal("principal", &request.principal)?,
        })
    }
}

impl From<NamedBinding> for pb::AccessGrant {
    fn from(named: NamedBinding) -> Self {
        Self { binding: named.name.to_string(), role: named.role, member: named.member, scope: named.scope }
    }
}

fn obstacle(obstacle: Option<Obstacle>) -> i32 {
    match obstacle {
        None => pb::AccessObstacle::Unspecified,
        Some(Obstacle::PermissionMissing) => pb::AccessObstacle::PermissionMissing,
        Some(Obstacle::PrincipalNotActive) => pb::AccessObstacle::PrincipalNotActive,
        Some(Obstacle::TenantNotInUse) => pb::AccessObstacle::TenantNotInUse,
    }
    .into()
}

/// The answer in a sentence.
fn explain(answer: &Answer) -> String {
    let Answer { who, question, grants, .. } = answer;
    let (permission, resource) = (question.permission, &question.resource);
    let missing = || match (answer.roles.first(), answer.granters.first()) {
        (Some(role), Some(granter)) => format!("{granter} could bind {role} there"),
        (Some(role), None) => format!("{role} would give it, and only the platform's operators could bind it there"),
        (None, _) => "no role that a tenant can give holds it".to_owned(),
    };
    match (answer.obstacle, grants.first()) {
        (None, Some(by)) => {
            format!("{who} may {permission} on {resource}: {} holds {} on {}", by.member, by.role, by.scope)
        }
        (Some(Obstacle::PrincipalNotActive), _) => format!("{who} is not active"),
        (Some(Obstacle::TenantNotInUse), _) => format!("the tenant of {who} is suspended or deleted"),
        _ => format!("{who} lacks {permission} on {resource}; {}", missing()),
    }
}

impl From<Answer> for pb::AccessAnswer {
    fn from(answer: Answer) -> Self {
        Self {
            explanation: explain(&answer),
            allowed: answer.obstacle.is_none(),
            obstacle: obstacle(answer.obstacle),
            grants: answer.grants.into_iter().map(Into::into).collect(),
            roles: answer.roles.iter().map(ToString::to_string).collect(),
            granters: answer.granters,
        }
    }
}

impl From<Vec<Answer>> for pb::CheckAccessResponse {
    fn from(answers: Vec<Answer>) -> Self {
        Self { answer: answers.into_iter().next().map(Into::into) }
    }
}

impl From<Vec<Answer>> for pb::BatchCheckAccessResponse {
    fn from(answers: Vec<Answer>) -> Self {
        Self { answers: answers.into_iter().map(Into::into).collect() }
    }
}

impl From<Effective> for pb::ListEffectivePermissionsResponse {
    fn from(effective: Effective) -> Self {
        let permission = |(permission, grants): (_, Vec<NamedBinding>)| pb::EffectivePermission {
            permission: ToString::to_string(&permission),
            grants: grants.into_iter().map(Into::into).collect(),
        };
        Self {
            obstacle: obstacle(effective.obstacle),
            permissions: effective.permissions.into_iter().map(permission).collect(),
        }
    }
}
