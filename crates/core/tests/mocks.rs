//! Each exported mock stands in for its trait.
#![cfg(feature = "testkit")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use longshore_core::{
    Access, Action, Announcement, AttachNetwork, Attachment, AuditEvent, AuditOutcome,
    AuditReceipt, AuditSink, Authorizer, BoxByteStream, Carrier, CarrierConnector, Change, Clock,
    ClockExt, Connector, Discovery, DiscoveryExt, Engine, Error, ErrorKind, ExecBackend,
    ExecRequest, ExecSession, ExitStatus, Identity, KvEntry, KvStore, MembershipEvent, NetworkName,
    NodeId, OverlayNetwork, PeerIdentity, PlacementRequest, PutOptions, Refusal, Revision,
    Scheduler, StreamTarget, Target, Timestamp, TunnelTransport, WorkloadId, WorkloadSpec,
    testkit::mocks::{
        MockAuditSink, MockAuthorizer, MockCarrier, MockClock, MockConnector, MockDiscovery,
        MockEngine, MockExecBackend, MockExecSession, MockKvStore, MockOverlayNetwork,
        MockScheduler, MockTunnelTransport,
    },
};
use mockall::predicate::eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn id(text: &str) -> WorkloadId {
    WorkloadId::new(text).unwrap()
}

#[tokio::test]
async fn a_discovery_watches_what_it_is_told() {
    let mut mock = MockDiscovery::new();
    mock.expect_watch().times(1).returning(|| {
        let node = Announcement::new("10.0.0.1:2375".parse().unwrap());
        Box::pin(futures::stream::iter([MembershipEvent::Reset(vec![node])]))
    });
    let discovery: Arc<dyn Discovery> = Arc::new(mock);
    assert_eq!(
        discovery.first_set().await.unwrap()[0].endpoint.to_string(),
        "10.0.0.1:2375"
    );
}

#[tokio::test]
async fn a_store_sees_the_key_and_the_value() {
    let mut mock = MockKvStore::new();
    mock.expect_put()
        .withf(|key, value, _| key == "a" && value == "1")
        .times(1)
        .returning(|_, _, _| Ok(Revision(7)));
    mock.expect_get()
        .with(eq("a"))
        .returning(|key| Ok(Some(KvEntry::new(key, "1", Revision(7)))));
    let store: Arc<dyn KvStore> = Arc::new(mock);
    assert_eq!(
        store
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap(),
        Revision(7)
    );
    assert_eq!(store.get("a").await.unwrap().unwrap().revision, Revision(7));
}

#[test]
fn a_scheduler_refuses_as_told() {
    let mut mock = MockScheduler::new();
    mock.expect_observe().times(1).returning(|_| Ok(()));
    mock.expect_place().returning(|_, _, _| {
        Err(Refusal::Invalid {
            message: "not today".to_owned(),
        })
    });
    mock.expect_strategy().return_const("mock".to_owned());
    let mut scheduler: Box<dyn Scheduler> = Box::new(mock);
    scheduler.observe(Change::Tick(Timestamp::ZERO)).unwrap();
    let refusal = scheduler
        .place(&PlacementRequest::new("host"), Timestamp::ZERO, 1)
        .unwrap_err();
    assert_eq!(refusal.to_string(), "not today");
    assert_eq!(scheduler.strategy(), "mock");
}

#[tokio::test]
async fn an_engine_creates_what_it_is_asked() {
    let mut mock = MockEngine::new();
    mock.expect_create()
        .withf(|spec| spec.image == "host")
        .returning(|_| Ok(id("c1")));
    mock.expect_wait()
        .with(eq(id("c1")))
        .returning(|_| Ok(ExitStatus::exited(3)));
    let engine: Arc<dyn Engine> = Arc::new(mock);
    let made = engine.create(&WorkloadSpec::new("host")).await.unwrap();
    assert_eq!(engine.wait(&made).await.unwrap(), ExitStatus::exited(3));
}

#[tokio::test]
async fn a_connector_gives_a_stream() {
    let mut mock = MockConnector::new();
    mock.expect_describe().return_const("pipe://".to_owned());
    mock.expect_connect().returning(|| {
        let (here, mut there) = tokio::io::duplex(16);
        tokio::spawn(async move { there.write_all(b"hello").await });
        Ok(Box::new(here) as BoxByteStream)
    });
    let connector: Arc<dyn Connector> = Arc::new(mock);
    let mut text = String::new();
    connector
        .connect()
        .await
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert_eq!(
        (text.as_str(), connector.describe().as_str()),
        ("hello", "pipe://")
    );
}

#[tokio::test]
async fn a_transport_dials_a_carrier() {
    let mut mock = MockTunnelTransport::new();
    mock.expect_dial().returning(|_| {
        let mut carrier = MockCarrier::new();
        let peer = PeerIdentity::new(NodeId::new("node-1").unwrap());
        carrier.expect_peer().return_const(peer);
        carrier
            .expect_open()
            .with(eq(StreamTarget::Engine))
            .returning(|_| Err(Error::closed("the carrier has ended")));
        Ok(Arc::new(carrier))
    });
    let transport: Arc<dyn TunnelTransport> = Arc::new(mock);
    let carrier: Arc<dyn Carrier> = transport.dial(&"a:1".parse().unwrap()).await.unwrap();
    assert_eq!(carrier.peer().node.as_str(), "node-1");
    let engine = CarrierConnector::new(carrier);
    assert_eq!(engine.describe(), "tunnel://node-1");
    let error = engine.connect().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_backend_starts_a_session() {
    let mut mock = MockExecBackend::new();
    mock.expect_exec().returning(|_| {
        let mut session = MockExecSession::new();
        session.expect_take_input().returning(|| None);
        session
            .expect_wait()
            .times(2)
            .returning(|| Ok(ExitStatus::exited(0)));
        Ok(Arc::new(session))
    });
    let backend: Arc<dyn ExecBackend> = Arc::new(mock);
    let session: Arc<dyn ExecSession> = backend
        .exec(&ExecRequest::new(id("c1"), ["true"]))
        .await
        .unwrap();
    assert!(session.take_input().is_none());
    assert_eq!(session.wait().await.unwrap(), session.wait().await.unwrap());
}

#[tokio::test]
async fn an_overlay_attaches_as_told() {
    let mut mock = MockOverlayNetwork::new();
    mock.expect_attach().returning(|request| {
        Ok(Attachment::new(
            request.workload.clone(),
            "10.0.0.9".parse().unwrap(),
        ))
    });
    let overlay: Arc<dyn OverlayNetwork> = Arc::new(mock);
    let request = AttachNetwork::new(NetworkName::new("blue").unwrap(), id("c1"));
    assert_eq!(
        overlay.attach(&request).await.unwrap().address.to_string(),
        "10.0.0.9"
    );
}

#[tokio::test]
async fn an_authorizer_and_a_sink_see_who_asked() {
    let mut authorizer = MockAuthorizer::new();
    authorizer
        .expect_authorize()
        .withf(|who, action, _| who.subject == "alice" && *action == Action::Write)
        .returning(|_, _, _| Ok(Access::default()));
    let mut sink = MockAuditSink::new();
    sink.expect_record().times(1).returning(|event| {
        Ok(AuditReceipt {
            sequence: 0,
            hash: event.who.subject,
        })
    });
    let (who, target) = (
        Identity::new("alice", "tls"),
        Target::new("container", "web"),
    );
    authorizer
        .authorize(&who, Action::Write, &target)
        .await
        .unwrap();
    let event = AuditEvent::new(
        Timestamp::ZERO,
        who,
        Action::Write,
        "exec.start",
        target,
        AuditOutcome::Started,
    );
    assert_eq!(sink.record(event).await.unwrap().hash, "alice");
}

#[test]
fn a_clock_stands_where_it_is_told() {
    let mut mock = MockClock::new();
    mock.expect_now().return_const(Timestamp::from_secs(5));
    mock.expect_sleep_until()
        .with(eq(Timestamp::from_secs(7)))
        .times(1)
        .return_const(());
    let clock: Arc<dyn Clock> = Arc::new(mock);
    assert!(clock.sleep(Duration::from_secs(2)).now_or_never().is_some());
}
