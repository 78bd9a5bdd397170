use std::ops::ControlFlow;

use crate::{
    demand::Demand,
    index::{Found, Node},
    reason::Reason,
};

/// Everything that the work hangs on is on this node.
pub(super) fn check<'a>(
    demand: &'a Demand<'_>,
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for home in &demand.dependencies {
        if home.found != Found::On(node.slot) {
            tell(Reason::Dependency { home })?;
        }
    }
    ControlFlow::Continue(())
}
