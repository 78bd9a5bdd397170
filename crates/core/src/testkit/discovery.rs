//! The rules of [`Discovery`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Announcement, ClockExt, Discovery, SystemClock};

mod outages;
mod registrations;
mod steps;
mod watches;

pub use outages::{
    a_bad_entry_loses_no_good_one, a_recovery_is_told_by_a_full_set,
    an_unreachable_backend_comes_back, an_unreachable_backend_removes_nothing,
};
pub use registrations::{
    a_backend_that_cannot_register_says_so, a_lease_of_no_time_is_refused,
    a_registration_ends_with_its_lease_and_not_before, a_registration_is_visible_until_taken_back,
    a_renewed_registration_goes_on, an_old_registration_cannot_end_a_newer_one, metadata_is_kept,
    registering_again_replaces_the_entry, renewing_what_has_expired_is_not_found,
    renewing_what_was_taken_back_is_not_found, taking_back_twice_is_no_error,
};
pub use watches::{
    a_dropped_watch_harms_nobody, a_list_is_sorted_without_duplicates,
    a_watch_nobody_reads_holds_up_nobody, a_watch_starts_with_the_full_set,
    an_unchanged_cluster_tells_nothing, applying_the_events_gives_the_list,
    clients_see_the_same_cluster, every_watch_starts_with_the_full_set,
};

/// What a discovery backend's tests need. A harness stands for one cluster.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A client of this harness's cluster. A second call gives another client of the same.
    async fn discovery(&self) -> Arc<dyn Discovery>;

    /// Makes the cluster consist of exactly these nodes by the backend's own means (edits the file,
    /// builds the list). Needed where nodes can't register; for a [`WatchMode::Fixed`](crate::WatchMode::Fixed) backend it is
    /// called once, before the client that is tested is made.
    async fn place(&self, _nodes: &[Announcement]) {
        panic!("the harness of a backend that can't register must place nodes");
    }

    /// Puts an entry that can't be read next to the good ones; false where there is no such thing.
    async fn spoil(&self) -> bool {
        false
    }

    /// Cuts the backend off, or lets it back; false where the harness has no way to.
    async fn set_reachable(&self, _reachable: bool) -> bool {
        false
    }

    /// Lets time pass for the backend. The default waits on tokio's time.
    async fn pass(&self, by: Duration) {
        SystemClock::new().sleep(by).await;
    }

    /// A lease that the backend can keep and that the tests can wait for.
    fn lease(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// After how long every change is seen by watches, grace periods included.
    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }
}

/// Makes one test of each rule for the harness: `discovery_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! discovery_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            discovery,
            $harness,
            [
                a_watch_starts_with_the_full_set,
                every_watch_starts_with_the_full_set,
                a_dropped_watch_harms_nobody,
                a_watch_nobody_reads_holds_up_nobody,
                a_list_is_sorted_without_duplicates,
                clients_see_the_same_cluster,
                applying_the_events_gives_the_list,
                an_unchanged_cluster_tells_nothing,
                a_backend_that_cannot_register_says_so,
                a_registration_is_visible_until_taken_back,
                a_registration_ends_with_its_lease_and_not_before,
                a_renewed_registration_goes_on,
                renewing_what_has_expired_is_not_found,
                renewing_what_was_taken_back_is_not_found,
                taking_back_twice_is_no_error,
                registering_again_replaces_the_entry,
                an_old_registration_cannot_end_a_newer_one,
                a_lease_of_no_time_is_refused,
                metadata_is_kept,
                an_unreachable_backend_removes_nothing,
                an_unreachable_backend_comes_back,
                a_recovery_is_told_by_a_full_set,
                a_bad_entry_loses_no_good_one,
            ]
        );
    };
}
