//! What etcd's refusals mean.

use longshore_core::{Error, ErrorKind, LeaseId};

/// From a gRPC status code (grpc/codes) and etcd's text.
pub(super) fn of(code: i32, text: &str) -> Error {
    let shown: String = text.chars().take(300).collect();
    let kind = match code {
        _ if text.contains("user name is empty") || text.contains("invalid user ID") => {
            ErrorKind::Unauthenticated
        }
        1 => ErrorKind::Cancelled,
        3 | 11 => ErrorKind::InvalidInput,
        4 => ErrorKind::Timeout,
        5 => ErrorKind::NotFound,
        7 => ErrorKind::PermissionDenied,
        8 => ErrorKind::ResourceExhausted,
        12 => ErrorKind::Unsupported,
        16 => ErrorKind::Unauthenticated,
        _ => ErrorKind::Unavailable,
    };
    let error = match kind {
        ErrorKind::Unauthenticated => Error::new(
            kind,
            format!("etcd does not know us ({shown}): give user and password in the URL"),
        ),
        ErrorKind::NotFound if text.contains("lease") => {
            Error::new(kind, "the lease has ended".to_owned())
        }
        _ => Error::new(kind, format!("etcd: {shown}")),
    };
    error.with_backend("etcd")
}

pub(super) fn ended(lease: LeaseId) -> Error {
    Error::not_found("the lease has ended")
        .with_context("lease", lease.0)
        .with_backend("etcd")
}
