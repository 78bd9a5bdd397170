//! What Consul's refusals mean.

use http::StatusCode;
use longshore_core::{Error, ErrorKind, LeaseId};

use super::{plan::Purpose, session};

/// A whole request was refused.
pub(super) fn of(status: StatusCode, body: &[u8]) -> Error {
    let text: String = String::from_utf8_lossy(body)
        .trim()
        .chars()
        .take(300)
        .collect();
    let error = match status.as_u16() {
        401 | 403 if text.contains("ACL not found") => Error::new(
            ErrorKind::Unauthenticated,
            "consul does not know the ACL token: give it as the password in the URL",
        ),
        401 | 403 => Error::new(
            ErrorKind::PermissionDenied,
            format!("consul's ACL does not allow it ({text})"),
        ),
        400 => Error::invalid(format!("consul refuses the request: {text}")),
        413 => Error::invalid(format!(
            "larger than consul takes (kv_max_value_size, txn_max_req_len): {text}"
        )),
        404 | 405 => Error::protocol(format!(
            "the server has no such call: consul 1.5 or later is needed (status {status})"
        )),
        429 => {
            Error::new(ErrorKind::ResourceExhausted, "consul limits our rate").with_retryable(true)
        }
        _ => Error::unavailable(format!("consul answered with status {status}: {text}")),
    };
    error.with_backend("consul")
}

/// One operation of a transaction did not hold.
pub(super) fn of_operation(purpose: Option<Purpose>, what: &str) -> Error {
    let shown: String = what.chars().take(300).collect();
    let error = match purpose {
        Some(Purpose::Condition) => Error::new(
            ErrorKind::Conflict,
            "a key is not as expected: read it again",
        ),
        Some(Purpose::Tie) if what.contains("session") => Error::not_found("the lease has ended"),
        _ if what.contains("Permission denied") => Error::new(
            ErrorKind::PermissionDenied,
            format!("consul's ACL does not allow it ({shown})"),
        ),
        _ if what.contains("exceeds") => Error::invalid(format!("consul: {shown}")),
        _ => Error::unavailable(format!("consul's transaction failed: {shown}")),
    };
    error.with_backend("consul")
}

pub(super) fn ended(lease: LeaseId) -> Error {
    Error::not_found("the lease has ended")
        .with_context("lease", session::format(lease))
        .with_backend("consul")
}
