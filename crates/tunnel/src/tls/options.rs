use std::time::Duration;

use longshore_core::NodeId;

use crate::mux::MuxOptions;

/// Limits and times of a [`TlsTransport`](super::TlsTransport).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Those of its carriers.
    pub mux: MuxOptions,
    /// How long a TCP connection may take to be made. Default 10 s.
    pub connect_timeout: Duration,
    /// How long the TLS handshake and the hello may take together. Default 10 s.
    pub handshake_timeout: Duration,
    /// How many accepted connections of a listener may be without a finished handshake. What comes
    /// above is closed at once. Default 1,024.
    pub max_handshakes: usize,
    /// The same for connections from one address, or one /64 network of IPv6. Default 64: others
    /// must find room whatever one address does.
    pub max_handshakes_per_address: usize,
    /// How long an accepted connection may take to send its first byte. Default 3 s.
    pub first_byte_timeout: Duration,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            mux: MuxOptions::default(),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 1024,
            max_handshakes_per_address: 64,
            first_byte_timeout: Duration::from_secs(3),
        }
    }
}

impl TlsOptions {
    /// Sets the limits and times of carriers.
    #[must_use]
    pub fn with_mux(mut self, mux: MuxOptions) -> Self {
        self.mux = mux;
        self
    }

    /// Sets how long a connection and its handshake may take, each.
    #[must_use]
    pub fn with_timeouts(mut self, connect: Duration, handshake: Duration) -> Self {
        self.connect_timeout = connect;
        self.handshake_timeout = handshake;
        self
    }

    /// Sets how long an accepted connection may say nothing.
    #[must_use]
    pub fn with_first_byte_timeout(mut self, limit: Duration) -> Self {
        self.first_byte_timeout = limit;
        self
    }

    /// Sets how many handshakes may be unfinished, in all and from one address.
    #[must_use]
    pub fn with_max_handshakes(mut self, all: usize, per_address: usize) -> Self {
        self.max_handshakes = all;
        self.max_handshakes_per_address = per_address;
        self
    }
}

/// Whom a dialler means to reach.
///
/// Without such a check any node of the same CA could pose as the control plane. With a host's name
/// alone, a node whose certificate holds that name still could: agents should ask for
/// [`DialledManager`](Self::DialledManager).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectedPeer {
    /// The certificate must hold the dialled host as a DNS or IP name.
    #[default]
    DialledHost,
    /// The certificate must hold the dialled host as [`DialledHost`](Self::DialledHost) says, and
    /// be a manager's ([`Role::Manager`](crate::pki::Role::Manager)).
    DialledManager,
    /// The certificate must hold this DNS or IP name, whatever host is dialled.
    Name(String),
    /// The certificate must be this node's, whatever host is dialled.
    Node(NodeId),
}
