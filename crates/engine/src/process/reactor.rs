use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Lets the runtime tell when a descriptor is ready. Must be called within a runtime.
#[expect(
    deprecated,
    reason = "its successor is unsafe because a descriptor may be replaced while it is registered, \
              which an OwnedFd behind a shared reference cannot be; unsafe code is forbidden here"
)]
pub(super) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
