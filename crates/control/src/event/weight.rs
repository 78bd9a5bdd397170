use std::mem::size_of;

use longshore_core::EngineEvent;
use serde_json::Value;

use super::ClusterEvent;

/// About how many bytes of memory an event takes. Its parts are counted, not its text: many short
/// parts take far more than the line that they came in.
pub(super) fn weight(event: &ClusterEvent) -> usize {
    let inside = match event {
        ClusterEvent::Engine { node, event } => node_weight(node) + engine_weight(event),
        ClusterEvent::Node { node, reason, .. } => node_weight(node) + text(reason),
        ClusterEvent::Alarm { reason, .. } => text(reason),
        ClusterEvent::Lost(_) => 0,
    };
    size_of::<ClusterEvent>() + inside
}

fn node_weight(node: &crate::NodeRef) -> usize {
    text(&node.name) + text(&node.id) + text(&node.address) + text(&node.ip)
}

fn engine_weight(event: &EngineEvent) -> usize {
    let attributes: usize = event
        .attributes
        .iter()
        .map(|(key, value)| 2 * size_of::<String>() + text(key) + text(value))
        .sum();
    let native = event.native.as_deref().map_or(0, value_weight);
    text(&event.scope) + text(event.action.as_str()) + text(&event.actor) + attributes + native
}

/// Records are read from lines of bounded length and depth, so this ends soon.
fn value_weight(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(string) => text(string),
        Value::Array(items) => items.iter().map(value_weight).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| size_of::<String>() + text(key) + value_weight(value))
            .sum(),
    };
    size_of::<Value>() + inside
}

/// What a text takes on the heap.
fn text(text: &str) -> usize {
    ALLOCATION + text.len()
}

/// What the allocator adds to each piece, and what trees keep free.
const ALLOCATION: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longshore_core::{EventAction, Timestamp, WorkloadId};

    use super::*;
    use crate::NodeRef;

    #[test]
    fn many_short_parts_weigh_more_than_their_text() {
        let id = WorkloadId::new("c").unwrap();
        let mut event = EngineEvent::workload(&id, EventAction::Start, Timestamp::ZERO);
        event.attributes = (0..1000).map(|n| (n.to_string(), String::new())).collect();
        event.native = Some(Arc::new(serde_json::to_value(&event.attributes).unwrap()));
        let length = event.native.as_ref().unwrap().to_string().len();
        let node = NodeRef::default();
        assert!(weight(&ClusterEvent::Engine { node, event }) > 5 * length);
    }
}
