use std::ops::ControlFlow;

use crate::{index::Node, reason::Reason};

/// Containers in any state and reservations count.
pub(super) fn check<'a>(
    node: &'a Node,
    tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match node.container_slots {
        Some(limit) if node.containers() as u64 >= limit => tell(Reason::Slots {
            taken: node.containers(),
            limit,
        }),
        _ => ControlFlow::Continue(()),
    }
}
