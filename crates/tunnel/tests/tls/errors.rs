//! What people read when TLS goes wrong: what is the matter, and what cures it.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    Carrier, Clock, Endpoint, Error, ErrorKind, NodeId, OsRandom, TunnelTransport,
    testkit::ManualClock,
};
use longshore_tunnel::{
    ExpectedPeer, TlsTransport,
    pki::{Authority, Profile, Role, Usage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::cluster::Cluster;

type Outcome = longshore_core::Result<Arc<dyn Carrier>>;

/// Both ends' view of one try.
async fn meet(dialer: &TlsTransport, listener: &TlsTransport, host: &str) -> (Outcome, Outcome) {
    let listening = listener
        .listen(&"127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let to = Endpoint::new(host, listening.local().port()).unwrap();
    let accept = async { listening.accept().await.unwrap().handshake().await };
    tokio::join!(dialer.dial(&to), accept)
}

#[track_caller]
fn expect(outcome: Outcome, kind: ErrorKind, message: &str) {
    let error: Error = outcome.expect_err("it must fail");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(
        error.message().contains(message),
        "\n{}\nlacks\n{message}",
        error.message()
    );
}

#[tokio::test]
async fn good_certificates_connect() {
    let cluster = Cluster::new();
    let (near, far) = meet(
        &cluster.transport("agent"),
        &cluster.transport("plane"),
        "localhost",
    )
    .await;
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.peer().node.as_str(), "plane");
    assert_eq!(far.peer().node.as_str(), "agent");
    assert!(far.peer().address.is_some());
    for _ in 0..100 {
        if near.round_trip().is_some() && far.round_trip().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no round trip was measured");
}

#[tokio::test]
async fn a_listener_of_an_unknown_ca() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let (near, far) = meet(
        &ours.transport("agent"),
        &theirs.transport("plane"),
        "127.0.0.1",
    )
    .await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "the peer's certificate is signed by an unknown CA; add its CA to the trusted ones here",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "the peer refused the connection: it does not know the CA",
    );
}

#[tokio::test]
async fn a_dialler_of_an_unknown_ca() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    // It trusts the listener, but not the other way round.
    let trust = theirs.authority.trust().unwrap();
    let identity = ours.identity(&ours.profile("agent"));
    let dialer = TlsTransport::new(&identity, &trust, Arc::clone(&ours.clock)).unwrap();
    let (near, far) = meet(&dialer, &theirs.transport("plane"), "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "the peer refused the connection: it does not know the CA of this side's certificate; give \
         it that CA",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "is signed by an unknown CA",
    );
}

/// A cluster that lives by a clock of its own.
fn manual() -> (Cluster, ManualClock) {
    let clock = ManualClock::default();
    let authority = Authority::generate("test", clock.now(), &OsRandom).unwrap();
    (
        Cluster {
            clock: Arc::new(clock.clone()),
            authority,
        },
        clock,
    )
}

#[tokio::test]
async fn expired_certificates() {
    let (cluster, clock) = manual();
    let plane = cluster.transport("plane");
    let agent_profile = cluster
        .profile("agent")
        .with_validity(Duration::from_secs(90_000));
    let agent = cluster.transport_of(&cluster.identity(&agent_profile));
    clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let (near, far) = meet(&agent, &plane, "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "the peer's certificate expired at 2026-09-22T14:13:20Z and it is 2026-09-22T14:13:21Z \
         here; renew it, and check both clocks",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "this side's certificate has expired",
    );
    let (near, far) = meet(&plane, &agent, "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "this side's certificate has expired",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "the peer's certificate expired at",
    );
}

#[tokio::test]
async fn certificates_of_the_future() {
    let (cluster, _) = manual();
    let ahead = cluster.clock.now().after(Duration::from_secs(3600));
    let identity = cluster
        .authority
        .issue(&cluster.profile("plane"), ahead, &OsRandom)
        .unwrap();
    let (near, _) = meet(
        &cluster.transport("agent"),
        &cluster.transport_of(&identity),
        "127.0.0.1",
    )
    .await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "check the clocks of both machines",
    );
}

#[tokio::test]
async fn a_rotated_certificate_is_used_from_then_on() {
    let (cluster, clock) = manual();
    let (agent, plane) = (cluster.transport("agent"), cluster.transport("plane"));
    let (near, far) = meet(&agent, &plane, "127.0.0.1").await;
    let (near, _far) = (near.unwrap(), far.unwrap());
    clock.advance(Duration::from_secs(25 * 60 * 60));
    for (transport, node) in [(&agent, "agent"), (&plane, "plane")] {
        let identity = cluster.identity(&cluster.profile(node));
        transport
            .replace_certificates(&identity, &cluster.authority.trust().unwrap())
            .unwrap();
    }
    let (again, far) = meet(&agent, &plane, "127.0.0.1").await;
    assert!(again.is_ok() && far.is_ok());
    drop(near);
}

#[tokio::test]
async fn missing_key_usages() {
    let cluster = Cluster::new();
    let only = |usage| {
        let profile = cluster.profile("node").with_usage(usage);
        cluster.transport_of(&cluster.identity(&profile))
    };
    let (near, far) = meet(&only(Usage::Both), &only(Usage::Client), "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "serverAuth and clientAuth",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "this side's certificate lacks a key usage",
    );
    let (near, far) = meet(&only(Usage::Server), &only(Usage::Both), "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "this side's certificate lacks a key usage",
    );
    expect(
        far,
        ErrorKind::Unauthenticated,
        "the peer's certificate lacks the extended key usage",
    );
}

#[tokio::test]
async fn a_name_that_the_certificate_does_not_hold() {
    let cluster = Cluster::new();
    let profile = Profile::new(NodeId::new("plane").unwrap())
        .with_host("plane.example")
        .unwrap();
    let plane = cluster.transport_of(&cluster.identity(&profile));
    let agent = cluster.transport("agent");
    let (near, _) = meet(&agent, &plane, "127.0.0.1").await;
    let error = near.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(
        error.message(),
        "the peer's certificate is not for 127.0.0.1, it names plane.example; dial one \
         of these, or issue it with this name (an address needs an IP SAN)"
    );
    let by_name = agent
        .with_expected_peer(ExpectedPeer::Name("plane.example".to_owned()))
        .unwrap();
    let (near, far) = meet(&by_name, &plane, "127.0.0.1").await;
    assert!(near.is_ok() && far.is_ok());
}

/// Without this check, any node could pose as the control plane.
#[tokio::test]
async fn another_node_than_the_one_meant() {
    let cluster = Cluster::new();
    let meant = ExpectedPeer::Node(NodeId::new("plane").unwrap());
    let agent = cluster
        .transport("agent")
        .with_expected_peer(meant)
        .unwrap();
    let (near, far) = meet(&agent, &cluster.transport("impostor"), "127.0.0.1").await;
    expect(
        near,
        ErrorKind::Unauthenticated,
        "the peer is impostor, not the node plane that was meant",
    );
    assert!(far.is_err());
    let (near, far) = meet(&agent, &cluster.transport("plane"), "127.0.0.1").await;
    assert!(near.is_ok() && far.is_ok());
}

/// A name can be had by any node; the role can't.
#[tokio::test]
async fn a_node_with_the_name_of_the_control_plane_is_not_it() {
    let cluster = Cluster::new();
    let agent = cluster
        .transport("agent")
        .with_expected_peer(ExpectedPeer::DialledManager)
        .unwrap();
    let (near, far) = meet(&agent, &cluster.transport("impostor"), "localhost").await;
    let error = near.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(
        error.message(),
        "the peer's certificate is not accepted: the peer is impostor and no control plane; issue \
         a control plane's certificate with the role manager"
    );
    assert!(far.is_err());

    let manager = |host: &str| {
        let profile = Profile::new(NodeId::new("plane").unwrap()).with_role(Role::Manager);
        cluster.transport_of(&cluster.identity(&profile.with_host(host).unwrap()))
    };
    let (near, far) = meet(&agent, &manager("127.0.0.1"), "127.0.0.1").await;
    assert!(near.is_ok() && far.is_ok());
    // The host counts as before.
    let (near, _) = meet(&agent, &manager("plane.example"), "127.0.0.1").await;
    expect(near, ErrorKind::Unauthenticated, "is not for 127.0.0.1");
}

#[tokio::test]
async fn a_plain_text_peer_on_a_tls_port() {
    let cluster = Cluster::new();
    let listening = cluster
        .transport("plane")
        .listen(&"127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let to = listening.local();
    let mut tcp = TcpStream::connect((to.host(), to.port())).await.unwrap();
    tcp.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let outcome = listening.accept().await.unwrap().handshake().await;
    expect(
        outcome,
        ErrorKind::Protocol,
        "the peer speaks plain text where TLS is expected",
    );
}

#[tokio::test]
async fn a_tls_peer_on_a_plain_text_port() {
    let cluster = Cluster::new();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = plain.local_addr().unwrap().into();
    tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 1024]).await;
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tcp.read(&mut [0; 1024]).await;
    });
    let outcome = cluster.transport("agent").dial(&to).await;
    expect(
        outcome,
        ErrorKind::Protocol,
        "the peer speaks plain text where TLS is expected",
    );
}

#[tokio::test]
async fn a_certificate_that_names_no_node() {
    let cluster = Cluster::new();
    let identity = cluster.identity(&cluster.profile("node"));
    // The CA's own certificate stands for one from elsewhere.
    let dir = tempdir();
    let (certificate, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    cluster.authority.save(&certificate, &key).unwrap();
    let foreign = longshore_tunnel::pki::TlsIdentity::load(&certificate, &key).unwrap();
    let trust = cluster.authority.trust().unwrap();
    let error = TlsTransport::new(&foreign, &trust, Arc::clone(&cluster.clock)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error
            .message()
            .contains("a URI name longshore://node/<id> is missing"),
        "{error}"
    );
    assert!(identity.node().is_ok());
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempdir() -> std::path::PathBuf {
    use longshore_core::Random;
    let dir = std::env::temp_dir().join(format!("longshore-tunnel-{}", OsRandom.hex(8)));
    std::fs::create_dir(&dir).unwrap();
    dir
}
