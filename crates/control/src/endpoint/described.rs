//! Nodes as `inspect` shows them with their containers. Each is written once for as long as its engine
//! says the same of itself, since this goes into every answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_core::{EngineInfo, NodeId};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::NodeView;

/// By address.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<HashMap<String, Description>>);

#[derive(Debug)]
struct Description {
    id: Option<NodeId>,
    info: Option<Arc<EngineInfo>>,
    ip: String,
    json: Arc<[u8]>,
}

impl Description {
    /// Whether nothing has changed of what it was written from; a node's name is part of its info.
    fn is_of(&self, node: &NodeView) -> bool {
        let same_info = match (&self.info, &node.info) {
            (Some(ours), Some(its)) => Arc::ptr_eq(ours, its),
            (None, None) => true,
            _ => false,
        };
        same_info && self.id == node.id && self.ip == node.ip
    }
}

impl Descriptions {
    /// A node as JSON, in Swarm's form.
    pub(super) fn of(&self, node: &NodeView) -> Arc<[u8]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(description) = known.get(&node.address)
            && description.is_of(node)
        {
            return Arc::clone(&description.json);
        }
        if known.len() >= MOST {
            // Nodes that left are not told of here.
            known.clear();
        }
        let json: Arc<[u8]> = serde_json::to_vec(&Described(node))
            .unwrap_or_else(|_| b"null".to_vec())
            .into();
        let description = Description {
            id: node.id.clone(),
            info: node.info.clone(),
            ip: node.ip.clone(),
            json: Arc::clone(&json),
        };
        known.insert(node.address.clone(), description);
        json
    }
}

const MOST: usize = 4096;

struct Described<'a>(&'a NodeView);

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = self.0;
        let info = node.info.as_deref();
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("ID", node.id.as_ref().map_or("", |id| id.as_str()))?;
        map.serialize_entry("IP", &node.ip)?;
        map.serialize_entry("Addr", &node.address)?;
        map.serialize_entry("Name", &node.name)?;
        map.serialize_entry("Cpus", &info.map_or(0, |info| info.cpu.0 / 1000))?;
        map.serialize_entry("Memory", &info.map_or(0, |info| info.memory.0))?;
        map.serialize_entry("Labels", &NodeLabels(info))?;
        map.end()
    }
}

/// What constraints can ask for: the engine's labels behind the built-in attributes, which win.
struct NodeLabels<'a>(Option<&'a EngineInfo>);

impl Serialize for NodeLabels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(info) = self.0 {
            for (key, value) in info.attributes.iter() {
                map.serialize_entry(key, value)?;
            }
            let own = info.labels.iter();
            for (key, value) in own.filter(|(key, _)| info.attributes.get(key).is_none()) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{
        Availability, Bytes, Labels, MilliCpu, NodeHealth, NodeName, Resources, Timestamp,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::ContainerCounts;

    fn node(info: Option<Arc<EngineInfo>>) -> NodeView {
        let now = Timestamp::from_secs(0);
        NodeView {
            id: info.as_ref().map(|info| info.id.clone()),
            name: "n".to_owned(),
            address: "10.0.0.1:2375".to_owned(),
            ip: "10.0.0.1".to_owned(),
            health: NodeHealth::Healthy,
            health_indicator: 100,
            availability: Availability::Active,
            error: None,
            since: now,
            next_retry: None,
            updated_at: now,
            info,
            engine: None,
            http: None,
            containers: ContainerCounts::default(),
            reserved: Resources::default(),
            capacity: Resources::default(),
            devices: std::sync::Arc::from([]),
            images: [].into(),
            warnings: Vec::new(),
            clock_skew: None,
            stale: false,
        }
    }

    fn info(zone: &str) -> Arc<EngineInfo> {
        let id = NodeId::new("e1").unwrap();
        let mut info = EngineInfo::new(
            id,
            NodeName::new("n").unwrap(),
            MilliCpu(4000),
            Bytes(1 << 30),
        );
        info.labels = Labels::new().with("zone", zone);
        Arc::new(info)
    }

    fn labels(described: &[u8]) -> Value {
        let described: Value = serde_json::from_slice(described).unwrap();
        described["Labels"]["zone"].clone()
    }

    #[test]
    fn a_node_is_described_anew_when_anything_of_it_changes() {
        let known = Descriptions::default();
        let unknown = known.of(&node(None));
        assert_eq!(labels(&unknown), Value::Null);
        let of_eu = known.of(&node(Some(info("eu"))));
        assert_eq!(labels(&of_eu), json!("eu"));
        let us = node(Some(info("us")));
        let of_us = known.of(&us);
        assert_eq!(labels(&of_us), json!("us"));
        assert!(Arc::ptr_eq(&of_us, &known.of(&us)), "written again");
        let mut moved = us.clone();
        moved.ip = "10.0.0.2".to_owned();
        let moved: Value = serde_json::from_slice(&known.of(&moved)).unwrap();
        assert_eq!(moved["IP"], "10.0.0.2");
        assert_eq!(known.0.lock().unwrap().len(), 1, "one for an address");
    }
}
