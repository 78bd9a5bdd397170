//! Conformance suite of [`Scheduler`].
//!
//! The rules are synchronous like the trait; they are async functions only so that all suites look
//! alike. A rule about a filter is skipped where [`Scheduler::filters`] does not name that filter.
//!
//! ```ignore
//! longshore_core::scheduler_suite!(paused, || Box::new(MyScheduler::new()) as Box<dyn Scheduler>);
//! ```

mod answers;
mod capacity;
mod changes;
mod cluster;
mod filters;
mod reservations;

use crate::Scheduler;

pub use self::answers::{
    every_refused_node_has_its_reasons, explain_agrees_with_place, runners_up_could_take_the_work,
    the_order_of_nodes_does_not_matter, the_same_inputs_give_the_same_answer,
};
pub use self::capacity::{
    a_device_has_one_holder, a_placement_never_exceeds_capacity,
    absurd_amounts_are_refused_without_overflow, an_empty_cluster_takes_nothing,
    generic_resources_are_counted, what_is_not_asked_for_is_not_checked,
};
pub use self::changes::{
    a_changed_node_keeps_its_work, a_changed_workload_holds_what_it_holds_now,
    a_gone_node_takes_everything_along, a_gone_workload_gives_its_room_back,
    a_refused_change_changes_nothing, an_unknown_node_is_named, the_same_change_twice_counts_once,
};
pub use self::filters::{
    a_hard_affinity_is_never_broken, a_hard_constraint_is_never_broken,
    a_port_is_held_once_per_node, a_soft_constraint_yields,
    a_wrong_request_is_invalid_not_unplaceable, closed_nodes_take_no_new_work,
    unhealthy_nodes_take_no_work,
};
pub use self::reservations::{
    a_fulfilled_reservation_counts_once, a_name_is_reserved_once,
    a_released_reservation_gives_its_room_back, a_reservation_ends_with_its_expiry_and_not_before,
    a_reservation_holds_its_room, a_reservation_id_is_used_once,
    a_reservation_that_no_longer_fits_is_a_conflict,
};

/// Makes schedulers to test.
pub trait Harness: Send + Sync {
    /// A fresh scheduler that knows no node.
    fn scheduler(&self) -> Box<dyn Scheduler>;
}

impl<F: Fn() -> Box<dyn Scheduler> + Send + Sync> Harness for F {
    fn scheduler(&self) -> Box<dyn Scheduler> {
        self()
    }
}

/// Tests an implementation of [`Scheduler`] against every rule.
#[macro_export]
macro_rules! scheduler_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            scheduler,
            $harness,
            [
                an_empty_cluster_takes_nothing,
                a_placement_never_exceeds_capacity,
                what_is_not_asked_for_is_not_checked,
                generic_resources_are_counted,
                a_device_has_one_holder,
                absurd_amounts_are_refused_without_overflow,
                unhealthy_nodes_take_no_work,
                closed_nodes_take_no_new_work,
                a_port_is_held_once_per_node,
                a_hard_constraint_is_never_broken,
                a_soft_constraint_yields,
                a_hard_affinity_is_never_broken,
                a_wrong_request_is_invalid_not_unplaceable,
                a_reservation_holds_its_room,
                a_released_reservation_gives_its_room_back,
                a_reservation_ends_with_its_expiry_and_not_before,
                a_fulfilled_reservation_counts_once,
                a_reservation_that_no_longer_fits_is_a_conflict,
                a_reservation_id_is_used_once,
                a_name_is_reserved_once,
                an_unknown_node_is_named,
                a_refused_change_changes_nothing,
                the_same_change_twice_counts_once,
                a_changed_workload_holds_what_it_holds_now,
                a_gone_workload_gives_its_room_back,
                a_gone_node_takes_everything_along,
                a_changed_node_keeps_its_work,
                the_same_inputs_give_the_same_answer,
                the_order_of_nodes_does_not_matter,
                runners_up_could_take_the_work,
                explain_agrees_with_place,
                every_refused_node_has_its_reasons,
            ]
        );
    };
}
