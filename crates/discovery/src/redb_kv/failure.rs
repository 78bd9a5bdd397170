//! What goes wrong with a file.

use longshore_core::{Error, ErrorKind};

/// Opening failed.
pub(crate) fn of_open(path: &str, error: redb::DatabaseError) -> Error {
    let error = match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::new(
            ErrorKind::AlreadyExists,
            format!("the store {path} is open already, here or in another process"),
        ),
        redb::DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() != std::io::ErrorKind::InvalidData =>
        {
            Error::io(format!("cannot open the store {path}"), error)
        }
        other => Error::invalid(format!("the file {path} is no sound store")).with_source(other),
    };
    error.with_backend("redb")
}

/// The store was closed, or its thread has ended.
pub(super) fn closed() -> Error {
    Error::closed("the store was closed").with_backend("redb")
}

/// Reading or writing failed: always [`ErrorKind::Unavailable`] or [`ErrorKind::Internal`], which no
/// refused step is.
pub(crate) fn of(error: impl Into<redb::Error>) -> Error {
    let error = match error.into() {
        redb::Error::Io(error) => Error::unavailable("the store's disk failed").with_source(error),
        redb::Error::PreviousIo => Error::unavailable(
            "the store's disk failed before: open the store again when it is mended",
        ),
        other => Error::internal("the store's file can't be read").with_source(other),
    };
    error.with_backend("redb")
}

/// Whether the file, not a step, is at fault.
pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal)
}

/// The same failure, for everybody who shares a transaction.
pub(super) fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.message().to_owned())
        .with_retryable(error.is_retryable())
        .with_backend("redb")
}
