//! The engine reached through a tunnel that its node dialled: TCP with mutual TLS 1.3.

use std::sync::Arc;

use longshore::{
    TunnelTransport,
    core::{CarrierConnector, Clock, Connector, Endpoint, NodeId, OsRandom, Result, SystemClock},
    engine::UnixConnector,
    tunnel::{
        ExpectedPeer, TlsTransport,
        pki::{Authority, Profile, Role},
    },
};
use longshore_lab::Host;
use tokio::sync::oneshot;

/// Both ends' credentials.
pub struct Ends {
    plane: TlsTransport,
    node: TlsTransport,
    at: Endpoint,
}

impl Ends {
    /// `address` is where hosts reach this machine.
    pub fn new(address: std::net::Ipv4Addr) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let authority = Authority::generate("lab", clock.now(), &OsRandom)?;
        let trust = authority.trust()?;
        let transport = |name: &str, role| -> Result<TlsTransport> {
            let profile = Profile::new(NodeId::new(name)?)
                .with_role(role)
                .with_host(&address.to_string())?;
            let identity = authority.issue(&profile, clock.now(), &OsRandom)?;
            TlsTransport::new(&identity, &trust, Arc::clone(&clock))
        };
        Ok(Self {
            plane: transport("plane", Role::Manager)?,
            node: transport("node", Role::Node)?
                .with_expected_peer(ExpectedPeer::DialledManager)?,
            at: std::net::SocketAddr::from((address, 0)).into(),
        })
    }

    /// Runs `act` with a connector through the tunnel, whose other end is on `host`. Call it within
    /// a runtime's thread that may block.
    pub fn run<T>(
        self,
        host: &Host,
        runtime: &tokio::runtime::Runtime,
        act: impl FnOnce(Arc<dyn Connector>) -> T,
    ) -> T {
        let listener = runtime
            .block_on(self.plane.listen(&self.at))
            .expect("the plane listens");
        let to = listener.local();
        let (stop, stopped) = oneshot::channel();
        std::thread::scope(|scope| {
            let node = self.node;
            scope.spawn(move || {
                host.enter(|| lend(&node, &to, host, stopped))
                    .expect("the host's network");
            });
            let carrier = runtime
                .block_on(async { listener.accept().await.expect("a dial").handshake().await });
            let done = act(Arc::new(CarrierConnector::new(
                carrier.expect("the node's certificate"),
            )));
            let _ = stop.send(());
            done
        })
    }
}

/// The node's side: lends its engine until it is told to stop.
fn lend(node: &TlsTransport, to: &Endpoint, host: &Host, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let carrier = node.dial(to).await.expect("the plane");
        let engine = UnixConnector::new(host.socket());
        let lending = async {
            while let Ok(incoming) = carrier.accept().await {
                let (mut far, engine) = (incoming.stream, engine.clone());
                tokio::spawn(async move {
                    let mut near = engine.connect().await?;
                    Ok::<_, longshore::Error>(
                        tokio::io::copy_bidirectional(&mut far, &mut near)
                            .await
                            .is_ok(),
                    )
                });
            }
        };
        tokio::select! {
            () = lending => {}
            _ = stopped => {}
        }
    });
}
