//! Certificates and keys: a small authority, and what a [`TlsTransport`](crate::TlsTransport) shows
//! and trusts.
//!
//! A node's certificate carries its identity as the URI name `longshore://node/<id>`, with the DNS
//! and IP names that it is dialled by beside it. What else its holder may do is its [`Role`]. Keys are made where they are used and leave the
//! machine only if their owner writes them out.

mod authority;
mod files;
mod identity;
mod name;
mod node_key;
mod profile;
mod trust;

pub use authority::Authority;
pub use files::{read_file, write_private_file};
pub use identity::TlsIdentity;
pub(crate) use name::{is_manager, node_of};
pub use node_key::NodeKey;
pub use profile::{Profile, Role, Usage};
pub use trust::TlsTrust;
