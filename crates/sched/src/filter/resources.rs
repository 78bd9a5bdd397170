use std::ops::ControlFlow;

use crate::{demand::Demand, index::Node, reason::Reason};

/// Exact: used plus needed is at most what there is (S14), whatever the strategy (S13). What is
/// not asked for is not checked.
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for need in &demand.needs {
        if need.amount > node.available(need.resource) {
            tell(Reason::Resource {
                need: *need,
                free: node.available(need.resource),
                capacity: node.capacity(need.resource),
            })?;
        }
    }
    ControlFlow::Continue(())
}
