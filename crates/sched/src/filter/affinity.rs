use std::ops::ControlFlow;

use crate::{demand::Demand, index::Node, reason::Reason};

/// What else is on the node, reservations included.
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for term in &demand.affinities {
        if !term.holds_beside(node) {
            tell(Reason::Affinity { term, node })?;
        }
    }
    ControlFlow::Continue(())
}
