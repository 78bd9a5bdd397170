//! The conformance suite over [`MemoryTransport`], on a flawless path and on a bad one.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    Clock, ClockExt, Endpoint, NodeId, StreamTarget, SystemClock, Timestamp, TunnelTransport,
    testkit::{
        link::{Link, LinkOptions, Way},
        tunnel::Harness,
    },
};
use longshore_tunnel::{MemoryNetwork, MemoryTransport, MuxOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Time passes between any two looks at this clock, as it does on a machine with too much to do.
#[derive(Debug)]
struct Passing {
    clock: SystemClock,
    state: AtomicU64,
    /// In milliseconds.
    passed: AtomicU64,
}

#[async_trait]
impl Clock for Passing {
    fn now(&self) -> Timestamp {
        // By a number that is another each time.
        let state = self
            .state
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let step = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 58;
        let passed = self.passed.fetch_add(step, Ordering::Relaxed);
        self.clock.now().after(Duration::from_millis(passed + step))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left).await;
        }
    }
}

/// A deadline that comes while the driver is at work is seen in its next turn. (It span for ever.)
#[tokio::test(start_paused = true)]
async fn a_deadline_may_come_in_the_middle_of_a_turn() {
    let clock: Arc<dyn Clock> = Arc::new(Passing {
        clock: SystemClock::new(),
        state: AtomicU64::new(1),
        passed: AtomicU64::new(0),
    });
    let network = MemoryNetwork::new();
    let transport = |name: &str| {
        let node = NodeId::new(name).unwrap();
        MemoryTransport::new(&network, node, Arc::clone(&clock))
    };
    let (plane, agent) = (transport("plane"), transport("agent"));
    let at: Endpoint = "plane:443".parse().unwrap();
    let listener = plane.listen(&at).await.unwrap();
    let answering = tokio::spawn(async move {
        let carrier = agent.dial(&at).await.unwrap();
        let incoming = carrier.accept().await.unwrap();
        let (mut read, mut write) = tokio::io::split(incoming.stream);
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
        carrier.closed().await
    });
    let carrier = listener.accept().await.unwrap().handshake().await.unwrap();
    let mut stream = carrier.open(&StreamTarget::Engine).await.unwrap();
    // A question and its answer move the deadline twice, by little; then it is waited for.
    for number in 0..2000_u32 {
        stream.write_all(&number.to_be_bytes()).await.unwrap();
        assert_eq!(stream.read_u32().await.unwrap(), number);
        if number % 5 == number % 7 {
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
    }
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    carrier.close("done").await;
    answering.await.unwrap();
}
