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
fn diff(from: &Nodes, to: &Nodes) -> Vec<MembershipEvent> {
    let gone = from.keys().filter(|endpoint| !to.contains_key(*endpoint));
    let come = to
        .iter()
        .filter(|(endpoint, node)| from.get(*endpoint) != Some(node));
    gone.map(|endpoint| MembershipEvent::Removed(endpoint.clone()))
        .chain(come.map(|(_, node)| MembershipEvent::Added(node.clone())))
        .collect()
}

/// What a watch tells so that its reader knows `nodes`: the difference to what it was told, or the
/// full set where it was told nothing or must learn that the view is good again.
pub(crate) fn news(told: Option<&Nodes>, nodes: &Nodes) -> Vec<MembershipEvent> {
    match told {
        Some(told) => diff(told, nodes),
        None => vec![MembershipEvent::Reset(nodes.values().cloned().collect())],
    }
}
