//! The rules of [`KvStore`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{ClockExt, KvStore, SystemClock};

mod bounds;
mod leases;
mod ranges;
mod steps;
mod transactions;
mod watches;
mod writes;

pub use bounds::{bad_keys_are_refused, long_keys_and_values_have_a_bound, values_are_bytes};
pub use leases::{
    a_key_rewritten_without_lease_stays, a_lease_kept_alive_goes_on, a_lease_of_no_time_is_refused,
    a_revoked_lease_takes_its_keys_along, an_ended_lease_cannot_be_kept_alive,
    an_ended_lease_takes_no_keys, keys_vanish_with_their_lease_and_not_before,
    the_end_of_a_lease_is_seen_by_watches,
};
pub use ranges::{
    a_range_is_sorted_and_complete, a_range_reads_on_from_where_it_was_cut,
    a_range_stays_under_its_prefix,
};
pub use transactions::{
    a_check_alone_writes_nothing, a_check_guards_the_other_steps,
    a_key_twice_in_a_transaction_is_refused, a_transaction_does_all,
    a_transaction_does_nothing_if_one_condition_fails, without_transactions_they_are_unsupported,
};
pub use watches::{
    a_dropped_watch_harms_nobody, a_watch_from_a_revision_misses_nothing,
    a_watch_from_now_tells_no_past, a_watch_nobody_reads_holds_up_nobody,
    a_watch_stays_under_its_prefix, a_watch_tells_nothing_twice_in_order, two_watches_see_the_same,
};
pub use writes::{
    a_delete_under_a_false_condition_is_a_conflict, a_missing_key_is_nothing,
    a_swap_needs_the_last_revision, a_written_key_is_read_back, concurrent_increments_lose_nothing,
    deleting_says_whether_there_was_a_key, one_of_many_creators_wins, one_of_many_swaps_wins,
    other_clients_read_what_was_written, revisions_grow,
};

/// What a store's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A client of this harness's one store. A second call gives another client of the same store.
    async fn store(&self) -> Arc<dyn KvStore>;

    /// What all keys of this harness begin with. On a server that several tests share, make it
    /// different for each harness.
    fn prefix(&self) -> String {
        "conformance/".to_owned()
    }

    /// Lets time pass for the store. The default waits on tokio's time.
    async fn pass(&self, by: Duration) {
        SystemClock::new().sleep(by).await;
    }

    /// A lease that the store can keep and that the tests can wait for.
    fn lease(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// How long after its end a lease's keys may still be seen.
    fn slack(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Makes one test of each rule for the harness: `kv_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! kv_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            kv,
            $harness,
            [
                a_written_key_is_read_back,
                other_clients_read_what_was_written,
                a_missing_key_is_nothing,
                revisions_grow,
                one_of_many_creators_wins,
                a_swap_needs_the_last_revision,
                one_of_many_swaps_wins,
                concurrent_increments_lose_nothing,
                deleting_says_whether_there_was_a_key,
                a_delete_under_a_false_condition_is_a_conflict,
                a_range_is_sorted_and_complete,
                a_range_reads_on_from_where_it_was_cut,
                a_range_stays_under_its_prefix,
                a_watch_from_a_revision_misses_nothing,
                a_watch_tells_nothing_twice_in_order,
                a_watch_stays_under_its_prefix,
                a_watch_from_now_tells_no_past,
                two_watches_see_the_same,
                a_dropped_watch_harms_nobody,
                a_watch_nobody_reads_holds_up_nobody,
                keys_vanish_with_their_lease_and_not_before,
                a_lease_kept_alive_goes_on,
                an_ended_lease_cannot_be_kept_alive,
                an_ended_lease_takes_no_keys,
                a_revoked_lease_takes_its_keys_along,
                a_key_rewritten_without_lease_stays,
                the_end_of_a_lease_is_seen_by_watches,
                a_lease_of_no_time_is_refused,
                a_transaction_does_all,
                a_transaction_does_nothing_if_one_condition_fails,
                a_key_twice_in_a_transaction_is_refused,
                a_check_guards_the_other_steps,
                a_check_alone_writes_nothing,
                without_transactions_they_are_unsupported,
                bad_keys_are_refused,
                long_keys_and_values_have_a_bound,
                values_are_bytes,
            ]
        );
    };
}
