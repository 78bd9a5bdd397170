//! What leads from one set of nodes to another.

use std::collections::BTreeMap;

use longshore_core::{Announcement, Endpoint, MembershipEvent};

/// Nodes by their key.
pub(crate) type Nodes = BTreeMap<Endpoint, Announcement>;

/// Nodes by their key; of two with the same endpoint the last one counts.
pub(crate) fn by_endpoint(nodes: impl IntoIterator<Item = Announcement>) -> Nodes {
    nodes
        .into_iter()
        .map(|node| (node.endpoint.clone(), node))
        .collect()
}

/// The events after which who knew `from` knows `to`. Departures come first, so that a node that
/// changed its address is not refused as a double.
pub(crate) fn diff(from: &Nodes, to: &Nodes) -> Vec<MembershipEvent> {
    let gone = from.keys().filter(|endpoint| !to.contains_key(*endpoint));
    let come = to
        .iter()
        .filter(|(endpoint, node)| from.get(*endpoint) != Some(node));
    gone.map(|endpoint| MembershipEvent::Removed(endpoint.clone()))
        .chain(come.map(|(_, node)| MembershipEvent::Added(node.clone())))
        .collect()
}
