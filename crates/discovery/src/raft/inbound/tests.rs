//! Those who dial and are no members, or never say so.

use longshore_core::{BoxByteStream, SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Mutex as AsyncMutex,
};

use super::*;
use crate::raft::{identity::Status, log::Position, network::RaftPeer};

/// What is sent here is accepted.
#[derive(Debug)]
struct Dialled(AsyncMutex<mpsc::UnboundedReceiver<RaftIncoming>>);

#[async_trait::async_trait]
impl RaftNetwork for Dialled {
    async fn dial(&self, _: &str) -> Result<BoxByteStream> {
        Err(Error::unavailable("nobody is dialled here"))
    }

    async fn accept(&self) -> Result<RaftIncoming> {
        let incoming = self.0.lock().await.recv().await;
        incoming.ok_or_else(|| Error::closed("nobody dials any more"))
    }
}

struct Member {
    clock: SystemClock,
    dial: mpsc::UnboundedSender<RaftIncoming>,
    letters: mpsc::Receiver<Letter>,
    _task: AbortOnDrop,
}

impl Member {
    /// The member a of three.
    fn start() -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        let (sender, letters) = mpsc::channel(8);
        let clock = SystemClock::new();
        let inbound = Inbound {
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            me: 0,
            clock: Arc::new(clock),
            letters: sender,
            store: Weak::new(),
            newest: Mutex::new(vec![None; 3]),
            greeting: Arc::default(),
            clients: Semaphore::new(MOST_CLIENTS),
        };
        let network = Arc::new(Dialled(AsyncMutex::new(dialled)));
        let task = tokio::spawn(inbound.run(network));
        Self {
            clock,
            dial,
            letters,
            _task: AbortOnDrop(task.abort_handle()),
        }
    }

    fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(4096);
        let peer = RaftPeer::new(Box::new(far), RaftAccess::Manager);
        let incoming = RaftIncoming::new(async { Ok(peer) });
        self.dial.send(incoming).unwrap();
        near
    }

    /// How long it takes until what b says is heard.
    async fn hears_b(&mut self) -> Duration {
        let began = self.clock.now();
        let mut stream = self.connect();
        Hello::Member("b".to_owned())
            .write(&mut stream)
            .await
            .unwrap();
        let status = Status {
            names: "a,b,c".to_owned(),
            nonce: 1,
            cluster: None,
            founders: Vec::new(),
            term: 0,
            last: Position::default(),
        };
        let mut frame = bytes::BytesMut::new();
        frame::push(&mut frame, &wire::encode(None, &Message::Ask(status)));
        stream.write_all(&frame).await.unwrap();
        let letter = self.letters.recv();
        let clock = self.clock;
        let letter = clock.timeout(Duration::from_secs(60), "a letter", letter);
        assert_eq!(letter.await.unwrap().unwrap().0, 1);
        self.clock.now().since(began)
    }
}

/// L7: whoever only reaches a member's port keeps no other member away.
#[tokio::test(start_paused = true)]
async fn l7_half_open_connections_keep_no_member_out() {
    let mut member = Member::start();
    for _ in 0..1000 {
        let silent = RaftIncoming::new(std::future::pending());
        member.dial.send(silent).unwrap();
    }
    let took = member.hears_b().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// L7: nor do clients, however many there are.
#[tokio::test(start_paused = true)]
async fn l7_idle_clients_keep_no_member_out() {
    let mut member = Member::start();
    let mut clients = Vec::new();
    for _ in 0..MOST_CLIENTS + 100 {
        let mut client = member.connect();
        Hello::Client.write(&mut client).await.unwrap();
        tokio::task::yield_now().await;
        clients.push(client);
    }
    let took = member.hears_b().await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let mut held = 0;
    for client in &mut clients {
        let said = client.read_u8();
        let ended = member.clock.timeout(Duration::from_millis(1), "", said);
        held += usize::from(ended.await.is_err());
    }
    assert_eq!(held, MOST_CLIENTS);
}
