//! Compose your own control plane: pick the parts, mount the endpoint where you want it.
//!
//! xtask: run once
#![expect(clippy::print_stdout, reason = "a program talks to people")]

use std::{sync::Arc, time::Duration};

use longshore::{
    control::{ControlPlane, endpoint},
    core::{AllowAll, ClockExt, SystemClock},
    discovery::{DiscoveryOptions, open},
    engine::{SimCluster, SimOptions},
    sched::{ClusterScheduler, Strategy},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock::new());
    // Three simulated engines; `DockerProvider` would dial real ones.
    let engines = SimCluster::new(3, 7, clock.clone(), |_| SimOptions::default())?;
    let nodes = open(
        "nodes://sim-[000:002]:1",
        &DiscoveryOptions::new(clock.clone()),
    )?;
    let plane = ControlPlane::builder()
        .discovery(nodes)
        .engines(Arc::new(engines))
        .scheduler(Box::new(ClusterScheduler::new(Strategy::BinPack)))
        // Your own policy goes here. Without one, nothing is allowed.
        .authorizer(Arc::new(AllowAll))
        .clock(clock.clone())
        .build()?;
    plane.start();
    let known = || plane.nodes().iter().filter(|n| n.info.is_some()).count();
    while known() < 3 {
        clock.sleep(Duration::from_millis(20)).await;
    }

    // The endpoint is an axum router: serve it as here, or mount it in an application of your own.
    let app = endpoint::router(plane.clone(), endpoint::EndpointOptions::default());
    let address = "tcp://127.0.0.1:0".parse()?;
    let listener = endpoint::Listener::bind(&address, endpoint::ListenOptions::default()).await?;
    println!("try: docker -H {} info", listener.address());
    let server = endpoint::serve(listener, app, clock.clone(), plane.shutdown().child());
    tokio::spawn(server);

    for node in plane.nodes() {
        println!("{} is {}", node.name, node.health);
    }
    if !std::env::args().any(|argument| argument == "once") {
        println!("Ctrl-C ends it");
        tokio::signal::ctrl_c().await?;
    }
    plane.stop().await;
    Ok(())
}
