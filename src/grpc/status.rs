//! The one place that turns errors into gRPC statuses: code, stable reason, field, delay. Internal detail stays here.

use std::{fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::parse::FieldError;
use crate::{
    app::AppError,
    engine::error::GateError,
    pb::tollreeve::v1::{ChargeError, ErrorReason},
    store::StoreError,
};

const DOMAIN: &str = "tollreeve";
/// When to try again after an outage or a busy moment.
const RETRY_AFTER: Duration = Duration::from_millis(500);

fn details(reason: ErrorReason) -> ErrorDetails {
    ErrorDetails::with_error_info(short(reason), DOMAIN, std::collections::HashMap::new())
}

/// The reason without the prefix that enum values need: `FIELD_INVALID`.
#[must_use]
pub fn short(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn plain(code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(reason))
}

/// With what a program may want to know of it.
fn telling<const N: usize>(code: Code, reason: ErrorReason, message: String, facts: [(&str, String); N]) -> Status {
    let mut details = details(reason);
    details.set_error_info(short(reason), DOMAIN, facts.map(|(key, value)| (key.to_owned(), value)));
    Status::with_error_details(code, message, details)
}

fn retry_later(code: Code, reason: ErrorReason, message: &str) -> Status {
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(code, message, details)
}

fn invalid(field: &str, why: &str) -> Status {
    let mut details = details(ErrorReason::FieldInvalid);
    details.add_bad_request_violation(field, why);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {why}"), details)
}

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        invalid(&error.field, &error.why)
    }
}

/// A bearer token is missing or not good.
#[must_use]
pub fn unauthenticated() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::TokenInvalid,
        "this needs a valid token: send `authorization: Bearer ...`",
    )
}

/// The caller's deadline has passed.
#[must_use]
pub fn deadline() -> Status {
    plain(Code::DeadlineExceeded, ErrorReason::DeadlinePassed, "the deadline has passed")
}

/// The server has too much to do.
#[must_use]
pub fn overloaded() -> Status {
    retry_later(Code::ResourceExhausted, ErrorReason::Overloaded, "the server is busy: try again")
}

/// A defect of the server.
pub fn internal(detail: &dyn fmt::Display) -> Status {
    tracing::error!(%detail, "a call failed by a defect of the server");
    plain(Code::Internal, ErrorReason::Internal, "the server failed; its log says how")
}

/// The status of a use case's error.
#[must_use]
pub fn of_app(error: &AppError) -> Status {
    let text = || error.to_string();
    match error {
        AppError::NotFound(_) => plain(Code::NotFound, ErrorReason::ResourceNotFound, text()),
        AppError::Exists(_) => plain(Code::AlreadyExists, ErrorReason::ResourceExists, text()),
        AppError::Forbidden(permission) => telling(
            Code::PermissionDenied,
            ErrorReason::PermissionMissing,
            text(),
            [("permission", permission.to_string())],
        ),
        AppError::SeatsTaken { role, place, seats, taken } => telling(
            Code::FailedPrecondition,
            ErrorReason::SeatsTaken,
            text(),
            [
                ("role", role.clone()),
                ("scope", place.clone()),
                ("seats", seats.to_string()),
                ("taken", taken.to_string()),
            ],
        ),
        AppError::KeysTaken { owner, workspace, limit } => telling(
            Code::FailedPrecondition,
            ErrorReason::KeysTaken,
            text(),
            [("owner", owner.clone()), ("workspace", workspace.clone()), ("limit", limit.to_string())],
        ),
        AppError::RoleInUse { role, bindings, templates } => telling(
            Code::FailedPrecondition,
            ErrorReason::RoleInUse,
            text(),
            [("role", role.clone()), ("bindings", bindings.to_string()), ("templates", templates.to_string())],
        ),
        AppError::Invalid { field, why } => invalid(field, why),
        AppError::State(_) => plain(Code::FailedPrecondition, ErrorReason::StateConflict, text()),
        AppError::Invitation => plain(Code::NotFound, ErrorReason::InvitationInvalid, text()),
        // The details are those of what went wrong.
        AppError::Item(list, place, cause) => {
            if let AppError::Invalid { field, why } = &**cause {
                let within = field.split_once('.').map(|(_, field)| format!(".{field}")).unwrap_or_default();
                return invalid(&format!("{list}[{place}]{within}"), why);
            }
            let status = of_app(cause);
            Status::with_details(status.code(), text(), status.details().to_vec().into())
        }
        AppError::NotSignedIn => plain(Code::Unauthenticated, ErrorReason::CredentialsInvalid, text()),
        AppError::Throttled(wait) => {
            let mut details = details(ErrorReason::Throttled);
            details.set_retry_info(Some(*wait));
            Status::with_error_details(Code::ResourceExhausted, text(), details)
        }
        AppError::Etag => plain(Code::Aborted, ErrorReason::EtagMismatch, text()),
        AppError::Store(error) => of_store(error),
        AppError::NotYetInForce { revision, behind } => telling(
            Code::DeadlineExceeded,
            ErrorReason::NotYetInForce,
            text(),
            [("revision", revision.to_string()), ("servers", behind.join(" "))],
        ),
        AppError::Gate(error) => of_gate(error),
    }
}

fn of_store(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable(cause) => {
            tracing::warn!(%cause, "the database is unavailable");
            unavailable()
        }
        StoreError::InDoubt(cause) => {
            tracing::warn!(%cause, "the outcome of a commit is not known");
            in_doubt("the database did not say whether the change was made: read it, or send the same again")
        }
        StoreError::Corrupt(_) => internal(error),
    }
}

fn unavailable() -> Status {
    retry_later(Code::Unavailable, ErrorReason::StorageUnavailable, "the database is unavailable; nothing was changed")
}

fn in_doubt(message: &str) -> Status {
    retry_later(Code::Unavailable, ErrorReason::OutcomeUnknown, message)
}

/// The error of one charge of a batch: what Charge alone would have answered.
#[must_use]
pub fn charge_error(status: &Status) -> ChargeError {
    let details = status.get_error_details();
    let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
    ChargeError {
        code: status.code().into(),
        reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        message: status.message().to_owned(),
        field: violation.map(|violation| violation.field.clone()).unwrap_or_default(),
    }
}

/// The status of an error of the gate.
#[must_use]
pub fn of_gate(error: &GateError) -> Status {
    match error {
        GateError::Invalid { field, why } => invalid(field, why),
        GateError::HoldToken(why) => {
            let mut details = details(ErrorReason::HoldTokenInvalid);
            details.add_bad_request_violation("hold_token", *why);
            Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
        }
        GateError::NotFound(_) => plain(Code::NotFound, ErrorReason::ResourceNotFound, error.to_string()),
        GateError::Forbidden(permission) => of_app(&AppError::Forbidden(*permission)),
        GateError::IdempotencyConflict(_) => {
            plain(Code::AlreadyExists, ErrorReason::IdempotencyConflict, error.to_string())
        }
        GateError::RevisionAhead { .. } => {
            retry_later(Code::Unavailable, ErrorReason::RevisionAhead, &error.to_string())
        }
        GateError::Unavailable(cause) => {
            tracing::warn!(%cause, "the ledger is unavailable");
            unavailable()
        }
        GateError::InDoubt(_) => in_doubt(&format!("{error}; send it again with the same charge_id")),
        GateError::Overloaded => overloaded(),
        GateError::Draining => retry_later(Code::Unavailable, ErrorReason::Draining, "the server is stopping"),
    }
}
