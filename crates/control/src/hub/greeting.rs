use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_core::NodeId;

/// How many connections of each node are between handshake and welcome. A node with a good
/// certificate must not take the places of all others, either.
#[derive(Clone, Debug, Default)]
pub(super) struct Greetings(Arc<Mutex<HashMap<NodeId, usize>>>);

/// A place among a node's greetings, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Greeting {
    greetings: Greetings,
    node: NodeId,
}

impl Greetings {
    pub(super) fn enter(&self, node: &NodeId) -> Option<Greeting> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = nodes.entry(node.clone()).or_default();
        if *here >= MOST_OF_A_NODE {
            return None;
        }
        *here += 1;
        Some(Greeting {
            greetings: self.clone(),
            node: node.clone(),
        })
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut nodes = self
            .greetings
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = nodes.get_mut(&self.node) {
            *here -= 1;
            if *here == 0 {
                nodes.remove(&self.node);
            }
        }
    }
}

/// An agent dials one connection at a time; some may still wait for their end.
pub(super) const MOST_OF_A_NODE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_node_are_bounded_and_come_back() {
        let greetings = Greetings::default();
        let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
        let mut held: Vec<_> = (0..MOST_OF_A_NODE)
            .map(|_| greetings.enter(&a).unwrap())
            .collect();
        assert!(greetings.enter(&a).is_none());
        assert!(greetings.enter(&b).is_some());
        held.pop();
        assert!(greetings.enter(&a).is_some());
        drop(held);
        assert!(greetings.0.lock().unwrap().is_empty());
    }
}
