//! The conformance suite over [`MemoryTransport`], on a flawless path and on a bad one.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{any::Any, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Clock, Endpoint, NodeId, SystemClock, TunnelTransport,
    testkit::{
        link::{Link, LinkOptions, Way},
        tunnel::Harness,
    },
};
use longshore_tunnel::{MemoryNetwork, MemoryTransport, MuxOptions};

struct MemoryHarness {
    network: MemoryNetwork,
    link: Link,
    clock: Arc<dyn Clock>,
}

impl MemoryHarness {
    fn new(options: LinkOptions) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let link = Link::new(Arc::clone(&clock), 42, options);
        let connections = link.clone();
        let network = MemoryNetwork::with_connections(move || {
            let (near, far) = connections.pair();
            (Box::new(near), Box::new(far))
        });
        Self {
            network,
            link,
            clock,
        }
    }

    fn transport(&self, node: &NodeId) -> Arc<dyn TunnelTransport> {
        let transport = MemoryTransport::new(&self.network, node.clone(), Arc::clone(&self.clock));
        Arc::new(transport.with_mux(MuxOptions::default().with_max_streams(128)))
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    fn dialer(&self) -> Arc<dyn TunnelTransport> {
        self.transport(&self.nodes().0)
    }

    fn listener(&self) -> Arc<dyn TunnelTransport> {
        self.transport(&self.nodes().1)
    }

    fn nodes(&self) -> (NodeId, NodeId) {
        (NodeId::new("agent").unwrap(), NodeId::new("plane").unwrap())
    }

    fn listen_at(&self) -> Endpoint {
        "plane:0".parse().unwrap()
    }

    fn nobody(&self) -> Endpoint {
        "nowhere:1".parse().unwrap()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn breaks(&self) -> bool {
        true
    }

    async fn reset(&self) {
        self.link.cut();
    }

    async fn silence(&self) {
        self.link.black_hole(Way::Both);
    }

    async fn silent_peer(&self, listener: &Endpoint) -> Option<Box<dyn Any + Send>> {
        let transport = self.dialer();
        let listener = listener.clone();
        let dial = tokio::spawn(async move { transport.dial(&listener).await });
        tokio::task::yield_now().await;
        Some(Box::new(Aborted(dial.abort_handle())))
    }
}

struct Aborted(tokio::task::AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

mod flawless {
    use super::*;

    longshore_core::tunnel_suite!(paused, MemoryHarness::new(LinkOptions::default()));
}

mod bad_path {
    use super::*;

    longshore_core::tunnel_suite!(
        paused,
        MemoryHarness::new(
            LinkOptions::default()
                .with_delay(Duration::from_millis(5))
                .with_jitter(Duration::from_millis(5))
                .with_loss(0.01)
                .with_buffer(256 * 1024)
        )
    );
}

mod live {
    use super::*;

    longshore_core::tunnel_suite!(live, MemoryHarness::new(LinkOptions::default()));
}
