//! Drive a remote engine through a tunnel: the node dials out, nothing listens on it.
//! xtask: run
#![expect(clippy::print_stdout, reason = "a program talks to people")]

use std::sync::Arc;

use longshore::{
    Engine, TunnelTransport,
    core::{CarrierConnector, NodeId, OsRandom, Result, SystemClock, WorkloadSpec},
    engine::{DockerEngine, ProcessEngine, ProcessOptions},
    tunnel::{MemoryNetwork, MemoryTransport},
};

#[tokio::main]
async fn main() -> Result<()> {
    let clock = Arc::new(SystemClock::new());
    let network = MemoryNetwork::new(); // between machines: `TlsTransport`
    let plane = MemoryTransport::new(&network, NodeId::new("plane")?, clock.clone());
    let node = MemoryTransport::new(&network, NodeId::new("node-1")?, clock.clone());
    let listener = plane.listen(&"plane:443".parse()?).await?;

    // The node lends its engine. `Agent` does this for ever, with retries and heartbeats.
    let engine = ProcessEngine::new(ProcessOptions::default(), clock.clone(), Arc::new(OsRandom))?;
    let lent = engine.connector();
    tokio::spawn(async move {
        let carrier = node.dial(&"plane:443".parse()?).await?;
        while let Ok(incoming) = carrier.accept().await {
            let (mut far, mut near) = (incoming.stream, lent.connect().await?);
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut near).await });
        }
        Ok::<_, longshore::Error>(())
    });

    let carrier = listener.accept().await?.handshake().await?;
    let remote = DockerEngine::new(Arc::new(CarrierConnector::new(carrier)), clock)?;
    let spec = WorkloadSpec::new("host").with_command(["sh", "-c", "exit 7"]);
    let id = remote.create(&spec).await?;
    remote.start(&id).await?;
    println!("{}: {}", remote.info().await?.name, remote.wait(&id).await?);
    engine.shutdown(std::time::Duration::from_secs(1)).await
}
