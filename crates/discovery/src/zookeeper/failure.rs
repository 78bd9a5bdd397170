//! What ZooKeeper's error codes mean (`KeeperException.Code`).

use longshore_core::{Error, ErrorKind, LeaseId};

pub(super) const NO_NODE: i32 = -101;
pub(super) const BAD_VERSION: i32 = -103;
pub(super) const NODE_EXISTS: i32 = -110;
pub(super) const NOT_EMPTY: i32 = -111;
const NO_AUTH: i32 = -102;
const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
const SESSION_EXPIRED: i32 = -112;
const AUTH_FAILED: i32 = -115;

pub(super) fn of(code: i32) -> Error {
    let error = match code {
        NO_NODE | BAD_VERSION | NODE_EXISTS | NOT_EMPTY => Error::new(
            ErrorKind::Conflict,
            "a key changed meanwhile: read it again",
        ),
        NO_AUTH => Error::new(
            ErrorKind::PermissionDenied,
            "zookeeper's access list does not allow it: give user and password in the URL",
        ),
        AUTH_FAILED => Error::new(
            ErrorKind::Unauthenticated,
            "zookeeper refused user and password",
        ),
        NO_CHILDREN_FOR_EPHEMERALS => {
            Error::unsupported("zookeeper keeps no keys below a key that lives by a lease")
        }
        SESSION_EXPIRED => Error::unavailable("the session with zookeeper has ended"),
        -6 => Error::unsupported("zookeeper does not know the call: 3.6 or later is needed"),
        other => Error::unavailable(format!("zookeeper failed with code {other}")),
    };
    error.with_backend("zookeeper")
}

pub(super) fn ended(lease: LeaseId) -> Error {
    Error::not_found("the lease has ended, or belongs to another client")
        .with_context("lease", format!("{:x}", lease.0))
        .with_backend("zookeeper")
}
