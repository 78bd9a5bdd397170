//! The channels of Kubernetes' exec and attach: `v5.channel.k8s.io`, and v4.
//!
//! Binary messages whose first byte is a channel: 0 input, 1 output, 2 error output, 3 status,
//! 4 size. v5 adds `FF <channel>`, the end of that channel. The status comes last, always.

mod channel;
mod request;

pub use channel::{KubernetesDecoder, KubernetesEncoder};
pub use request::PodRequest;

/// The subprotocols, the better first.
pub const SUBPROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
