//! A cluster with an authority of its own.

use std::sync::Arc;

use longshore_core::{Clock, NodeId, OsRandom, SystemClock};
use longshore_tunnel::{
    TlsTransport,
    pki::{Authority, Profile, TlsIdentity},
};

/// A cluster with an authority of its own.
pub(crate) struct Cluster {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) authority: Authority,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Authority::generate("test", clock.now(), &OsRandom).unwrap();
        Self { clock, authority }
    }

    pub(crate) fn profile(&self, node: &str) -> Profile {
        let profile = Profile::new(NodeId::new(node).unwrap());
        profile
            .with_host("127.0.0.1")
            .unwrap()
            .with_host("localhost")
            .unwrap()
    }

    pub(crate) fn identity(&self, profile: &Profile) -> TlsIdentity {
        self.authority
            .issue(profile, self.clock.now(), &OsRandom)
            .unwrap()
    }

    pub(crate) fn transport_of(&self, identity: &TlsIdentity) -> TlsTransport {
        let trust = self.authority.trust().unwrap();
        TlsTransport::new(identity, &trust, Arc::clone(&self.clock)).unwrap()
    }

    pub(crate) fn transport(&self, node: &str) -> TlsTransport {
        self.transport_of(&self.identity(&self.profile(node)))
    }
}
