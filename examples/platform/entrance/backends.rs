//! One exec backend per node, for as long as the node's engine is the same: what it knows of the
//! engine's containers, such as where the stub is and who watches over sessions, is found once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use longshore::{
    Engine,
    control::{ControlPlane, NodeView},
    core::ClockExt,
    exec::{DockerExec, Stub},
};

/// How sessions begin and end.
#[derive(Debug, Default)]
pub struct Sessions {
    /// What owns them in their containers.
    pub stub: Option<Stub>,
    /// By which those of an earlier life of this program are known; without it they are nobody's.
    pub gateway: Option<String>,
}

#[derive(Debug)]
pub struct Backends {
    plane: ControlPlane,
    sessions: Sessions,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    engine: Arc<dyn Engine>,
    exec: DockerExec,
}

impl Backends {
    pub fn new(plane: ControlPlane, sessions: Sessions) -> Self {
        Self {
            plane,
            sessions,
            known: Mutex::default(),
        }
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
        let mut exec = DockerExec::over(client.clone(), clock, random);
        if let Some(name) = &self.sessions.gateway {
            exec = exec.with_gateway_name(name);
        }
        let stub = self.sessions.stub.as_ref();
        if let Some(stub) = stub.filter(|stub| fits(stub, node)) {
            exec = exec.with_stub(stub.clone());
        }
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

/// Ends what sessions of an earlier life of this program left behind: on each node once, as soon as it
/// is there, since what begins later is this life's.
pub async fn reap(backends: Arc<Backends>) {
    let plane = backends.plane.clone();
    let mut reaped = HashSet::new();
    loop {
        let nodes = plane.nodes();
        let keys: HashSet<_> = nodes.iter().map(|node| node.reference().id).collect();
        reaped.retain(|key| keys.contains(key));
        for node in nodes {
            let key = node.reference().id;
            if reaped.contains(&key) {
                continue;
            }
            let Some(exec) = backends.of(&node) else {
                continue;
            };
            match exec.reap().await {
                Ok(ended) => {
                    reaped.insert(key);
                    if !ended.is_empty() {
                        let sessions = ended.len();
                        tracing::info!(node = node.name, sessions, "lost sessions were ended");
                    }
                }
                // Tried again: the node may be going, or another manager leads.
                Err(error) => tracing::debug!(
                    node = node.name,
                    error = error.chain(),
                    "lost sessions could not be looked for"
                ),
            }
        }
        plane.clock().sleep(PAUSE).await;
    }
}

const PAUSE: Duration = Duration::from_secs(5);

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
