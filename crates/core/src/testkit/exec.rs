//! The rules of [`ExecBackend`] and [`ExecSession`](crate::ExecSession).

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Clock, ExecBackend, SystemClock, WorkloadId,
    testkit::programs::{Programs, Shell},
};

mod attach;
mod end;
mod input;
mod output;
mod refusal;
mod terminal;
mod trial;

pub use attach::{
    a_log_is_followed_without_a_gap, an_attachment_carries_input_and_output,
    an_attachment_ends_with_its_workload, an_attachment_to_a_terminal_is_byte_exact,
    an_attachment_to_an_unknown_workload_is_not_found,
    closing_an_attachment_leaves_the_workload_alone,
};
pub use end::{
    a_killed_command_is_told_as_one, a_signal_arrives_or_is_unsupported,
    a_signal_on_a_terminal_arrives_or_is_unsupported, an_exit_code_is_told,
    closing_ends_the_session, closing_twice_is_no_error, dropping_the_session_ends_its_output,
    pipes_are_taken_once, wait_gives_everybody_the_same_answer, wait_needs_no_reader,
};
pub use input::{
    a_half_close_leaves_the_output_open, an_environment_variable_arrives, input_is_byte_exact,
    sessions_do_not_mix, without_input_the_end_is_read_at_once,
};
pub use output::{
    large_output_is_complete_and_in_order, output_before_the_end_is_never_lost,
    output_is_byte_exact, output_that_begins_with_a_low_byte_is_exact, outputs_are_told_apart,
};
pub use refusal::{
    a_cleanup_is_followed_or_refused_by_name, a_missing_program_is_told,
    a_stopped_workload_is_a_conflict, an_attachment_to_a_stopped_workload_is_a_conflict,
    an_empty_command_is_invalid, an_unknown_workload_is_not_found,
};
pub use terminal::{
    a_resize_after_the_end_is_no_error, a_resize_reaches_the_terminal,
    a_resize_without_a_terminal_is_no_error, output_on_a_terminal_is_byte_exact,
    output_on_a_terminal_that_begins_with_a_low_byte_is_exact, the_first_size_is_the_terminals,
    typed_bytes_arrive_exactly,
};

/// Where a rule gets in.
#[derive(Debug)]
pub struct Place {
    /// The backend under test.
    pub backend: Arc<dyn ExecBackend>,
    /// A workload that runs, and goes on running.
    pub workload: WorkloadId,
    /// Keeps whatever serves the place alive.
    pub keep: Box<dyn std::any::Any + Send + Sync>,
}

/// Gives the suite workloads to get into.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A running workload in which the [`programs`](Self::programs) can be run.
    async fn place(&self) -> Place;

    /// A workload of the same backend that exists and does not run; `None` when there is no such
    /// case.
    async fn stopped(&self) -> Option<Place>;

    /// A running workload whose own command is [`Programs::copy`] with an open standard input, or,
    /// with a terminal, [`Programs::copy_raw`] of 260 bytes; `None` when the backend can't attach.
    async fn attachable(&self, kind: Attachable) -> Option<Place>;

    /// Ends what [`place`](Self::place) and the others started, where dropping does not.
    async fn finish(&self, place: Place) {
        drop(place);
    }

    /// The commands for these workloads.
    fn programs(&self) -> &dyn Programs {
        &Shell
    }

    /// The clock that the backend lives by.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }
}

/// What to attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachable {
    /// A workload with pipes, whose input stays open when an attachment leaves.
    Pipes,
    /// A workload with pipes, whose input ends when its first attachment ends it.
    PipesOnce,
    /// A workload on a terminal.
    Terminal,
}

/// Runs the rules of [`ExecBackend`](crate::ExecBackend) and
/// [`ExecSession`](crate::ExecSession) against a harness.
#[macro_export]
macro_rules! exec_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            exec,
            $harness,
            [
                output_is_byte_exact,
                output_that_begins_with_a_low_byte_is_exact,
                outputs_are_told_apart,
                output_before_the_end_is_never_lost,
                large_output_is_complete_and_in_order,
                output_on_a_terminal_is_byte_exact,
                output_on_a_terminal_that_begins_with_a_low_byte_is_exact,
                typed_bytes_arrive_exactly,
                the_first_size_is_the_terminals,
                a_resize_reaches_the_terminal,
                a_resize_without_a_terminal_is_no_error,
                a_resize_after_the_end_is_no_error,
                input_is_byte_exact,
                a_half_close_leaves_the_output_open,
                without_input_the_end_is_read_at_once,
                an_environment_variable_arrives,
                sessions_do_not_mix,
                pipes_are_taken_once,
                an_exit_code_is_told,
                wait_gives_everybody_the_same_answer,
                wait_needs_no_reader,
                a_signal_arrives_or_is_unsupported,
                a_signal_on_a_terminal_arrives_or_is_unsupported,
                a_killed_command_is_told_as_one,
                closing_ends_the_session,
                closing_twice_is_no_error,
                dropping_the_session_ends_its_output,
                an_unknown_workload_is_not_found,
                a_stopped_workload_is_a_conflict,
                an_attachment_to_a_stopped_workload_is_a_conflict,
                an_empty_command_is_invalid,
                a_cleanup_is_followed_or_refused_by_name,
                a_missing_program_is_told,
                an_attachment_carries_input_and_output,
                an_attachment_ends_with_its_workload,
                an_attachment_to_a_terminal_is_byte_exact,
                closing_an_attachment_leaves_the_workload_alone,
                a_log_is_followed_without_a_gap,
                an_attachment_to_an_unknown_workload_is_not_found,
            ]
        );
    };
}
