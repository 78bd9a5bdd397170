//! Peers that mean harm, over real sockets: bounded, and closed with a clear reason.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    Carrier, Clock, CloseReason, ErrorKind, OsRandom, PeerIdentity, TunnelListener,
    TunnelTransport, testkit::ManualClock,
};
use longshore_tunnel::{MuxCarrier, MuxOptions, Side, TlsOptions, TlsTransport, pki::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::cluster::Cluster;

async fn listen(transport: &TlsTransport) -> Arc<dyn TunnelListener> {
    transport
        .listen(&"127.0.0.1:0".parse().unwrap())
        .await
        .unwrap()
}

/// Runs every handshake in a task of its own, as users do.
fn serve(listening: &Arc<dyn TunnelListener>) -> tokio::task::JoinHandle<()> {
    let listening = Arc::clone(listening);
    tokio::spawn(async move {
        while let Ok(pending) = listening.accept().await {
            tokio::spawn(async move {
                if let Ok(carrier) = pending.handshake().await {
                    carrier.closed().await;
                }
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_hold_up_nobody_and_their_places_come_back() {
    let cluster = Cluster::new();
    let short = Duration::from_millis(1500);
    let options = TlsOptions::default()
        .with_timeouts(short, short)
        .with_max_handshakes(300, 300);
    let listening = listen(&cluster.transport("plane").with_options(options)).await;
    let served = serve(&listening);
    let to = listening.local();
    let mut silent = Vec::new();
    for _ in 0..256 {
        silent.push(TcpStream::connect((to.host(), to.port())).await.unwrap());
    }
    let agent = cluster.transport("agent");
    let start = std::time::Instant::now();
    let carrier = agent.dial(&to).await.unwrap();
    let took = start.elapsed();
    assert!(
        took < Duration::from_millis(500),
        "a good peer waited {took:?}"
    );
    drop(carrier);

    // Above the limit: closed at once, without a handshake.
    for _ in 0..60 {
        silent.push(TcpStream::connect((to.host(), to.port())).await.unwrap());
    }
    let mut last = silent.pop().unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(1), last.read(&mut [0; 1])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    agent.dial(&to).await.expect_err("no place is free");

    // The silent ones are thrown out at their deadline, and the places are free again.
    tokio::time::sleep(short + Duration::from_millis(300)).await;
    agent.dial(&to).await.expect("places are free again");
    served.abort();
}

#[tokio::test]
async fn one_address_does_not_take_all_the_places() {
    let cluster = Cluster::new();
    let listening = listen(&cluster.transport("plane")).await;
    let served = serve(&listening);
    let to = listening.local();
    let options = TlsOptions::default();
    assert!(options.max_handshakes_per_address <= options.max_handshakes / 8);
    let mut silent = Vec::new();
    for _ in 0..options.max_handshakes_per_address {
        silent.push(TcpStream::connect((to.host(), to.port())).await.unwrap());
    }
    // The excess is closed at once.
    let mut excess = TcpStream::connect((to.host(), to.port())).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), excess.read(&mut [0; 1])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    // Another address of this machine finds room.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = format!("127.0.0.1:{}", to.port()).parse().unwrap();
    let mut other = other.connect(address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let answer = other.read(&mut [0; 16]).await.unwrap();
    assert!(answer > 0, "it was listened to");
    served.abort();
}

/// By a clock of the test's own: the handshake as a whole may take longer.
#[tokio::test]
async fn a_connection_without_a_first_byte_ends_early() {
    let clock = ManualClock::default();
    let authority = Authority::generate("test", clock.now(), &OsRandom).unwrap();
    let cluster = Cluster {
        clock: Arc::new(clock.clone()),
        authority,
    };
    let listening = listen(&cluster.transport("plane")).await;
    let to = listening.local();
    let mut silent = TcpStream::connect((to.host(), to.port())).await.unwrap();
    let pending = listening.accept().await.unwrap();
    let mut shaking = pending.handshake();
    tokio::select! {
        biased;
        done = &mut shaking => panic!("{done:?}"),
        () = std::future::ready(()) => {}
    }
    clock.advance(Duration::from_secs(3));
    let ended = tokio::time::timeout(Duration::from_secs(30), shaking).await;
    let error = ended.expect("only the whole ends it").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_handshake_that_drips_ends_at_its_deadline() {
    let cluster = Cluster::new();
    let short = Duration::from_millis(300);
    let options = TlsOptions::default().with_timeouts(short, short);
    let listening = listen(&cluster.transport("plane").with_options(options)).await;
    let to = listening.local();
    let mut tcp = TcpStream::connect((to.host(), to.port())).await.unwrap();
    let drip = tokio::spawn(async move {
        // A TLS record header, then one byte at a time.
        let _ = tcp.write_all(&[0x16, 3, 1, 0x40, 0]).await;
        while tcp.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let error = listening
        .accept()
        .await
        .unwrap()
        .handshake()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drip.abort();
}

#[tokio::test]
async fn garbage_instead_of_tls() {
    let cluster = Cluster::new();
    let listening = listen(&cluster.transport("plane")).await;
    let to = listening.local();
    for garbage in [
        &[0u8; 4096][..],
        &[0xff; 4096],
        b"\x16\x03\x01\xff\xff",
        b"SSH-2.0-x\r\n",
    ] {
        let mut tcp = TcpStream::connect((to.host(), to.port())).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let outcome = listening.accept().await.unwrap().handshake().await;
        let kind = outcome.unwrap_err().kind();
        assert!(
            matches!(kind, ErrorKind::Protocol | ErrorKind::Unavailable),
            "{kind:?}"
        );
    }
}

/// A carrier whose peer writes raw bytes, over TCP: what a peer with a good certificate could send.
struct Raw {
    tcp: TcpStream,
    carrier: MuxCarrier,
}

impl Raw {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut tcp, (accepted, _)) = (tcp.unwrap(), accepted.unwrap());
        tcp.write_all(&hello()).await.unwrap();
        let peer = PeerIdentity::new("villain".parse().unwrap());
        let clock = Arc::new(longshore_core::SystemClock::new());
        let carrier =
            MuxCarrier::establish(accepted, Side::Listener, peer, MuxOptions::default(), clock)
                .await
                .unwrap();
        Self { tcp, carrier }
    }

    /// The carrier ends for this reason, the villain is told, and the connection closes.
    async fn expect_end(mut self, reason: &str) {
        let closed = tokio::time::timeout(Duration::from_secs(5), self.carrier.closed()).await;
        match closed.expect("it ends") {
            CloseReason::Broken(text) => assert!(text.contains(reason), "{text}"),
            other => panic!("{other:?}"),
        }
        let mut said = Vec::new();
        let read = self.tcp.read_to_end(&mut said);
        let _ = tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .expect("it closes");
        let text = String::from_utf8_lossy(&said);
        assert!(text.contains(reason), "the goodbye says why: {text}");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn hello() -> Vec<u8> {
    let mut payload = b"LNGS\0\x01\0\x01".to_vec();
    for limit in [1024u32, 256 * 1024, 16 << 20] {
        payload.extend_from_slice(&limit.to_be_bytes());
    }
    frame(1, 0, 0, &payload)
}

fn open(stream: u32) -> Vec<u8> {
    frame(2, 0, stream, b"\0\x06engine")
}

#[tokio::test]
async fn an_oversized_frame() {
    let mut raw = Raw::new().await;
    raw.tcp.write_all(&open(1)).await.unwrap();
    raw.tcp
        .write_all(&[3, 0, 0xff, 0xff, 0, 0, 0, 1])
        .await
        .unwrap();
    raw.expect_end("a payload of 65535 bytes").await;
}

#[tokio::test]
async fn a_flood_of_opens() {
    let mut raw = Raw::new().await;
    let flood: Vec<u8> = (0..2000).flat_map(|n| open(1 + 2 * n)).collect();
    raw.tcp.write_all(&flood).await.unwrap();
    raw.expect_end("more than 1024 streams open at once").await;
}

#[tokio::test]
async fn a_flood_of_resets() {
    let mut raw = Raw::new().await;
    let flood: Vec<u8> = (0..3000)
        .flat_map(|n| [open(1 + 2 * n), frame(5, 0, 1 + 2 * n, &[0, 1])].concat())
        .collect();
    raw.tcp.write_all(&flood).await.unwrap();
    raw.expect_end("a flood of resets of streams just opened")
        .await;
}

#[tokio::test]
async fn more_data_than_credit() {
    let mut raw = Raw::new().await;
    raw.tcp.write_all(&open(1)).await.unwrap();
    let data = frame(3, 0, 1, &[0; 16 * 1024]);
    for _ in 0..17 {
        raw.tcp.write_all(&data).await.unwrap();
    }
    raw.expect_end("more data on stream 1 than it has credit for")
        .await;
}

#[tokio::test]
async fn more_credit_than_was_sent() {
    let mut raw = Raw::new().await;
    raw.tcp.write_all(&open(1)).await.unwrap();
    raw.tcp
        .write_all(&frame(4, 0, 1, &[0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0]))
        .await
        .unwrap();
    raw.expect_end("credit overflow on stream 1").await;
}

#[tokio::test]
async fn a_used_stream_id() {
    let mut raw = Raw::new().await;
    raw.tcp
        .write_all(&[open(7), open(7)].concat())
        .await
        .unwrap();
    raw.expect_end("the used stream id 7").await;
}

#[tokio::test]
async fn an_unknown_critical_frame() {
    let mut raw = Raw::new().await;
    raw.tcp.write_all(&frame(0x42, 0, 0, b"?")).await.unwrap();
    raw.expect_end("unknown critical frame kind 0x42").await;
}
