//! The rules of [`OverlayNetwork`].

use std::sync::Arc;

use async_trait::async_trait;

use crate::{OverlayNetwork, WorkloadId};

mod addresses;
mod networks;
mod peers;
mod steps;

pub use addresses::{
    a_full_block_says_so, an_address_asked_for_is_given, an_address_comes_from_the_block,
    an_address_is_held_by_one_workload, an_address_outside_the_block_is_refused,
    an_address_taken_is_refused, attaching_twice_keeps_the_address,
    concurrent_attachments_get_different_addresses, detaching_frees_the_address,
    detaching_twice_is_no_error,
};
pub use networks::{
    a_block_outside_the_subnet_is_refused, a_network_in_use_is_not_removed,
    a_removed_network_comes_back_empty, an_unknown_network_is_not_found,
    attachments_survive_a_change_of_the_spec, both_address_families_work,
    ensuring_twice_is_ensuring_once, networks_are_listed_in_order, networks_keep_apart,
    networks_that_overlap_are_refused, removing_twice_is_no_error,
    the_subnet_of_a_network_cannot_change,
};
pub use peers::{
    a_peer_twice_is_refused, overlapping_peers_are_refused, peers_are_replaced_as_a_whole,
    syncing_peers_twice_is_syncing_once,
};

/// What an overlay's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A data plane on a node without networks.
    async fn overlay(&self) -> Arc<dyn OverlayNetwork>;

    /// A workload that can be attached. A real data plane needs a real one; the default makes up an
    /// id.
    async fn workload(&self, number: usize) -> WorkloadId {
        WorkloadId::new(format!("workload-{number}")).expect("a sound id")
    }

    /// A public key in the data plane's form for the peers of a test.
    fn public_key(&self, _number: usize) -> String {
        String::new()
    }
}

/// Makes one test of each rule for the harness: `overlay_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! overlay_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            overlay,
            $harness,
            [
                ensuring_twice_is_ensuring_once,
                the_subnet_of_a_network_cannot_change,
                a_block_outside_the_subnet_is_refused,
                networks_that_overlap_are_refused,
                networks_are_listed_in_order,
                an_address_comes_from_the_block,
                an_address_is_held_by_one_workload,
                attaching_twice_keeps_the_address,
                an_address_asked_for_is_given,
                an_address_taken_is_refused,
                an_address_outside_the_block_is_refused,
                a_full_block_says_so,
                detaching_frees_the_address,
                detaching_twice_is_no_error,
                concurrent_attachments_get_different_addresses,
                attachments_survive_a_change_of_the_spec,
                peers_are_replaced_as_a_whole,
                syncing_peers_twice_is_syncing_once,
                overlapping_peers_are_refused,
                a_peer_twice_is_refused,
                a_network_in_use_is_not_removed,
                removing_twice_is_no_error,
                a_removed_network_comes_back_empty,
                an_unknown_network_is_not_found,
                networks_keep_apart,
                both_address_families_work,
            ]
        );
    };
}
