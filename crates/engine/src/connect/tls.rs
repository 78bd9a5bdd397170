//! TLS to engines.

mod connector;
mod explain;
mod identity;
mod settings;
mod verify;

pub use connector::TlsConnector;
pub use identity::TlsIdentity;
pub use settings::TlsSettings;
