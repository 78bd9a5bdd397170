use std::sync::Mutex;

use async_trait::async_trait;
use longshore_core::{
    BoxByteStream, CloseReason, IncomingStream, NodeId, NodeName, OsRandom, PeerIdentity,
    SystemClock, TunnelCapabilities, TunnelListener,
};
use tokio::io::{AsyncReadExt, DuplexStream};

use super::*;

/// A carrier with a plane behind it that reads and never answers.
#[derive(Debug)]
struct Fake {
    peer: PeerIdentity,
    plane: Mutex<Option<DuplexStream>>,
    over: watch::Sender<bool>,
    /// How often the agent closed it, and whether the plane had before.
    closed: Mutex<Vec<bool>>,
}

#[async_trait]
impl Carrier for Fake {
    fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    async fn open(&self, _: &StreamTarget) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        *self.plane.lock().unwrap() = Some(far);
        Ok(Box::new(near))
    }

    async fn accept(&self) -> Result<IncomingStream> {
        std::future::pending().await
    }

    async fn close(&self, _: &str) {
        let over = *self.over.borrow();
        self.closed.lock().unwrap().push(over);
    }

    async fn closed(&self) -> CloseReason {
        let mut over = self.over.subscribe();
        let _ = over.wait_for(|over| *over).await;
        CloseReason::Peer("bye".to_owned())
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }
}

#[derive(Debug)]
struct Dial(Arc<Fake>);

#[async_trait]
impl TunnelTransport for Dial {
    fn capabilities(&self) -> TunnelCapabilities {
        TunnelCapabilities::secure(1)
    }

    async fn listen(&self, _: &Endpoint) -> Result<Arc<dyn TunnelListener>> {
        Err(Error::unsupported("it only dials"))
    }

    async fn dial(&self, _: &Endpoint) -> Result<Arc<dyn Carrier>> {
        Ok(Arc::<Fake>::clone(&self.0))
    }
}

#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Connector for Nothing {
    async fn connect(&self) -> Result<BoxByteStream> {
        Err(Error::unavailable("no engine"))
    }

    fn describe(&self) -> String {
        "nothing".to_owned()
    }
}

async fn frame(stream: &mut DuplexStream) -> String {
    let length = stream.read_u32().await.unwrap() as usize;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_shutdown_waits_until_the_plane_has_read_the_goodbye() {
    let fake = Arc::new(Fake {
        peer: PeerIdentity::new(NodeId::new("plane").unwrap()),
        plane: Mutex::new(None),
        over: watch::Sender::new(false),
        closed: Mutex::default(),
    });
    let config = AgentConfig::new(NodeName::new("n").unwrap(), "plane:1".parse().unwrap());
    let agent = Agent::new(
        config,
        Arc::new(Dial(Arc::clone(&fake))),
        Arc::new(Nothing),
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
    );
    let shutdown = Shutdown::new();
    let running = shutdown.clone();
    let task = tokio::spawn(async move { agent.run(&running).await });
    let mut plane = loop {
        if let Some(plane) = fake.plane.lock().unwrap().take() {
            break plane;
        }
        tokio::task::yield_now().await;
    };
    assert!(frame(&mut plane).await.contains("hello"));
    shutdown.trigger();
    assert_eq!(
        frame(&mut plane).await,
        r#"{"type":"bye","reason":"the agent shuts down"}"#
    );
    fake.over.send_replace(true);
    task.await.unwrap().unwrap();
    assert_eq!(*fake.closed.lock().unwrap(), [true], "it did not wait");
}

#[test]
fn a_dial_error_names_the_plane_once() {
    let plane: Endpoint = "plane:1".parse().unwrap();
    let bare = naming(Error::unavailable("refused"), &plane);
    assert_eq!(bare.chain(), "refused (plane: plane:1)");
    let named = Error::unavailable("refused").with_context("address", &plane);
    assert_eq!(naming(named, &plane).chain(), "refused (address: plane:1)");
}
