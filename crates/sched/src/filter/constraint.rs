use std::ops::ControlFlow;

use crate::{demand::Demand, index::Node, reason::Reason};

/// The node's id and name, its labels and attributes. An absent label is no candidate (S6).
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for term in &demand.constraints {
        if !term.holds_on(node) {
            tell(Reason::Constraint { term, node })?;
        }
    }
    ControlFlow::Continue(())
}
