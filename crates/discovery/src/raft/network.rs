use std::fmt;

use async_trait::async_trait;
use longshore_core::{BoxByteStream, BoxFuture, Result};

/// How the members of a [`RaftKv`](crate::RaftKv) reach each other: any streams of bytes that keep
/// their order. Who is at the other end has to be established here, before a byte of it is read.
#[async_trait]
pub trait RaftNetwork: fmt::Debug + Send + Sync + 'static {
    /// Connects to a member by its name. Cancel safe.
    ///
    /// # Errors
    /// It can't be reached, or is not who it should be. It will be dialled again.
    async fn dial(&self, member: &str) -> Result<BoxByteStream>;

    /// The next that dials us. Cheap: what takes time is left to the handshake. Cancel safe.
    ///
    /// # Errors
    /// Accepting failed. It will be tried again after a pause.
    async fn accept(&self) -> Result<RaftIncoming>;
}

/// Somebody who dials, before it is known who.
pub struct RaftIncoming(BoxFuture<'static, Result<RaftPeer>>);

impl RaftIncoming {
    /// Whoever comes out of this handshake.
    pub fn new(handshake: impl Future<Output = Result<RaftPeer>> + Send + 'static) -> Self {
        Self(Box::pin(handshake))
    }

    pub(super) async fn shake_hands(self) -> Result<RaftPeer> {
        self.0.await
    }
}

impl fmt::Debug for RaftIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RaftIncoming(…)")
    }
}

/// Somebody who has dialled, and what it may do.
pub struct RaftPeer {
    pub(super) stream: BoxByteStream,
    pub(super) access: RaftAccess,
}

impl RaftPeer {
    /// A stream, and what comes in over it may do.
    pub fn new(stream: BoxByteStream, access: RaftAccess) -> Self {
        Self { stream, access }
    }
}

impl fmt::Debug for RaftPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftPeer")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What somebody may do who dials a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RaftAccess {
    /// Read and write the store, as a client.
    Client,
    /// Be a member too, and a client.
    Manager,
}
