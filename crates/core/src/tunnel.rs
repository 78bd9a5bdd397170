use std::{fmt, fmt::Debug, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{BoxByteStream, Endpoint, Error, NodeId, Result};

/// Who is at the other end of a carrier, proven by the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerIdentity {
    /// The identity in the peer's certificate.
    pub node: NodeId,
    /// Where the connection comes from, for people and for audit. Never an identity.
    pub address: Option<Endpoint>,
}

impl PeerIdentity {
    /// A proven identity.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            address: None,
        }
    }

    /// Adds where the connection comes from.
    #[must_use]
    pub fn with_address(mut self, address: Endpoint) -> Self {
        self.address = Some(address);
        self
    }
}

/// What a stream is for: told to the peer when the stream is opened. The peer decides whether it
/// offers that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamTarget {
    /// The API of the node's engine.
    Engine,
    /// The control channel between agent and control plane.
    Control,
    /// A service by name, 1 to 255 visible ASCII characters.
    Service(String),
    /// Engine or service, as one of several managers asks for it.
    Under(Mandate, Box<Self>),
}

/// What one of several managers may do with a stream that it opens to a node, and by which right.
/// The node holds it to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mandate {
    /// Look and change nothing: what every manager may.
    Observe,
    /// Change things, as the leader that has this fencing token
    /// ([`Leader::Here`](crate::Leader::Here)). A node refuses a token lower than one that it has
    /// seen.
    Act {
        /// The fencing token.
        token: u64,
    },
}

impl StreamTarget {
    /// The same target under a mandate, in place of one that it had. The control channel has none.
    #[must_use]
    pub fn under(self, mandate: Mandate) -> Self {
        match self.bare() {
            (_, Self::Control) => Self::Control,
            (_, target) => Self::Under(mandate, Box::new(target)),
        }
    }

    /// The mandate, and the target without it.
    pub fn bare(self) -> (Option<Mandate>, Self) {
        match self {
            Self::Under(mandate, target) => (Some(mandate), target.bare().1),
            target => (None, target),
        }
    }
}

impl fmt::Display for StreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Control => f.write_str("control"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Under(Mandate::Observe, target) => write!(f, "observe:{target}"),
            Self::Under(Mandate::Act { token }, target) => write!(f, "act:{token}:{target}"),
        }
    }
}

/// Reads what `Display` prints.
impl FromStr for StreamTarget {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::protocol("unknown stream target").with_context(
                "target",
                text.chars().take(80).collect::<String>().escape_debug(),
            )
        };
        let (mandate, bare) = match text.split_once(':') {
            Some(("observe", bare)) => (Some(Mandate::Observe), bare),
            Some(("act", rest)) => {
                let (number, bare) = rest.split_once(':').ok_or_else(unknown)?;
                let token: u64 = number.parse().map_err(|_| unknown())?;
                // One token has one spelling.
                if token.to_string() != number {
                    return Err(unknown());
                }
                (Some(Mandate::Act { token }), bare)
            }
            _ => (None, text),
        };
        let target = match bare {
            "engine" => Self::Engine,
            "control" if mandate.is_none() => Self::Control,
            _ => match bare.strip_prefix("service:") {
                Some(name)
                    if (1..=255).contains(&name.len())
                        && name.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    Self::Service(name.to_owned())
                }
                _ => return Err(unknown()),
            },
        };
        Ok(match mandate {
            Some(mandate) => target.under(mandate),
            None => target,
        })
    }
}

/// A stream that the peer opened.
pub struct IncomingStream {
    /// What the peer wants.
    pub target: StreamTarget,
    /// The bytes. Dropping it refuses the stream: the peer sees a reset.
    pub stream: BoxByteStream,
}

impl Debug for IncomingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingStream")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Why a carrier ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it, with this text.
    Local(String),
    /// The peer closed it, with this text.
    Peer(String),
    /// The connection broke or the peer broke the protocol.
    Broken(String),
    /// The peer did not answer in time.
    Silent,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(text) => write!(f, "closed here: {text}"),
            Self::Peer(text) => write!(f, "closed by the peer: {text}"),
            Self::Broken(text) => write!(f, "the connection broke: {text}"),
            Self::Silent => f.write_str("the peer stopped answering"),
        }
    }
}

/// One authenticated connection between two peers that carries many streams.
///
/// Rules held by the conformance suite: streams are independent (one that is not read does not
/// hold up the others) and flow-controlled; bytes arrive in order and unchanged; half-close works
/// in both directions; a dropped stream is seen by the peer, unless it was shut down before: then
/// what was written still arrives; when the carrier ends, all its streams end with an error, not
/// with a clean end of file.
///
/// It ends by itself when the last handle and the last of its streams are dropped. Without a handle
/// nobody can accept, so new streams are refused from then on.
#[async_trait]
pub trait Carrier: Debug + Send + Sync + 'static {
    /// Who is at the other end.
    fn peer(&self) -> &PeerIdentity;

    /// Opens a stream. Bytes may be written at once; a refusal shows as a reset.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after the end of the carrier,
    /// [`ErrorKind::ResourceExhausted`](crate::ErrorKind::ResourceExhausted) above its stream limit.
    ///
    /// # Cancel safety
    /// Safe: a stream opened by a dropped call is reset.
    async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream>;

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after the end of the carrier.
    ///
    /// # Cancel safety
    /// Safe: no stream is lost.
    async fn accept(&self) -> Result<IncomingStream>;

    /// Ends the carrier after telling the peer why. Streams are reset. Closing twice is no error.
    async fn close(&self, reason: &str);

    /// Waits for the end and says why. Cancel safe; may be called by many and again.
    async fn closed(&self) -> CloseReason;

    /// The last measured round trip, where the transport measures it.
    fn round_trip(&self) -> Option<Duration>;
}

/// A connection whose handshake is still to be done.
///
/// It is apart from [`TunnelListener::accept`] so that a slow or hostile peer holds up nobody: run
/// the handshake in a task of its own.
#[async_trait]
pub trait PendingCarrier: Debug + Send + 'static {
    /// Where the connection comes from.
    fn remote(&self) -> Option<Endpoint>;

    /// Proves both sides' identities, within the transport's own deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`](crate::ErrorKind::Unauthenticated) with what is wrong with
    /// which certificate, or [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    ///
    /// # Cancel safety
    /// Dropping the call drops the connection.
    async fn handshake(self: Box<Self>) -> Result<Arc<dyn Carrier>>;
}

/// Waits for peers.
#[async_trait]
pub trait TunnelListener: Debug + Send + Sync + 'static {
    /// Where it listens; a port 0 asked for is replaced by the port given.
    fn local(&self) -> Endpoint;

    /// The next connection, before any handshake. Cheap.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) when the listener has ended. Passing
    /// failures (out of descriptors) are waited out inside.
    ///
    /// # Cancel safety
    /// Safe: no connection is lost.
    async fn accept(&self) -> Result<Box<dyn PendingCarrier>>;
}

/// What a transport can do, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunnelCapabilities {
    /// Whether peers prove who they are with keys. Without, identities are only claimed.
    pub authenticated: bool,
    /// Whether bytes are encrypted on the way.
    pub encrypted: bool,
    /// How many streams a peer may hold open on one carrier.
    pub max_streams: u32,
}

impl TunnelCapabilities {
    /// An authenticated and encrypted transport.
    pub fn secure(max_streams: u32) -> Self {
        Self {
            authenticated: true,
            encrypted: true,
            max_streams,
        }
    }

    /// A transport within one process.
    pub fn in_memory(max_streams: u32) -> Self {
        Self {
            authenticated: false,
            encrypted: false,
            max_streams,
        }
    }
}

/// A way to reach peers: TCP with mutual TLS, memory, later QUIC and WebSocket.
#[async_trait]
pub trait TunnelTransport: Debug + Send + Sync + 'static {
    /// What this transport can do.
    fn capabilities(&self) -> TunnelCapabilities;

    /// Starts to listen.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) when the address is in use.
    async fn listen(&self, at: &Endpoint) -> Result<Arc<dyn TunnelListener>>;

    /// Connects to a listener and does the handshake.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when nobody listens,
    /// [`ErrorKind::Unauthenticated`](crate::ErrorKind::Unauthenticated) with what is wrong with
    /// which certificate.
    ///
    /// # Cancel safety
    /// Safe: a connection made by a dropped call is dropped.
    async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn Carrier>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_was_written() {
        let service = StreamTarget::Service("act:7:x".to_owned());
        for target in [
            StreamTarget::Engine,
            StreamTarget::Control,
            service.clone(),
            StreamTarget::Engine.under(Mandate::Observe),
            service.clone().under(Mandate::Observe),
            service.under(Mandate::Act { token: u64::MAX }),
        ] {
            assert_eq!(target.to_string().parse::<StreamTarget>().unwrap(), target);
        }
        let act = StreamTarget::Engine.under(Mandate::Act { token: 17 });
        assert_eq!(act.to_string(), "act:17:engine");
        assert_eq!(
            act.under(Mandate::Observe).to_string(),
            "observe:engine",
            "one mandate at a time"
        );
    }

    #[test]
    fn what_is_no_target_is_refused_by_name() {
        for text in [
            "",
            "observe:control",
            "observe:observe:engine",
            "act:engine",
            "act::engine",
            "act:+7:engine",
            "act:07:engine",
            "act:-1:engine",
            "act:18446744073709551616:engine",
            "act:7:control",
            "act:7:act:8:engine",
            "act:7:service:",
            "watch:engine",
        ] {
            let error = text.parse::<StreamTarget>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Protocol, "{text}");
            assert_eq!(error.context("target"), Some(text));
        }
    }
}
