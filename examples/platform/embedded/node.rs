//! One node: a process engine and an agent that lends it to the plane.

use std::{sync::Arc, time::Duration};

use longshore::{
    Clock, Engine,
    agent::{Agent, AgentConfig},
    core::{Bytes, Endpoint, MilliCpu, NodeName, OsRandom, Shutdown},
    engine::{ProcessEngine, ProcessOptions},
    tunnel::TlsTransport,
};

use crate::{Failure, say::note};

pub struct Node {
    pub name: String,
    engine: Arc<ProcessEngine>,
    agent: Shutdown,
    clock: Arc<dyn Clock>,
}

impl Node {
    pub async fn start(
        name: &str,
        zone: &str,
        plane: &Endpoint,
        transport: Arc<TlsTransport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let node_name = NodeName::new(name).map_err(longshore::Error::from)?;
        let options = ProcessOptions::default()
            .with_name(node_name.clone())
            .with_label("zone", zone)
            .with_capacity(MilliCpu::from_cpus(2), Bytes::from_gib(1));
        let engine = ProcessEngine::new(options, clock.clone(), Arc::new(OsRandom))?;
        let config = AgentConfig::new(node_name, plane.clone())
            .with_backoff(Duration::from_millis(100), Duration::from_secs(2));
        let agent = Agent::new(
            config,
            transport,
            engine.connector(),
            clock.clone(),
            Arc::new(OsRandom),
        );
        let shutdown = Shutdown::new();
        let running = shutdown.clone();
        shutdown.spawn(async move { agent.run(&running).await });
        Ok(Self {
            name: name.to_owned(),
            engine,
            agent: shutdown,
            clock,
        })
    }

    /// The machine is gone: no goodbye of its engine, and nothing of it runs any more.
    pub async fn stop(self) {
        self.agent
            .finish(&*self.clock, Duration::from_secs(5))
            .await;
        if let Err(error) = self.engine.shutdown(Duration::from_secs(2)).await {
            note(format_args!("warning: {}: {error}", self.name));
        }
    }
}
