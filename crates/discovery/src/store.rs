//! What the stores behind a network have in common: where they are, how they are reached, what is
//! done when one of several servers does not answer.

mod dial;
mod endpoints;
#[cfg(any(feature = "etcd", feature = "consul", feature = "zookeeper"))]
pub(crate) mod follow;
#[cfg(any(feature = "etcd", feature = "consul"))]
mod http;
#[cfg(any(feature = "consul", feature = "zookeeper"))]
mod key_path;
mod options;
mod secret;
mod tls;

#[cfg(feature = "zookeeper")]
pub(crate) use dial::Dialer;
#[cfg(feature = "zookeeper")]
pub(crate) use endpoints::Rotation;
#[cfg(any(feature = "etcd", feature = "consul"))]
pub(crate) use http::{Answer, Call, HttpEndpoints};
#[cfg(any(feature = "consul", feature = "zookeeper"))]
pub(crate) use key_path::KeyPath;
pub use options::StoreOptions;
pub use secret::StoreCredentials;
pub use tls::StoreTls;
#[cfg(feature = "zookeeper")]
pub(crate) use tls::told;
