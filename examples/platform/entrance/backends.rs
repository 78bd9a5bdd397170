//! One exec backend per node, for as long as the node's engine is the same: what it knows of the
//! engine's containers, such as where the stub is and who watches over sessions, is found once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore::{
    Engine, Error, Result,
    control::{ControlPlane, NodeView},
    core::{Cleanup, NodeHealth, NodeId, Timestamp},
    exec::{
        DockerExec, GatewayLife, Reaped, Stub, WaitingStubs,
        record::RecordStore,
        session::{HubLimits, SessionOptions},
    },
};

use crate::gateway_name::GatewayName;

/// How sessions begin and end.
#[derive(Debug, Default)]
pub struct Sessions {
    /// What owns them in their containers.
    pub stub: Option<Stub>,
    /// How many stubs wait where somebody was let in.
    pub waiting: Option<WaitingStubs>,
    /// Of what a container is that ends what they leave in images without a shell.
    pub sidecar_image: Option<String>,
    /// By which the next life of this manager knows them; without it they are nobody's then.
    pub gateway: Option<GatewayName>,
    /// What one may leave behind that asks for it.
    pub least_cleanup: Cleanup,
    /// What one may take.
    pub options: SessionOptions,
    /// How many there may be.
    pub limits: HubLimits,
    /// Where they are recorded.
    pub records: Option<Arc<dyn RecordStore>>,
}

impl Sessions {
    /// With what ends sessions on a node, where the stub is one that runs there.
    fn ended_by(&self, mut exec: DockerExec, stub: Option<&Stub>) -> DockerExec {
        if let Some(stub) = stub {
            exec = exec.with_stub(stub.clone());
            if let Some(waiting) = self.waiting {
                exec = exec.with_waiting_stubs(waiting);
            }
        }
        match &self.sidecar_image {
            Some(image) => exec.with_sidecar_image(image),
            None => exec,
        }
    }
}

#[derive(Debug)]
pub struct Backends {
    plane: ControlPlane,
    sessions: Sessions,
    /// This program's, whatever backend a session goes through.
    life: GatewayLife,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    engine: Arc<dyn Engine>,
    exec: DockerExec,
}

impl Backends {
    pub fn new(plane: ControlPlane, sessions: Sessions) -> Self {
        let random = plane.random();
        let life = match &sessions.gateway {
            Some(gateway) => GatewayLife::begin(gateway.name(), &**random),
            None => GatewayLife::unnamed(&**random),
        };
        Self {
            plane,
            sessions,
            life,
            known: Mutex::default(),
        }
    }

    /// The nodes that can be looked into for what an earlier life left, and since when: by their
    /// engines' ids, so that one that has not told its own yet is not taken for another.
    pub fn there(&self) -> Vec<(NodeId, Timestamp)> {
        let nodes = self.plane.nodes();
        let healthy = nodes
            .iter()
            .filter(|node| node.health == NodeHealth::Healthy && node.http().is_some());
        healthy
            .filter_map(|node| Some((node.id.clone()?, node.since)))
            .collect()
    }

    /// How many sessions of this life left something so far, as far as it knows.
    pub fn unsettled(&self) -> u64 {
        self.life.unsettled()
    }

    /// Ends what an earlier life left behind on a node.
    pub async fn reap(&self, node: &NodeId) -> Result<Reaped> {
        if let Some(name) = &self.sessions.gateway {
            name.check().await?;
        }
        let away = || Error::unavailable(format!("node {node} is away"));
        let node = self.plane.node(node.as_str()).ok_or_else(away)?;
        self.of(&node).ok_or_else(away)?.reap().await
    }

    /// `None` while the node has no engine.
    pub fn of(&self, node: &NodeView) -> Option<DockerExec> {
        let (client, engine) = (node.http()?, node.engine.as_ref()?);
        let key = node.reference().id;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = known
            .get(&key)
            .filter(|there| Arc::ptr_eq(&there.engine, engine))
        {
            return Some(there.exec.clone());
        }
        // Nodes that went are forgotten with the next that comes.
        known.retain(|key, _| self.plane.node(key).is_some());
        let (clock, random) = (self.plane.clock().clone(), self.plane.random().clone());
        let exec = DockerExec::over(client.clone(), clock, random);
        let exec = exec.with_gateway(self.life.clone());
        let stub = self.sessions.stub.as_ref();
        let exec = self
            .sessions
            .ended_by(exec, stub.filter(|stub| fits(stub, node)));
        let engine = engine.clone();
        known.insert(
            key,
            Known {
                engine,
                exec: exec.clone(),
            },
        );
        Some(exec)
    }
}

/// Whether the stub runs on this node, as far as both say what they are.
fn fits(stub: &Stub, node: &NodeView) -> bool {
    let attributes = node.info.as_ref().map(|info| &info.attributes);
    let theirs = attributes.and_then(|attributes| attributes.get("architecture"));
    let (Some(ours), Some(theirs)) = (stub.architecture(), theirs) else {
        return true;
    };
    let is_same = ours == theirs
        || (ours, theirs) == ("x86_64", "amd64")
        || (ours, theirs) == ("aarch64", "arm64");
    if !is_same {
        tracing::warn!(
            node = node.name,
            "exec sessions on this node go without the stub: it is for {ours}, the node is {theirs}"
        );
    }
    is_same
}

#[cfg(test)]
mod tests {
    use longshore::{
        core::{OsRandom, SystemClock},
        engine::TcpConnector,
    };

    use super::*;

    #[test]
    fn a_node_gets_the_image_that_was_named() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let connector = Arc::new(TcpConnector::new(address));
        let exec = DockerExec::new(connector, Arc::new(SystemClock::new()), Arc::new(OsRandom));
        let named = Sessions {
            sidecar_image: Some("busybox:named".to_owned()),
            ..Sessions::default()
        };
        let shown = |sessions: &Sessions| format!("{:?}", sessions.ended_by(exec.clone(), None));
        assert!(shown(&named).contains("busybox:named"));
        assert!(!shown(&Sessions::default()).contains("busybox:named"));
    }
}
