//! An engine behind a tunnel with mutual TLS 1.3 over loopback. The agent has a thread of its own, as it
//! would have a machine.

use std::{path::Path, sync::Arc};

use longshore::{
    TunnelTransport,
    agent::{Agent, AgentConfig},
    core::{CarrierConnector, Clock, Connector, Endpoint, NodeId, OsRandom, Shutdown, SystemClock},
    engine::UnixConnector,
    tunnel::{
        TlsTransport,
        pki::{Authority, Profile, Role},
    },
};

/// Returns when the agent has dialled in. The tunnel stays until the shutdown, which the agent notices
/// in a thread of its own.
pub async fn to_engine(engine: &Path, shutdown: Shutdown) -> Arc<dyn Connector> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let authority = Authority::generate("tunnel", clock.now(), &OsRandom).expect("an authority");
    let transport = |name: &str, role: Role| {
        let profile = Profile::new(NodeId::new(name).expect("a name"))
            .with_role(role)
            .with_host("127.0.0.1")
            .expect("an address");
        let identity = authority
            .issue(&profile, clock.now(), &OsRandom)
            .expect("a certificate");
        let trust = authority.trust().expect("a certificate");
        TlsTransport::new(&identity, &trust, clock.clone()).expect("a transport")
    };
    let (plane, node) = (
        transport("plane", Role::Manager),
        transport("node-1", Role::Node),
    );
    let lent = Arc::new(UnixConnector::new(engine));
    let any: Endpoint = "127.0.0.1:0".parse().expect("an address");
    let listener = plane.listen(&any).await.expect("a listener");
    agent(node, listener.local().clone(), lent, shutdown);
    let pending = listener.accept().await.expect("the agent dials");
    let carrier = pending.handshake().await.expect("the agent is known");
    Arc::new(CarrierConnector::new(carrier))
}

fn agent(transport: TlsTransport, plane: Endpoint, engine: Arc<UnixConnector>, shutdown: Shutdown) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let agent = Agent::new(
            AgentConfig::unnamed(plane),
            Arc::new(transport),
            engine,
            Arc::new(SystemClock::new()),
            Arc::new(OsRandom),
        );
        runtime.block_on(async { agent.run(&shutdown).await }).ok();
    });
}
