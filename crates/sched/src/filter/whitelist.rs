use std::ops::ControlFlow;

use crate::{demand::Demand, index::Node, reason::Reason};

/// Several lists intersect.
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for whitelist in &demand.whitelists {
        if !whitelist.holds(node.state.name.as_str()) {
            tell(Reason::Whitelist { whitelist })?;
        }
    }
    ControlFlow::Continue(())
}
