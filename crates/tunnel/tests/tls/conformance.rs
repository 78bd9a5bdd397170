//! The conformance suite over [`TlsTransport`], on loopback.

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{Clock, Endpoint, NodeId, TunnelTransport, testkit::tunnel::Harness};
use longshore_tunnel::{MuxOptions, TlsOptions};
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    cluster::Cluster,
    relay::{Mood, Relay},
};

struct TlsHarness {
    cluster: Cluster,
    dialer: Arc<dyn TunnelTransport>,
    listener: Arc<dyn TunnelTransport>,
    relay: Mutex<Relay>,
}

impl TlsHarness {
    fn new() -> Self {
        let cluster = Cluster::new();
        let second = Duration::from_secs(1);
        let mux = MuxOptions::default()
            .with_max_streams(128)
            .with_idle(second, second)
            .with_busy(second, second);
        let options = TlsOptions::default().with_mux(mux);
        let dialer = Arc::new(cluster.transport("agent").with_options(options));
        let listener = Arc::new(cluster.transport("plane").with_options(options));
        Self {
            cluster,
            dialer,
            listener,
            relay: Mutex::new(Relay::new()),
        }
    }
}

#[async_trait]
impl Harness for TlsHarness {
    fn dialer(&self) -> Arc<dyn TunnelTransport> {
        Arc::clone(&self.dialer)
    }

    fn listener(&self) -> Arc<dyn TunnelTransport> {
        Arc::clone(&self.listener)
    }

    fn nodes(&self) -> (NodeId, NodeId) {
        (NodeId::new("agent").unwrap(), NodeId::new("plane").unwrap())
    }

    fn listen_at(&self) -> Endpoint {
        "127.0.0.1:0".parse().unwrap()
    }

    fn nobody(&self) -> Endpoint {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().into()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.cluster.clock)
    }

    async fn route(&self, to: Endpoint) -> Endpoint {
        let target = SocketAddr::new(to.ip().unwrap(), to.port());
        self.relay.lock().await.to(target).await.into()
    }

    fn breaks(&self) -> bool {
        true
    }

    async fn reset(&self) {
        self.relay.lock().await.set(Mood::Reset);
    }

    async fn silence(&self) {
        self.relay.lock().await.set(Mood::Swallow);
    }

    fn detection(&self) -> Duration {
        Duration::from_secs(4)
    }

    async fn silent_peer(&self, listener: &Endpoint) -> Option<Box<dyn Any + Send>> {
        let tcp = TcpStream::connect((listener.host(), listener.port()))
            .await
            .unwrap();
        Some(Box::new(tcp))
    }
}

longshore_core::tunnel_suite!(live, TlsHarness::new());
