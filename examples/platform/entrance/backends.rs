//! One exec backend per node, for as long as the node's engine is the same: what it knows of the
//! engine's containers, such as where the stub is and who watches over sessions, is found once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore::{
    Engine,
    control::{ControlPlane, NodeView},
    exec::{DockerExec, Stub},
};

#[derive(Debug)]
pub struct Backends {
    plane: ControlPlane,
    stub: Option<Stub>,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    engine: Arc<dyn Engine>,
    exec: DockerExec,
}

impl Backends {
    pub fn new(plane: ControlPlane, stub: Option<Stub>) -> Self {
        Self {
            plane,
            stub,
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
        if let Some(stub) = self.stub.as_ref().filter(|stub| fits(stub, node)) {
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
