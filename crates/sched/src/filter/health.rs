use std::ops::ControlFlow;

use longshore_core::{Availability, NodeHealth};

use crate::{index::Node, reason::Reason};

/// Healthy with a positive indicator, and open for new work.
pub(super) fn check<'a>(
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if node.state.health != NodeHealth::Healthy {
        tell(Reason::Unhealthy(node.state.health))?;
    } else if node.state.health_indicator == 0 {
        tell(Reason::NoHealthLeft)?;
    }
    check_availability(node, tell)
}

/// Open for new work.
pub(super) fn check_availability<'a>(
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match node.state.availability {
        Availability::Active => ControlFlow::Continue(()),
        closed => tell(Reason::Closed(closed)),
    }
}
