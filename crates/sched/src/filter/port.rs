use std::ops::ControlFlow;

use crate::{demand::Demand, index::Node, reason::Reason};

/// Ports are taken by protocol, number and address; published ports and those of the node's own
/// network are compared with each other, and so are those of stopped containers and reservations
/// (S9).
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (position, port) in demand.request.ports.iter().enumerate() {
        if !node.is_port_free(port) {
            tell(Reason::Port {
                position,
                port,
                node,
            })?;
        }
    }
    ControlFlow::Continue(())
}
