//! The rules of [`Engine`].
//!
//! Every rule cleans up the workloads that it made, so the suite can run against an engine that
//! others use too. What a failed rule leaves behind carries the label `longshore.testkit`.

use std::sync::Arc;

use crate::{
    Clock, Engine, SystemClock,
    testkit::programs::{Programs, Shell},
};

mod events;
mod lifecycle;
mod naming;
mod output;
mod restart;
mod trial;

pub use events::{
    events_since_a_time_are_told_again, events_that_follow_the_call_are_told,
    every_change_of_state_is_an_event,
};
pub use lifecycle::{
    a_dropped_stop_goes_on, a_killed_workload_says_so, a_new_workload_is_listed_as_created,
    a_removed_workload_is_gone, a_running_workload_is_removed_only_by_force,
    a_stop_is_a_polite_request_first, a_stop_that_is_ignored_becomes_a_kill_after_the_grace,
    a_workload_can_be_started_again, an_exit_code_is_reported, force_ends_what_runs,
    killing_what_does_not_run_is_a_conflict, signals_reach_the_first_process,
    starting_what_runs_is_no_error, stopping_what_is_stopped_is_no_error,
    wait_gives_everybody_the_same_answer,
};
pub use naming::{
    a_filter_by_id_lists_only_that, a_missing_image_is_not_found, a_name_is_free_after_removal,
    a_name_is_held_by_one_workload, a_nameless_workload_gets_a_name, a_rename_frees_the_old_name,
    a_rename_to_a_taken_name_is_refused, an_unknown_id_is_not_found_anywhere,
    labels_and_environment_are_kept, the_engine_answers_and_says_what_it_is,
};
pub use output::{
    a_log_can_be_followed_to_the_end, a_log_is_empty_before_the_start,
    following_what_has_ended_ends, output_before_the_end_is_in_the_log,
    output_in_the_log_is_byte_exact, output_stays_in_the_log_over_a_second_run,
    outputs_are_told_apart, stats_of_what_runs_are_plausible, tail_gives_the_last_lines,
};
pub use restart::{
    a_failure_is_restarted_as_often_as_allowed, a_stop_ends_the_restarts,
    a_success_is_not_restarted_on_failure, always_restarts_after_a_success,
    without_a_policy_nothing_is_restarted,
};

/// Gives the suite an engine and the words it understands.
pub trait Harness: Send + Sync {
    /// The engine under test: fresh, or shared with others.
    fn engine(&self) -> Arc<dyn Engine>;

    /// The clock that the engine lives by.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    /// An image that the engine holds.
    fn image(&self) -> String;

    /// An image that it does not hold; `None` when it knows no such case.
    fn missing_image(&self) -> Option<String> {
        None
    }

    /// The commands for workloads of that image.
    fn programs(&self) -> &dyn Programs {
        &Shell
    }

    /// Whether the log keeps bytes that are not UTF-8. Docker's default log driver (`json-file`)
    /// stores a replacement character instead; `local` keeps them.
    fn keeps_any_byte_in_logs(&self) -> bool {
        true
    }

    /// Whether [`Engine::stats`] tells real figures.
    fn has_stats(&self) -> bool {
        true
    }
}

/// Runs the rules of [`Engine`](crate::Engine) against a harness.
#[macro_export]
macro_rules! engine_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            engine,
            $harness,
            [
                the_engine_answers_and_says_what_it_is,
                a_new_workload_is_listed_as_created,
                a_removed_workload_is_gone,
                a_running_workload_is_removed_only_by_force,
                force_ends_what_runs,
                a_name_is_held_by_one_workload,
                a_name_is_free_after_removal,
                a_nameless_workload_gets_a_name,
                a_rename_frees_the_old_name,
                a_rename_to_a_taken_name_is_refused,
                a_filter_by_id_lists_only_that,
                a_missing_image_is_not_found,
                labels_and_environment_are_kept,
                an_unknown_id_is_not_found_anywhere,
                starting_what_runs_is_no_error,
                stopping_what_is_stopped_is_no_error,
                a_workload_can_be_started_again,
                an_exit_code_is_reported,
                a_killed_workload_says_so,
                wait_gives_everybody_the_same_answer,
                a_stop_is_a_polite_request_first,
                a_stop_that_is_ignored_becomes_a_kill_after_the_grace,
                a_dropped_stop_goes_on,
                signals_reach_the_first_process,
                killing_what_does_not_run_is_a_conflict,
                a_log_is_empty_before_the_start,
                output_before_the_end_is_in_the_log,
                output_in_the_log_is_byte_exact,
                output_stays_in_the_log_over_a_second_run,
                outputs_are_told_apart,
                tail_gives_the_last_lines,
                a_log_can_be_followed_to_the_end,
                following_what_has_ended_ends,
                stats_of_what_runs_are_plausible,
                every_change_of_state_is_an_event,
                events_that_follow_the_call_are_told,
                events_since_a_time_are_told_again,
                without_a_policy_nothing_is_restarted,
                a_failure_is_restarted_as_often_as_allowed,
                a_success_is_not_restarted_on_failure,
                always_restarts_after_a_success,
                a_stop_ends_the_restarts,
            ]
        );
    };
}
